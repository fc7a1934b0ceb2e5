"""``thingwarden decisions``: what was ordered, what awaits a person, and that person's orders.

In: the journal, the configured enforcer, a person's orders. Out: tables or JSON lines; exit code 5 where the enforcer
did not do it.
Must never: order what was not shown, or ask where nobody can answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thingwarden.cli.enforcement import (
    EXIT_NOT_ENFORCED,
    EXIT_REFUSED,
    confirmed,
    lifetime_s,
    open_desk,
    person_option,
    reason_option,
)
from thingwarden.cli.invocation import Invocation, common_options, quantity
from thingwarden.cli.journal import journal_option
from thingwarden.domain.errors import EnforcementError

if TYPE_CHECKING:
    from thingwarden.domain.response import Receipt
    from thingwarden.serve.desk import Awaiting, Desk, Outcome
    from thingwarden.serve.standing import Standing


@click.group("decisions")
def decisions() -> None:
    """What was ordered, what awaits a person, and that person's orders."""


@decisions.command("list")
@click.option("--active", "scope", flag_value="active", help="Only what is meant to be in force.")
@click.option("--all", "scope", flag_value="all", help="Every decision in the journal too.")
@click.option("--awaiting", "scope", flag_value="awaiting", help="Only what a person may order.")
@journal_option
@common_options
@click.pass_obj
def list_decisions(invocation: Invocation, scope: str | None, journal: Path | None) -> None:
    """List what is meant to be in force and what awaits approval."""
    from thingwarden.cli.decision_report import awaiting_table, standings_table

    desk, now = open_desk(invocation, journal, is_read_only=True), datetime.now(UTC)
    standings = [] if scope == "awaiting" else _shown_standings(invocation, desk, now, is_all=scope == "all")
    waiting = [] if scope == "active" else [_shown_awaiting(item, now) for item in desk.awaiting(now)]
    for kind, records in (("standing", standings), ("awaiting", waiting)):
        for record in records if invocation.wants_json else ():
            invocation.emit(kind, record)
    if scope != "awaiting":
        invocation.show(standings_table(standings) if standings else "no decisions")
    if scope != "active":
        invocation.show(awaiting_table(waiting) if waiting else "nothing awaits approval")


@decisions.command("show")
@click.argument("identifier", metavar="ID")
@journal_option
@common_options
@click.pass_obj
def show(invocation: Invocation, identifier: str, journal: Path | None) -> None:
    """Tell one decision, or one proposal that awaits approval, whole. ID may be a beginning that only one has."""
    from thingwarden.cli.decision_report import awaiting_panel, standing_panel

    desk, now = open_desk(invocation, journal, is_read_only=True), datetime.now(UTC)
    waiting = [item for item in desk.awaiting(now) if item.proposal_id.startswith(identifier)]
    if len(waiting) == 1:
        shown = _shown_awaiting(waiting[0], now)
        _tell(invocation, "awaiting", shown, awaiting_panel(shown))
        return
    standing = desk.standing(identifier, now)
    shown = _shown_standing(standing, _counters(invocation, desk, now), now)
    _tell(invocation, "standing", shown, standing_panel(shown))


