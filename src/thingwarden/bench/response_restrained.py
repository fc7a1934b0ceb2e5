"""A camera under a rate limit for half an hour: it retries, and nothing harder may follow.

In: a quiet home of the lab, for real. Out: what was dropped, and what the watch said of the camera meanwhile.
Must never: order the limit but through policy, or keep its being in force from the watch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from thingwarden.bench.response import READY_WITHIN_S, SAID_FILE, write_settings
from thingwarden.domain.device import Device
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.response import Act, Decision
from thingwarden.enforce.client import SocketEnforcer
from thingwarden.enforce.key import read_key
from thingwarden.lab.real.daemons import start_daemon
from thingwarden.lab.real.layout import LAN_BRIDGE
from thingwarden.lab.real.network import Lab
from thingwarden.lab.real.run import Progress, run_scenario
from thingwarden.lab.recipe import find_recipe
from thingwarden.lab.truth import read_truth
from thingwarden.respond.policy import NetworkView
from thingwarden.respond.rehearse import Rehearsal, rehearse
from thingwarden.respond.rules import PolicySettings
from thingwarden.serve.entries import decision_entry, receipt_entry
from thingwarden.serve.store import Journal

SCENARIO: Final = "home-quiet"
OUTCOME_FILE: Final = "restrained.json"
DURATION_S: Final = 1800.0
_LONGER_S: Final = 120.0
_KIND: Final = "camera"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restrained:
    """What came of it.

    Attributes:
        device: the camera's name.
        duration_s: how long it lived under the limit.
        dropped_count: its packets that the limit dropped.
        incidents: of the camera, one sentence each.
        harder_acts: ordered against the camera, beyond a rate limit.
        refused_acts: proposed against it and refused.
    """

    device: str
    duration_s: float
    dropped_count: int
    incidents: tuple[str, ...]
    harder_acts: tuple[str, ...]
    refused_acts: tuple[str, ...]


def run_restrained(folder: Path, duration_s: float = DURATION_S, progress: Progress = lambda *_: None) -> Restrained:
    """Let a quiet home live with one camera limited to a packet a second, its TCP to anybody, unless that was run.

    Args:
        folder: to write into.
        duration_s: how long.
        progress: told how many seconds have passed, and of how many.

    Raises:
        ConfigError: the lab cannot be made here, or a part of the defence does not start.
    """
    known = _known(folder / OUTCOME_FILE, duration_s)
    if known is not None:
        return known
    folder.mkdir(parents=True, exist_ok=True)
    found: list[tuple[Device, int]] = []

    @contextmanager
    def beside(lab: Lab) -> Iterator[None]:
        camera = _camera(lab)
        with _limited(lab, camera, duration_s, folder) as dropped:
            yield
            found.append((camera, dropped()))

    manifest = run_scenario(
        find_recipe(SCENARIO), folder, duration_s=duration_s, condition="wired", progress=progress, beside=beside
    )
    (camera, dropped_count), truth = found[0], read_truth(manifest.with_name("truth.json"))
    name = next(device.name for device in truth.devices if device.mac == camera.mac)
    outcome = _outcome(folder / SAID_FILE, name, camera, duration_s, dropped_count)
    (folder / OUTCOME_FILE).write_text(json.dumps(asdict(outcome)) + "\n", encoding="utf-8")
    return outcome


def _known(path: Path, duration_s: float) -> Restrained | None:
    """The outcome of an earlier run of the same length."""
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values: dict[str, Any] = {name: tuple(item) if isinstance(item, list) else item for name, item in told.items()}
        found = Restrained(**values)
    except (OSError, ValueError, TypeError):
        return None
    return found if found.duration_s == duration_s else None


def _camera(lab: Lab) -> Device:
    host = next((host for host in lab.hosts if host.kind == _KIND), None)
    if host is None:
        raise ConfigError(SCENARIO, "there is no camera in it")
    return Device(index=1, mac=host.mac, address=ip_address(host.address))


@contextmanager
def _limited(lab: Lab, camera: Device, duration_s: float, folder: Path) -> Iterator[Callable[[], int]]:
    settings, program = write_settings(lab.scratch, "playbook"), (sys.executable, "-m", "thingwarden")
    argv = [*program, "enforcer", "nftables", "--config", str(settings)]
    process = start_daemon(lab, Lab.GATEWAY, argv, "listens", log=lab.scratch / "enforcer.log", within_s=READY_WITHIN_S)
    key = read_key(lab.scratch / "key")
    enforcer = SocketEnforcer(lab.scratch / "nftables.sock", key, answer_within_s=5.0)
    decision, journal = _decide(camera, duration_s + _LONGER_S), lab.scratch / "journal.sqlite"
    with Journal(journal) as opened:
        opened.append([decision_entry(decision, key)])
        opened.append([receipt_entry(enforcer.apply(decision, datetime.now(UTC)), decision.incident_id)])
    said = lab.scratch / SAID_FILE
    argv = [*program, "watch", "-i", LAN_BRIDGE, "--enforce", "socket", "--json", "--journal", str(journal)]
    watch = start_daemon(
        lab, Lab.GATEWAY, [*argv, "--config", str(settings)], "watching", log=said, within_s=READY_WITHIN_S
    )

    def dropped() -> int:
        held = {receipt.decision_id: receipt for receipt in enforcer.in_force(datetime.now(UTC))}
        return held[decision.decision_id].packet_count or 0

    yield dropped
    lab.stop(watch)
    lab.stop(process)
    (folder / SAID_FILE).write_bytes(said.read_bytes())


def _decide(camera: Device, ttl_s: float) -> Decision:
    asked = Rehearsal(act=Act.RATE_LIMIT, device=camera, proto="tcp", packets_per_s=1, ttl_s=ttl_s)
    _, judged = rehearse(asked, view=NetworkView(), settings=PolicySettings(), now=datetime.now(UTC))
    assert isinstance(judged, Decision), judged
    return judged


def _outcome(said: Path, name: str, camera: Device, duration_s: float, dropped_count: int) -> Restrained:
    records = [json.loads(line) for line in said.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    own = [record for record in records if (record.get("device") or {}).get("mac") == camera.mac]
    ordered = [
        record for record in records
        if record["type"] == "decision" and (record["target"]["device"] or {}).get("mac") == camera.mac
    ]  # fmt: skip
    refused = [
        record["proposal"]["act"] for record in records
        if record["type"] == "refusal" and (record["proposal"]["target"]["device"] or {}).get("mac") == camera.mac
    ]  # fmt: skip
    harder = [record["act"] for record in ordered if Act(record["act"]).severity > Act.RATE_LIMIT.severity]
    return Restrained(
        device=name,
        duration_s=duration_s,
        dropped_count=dropped_count,
        incidents=tuple(dict.fromkeys(record["summary"] for record in own if record["type"] == "incident")),
        harder_acts=tuple(harder),
        refused_acts=tuple(refused),
    )
