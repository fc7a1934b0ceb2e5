"""The audit: whether the journal is whole, and who signed what is in it.

In: an open journal, policy's key. Out: ``Audit``.
Must never: change anything, or call a signature sound that was not checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from thingwarden.domain.errors import RequestError
from thingwarden.serve.entries import genuine_decision, genuine_refusal
from thingwarden.serve.store import GENESIS, Journal, Verification, WrittenEntry

MAX_DOUBTS: Final = 100
"""Doubtful entries that are told one by one; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """An entry that is not to be believed.

    Attributes:
        number: of the entry.
        subject: id of its decision or proposal.
        why: one plain sentence.
    """

    number: int
    subject: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was found.

    Attributes:
        chain: whether every entry is as it was written, in its place.
        signed_count: decisions and refusals with a sound signature; None where there is no key to check with.
        unsigned_count: those that were never signed, as of recorded traffic; nothing is enforced by them.
        doubtful_count: those whose signature is not this key's.
        doubts: the first of them.
    """

    chain: Verification
    signed_count: int | None
    unsigned_count: int
    doubtful_count: int
    doubts: tuple[Doubt, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing was altered, cut off or forged, as far as was looked for."""
        return self.chain.broken_at is None and self.chain.seen_at is not None and self.doubtful_count == 0


def audit_journal(journal: Journal, key: bytes | None, looked_for: str = GENESIS) -> Audit:
    """Check the chain and every signature.

    Args:
        journal: open.
        key: of policy; None where there is none.
        looked_for: a head that was told before; what was cut off since then shows by its absence.

    Raises:
        ConfigError: the file is damaged beyond reading.
    """
    chain = journal.verify(looked_for)
    signed_count = unsigned_count = doubtful_count = 0
    doubts: list[Doubt] = []
    for item in journal.written(kinds=("decision", "refusal")):
        if item.entry.body.get("signature") is None:
            unsigned_count += 1
            continue
        why = None if key is None else _why_doubtful(item, key)
        if why is None:
            signed_count += 1
            continue
        doubtful_count += 1
        if len(doubts) < MAX_DOUBTS:
            doubts.append(Doubt(number=item.number, subject=item.entry.subject, why=why))
    return Audit(
        chain=chain,
        signed_count=None if key is None else signed_count,
        unsigned_count=unsigned_count,
        doubtful_count=doubtful_count,
        doubts=tuple(doubts),
    )


def _why_doubtful(item: WrittenEntry, key: bytes) -> str | None:
    entry = item.entry
    try:
        if entry.kind == "refusal":
            genuine_refusal(entry.body, key)
            is_misplaced = entry.body.get("proposal_id") != entry.subject
        else:
            is_misplaced = genuine_decision(entry.body, key).decision_id != entry.subject
    except RequestError as error:
        return error.why
    return "its entry stands under another id" if is_misplaced else None
