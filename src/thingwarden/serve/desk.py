"""The operator's desk: what a person does about decisions, on the journal and an enforcer, without a running core.

In: an open journal, an enforcer, policy's settings and key; a person's orders.
Out: where decisions stand, what awaits approval, what came of an order; everything in the journal.
Must never: put into force what policy has not just ordered; use an approval twice, or for another plan than was shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from thingwarden.domain.errors import RequestError
from thingwarden.domain.plan import canonical_json
from thingwarden.domain.ports import Enforcer
from thingwarden.domain.response import Act, Decision, Proposal, Receipt, ReceiptStatus, Refusal
from thingwarden.enforce.dispatch import known_capabilities
from thingwarden.pipeline import APPROVAL_LASTS
from thingwarden.respond.policy import Ledger, is_decided, judge_proposal, spared_reasons
from thingwarden.respond.rules import PolicySettings
from thingwarden.serve.entries import (
    HumanAct,
    HumanVerb,
    decision_entry,
    genuine_refusal,
    human_entry,
    known_incident,
    known_network,
    receipt_entry,
    refusal_entry,
)
from thingwarden.serve.reconcile import StepTaken, reconcile
from thingwarden.serve.standing import Standing, StandingState, read_standings, replaced_receipt
from thingwarden.serve.store import Journal
from thingwarden.serve.wire import plain_from_value

_CLOSING: Final = frozenset({HumanVerb.APPROVE.value, HumanVerb.REFUSE.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaiting:
    """A proposal that policy refused and that a person may order all the same.

    Attributes:
        proposal_id: its id.
        refusal: what was proposed, and why policy did not order it.
        until: aware UTC; afterwards nobody can approve it.
        shown: 12 hexadecimal digits, other ones for any other plan, reason or cost.
    """

    proposal_id: str
    refusal: Refusal
    until: datetime
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a person's order.

    Attributes:
        decision: what was ordered or ended; None where policy refuses.
        refusal: policy's; None where it agreed, or was not asked.
        receipts: of the enforcer, and of what was replaced.
    """

    decision: Decision | None = None
    refusal: Refusal | None = None
    receipts: tuple[Receipt, ...] = ()

    @property
    def has_failed(self) -> bool:
        """Whether the enforcer could not do it."""
        return any(receipt.status is ReceiptStatus.FAILED for receipt in self.receipts)


