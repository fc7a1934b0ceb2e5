"""``thingwarden panic``: everything that is in force is removed at once.

In: the enforcers, the journal if there is one. Out: what was removed and what was not; exit code 5 if something
remains, or if that is not known.
Must never: need a sound configuration, key or journal; ask where nobody can answer.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from thingwarden.cli.enforcement import EXIT_NOT_ENFORCED, can_ask, confirmed, every_enforcer, person_option
from thingwarden.cli.invocation import Invocation, common_options, quantity
from thingwarden.cli.journal import journal_option


@click.command("panic")
@click.option("--yes", is_flag=True, help="Do not ask.")
@person_option
@journal_option
@common_options
@click.pass_obj
def panic(invocation: Invocation, yes: bool, person: str, journal: Path | None) -> None:
    """Remove everything that is in force, at once; the journal comes after. Never asks where nobody can answer."""
    from thingwarden.config import journal_path, load_what_holds
    from thingwarden.serve.panic import release_everything
    from thingwarden.serve.store import Journal

    confirmed("Remove everything that is in force?", yes or not can_ask(), "")
    settings, problems = load_what_holds(invocation.config_path)
    invocation.remark_all(f"passed over: {problem}" for problem in problems)
    enforcers, unasked = every_enforcer(settings)
    file = journal or journal_path(settings.journal)
    report = release_everything(enforcers, lambda: Journal(file), person, datetime.now(UTC))
    _tell(
        invocation,
        {
            "removed": report.removed,
            "remaining": report.remaining,
            "unasked": (*unasked, *report.unasked),
            "closed_count": report.closed_count,
            "journal_why": report.journal_why or None,
        },
    )
    if unasked or not report.is_all_removed:
        invocation.exit_code = EXIT_NOT_ENFORCED


def _tell(invocation: Invocation, record: dict[str, Any]) -> None:
    if invocation.wants_json:
        invocation.emit("panic", record)
    for verb, receipts in (("removed", record["removed"]), ("still in force", record["remaining"])):
        invocation.show(*(f"{verb}: {item.decision_id} ({item.enforcer}: {item.detail})" for item in receipts))
    invocation.show(*(f"could not be asked: {text}" for text in record["unasked"]))
    removed, remaining = len(record["removed"]), len(record["remaining"])
    closed = quantity(record["closed_count"], "decision")
    invocation.show(f"{quantity(removed, 'act')} removed, {remaining:,} still in force; {closed} ended in the journal")
    if record["journal_why"] is not None:
        invocation.remark(f"not in the journal, so the next start may put it back: {record['journal_why']}")
