"""A desk as an operator has it, for tests: configuration, key, journal, and an enforcer behind a real socket.

In: a folder. Out: ``Site``.
Must never: be a stand-in where the real thing can run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from enforcer_builder import KEY, serve
from thingwarden.cli import main
from thingwarden.domain.incident import ChangeKind, IncidentChange
from thingwarden.domain.ports import Enforcer
from thingwarden.domain.response import Act, Decision, Proposal, Refusal, Target
from thingwarden.enforce.guard import Guard, GuardSettings, KnownHosts
from thingwarden.enforce.holdings import HoldingsFile
from thingwarden.enforce.warden import Warden, machine_clocks
from thingwarden.pipeline import Record
from thingwarden.respond.policy import Ledger, NetworkView, judge_proposal, proposal_id
from thingwarden.respond.rules import PolicySettings
from thingwarden.serve.entries import decision_entry, entry_from_record, receipt_entry, refusal_entry
from thingwarden.serve.store import Journal
from thingwarden.testing import build_incident, build_proposal

ISOLATE = build_proposal(act=Act.ISOLATE, target=Target(device=build_incident().device), ttl_s=3600.0)
ISOLATE_ID = proposal_id(ISOLATE)
BLOCK = build_proposal(ttl_s=3600.0)


@dataclass(frozen=True)
class Site:
    """Where everything lies."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "thingwarden.toml"

    @property
    def journal(self) -> Path:
        return self.folder / "journal.sqlite"

    @property
    def socket(self) -> Path:
        return self.folder / "dry-run.sock"

    def allow(self, policy: str) -> None:
        """Let the policy file say so."""
        file = self.folder / "policy.toml"
        file.write_text(policy)
        self.config.write_text(f'{self.config.read_text()}[policy]\nfile = "{file}"\n')

    def run(self, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[dict[str, Any]]]:
        """One command with ``--json``: its exit code and its lines."""
        code = main([*words, "--config", str(self.config), "--json"])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    def say(self, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
        """One command as people run it: its exit code and all that it says."""
        code = main([*words, "--config", str(self.config)])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    def write(self, proposal: Proposal, policy: PolicySettings, key: bytes = KEY) -> Decision | Refusal:
        """Judge a proposal a minute ago, and journal the answer."""
        now = datetime.now(UTC) - timedelta(minutes=1)
        judged = judge_proposal(
            proposal, build_incident(), view=NetworkView(), ledger=Ledger(), settings=policy, now=now
        )
        entry = refusal_entry(judged, key) if isinstance(judged, Refusal) else decision_entry(judged, key)
        with Journal(self.journal) as journal:
            journal.append([entry])
        return judged

    def order(self, enforcer: Enforcer) -> Decision:
        """A decision of a minute ago that is in force, as the core leaves it behind."""
        decision = self.write(BLOCK, PolicySettings())
        assert isinstance(decision, Decision)
        receipt = enforcer.apply(decision, datetime.now(UTC))
        with Journal(self.journal) as journal:
            journal.append([receipt_entry(receipt, decision.incident_id)])
        return decision


def build_site(folder: Path, is_enforced: bool = True) -> Site:
    """A site whose journal holds an incident and a proposal that awaits approval."""
    site = Site(folder)
    kind = "socket" if is_enforced else "dry-run"
    site.config.write_text(
        f'[journal]\npath = "{site.journal}"\n'
        f'[enforce]\nby = "{kind}"\nrun_folder = "{folder}"\nkey = "{folder / "key"}"\n'
    )
    (folder / "key").write_bytes(KEY)
    (folder / "key").chmod(0o600)
    change = IncidentChange(kind=ChangeKind.OPENED, at=datetime.now(UTC), incident=build_incident())
    with Journal(site.journal) as journal:
        journal.append([entry_from_record(Record(at=change.at, entry=change), {}, KEY)])
    site.write(ISOLATE, PolicySettings())
    return site


@contextmanager
def enforcing(site: Site, enforcer: Enforcer) -> Iterator[Enforcer]:
    """The enforcer behind the site's socket, by the machine's own clocks."""
    clocks = machine_clocks()
    warden = Warden(
        enforcer,
        guard=Guard(GuardSettings()),
        holdings=HoldingsFile(site.folder, clocks.boot_id, KEY),
        key=KEY,
        clocks=clocks,
        find_hosts=KnownHosts,
    )
    with serve(warden, site.socket):
        yield enforcer
