"""``thingwarden policy``: check, explain, test and export what may be ordered.

In: a policy file, cases, the journal. Out: problems, verdicts with their reasons, exports.
Must never: change a file, or order anything.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from thingwarden.cli.invocation import Invocation, common_options, quantity, table
from thingwarden.cli.journal import journal_option
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.response import Act

if TYPE_CHECKING:
    from thingwarden.domain.device import Device
    from thingwarden.respond.policy import NetworkView
    from thingwarden.respond.rules import PolicySettings

EXIT_FAILED: Final = 1
"""What ``policy test`` ends with when a case fails."""

_ACTS: Final = tuple(act for act in Act if act not in (Act.NOTIFY, Act.SINKHOLE, Act.MQTT_DENY))
_SOMEBODY: Final = ipaddress.ip_address("192.0.2.1")


class _Host(click.ParamType[Any]):
    name = "host"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from thingwarden.setting import is_mac

        if isinstance(value, str) and is_mac(value):
            return value.lower()
        try:
            return ipaddress.ip_address(value)
        except ValueError:
            self.fail(f"{value!r} is neither an address nor a MAC", param, ctx)


@click.group("policy")
def policy_group() -> None:
    """Check, explain, test or export what may be ordered (one TOML file)."""


@policy_group.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@common_options
@click.pass_obj
def check(invocation: Invocation, file: Path | None) -> None:
    """Check FILE, or the policy that would be used; exit 2 when a rule is refused."""
    from thingwarden.policy_file import PACKAGED_POLICY, check_policy

    chosen = file or invocation.loaded.settings.policy.file or PACKAGED_POLICY
    problems, warnings = check_policy(chosen)
    if invocation.wants_json:
        for problem in problems:
            invocation.emit("policy_problem", {"file": str(chosen), **asdict(problem)})
        counts = {"is_valid": not problems, "problem_count": len(problems), "warnings": warnings}
        invocation.emit("policy_check", {"file": str(chosen), **counts})
    if problems:
        rows = [(problem.key, problem.value, problem.why, problem.allowed) for problem in problems]
        invocation.show(table("", ("key", "value", "problem", "allowed"), rows))
        raise ConfigError(f"policy {chosen}", f"{quantity(len(problems), 'rule')} refused", "nothing was changed")
    invocation.show(*(f"warning: {warning}" for warning in warnings))
    invocation.show(f"{chosen} is valid.")


@policy_group.command("explain")
@click.argument("host", type=_Host())
@click.option("--act", "wanted", type=click.Choice([act.value for act in _ACTS]), help="This act alone.")
@click.option("--approved", is_flag=True, help="As if a person had approved it.")
@journal_option
@common_options
@click.pass_obj
def explain(invocation: Invocation, host: Any, wanted: str | None, approved: bool, journal: Path | None) -> None:
    """Say what may be done about HOST (an address or a MAC), and by which rule.

    HOST is judged twice: as a device that attacks, on sound evidence, and as the peer of such a device. What was
    learned of the network is read from the journal, where there is one.
    """
    from thingwarden.config import journal_path, policy_settings

    settings = policy_settings(invocation.loaded.settings)
    file = journal or journal_path(invocation.loaded.settings.journal)
    view = _known(invocation, file) if journal is not None or file.exists() else _nothing_known()
    device = _device(host, view)
    acts = [act for act in _ACTS if wanted in (None, act.value)]
    now = datetime.now(UTC)
    records = list(_judged(device, host, acts, approved, view, settings, now))
    rule, maintenance = settings.rule_for(device), settings.open_maintenance(device, now)
    about = {
        "host": str(host),
        "label": rule.label,
        "role": rule.role.value,
        "is_monitored": rule.is_monitored or settings.is_monitor_only,
        "automatic_up_to": settings.limit_for(device)[0].value,
        "because": settings.limit_for(device)[1],
        "maintenance": None if maintenance is None else maintenance.label,
    }
    if invocation.wants_json:
        invocation.emit("policy_host", about)
        for record in records:
            invocation.emit("policy_verdict", record)
        return
    people = f"; people are at work: {maintenance.label}" if maintenance is not None else ""
    invocation.show(
        f"{rule.label}: {rule.role.value}; by itself at most {about['automatic_up_to']} ({about['because']}){people}"
    )
    for title, kind in (("as a device that attacks", "device"), ("as the peer of a device that attacks", "peer")):
        rows = [(item["act"], item["verdict"], "; ".join(item["reasons"])) for item in records if item["as"] == kind]
        if rows:
            invocation.show(table(title, ("act", "verdict", "why"), rows))


@policy_group.command("test")
@click.argument("cases", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@common_options
@click.pass_obj
def run_tests(invocation: Invocation, cases: tuple[Path, ...]) -> None:
    """Judge the cases of the files CASES by the policy that would be used; exit 1 when one fails."""
    from thingwarden.config import policy_settings
    from thingwarden.serve.policy_cases import run_cases

    settings = policy_settings(invocation.loaded.settings)
    results = [(file, result) for file in cases for result in run_cases(file, settings)]
    failed = [(file, result) for file, result in results if not result.has_passed]
    if invocation.wants_json:
        for file, result in results:
            invocation.emit("policy_case", {"file": str(file), **asdict(result), "has_passed": result.has_passed})
    rows = [
        (result.name, result.expected.value, result.found.value, "; ".join(result.reasons) or "-", result.why)
        for _, result in failed
    ]
    if failed:
        invocation.show(table("", ("case", "expected", "found", "reasons", "why it matters"), rows))
        invocation.exit_code = EXIT_FAILED
    invocation.show(f"{quantity(len(results), 'case')}, {len(failed):,} failed.")


@policy_group.command("export")
@click.option("--cacao", is_flag=True, required=True, help="As a CACAO 2.0 playbook, the one form there is.")
@common_options
@click.pass_obj
def export(invocation: Invocation, cacao: bool) -> None:
    """Write the playbook, with the bounds that policy sets it, as JSON to stdout."""
    from thingwarden.config import chosen_playbook, policy_settings
    from thingwarden.serve.cacao import encode_cacao

    settings = invocation.loaded.settings
    data = encode_cacao(chosen_playbook(settings.policy), policy_settings(settings))
    click.echo(json.dumps(data, indent=None if invocation.wants_json else 2))


@policy_group.command("schema")
@common_options
def schema() -> None:
    """Write the JSON Schema of the plan language to stdout."""
    from thingwarden.config import PLAN_SCHEMA

    click.echo(PLAN_SCHEMA.read_text("utf-8"), nl=False)


@policy_group.command("default")
@common_options
def default() -> None:
    """Write the policy that ships with the package, commented, as TOML to stdout."""
    from thingwarden.policy_file import PACKAGED_POLICY

    click.echo(PACKAGED_POLICY.read_text("utf-8"), nl=False)


def _known(invocation: Invocation, file: Path) -> NetworkView:
    from thingwarden.cli.replay import open_journal
    from thingwarden.serve.entries import known_network

    return known_network(open_journal(invocation, file, is_read_only=True))


def _nothing_known() -> NetworkView:
    from thingwarden.respond.policy import NetworkView

    return NetworkView()


def _device(host: Any, view: NetworkView) -> Device:
    from thingwarden.domain.address import plain_address
    from thingwarden.domain.device import Device

    if isinstance(host, str):
        known = (item for item in view.devices if item.mac is not None and item.mac.lower() == host)
        return next(known, Device(index=1, mac=host, address=None))
    near = (item for item in view.devices if item.address is not None and plain_address(item.address) == host)
    return next(near, Device(index=1, mac=None, address=host))


def _judged(
    device: Device,
    host: Any,
    acts: Sequence[Act],
    is_approved: bool,
    view: NetworkView,
    settings: PolicySettings,
    now: datetime,
) -> Iterator[dict[str, Any]]:
    from thingwarden.domain.device import Device
    from thingwarden.domain.response import Refusal
    from thingwarden.respond.rehearse import Rehearsal, rehearse

    somebody = Device(index=2, mac="02:00:00:00:00:00", address=None)
    sides = [("device", device, _SOMEBODY)]
    if not isinstance(host, str):
        sides.append(("peer", somebody, host))
    for kind, offender, peer in sides:
        for act in acts:
            if kind == "peer" and act not in (Act.RATE_LIMIT, Act.BLOCK_FLOW, Act.BLOCK_PEER):
                continue
            if kind == "device" and act is Act.BLOCK_PEER:
                continue
            asked = Rehearsal(act=act, device=offender, peer=peer, approved_by="a person" if is_approved else None)
            verdict, judged = rehearse(asked, view=view, settings=settings, now=now)
            reasons = judged.reasons if isinstance(judged, Refusal) else ()
            yield {"as": kind, "act": act.value, "verdict": verdict.value, "reasons": list(reasons)}