class Desk:
    """Operations on one journal and one enforcer.

    Args:
        journal: open; for writing where anything is ordered.
        enforcer: who puts decisions into force.
        policy: what the operator allows.
        key: of policy; None where there is none, and so nothing can be believed or ordered.
    """

    def __init__(self, journal: Journal, enforcer: Enforcer, policy: PolicySettings, key: bytes | None) -> None:
        self._journal, self._enforcer, self._policy, self._key = journal, enforcer, policy, key

    def standings(self, now: datetime, is_all: bool = False) -> tuple[Standing, ...]:
        """Where decisions stand, in the order in which they were made; all of them, or those that may still live."""
        return read_standings(self._journal, self._key, now, is_all)

    def standing(self, beginning: str, now: datetime) -> Standing:
        """The one decision whose id begins so.

        Raises:
            RequestError: none or several do.
        """
        found = {item.decision_id: item for item in self.standings(now, is_all=True)}
        return found[_the_one(beginning, found, "decision")]

    def counters(self, now: datetime) -> dict[str, Receipt]:
        """By decision's id, what the enforcer says is in force.

        Raises:
            EnforcementError: it cannot be asked.
        """
        return {receipt.decision_id: receipt for receipt in self._enforcer.in_force(now)}

    def awaiting(self, now: datetime) -> tuple[Awaiting, ...]:
        """What a person may approve now, oldest first; what policy did not sign is left out."""
        since = plain_from_value(now - APPROVAL_LASTS)
        found: dict[str, Awaiting] = {}
        for item in self._journal.written(kinds=("refusal", "operator"), since=since):
            entry = item.entry
            if entry.kind == "operator" and entry.body.get("verb") in _CLOSING:
                found.pop(entry.subject, None)
            elif entry.kind == "refusal" and entry.body.get("can_approve"):
                self._add_awaiting(found, entry.subject, entry.body, now)
        return tuple(found.values())

    def approve(self, beginning: str, person: str, now: datetime, shown: str | None = None) -> Outcome:
        """Order what policy would not order alone; its hard promises hold all the same.

        Args:
            beginning: of the proposal's id.
            person: who approves.
            now: aware UTC.
            shown: ``Awaiting.shown`` of what the person saw; None for what awaits now.

        Raises:
            RequestError: nothing of that id awaits approval, or not what was shown.
            ConfigError: the journal cannot be written; nothing was applied.
        """
        with self._journal.writing():
            item = self._find_awaiting(beginning, now)
            if shown is not None and shown != item.shown:
                raise RequestError(f"proposal {item.proposal_id}", "it is not what was shown", "look at it again")
            proposal = item.refusal.proposal
            if is_decided(proposal, self._ledger(now), now):
                raise RequestError(f"proposal {item.proposal_id}", "the same is ordered already")
            self._note(HumanVerb.APPROVE, item.proposal_id, proposal.incident_id, person, now)
            judged = self._judge(proposal, now, person)
            self._write(judged)
        return self._carry_out(judged, now)

    def refuse(self, beginning: str, person: str, now: datetime, reason: str) -> Awaiting:
        """Close what awaits approval, for good.

        Raises:
            RequestError: nothing of that id awaits approval.
        """
        with self._journal.writing():
            item = self._find_awaiting(beginning, now)
            incident = item.refusal.proposal.incident_id
            self._note(HumanVerb.REFUSE, item.proposal_id, incident, person, now, reason)
        return item

    def revoke(self, beginning: str, person: str, now: datetime, reason: str = "") -> Outcome:
        """Undo exactly one decision.

        Raises:
            RequestError: none or several ids begin so, it has ended, or it is not to be believed.
        """
        with self._journal.writing():
            standing = self.standing(beginning, now)
            decision = _believed(standing)
            if standing.has_ended:
                raise RequestError(f"decision {standing.decision_id}", f"it has ended: {standing.state.value}")
            self._note(HumanVerb.REVOKE, standing.decision_id, standing.incident_id, person, now, reason)
        receipt = self._enforcer.revoke(decision, now)
        self._journal.append([receipt_entry(receipt, decision.incident_id)])
        return Outcome(decision=decision, receipts=(receipt,))

    def extend(self, beginning: str, person: str, now: datetime, ttl_s: float) -> Outcome:
        """Let a new decision take the place of one that lives, so that the act ends ``ttl_s`` from now.

        Raises:
            RequestError: none or several ids begin so, it does not live, or it would end sooner than it does.
        """
        with self._journal.writing():
            standing = self.standing(beginning, now)
            old = _believed(standing)
            if standing.state not in (StandingState.IN_FORCE, StandingState.DRY_RUN):
                raise RequestError(f"decision {old.decision_id}", f"it is not in force: {standing.state.value}")
            proposal = Proposal(
                incident_id=old.incident_id,
                act=old.act,
                target=old.target,
                ttl_s=ttl_s,
                reason=old.reason,
                proposer=old.proposer,
            )
            judged = self._judge(proposal, now, person, replaces=old.decision_id)
            if isinstance(judged, Decision) and judged.expires_at <= old.expires_at:
                raise RequestError(
                    f"decision {old.decision_id}",
                    f"it would end at {_text(judged.expires_at)}, not after {_text(old.expires_at)} as now",
                    "policy shortens wishes to orders.max_ttl_s",
                )
            self._note(HumanVerb.EXTEND, old.decision_id, old.incident_id, person, now)
            self._write(judged)
        return self._carry_out(judged, now)

    def reconcile(self, now: datetime) -> tuple[StepTaken, ...]:
        """Make the journal and the enforcer agree.

        Raises:
            EnforcementError: the enforcer cannot say what is in force; nothing was changed.
        """
        view = known_network(self._journal)

        def forbids(decision: Decision) -> tuple[str, ...]:
            is_harmless = decision.act is Act.NOTIFY
            return () if is_harmless else tuple(spared_reasons(decision.target, view, self._policy))

        return reconcile(self._journal, self._enforcer, key=self._key, forbids=forbids, now=now)

    def _find_awaiting(self, beginning: str, now: datetime) -> Awaiting:
        found = {item.proposal_id: item for item in self.awaiting(now)}
        return found[_the_one(beginning, found, "proposal", "nothing of that id awaits approval")]

    def _add_awaiting(self, found: dict[str, Awaiting], name: str, body: Mapping[str, Any], now: datetime) -> None:
        try:
            refusal = genuine_refusal(body, self._key)
        except RequestError:
            return
        until = refusal.at + APPROVAL_LASTS
        if until > now:
            shown = hashlib.sha256(canonical_json(plain_from_value(refusal))).hexdigest()[:12]
            found[name] = Awaiting(proposal_id=name, refusal=refusal, until=until, shown=shown)

    def _judge(self, proposal: Proposal, now: datetime, person: str, replaces: str | None = None) -> Decision | Refusal:
        if self._key is None:
            raise RequestError("this order", "there is no key to sign it with", "name one with: [enforce] key")
        return judge_proposal(
            proposal,
            known_incident(self._journal, proposal.incident_id),
            view=replace(known_network(self._journal), capabilities=known_capabilities(self._enforcer)),
            ledger=self._ledger(now),
            settings=self._policy,
            now=now,
            approved_by=person,
            replaces=replaces,
        )

    def _ledger(self, now: datetime) -> Ledger:
        living = [item for item in self.standings(now) if item.decision is not None and item.is_open]
        return Ledger(
            decisions=tuple(item.decision for item in living if item.decision is not None),
            in_force=frozenset(item.decision_id for item in living if item.was_applied),
        )

    def _note(
        self, verb: HumanVerb, subject_id: str, incident_id: str, person: str, now: datetime, reason: str = ""
    ) -> None:
        act = HumanAct(verb=verb, subject_id=subject_id, person=person, reason=reason)
        self._journal.append([human_entry(act, incident_id, now)])

    def _write(self, judged: Decision | Refusal) -> None:
        if isinstance(judged, Refusal):
            self._journal.append([refusal_entry(judged, self._key)])
        else:
            self._journal.append([decision_entry(judged, self._key)])

    def _carry_out(self, judged: Decision | Refusal, now: datetime) -> Outcome:
        """Apply what was ordered and written down; what it replaces has ended then."""
        if isinstance(judged, Refusal):
            return Outcome(refusal=judged)
        receipt = self._enforcer.apply(judged, now)
        ended = None if judged.replaces is None else replaced_receipt(receipt, judged.replaces)
        receipts = (receipt,) if ended is None else (receipt, ended)
        self._journal.append(receipt_entry(item, judged.incident_id) for item in receipts)
        return Outcome(decision=judged, receipts=receipts)


def _believed(standing: Standing) -> Decision:
    if standing.decision is None:
        raise RequestError(
            f"decision {standing.decision_id}", standing.doubt, "to remove all that is in force: thingwarden panic"
        )
    return standing.decision


def _the_one(beginning: str, found: Mapping[str, object], what: str, why_none: str = "no such decision") -> str:
    matching = [name for name in found if name.startswith(beginning)]
    if len(matching) != 1:
        why = f"{len(matching)} ids begin so" if matching else why_none
        raise RequestError(f"{what} {beginning}", why, "see: thingwarden decisions list --all")
    return matching[0]


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
