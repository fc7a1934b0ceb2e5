"""Making the journal and the network agree again: after a restart, a crash, somebody else's hand.

In: where the journal's decisions stand, what an enforcer says is in force. Out: the steps that mend the difference,
taken one by one, each written down as soon as it is taken.
Must never: enforce what policy did not sign, what has ended or what today's policy forbids; apply what is in force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from thingwarden.domain.ports import Enforcer
from thingwarden.domain.response import Act, Decision, Receipt, ReceiptStatus
from thingwarden.serve.entries import receipt_entry
from thingwarden.serve.standing import Standing, StandingState, read_standings, replaced_receipt
from thingwarden.serve.store import Journal

Forbids = Callable[[Decision], tuple[str, ...]]
"""Why policy would not order a decision today, whoever approved it; empty where it would."""


class Remedy(Enum):
    """What mends a difference; the value is the wire name."""

    SWEEP = "sweep"
    UNDO = "undo"
    APPLY = "apply"
    ADOPT = "adopt"
    CLOSE = "close"
    DISTRUST = "distrust"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do.

    Attributes:
        remedy: what.
        decision_id, incident_id: about which decision; empty for a sweep, which is about everything in force.
        why: one plain sentence.
        decision: to apply or undo; None for the others.
        receipt: to write down; None where the enforcer gives one.
    """

    remedy: Remedy
    decision_id: str = ""
    incident_id: str = ""
    why: str
    decision: Decision | None = None
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTaken:
    """A step and what came of it.

    Attributes:
        step: what was done.
        receipts: what was written down.
    """

    step: Step
    receipts: tuple[Receipt, ...]

    @property
    def has_failed(self) -> bool:
        """Whether the enforcer could not do it."""
        enforced = self.step.remedy in _ENFORCED
        return enforced and any(receipt.status is ReceiptStatus.FAILED for receipt in self.receipts)


_ENFORCED: Final = frozenset({Remedy.SWEEP, Remedy.UNDO, Remedy.APPLY})
_OVER: Final = "its time is over"


def plan_reconciliation(
    standings: Sequence[Standing],
    held: Sequence[Receipt],
    *,
    forbidden: Mapping[str, tuple[str, ...]],
    enforcer: str,
    now: datetime,
) -> tuple[Step, ...]:
    """The steps after which the journal and the enforcer agree; none where they do.

    Args:
        standings: of every decision that can still be in force.
        held: what the enforcer says is in force.
        forbidden: by decision's id, why policy would not order it today.
        enforcer: its name.
        now: aware UTC.
    """
    plan = _Plan(standings, held, forbidden, enforcer, now)
    return tuple(plan.steps())


class _Plan:
    """One comparison; pure."""

    def __init__(
        self,
        standings: Sequence[Standing],
        held: Sequence[Receipt],
        forbidden: Mapping[str, tuple[str, ...]],
        enforcer: str,
        now: datetime,
    ) -> None:
        self._standings, self._forbidden, self._enforcer, self._now = standings, forbidden, enforcer, now
        self._held = {receipt.decision_id: receipt for receipt in held}
        known = {item.decision_id for item in standings if item.decision is not None}
        self._unknown = sorted(set(self._held) - known)
        self._successors = {
            item.decision.replaces: item
            for item in standings
            if item.decision is not None and item.state is StandingState.ORDERED and self._is_wanted(item)
        }

    def steps(self) -> Iterator[Step]:
        if self._unknown:
            ids = ", ".join(self._unknown)
            yield Step(remedy=Remedy.SWEEP, why=f"in force by nobody's order: {ids}; all is removed and ours put back")
        for item in self._standings:
            step = self._step(item)
            if step is not None:
                yield step

    def _is_held(self, item: Standing) -> bool:
        """Whether it is in force, once what nobody ordered was swept away."""
        return item.decision_id in self._held and not self._unknown

    def _is_wanted(self, item: Standing) -> bool:
        return item.is_open and item.decision is not None and item.decision_id not in self._forbidden

    def _step(self, item: Standing) -> Step | None:
        successor = self._successors.get(item.decision_id)
        if successor is not None and not self._is_held(successor):
            return None  # the successor is applied, which ends this one
        if successor is None and self._is_wanted(item):
            return self._keep(item)
        if self._is_held(item) and item.decision is not None:
            return self._made(item, Remedy.UNDO, self._why_not(item), decision=item.decision)
        if item.has_ended:
            return None
        if item.is_open and item.decision is None:
            return self._distrust(item)
        return self._close(item)

    def _keep(self, item: Standing) -> Step | None:
        """What a decision that is meant to be in force lacks."""
        if self._is_held(item):
            is_told = item.state is StandingState.IN_FORCE
            told = "in force, though no receipt said so"
            return None if is_told else self._made(item, Remedy.ADOPT, told, receipt=self._held[item.decision_id])
        is_told_once = item.shown["act"] == Act.NOTIFY.value and bool(item.receipts)  # nobody holds a notification
        if item.state is StandingState.DRY_RUN or is_told_once:
            return None
        why = "ordered and never applied" if not item.receipts else "not in force, though it should be"
        return self._made(item, Remedy.APPLY, why, decision=item.decision)

    def _distrust(self, item: Standing) -> Step | None:
        last = item.receipts[-1] if item.receipts else None
        is_said = last is not None and (last.status, last.detail) == (ReceiptStatus.FAILED, item.doubt)
        if is_said or item.state is StandingState.DRY_RUN:
            return None
        receipt = self._receipt(item, ReceiptStatus.FAILED, item.doubt)
        return self._made(item, Remedy.DISTRUST, item.doubt, receipt=receipt)

    def _close(self, item: Standing) -> Step:
        why = self._why_not(item)
        status = ReceiptStatus.EXPIRED if why == _OVER else ReceiptStatus.REVOKED
        return self._made(item, Remedy.CLOSE, why, receipt=self._receipt(item, status, why))

    def _why_not(self, item: Standing) -> str:
        """Why it is not meant to be in force."""
        successor = self._successors.get(item.decision_id)
        if item.replaced_by is not None or successor is not None:
            return f"replaced by {item.replaced_by if successor is None else successor.decision_id}"
        if item.revoked_by is not None:
            return f"revoked by {item.revoked_by}"
        if item.expires_at <= self._now:
            return _OVER
        if item.decision_id in self._forbidden:
            return f"policy would not order it today: {'; '.join(self._forbidden[item.decision_id])}"
        return "it has ended by the journal"

    def _receipt(self, item: Standing, status: ReceiptStatus, detail: str) -> Receipt:
        """A receipt that no enforcer gives, with what the act was last known to have cut."""
        counted = [receipt for receipt in item.receipts if receipt.packet_count is not None]
        return Receipt(
            decision_id=item.decision_id,
            enforcer=self._enforcer,
            status=status,
            at=self._now,
            detail=detail,
            packet_count=counted[-1].packet_count if counted else None,
            byte_count=counted[-1].byte_count if counted else None,
        )

    def _made(
        self,
        item: Standing,
        remedy: Remedy,
        why: str,
        *,
        decision: Decision | None = None,
        receipt: Receipt | None = None,
    ) -> Step:
        return Step(
            remedy=remedy,
            decision_id=item.decision_id,
            incident_id=item.incident_id,
            why=why,
            decision=decision,
            receipt=receipt,
        )


