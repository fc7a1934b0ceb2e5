"""Where each decision stands by what the journal holds of it.

In: the journal's decisions, receipts and human acts; policy's key; the instant. Out: ``Standing``.
Must never: ask an enforcer, or let an entry that policy did not sign stand for one that it did.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from thingwarden.domain.errors import RequestError
from thingwarden.domain.plan import MAX_TTL_S
from thingwarden.domain.response import Decision, Receipt, ReceiptStatus
from thingwarden.serve.entries import HumanVerb, genuine_decision, shown_decision
from thingwarden.serve.store import Journal, JournalEntry
from thingwarden.serve.wire import plain_from_value, value_from_plain

_KINDS: Final = ("decision", "receipt", "operator")
_SKEW: Final = timedelta(hours=1)
"""How far the clock may have been set back between entries without hiding a decision that still lives."""


class StandingState(Enum):
    """Where a decision stands; the value is the wire name."""

    ORDERED = "ordered"
    IN_FORCE = "in-force"
    DRY_RUN = "dry-run"
    ENDING = "ending"
    FAILED = "failed"
    REPLACED = "replaced"
    REVOKED = "revoked"
    EXPIRED = "expired"


_FINAL: Final = {ReceiptStatus.REVOKED: StandingState.REVOKED, ReceiptStatus.EXPIRED: StandingState.EXPIRED}
_BEGUN: Final = {ReceiptStatus.APPLIED: StandingState.IN_FORCE, ReceiptStatus.DRY_RUN: StandingState.DRY_RUN}
_OPEN: Final = frozenset({StandingState.ORDERED, StandingState.IN_FORCE, StandingState.DRY_RUN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One decision as the journal tells of it.

    Attributes:
        decision_id, incident_id: its own and its incident's.
        decision: the decision; None where it is not to be believed.
        claimed: what a decision that is not to be believed claims, as shown; None where it is.
        doubt: why it is not to be believed; empty where it is.
        state: where it stands.
        expires_at: aware UTC.
        receipts: of enforcers, in order.
        revoked_by: who ordered its end; None where nobody did.
        replaced_by: id of the decision that took its place; None where none did.
    """

    decision_id: str
    incident_id: str
    decision: Decision | None
    claimed: dict[str, Any] | None
    doubt: str
    state: StandingState
    expires_at: datetime
    receipts: tuple[Receipt, ...]
    revoked_by: str | None
    replaced_by: str | None

    @property
    def shown(self) -> dict[str, Any]:
        """The decision as people and programs are shown it, genuine or not."""
        shown: dict[str, Any] = plain_from_value(self.decision) if self.claimed is None else self.claimed
        return shown

    @property
    def was_applied(self) -> bool:
        """Whether an enforcer has ever put it into force."""
        return any(receipt.status is ReceiptStatus.APPLIED for receipt in self.receipts)

    @property
    def has_ended(self) -> bool:
        """Whether an enforcer said that it is over, or that it never began."""
        has_final = any(receipt.status in _FINAL for receipt in self.receipts)
        return has_final or (self.state is StandingState.FAILED and not self.was_applied)

    @property
    def is_open(self) -> bool:
        """Whether it is meant to be in force now, or to look so in a dry run."""
        return self.state in _OPEN or (self.state is StandingState.FAILED and self.was_applied)


@dataclass(slots=True)
class _Found:
    """What the journal holds of one decision, while it is read."""

    incident_id: str
    decision: Decision | None = None
    claimed: dict[str, Any] | None = None
    doubt: str = ""
    receipts: list[Receipt] = field(default_factory=list)
    revoked_by: str | None = None

    @property
    def has_begun(self) -> bool:
        """Whether an enforcer put it into force, or said that it would."""
        return any(receipt.status in _BEGUN for receipt in self.receipts)


