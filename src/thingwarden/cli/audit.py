"""``thingwarden audit``: whether the journal is whole, and what is in it.

In: the journal, policy's key. Out: a verdict with exit code 1 where something was altered; entries as they stand.
Must never: change the journal.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from thingwarden.cli.enforcement import lifetime_s, policy_key
from thingwarden.cli.invocation import Invocation, common_options, quantity
from thingwarden.cli.journal import journal_option
from thingwarden.cli.replay import open_journal
from thingwarden.domain.errors import RequestError

if TYPE_CHECKING:
    from thingwarden.serve.audit import Audit
    from thingwarden.serve.store import Journal

EXIT_ALTERED: Final = 1
"""What ``audit verify`` ends with when it finds what it looks for."""

COLUMNS: Final = ("number", "at", "kind", "subject", "incident", "digest", "body")


def _instant(context: click.Context, parameter: click.Parameter, text: str | None) -> datetime | None:
    """An instant in ISO 8601, UTC where it has no offset; or how long ago."""
    if text is None:
        return None
    if re.fullmatch(r"[0-9]+[a-z]+", text):
        return datetime.now(UTC) - timedelta(seconds=lifetime_s(text))
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no instant such as 2026-01-31T12:00:00Z, and no span") from error
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _digest(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    if text is not None and not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise click.BadParameter("a digest is 64 hexadecimal digits")
    return None if text is None else text.lower()


@click.group("audit")
def audit() -> None:
    """Whether the journal is whole, and what is in it."""


@audit.command("verify")
@click.option("--head", metavar="DIGEST", callback=_digest, help="A head that was told before; it must still be there.")
@journal_option
@common_options
@click.pass_obj
def verify(invocation: Invocation, head: str | None, journal: Path | None) -> None:
    """Check every entry's place in the chain and every signature; exit 1 where something was altered.

    Keep the head elsewhere: with --head, entries that were cut off the end since then are noticed.
    """
    from thingwarden.serve.audit import audit_journal
    from thingwarden.serve.store import GENESIS

    opened = open_journal(invocation, journal, is_read_only=True)
    key = policy_key(invocation.loaded.settings, is_made=False)
    found = audit_journal(opened, key, GENESIS if head is None else head)
    if invocation.wants_json:
        invocation.emit("audit", _record(found, head))
    invocation.show(*_verdict(found, head))
    if not found.is_sound:
        invocation.exit_code = EXIT_ALTERED


@audit.command("export")
@click.option(
    "--since", metavar="INSTANT", callback=_instant, help="Entries of this instant or later; 24h is a day ago."
)
@click.option("--incident", help="Entries of this incident alone; a beginning of its id suffices.")
@click.option("--format", "form", type=click.Choice(["json", "csv"]), default="json", help="JSON lines, or a table.")
@journal_option
@common_options
@click.pass_obj
def export(
    invocation: Invocation, since: datetime | None, incident: str | None, form: str, journal: Path | None
) -> None:
    """Write the journal's entries to stdout, in order, as they stand."""
    if form == "csv" and invocation.wants_json:
        raise RequestError("audit export", "--json and --format csv exclude each other", "give one of them")
    opened = open_journal(invocation, journal, is_read_only=True)
    entries = _entries(opened, since, incident)
    if form == "json":
        for record in entries:
            invocation.emit("entry", record)
        return
    writer = csv.writer(sys.stdout)
    writer.writerow(COLUMNS)
    writer.writerows(
        [json.dumps(record[name], sort_keys=True) if name == "body" else record[name] for name in COLUMNS]
        for record in entries
    )


def _entries(journal: Journal, since: datetime | None, incident: str | None) -> Iterator[dict[str, Any]]:
    from thingwarden.serve.wire import plain_from_value

    about = None if incident is None else str(journal.incident(incident)["incident"]["incident_id"])
    from_at = None if since is None else plain_from_value(since)
    for item in journal.written(since=from_at, incident=about):
        entry = item.entry
        values = (item.number, entry.at, entry.kind, entry.subject, entry.incident, item.digest, entry.body)
        yield dict(zip(COLUMNS, values, strict=True))


def _record(found: Audit, head: str | None) -> dict[str, Any]:
    return {
        "is_sound": found.is_sound,
        "entry_count": found.chain.entry_count,
        "broken_at": found.chain.broken_at,
        "head": found.chain.head,
        "head_seen_at": None if head is None else found.chain.seen_at,
        "signed_count": found.signed_count,
        "unsigned_count": found.unsigned_count,
        "doubtful_count": found.doubtful_count,
        "doubts": found.doubts,
    }


def _verdict(found: Audit, head: str | None) -> Iterator[str]:
    chain = found.chain
    if chain.broken_at is None:
        yield f"the chain holds: {quantity(chain.entry_count, 'line')}"
    else:
        yield f"entry {chain.broken_at:,} was altered or is missing; {chain.entry_count:,} before it are sound"
    if head is not None:
        missing = "is not there: entries were cut off or rewritten"
        yield f"the head that was told before {missing if chain.seen_at is None else f'is entry {chain.seen_at:,}'}"
    if found.signed_count is None:
        yield "there is no key: signatures were not checked"
    else:
        yield f"signatures: {found.signed_count:,} sound, {found.doubtful_count:,} not policy's"
    yield f"never signed, so never enforced from here: {found.unsigned_count:,}"
    yield from (f"entry {item.number:,}, {item.subject}: {item.why}" for item in found.doubts)
    yield f"head: {chain.head}"