def reconcile(
    journal: Journal, enforcer: Enforcer, *, key: bytes | None, forbids: Forbids, now: datetime
) -> tuple[StepTaken, ...]:
    """Compare and mend; killed at any moment, the next run goes on where it stopped.

    Args:
        journal: open for writing.
        enforcer: asked, and told.
        key: of policy; without it no decision is believed.
        forbids: why policy would not order a decision today.
        now: aware UTC.

    Raises:
        EnforcementError: the enforcer cannot say what is in force; nothing was changed.
        ConfigError: the journal cannot be read or written.
    """
    standings = read_standings(journal, key, now)
    held = enforcer.in_force(now)
    reasons = {item.decision_id: forbids(item.decision) for item in standings if item.is_open and item.decision}
    forbidden = {name: why for name, why in reasons.items() if why}
    steps = plan_reconciliation(standings, held, forbidden=forbidden, enforcer=enforcer.name, now=now)
    known = {item.decision_id: item for item in standings}
    taken = []
    for step in steps:
        taken.append(StepTaken(step=step, receipts=_take(step, journal, enforcer, known, now)))
        if step.remedy is Remedy.SWEEP and taken[-1].has_failed:
            break  # what is in force is not known any more
    return tuple(taken)


def _take(
    step: Step, journal: Journal, enforcer: Enforcer, known: Mapping[str, Standing], now: datetime
) -> tuple[Receipt, ...]:
    receipts = tuple(_receipts(step, enforcer, known, now))
    incidents = {name: item.incident_id for name, item in known.items()}
    journal.append(receipt_entry(receipt, incidents.get(receipt.decision_id, "")) for receipt in receipts)
    return receipts


def _receipts(step: Step, enforcer: Enforcer, known: Mapping[str, Standing], now: datetime) -> Iterator[Receipt]:
    """Take the step; what is to be written down of it."""
    if step.receipt is not None:
        yield step.receipt
    elif step.remedy is Remedy.SWEEP:
        yield from (item for item in enforcer.release_all(now) if not _is_put_back(item, known))
    elif step.remedy is Remedy.UNDO and step.decision is not None:
        yield enforcer.revoke(step.decision, now)
    elif step.decision is not None:
        receipt = enforcer.apply(step.decision, now)
        yield receipt
        replaced = known.get(step.decision.replaces or "")
        if replaced is not None and not replaced.has_ended:
            ended = replaced_receipt(receipt, replaced.decision_id)
            yield from () if ended is None else (ended,)


def _is_put_back(receipt: Receipt, known: Mapping[str, Standing]) -> bool:
    """Whether what was swept is one of ours that is applied again at once, so that this is not its end."""
    item = known.get(receipt.decision_id)
    return receipt.status is ReceiptStatus.REVOKED and item is not None and item.is_open and item.decision is not None