@decisions.command("approve")
@click.argument("identifier", metavar="ID")
@click.option("--shown", metavar="DIGEST", help="What `decisions show` called the plan that is approved.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@person_option
@journal_option
@common_options
@click.pass_obj
def approve(
    invocation: Invocation, identifier: str, shown: str | None, yes: bool, person: str, journal: Path | None
) -> None:
    """Order a proposal that policy would not order alone. Policy's hard promises hold all the same."""
    from thingwarden.cli.decision_report import awaiting_panel

    desk = open_desk(invocation, journal)
    if shown is None:
        now = datetime.now(UTC)
        waiting = [item for item in desk.awaiting(now) if item.proposal_id.startswith(identifier)]
        if len(waiting) == 1:
            invocation.show(awaiting_panel(_shown_awaiting(waiting[0], now)))
            confirmed("Order this?", yes, "give --shown with what `decisions show` says, or --yes")
            shown = waiting[0].shown
    _report(invocation, desk.approve(identifier, person, datetime.now(UTC), shown))


@decisions.command("refuse")
@click.argument("identifier", metavar="ID")
@reason_option(is_required=True)
@person_option
@journal_option
@common_options
@click.pass_obj
def refuse(invocation: Invocation, identifier: str, reason: str, person: str, journal: Path | None) -> None:
    """Close a proposal that awaits approval."""
    now = datetime.now(UTC)
    closed = open_desk(invocation, journal).refuse(identifier, person, now, reason)
    if invocation.wants_json:
        invocation.emit("closed", {"proposal_id": closed.proposal_id, "person": person, "reason": reason})
    invocation.show(f"proposal {closed.proposal_id} is closed")


@decisions.command("revoke")
@click.argument("identifier", metavar="ID")
@reason_option(is_required=False)
@person_option
@journal_option
@common_options
@click.pass_obj
def revoke(invocation: Invocation, identifier: str, reason: str | None, person: str, journal: Path | None) -> None:
    """Undo exactly one decision."""
    desk = open_desk(invocation, journal)
    _report(invocation, desk.revoke(identifier, person, datetime.now(UTC), reason or ""))


@decisions.command("extend")
@click.argument("identifier", metavar="ID")
@click.option("--for", "span", metavar="SPAN", required=True, help="From now: 90s, 30min, 2h, 1d.")
@person_option
@journal_option
@common_options
@click.pass_obj
def extend(invocation: Invocation, identifier: str, span: str, person: str, journal: Path | None) -> None:
    """Let an act in force last longer: a new decision takes its place, without a moment between."""
    ttl_s = lifetime_s(span)
    desk = open_desk(invocation, journal)
    _report(invocation, desk.extend(identifier, person, datetime.now(UTC), ttl_s))


@decisions.command("reconcile")
@journal_option
@common_options
@click.pass_obj
def reconcile(invocation: Invocation, journal: Path | None) -> None:
    """Make the journal and the enforcer agree, as every start does."""
    from thingwarden.serve.wire import plain_from_value

    taken = open_desk(invocation, journal).reconcile(datetime.now(UTC))
    for item in taken:
        step = item.step
        if invocation.wants_json:
            record = {"remedy": step.remedy, "decision_id": step.decision_id, "why": step.why}
            invocation.emit("reconciliation", {**record, "receipts": plain_from_value(item.receipts)})
        invocation.show(f"{step.remedy.value} {step.decision_id or 'everything'}: {step.why}")
    invocation.show(f"{quantity(len(taken), 'difference')} between the journal and the enforcer")
    if any(item.has_failed for item in taken):
        invocation.exit_code = EXIT_NOT_ENFORCED


def _report(invocation: Invocation, outcome: Outcome) -> None:
    """Say what came of an order; the exit code says it to programs."""
    from thingwarden.cli.decision_report import outcome_lines
    from thingwarden.serve.wire import plain_from_value

    shown = plain_from_value(outcome)
    if invocation.wants_json:
        invocation.emit("outcome", shown)
    invocation.show(*outcome_lines(shown))
    if outcome.refusal is not None:
        invocation.exit_code = EXIT_REFUSED
    elif outcome.has_failed:
        invocation.exit_code = EXIT_NOT_ENFORCED


def _tell(invocation: Invocation, kind: str, record: Mapping[str, Any], panel: Any) -> None:
    if invocation.wants_json:
        invocation.emit(kind, record)
    invocation.show(panel)


def _shown_standings(invocation: Invocation, desk: Desk, now: datetime, is_all: bool) -> Sequence[dict[str, Any]]:
    found = [item for item in desk.standings(now, is_all) if is_all or not item.has_ended]
    counters = _counters(invocation, desk, now) if found else {}
    return [_shown_standing(item, counters, now) for item in found]


def _counters(invocation: Invocation, desk: Desk, now: datetime) -> dict[str, Receipt] | None:
    """What the enforcer holds; None, and a remark, where it cannot be asked."""
    try:
        return desk.counters(now)
    except EnforcementError as error:
        invocation.remark(f"what is in force is not known: {error}")
        return None


def _shown_standing(item: Standing, counters: dict[str, Receipt] | None, now: datetime) -> dict[str, Any]:
    from thingwarden.serve.wire import plain_from_value

    counted = [receipt for receipt in item.receipts if receipt.packet_count is not None]
    held = None if counters is None else counters.get(item.decision_id)
    last = held or (counted[-1] if counted else None)
    record: dict[str, Any] = plain_from_value(
        {
            "decision_id": item.decision_id,
            "incident_id": item.incident_id,
            "state": item.state,
            "is_in_force": None if counters is None else held is not None,
            "has_ended": item.has_ended,
            "expires_at": item.expires_at,
            "remaining_s": max(0.0, (item.expires_at - now).total_seconds()),
            "packet_count": None if last is None else last.packet_count,
            "byte_count": None if last is None else last.byte_count,
            "doubt": item.doubt,
            "revoked_by": item.revoked_by,
            "replaced_by": item.replaced_by,
            "decision": item.shown,
            "receipts": item.receipts,
        }
    )
    return record


def _shown_awaiting(item: Awaiting, now: datetime) -> dict[str, Any]:
    from thingwarden.serve.wire import plain_from_value

    record: dict[str, Any] = plain_from_value(
        {
            "proposal_id": item.proposal_id,
            "incident_id": item.refusal.proposal.incident_id,
            "proposal": item.refusal.proposal,
            "reasons": item.refusal.reasons,
            "cost": item.refusal.cost,
            "until": item.until,
            "remaining_s": max(0.0, (item.until - now).total_seconds()),
            "shown": item.shown,
        }
    )
    return record