def read_standings(journal: Journal, key: bytes | None, now: datetime, is_all: bool = False) -> tuple[Standing, ...]:
    """Where the decisions stand, in the order in which they were made.

    Args:
        journal: open.
        key: of policy; without it no decision is believed.
        now: aware UTC.
        is_all: all that the journal holds, not only those that can still be in force.

    Raises:
        RequestError: an entry is not what it claims to be.
        ConfigError: the journal cannot be read.
    """
    since = None if is_all else plain_from_value(now - timedelta(seconds=MAX_TTL_S) - _SKEW)
    written = journal.written(kinds=_KINDS, since=since)
    return tuple(_judge(_gather((item.entry for item in written), key), now))


def _gather(entries: Iterable[JournalEntry], key: bytes | None) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    for entry in entries:
        if entry.kind == "decision":
            _add_decision(found, entry, key)
        elif entry.subject not in found:
            continue
        elif entry.kind == "receipt":
            found[entry.subject].receipts.append(
                value_from_plain(Receipt, entry.body, f"receipt of decision {entry.subject}")
            )
        elif entry.body.get("verb") == HumanVerb.REVOKE.value:
            found[entry.subject].revoked_by = str(entry.body.get("person"))
    return found


def _add_decision(found: dict[str, _Found], entry: JournalEntry, key: bytes | None) -> None:
    """Remember a decision; one that policy signed is never displaced by another entry of its id."""
    known = found.get(entry.subject)
    if known is not None and known.decision is not None:
        return
    made = _Found(entry.incident)
    try:
        made.decision = genuine_decision(entry.body, key)
        if made.decision.decision_id != entry.subject:
            made.decision, made.doubt = None, "its entry stands under another id"
    except RequestError as error:
        made.doubt = error.why
    if made.decision is None:
        made.claimed = shown_decision(entry.body)
    if known is not None:
        made.receipts, made.revoked_by = known.receipts, known.revoked_by
    found[entry.subject] = made


def _judge(found: dict[str, _Found], now: datetime) -> Iterable[Standing]:
    successors = _successors(found)
    for name, item in found.items():
        expires_at = _end_of(item)
        replaced_by = successors.get(name)
        yield Standing(
            decision_id=name,
            incident_id=item.incident_id,
            decision=item.decision,
            claimed=item.claimed,
            doubt=item.doubt,
            state=_state(item, replaced_by, expires_at, now),
            expires_at=expires_at,
            receipts=tuple(item.receipts),
            revoked_by=item.revoked_by,
            replaced_by=replaced_by,
        )


def _end_of(item: _Found) -> datetime:
    if item.decision is not None:
        return item.decision.expires_at
    assert item.claimed is not None
    return datetime.fromisoformat(item.claimed["expires_at"])


def _successors(found: dict[str, _Found]) -> dict[str, str]:
    """By decision's id, the one that took its place: it has begun, or was itself replaced by one that has."""
    successors: dict[str, str] = {}
    for name, item in reversed(found.items()):
        replaced = None if item.decision is None else item.decision.replaces
        if replaced is not None and (item.has_begun or name in successors):
            successors.setdefault(replaced, name)
    return successors


def _state(item: _Found, replaced_by: str | None, expires_at: datetime, now: datetime) -> StandingState:
    """What the receipts and the clock say; an end, once told, is final."""
    ends = [_FINAL[receipt.status] for receipt in item.receipts if receipt.status in _FINAL]
    if replaced_by is not None:
        return StandingState.REPLACED
    if ends:
        return ends[0]
    has_failed = bool(item.receipts) and item.receipts[-1].status is ReceiptStatus.FAILED
    if has_failed and not item.has_begun:
        return StandingState.FAILED
    if item.revoked_by is not None or expires_at <= now:
        return StandingState.ENDING
    begun = [_BEGUN[receipt.status] for receipt in item.receipts if receipt.status in _BEGUN]
    return StandingState.FAILED if has_failed else begun[-1] if begun else StandingState.ORDERED


def replaced_receipt(successor: Receipt, replaced_id: str) -> Receipt | None:
    """What is written down of a decision when another has taken its place; None while it has not."""
    if successor.status not in _BEGUN:
        return None
    return Receipt(
        decision_id=replaced_id,
        enforcer=successor.enforcer,
        status=ReceiptStatus.REVOKED,
        at=successor.at,
        detail=f"replaced by {successor.decision_id}",
    )
