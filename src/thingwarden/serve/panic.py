"""Panic: everything that is in force is removed at once, first at the enforcers, then in the journal.

In: enforcers, a way to open the journal, who asked. Out: what was removed, what remains, what is not known.
Must never: wait for the journal, need it, or say that nothing remains where an enforcer could not be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from thingwarden.domain.errors import ThingwardenError
from thingwarden.domain.ports import Enforcer
from thingwarden.domain.response import Receipt, ReceiptStatus
from thingwarden.serve.entries import HumanAct, HumanVerb, human_entry, receipt_entry
from thingwarden.serve.standing import Standing, read_standings
from thingwarden.serve.store import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class PanicReport:
    """What came of it.

    Attributes:
        removed: what an enforcer let go of.
        remaining: what an enforcer still holds, or could not let go of.
        unasked: enforcers that could not be asked, each with why.
        closed_count: decisions that the journal meant to be in force, and ends.
        journal_why: why it is not in the journal; empty where it is.
    """

    removed: tuple[Receipt, ...]
    remaining: tuple[Receipt, ...]
    unasked: tuple[str, ...]
    closed_count: int
    journal_why: str

    @property
    def is_all_removed(self) -> bool:
        """Whether nothing of ours is in force any more, as the enforcers say themselves."""
        return not self.remaining and not self.unasked


def release_everything(
    enforcers: Sequence[Enforcer], open_journal: Callable[[], Journal], person: str, now: datetime
) -> PanicReport:
    """Remove what is in force, ask what remains, then write it down.

    Args:
        enforcers: all that may hold anything.
        open_journal: opens it for writing; may fail.
        person: who asked.
        now: aware UTC.
    """
    told: list[Receipt] = []
    held: dict[str, Receipt] = {}
    unasked: list[str] = []
    for enforcer in enforcers:
        try:
            told += enforcer.release_all(now)
            held |= {receipt.decision_id: receipt for receipt in enforcer.in_force(now)}
        except ThingwardenError as error:
            unasked.append(f"{enforcer.name}: {error}")
    undone = {receipt.decision_id: receipt for receipt in told if receipt.status is not ReceiptStatus.REVOKED}
    remaining = undone | held
    removed = tuple(item for item in told if item.decision_id not in remaining)
    closed_count, journal_why = 0, ""
    try:
        closed_count = _write_down(open_journal, (*removed, *undone.values()), set(remaining), person, now)
    except ThingwardenError as error:
        journal_why = str(error)
    return PanicReport(
        removed=removed,
        remaining=tuple(remaining.values()),
        unasked=tuple(unasked),
        closed_count=closed_count,
        journal_why=journal_why,
    )


def _write_down(
    open_journal: Callable[[], Journal], told: Sequence[Receipt], remaining: set[str], person: str, now: datetime
) -> int:
    """Journal it so that nothing is put back later; how many decisions that ends."""
    with open_journal() as journal, journal.writing():
        living = {item.decision_id: item for item in read_standings(journal, None, now) if not item.has_ended}
        journal.append([human_entry(HumanAct(verb=HumanVerb.PANIC, subject_id="", person=person), "", now)])
        journal.append(receipt_entry(item, _incident_of(living, item.decision_id)) for item in told)
        revoked = {item.decision_id for item in told if item.status is ReceiptStatus.REVOKED}
        ended = list(_ended(living, remaining | revoked, person, now))
        journal.append(receipt_entry(item, _incident_of(living, item.decision_id)) for item in ended)
        return len(ended) + len(revoked & set(living))


def _ended(living: dict[str, Standing], known: set[str], person: str, now: datetime) -> Iterator[Receipt]:
    """Receipts of what no enforcer held, though the journal meant it to be in force."""
    for name in living:
        if name not in known:
            yield Receipt(
                decision_id=name,
                enforcer="panic",
                status=ReceiptStatus.REVOKED,
                at=now,
                detail=f"{person} removed everything; no enforcer held this",
            )


def _incident_of(living: dict[str, Standing], name: str) -> str:
    return living[name].incident_id if name in living else ""
