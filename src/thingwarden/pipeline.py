"""The kernel: from scored words to orders, with no clock and no I/O.

In: ``ScoredBatch | NetworkLearned | OrdersFollowed | Tick | Explained | Receipt | OperatorAct`` and the instant.
Out: ``ApplyDecision | RevokeDecision | Explain | Record``.
Must never: read a clock, wait, or do anything itself; the same events always give the same commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from thingwarden.detect.attribution import Question
from thingwarden.detect.correlate import CorrelationSettings, Correlator
from thingwarden.detect.verdict import FlowJudge
from thingwarden.domain.address import IpAddress
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.detection import FlowVerdicts
from thingwarden.domain.device import Device
from thingwarden.domain.errors import RequestError
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import ChangeKind, Incident, IncidentChange, Reason
from thingwarden.domain.response import Act, Decision, Proposal, Receipt, ReceiptStatus, Refusal, Target
from thingwarden.domain.sighting import SightingBatch
from thingwarden.domain.word import Scores, WordBatch
from thingwarden.respond.cost import estimate_cost
from thingwarden.respond.cut import Ends, Host, cut_by, hosts_of
from thingwarden.respond.lifecycle import FINAL_STATES, Cause, DecisionState, next_state
from thingwarden.respond.memory import TrafficMemory
from thingwarden.respond.planner import plan_greedily
from thingwarden.respond.playbook import Playbook, propose
from thingwarden.respond.policy import Ledger, NetworkView, is_decided, judge_proposal, proposal_id
from thingwarden.respond.protect import HostRoles, ProtectedHosts
from thingwarden.respond.rules import PolicySettings

MAX_HELD: Final = 256
"""Refused proposals kept for a person's approval; the oldest go first."""

APPROVAL_LASTS: Final = timedelta(hours=1)
_ROUNDING_S: Final = 1e-6
_REMEMBERED: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredBatch:
    """Words that the model has scored.

    Attributes:
        words, scores: n of them.
        is_touched: bool (n,), as of ``Pipeline.touched``, before they were scored; None where no word is.
    """

    words: WordBatch
    scores: Scores
    is_touched: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLearned:
    """What the edge has found out about the network and the enforcers; it takes the place of what it told before."""

    view: NetworkView


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedOrder:
    """Where a decision stands that an earlier run or a person made, or that somebody else ended.

    Attributes:
        decision: signed by policy.
        is_in_force: an enforcer has put it into force.
        ended_at: aware UTC; None while it lives.
    """

    decision: Decision
    is_in_force: bool
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersFollowed:
    """What others did about decisions."""

    orders: tuple[FollowedOrder, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Nothing happened but that it is later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """The answer to an ``Explain``.

    Attributes:
        question: as it was asked.
        reasons: strongest first; none where nothing stands out.
    """

    question: Question
    reasons: tuple[Reason, ...]


class OperatorVerb(Enum):
    """What a person can order; the value is the wire name."""

    APPROVE = "approve"
    REVOKE = "revoke"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAct:
    """A person's order.

    Attributes:
        verb: what to do.
        subject_id: id of the refused proposal to approve, or of the decision to revoke.
        person: who ordered it.
    """

    verb: OperatorVerb
    subject_id: str
    person: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyDecision:
    """Put this into force."""

    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeDecision:
    """Undo this."""

    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Explain:
    """Find out what moved these scores, before further words are scored; it comes after every order."""

    question: Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Write this into the journal."""

    at: datetime
    entry: IncidentChange | Decision | Refusal | Receipt | OperatorAct


Event: TypeAlias = ScoredBatch | NetworkLearned | OrdersFollowed | Tick | Explained | Receipt | OperatorAct
Command: TypeAlias = ApplyDecision | RevokeDecision | Explain | Record


@dataclass(slots=True)
class _Held:
    proposal: Proposal
    incident: Incident
    refused_at: datetime
    reasons: tuple[str, ...]
    can_approve: bool


@dataclass(slots=True)
class _Order:
    decision: Decision
    state: DecisionState
    is_in_force: bool = False
    began_at: datetime | None = None
    ended_at: datetime | None = None


class Pipeline:
    """Judges one batch of flows and answers what is wrong with it.

    Args:
        calibration: of the model that scores.
        flows: the batch whose words will arrive, or the rows of a ``FlowStore``, which change in place.
        devices: the encoder's table, which may grow.
        playbook: which act answers which attack.
        policy: what the operator allows.
        correlation: how incidents begin and end.
        host_roles: what is known of the network's servers; empty by default.
        sightings: what others know about these flows; none by default.
        is_greedy: whether the greedy planner proposes instead of the playbook.
    """

    def __init__(
        self,
        *,
        calibration: Calibration,
        flows: FlowBatch,
        devices: Sequence[Device],
        playbook: Playbook,
        policy: PolicySettings | None = None,
        correlation: CorrelationSettings | None = None,
        host_roles: HostRoles | None = None,
        sightings: SightingBatch | None = None,
        is_greedy: bool = False,
    ) -> None:
        self._flows, self._devices, self._playbook, self._is_greedy = flows, devices, playbook, is_greedy
        self._policy = policy or PolicySettings()
        self._judge = FlowJudge(len(flows), calibration, is_timed=flows.is_timed)
        self._correlator = Correlator(calibration, devices, correlation, sightings)
        self._host_roles = host_roles or HostRoles()
        self._known = NetworkView()
        self._memory = TrafficMemory()
        self._orders: dict[str, _Order] = {}
        self._acting: dict[Host, list[_Order]] = {}  # orders that were in force, by the hosts that they are about
        self._held: dict[str, _Held] = {}

    def handle(self, event: Event, now: datetime) -> list[Command]:
        """What follows from an event.

        Args:
            event: what happened.
            now: aware UTC; traffic time when replaying.

        Raises:
            RequestError: an operator's order names nothing that can be approved or revoked.
            ArtifactError: the scores are not finite.
        """
        if isinstance(event, ScoredBatch):
            return self._handle_batch(event)
        if isinstance(event, NetworkLearned):
            self._known = event.view
            return []
        if isinstance(event, OrdersFollowed):
            for followed in event.orders:
                self._follow(followed)
            return []
        if isinstance(event, Tick):
            self._memory.count()
            return self._end_idle(now) + self._expire(now)
        if isinstance(event, Explained):
            change = self._correlator.answer(event.question, event.reasons, self._flows)
            return [] if change is None else [Record(at=change.at, entry=change)]
        if isinstance(event, Receipt):
            return self._handle_receipt(event, now)
        return self._handle_operator(event, now)

    def touched(self, words: WordBatch) -> npt.NDArray[np.bool_]:
        """Words of flows that an act in force touched, bool (n,): they are evidence of nothing, and no habit.

        The scorer is to judge them as probes. A word that starts a sentence is never among them, for it tells that a
        device is new.
        """
        touched = np.zeros(len(words), dtype=np.bool_)
        if not self._acting or not len(words):
            return touched
        ends = Ends.of_flows(self._flows, words.flow)
        acting = self._acting.keys() & ends.hosts()
        if not acting:
            return touched
        began_s = self._flows.started_at_s[words.flow]
        ended_s = began_s + np.nan_to_num(self._flows.duration_s[words.flow])
        orders = [order for host in acting for order in self._acting[host]]
        is_sparing = any(order.decision.act is Act.QUARANTINE for order in orders)
        spared = self._spared(self._view()) if is_sparing else frozenset()
        for order in orders:
            since_s = order.began_at.timestamp() if order.began_at else 0.0
            until_s = order.ended_at.timestamp() if order.ended_at else np.inf
            is_meanwhile = (ended_s >= since_s) & (began_s <= until_s)
            if is_meanwhile.any():
                touched |= is_meanwhile & cut_by(order.decision.act, order.decision.target, ends, spared)
        return touched & ~words.starts_sentence

    def held_flows(self) -> npt.NDArray[np.int64]:
        """Rows of the flows that an incident, or what may become one, still names; int64, some more than once."""
        return self._correlator.held_flows()

    def forget_flows(self, rows: npt.NDArray[np.int64]) -> None:
        """Name these flows no more: their rows become those of others, as in a ``FlowStore``."""
        self._judge.forget_flows(rows)
        self._correlator.forget_flows(rows, len(self._flows))

    def verdicts(self) -> FlowVerdicts:
        """The verdict of every flow so far."""
        return self._judge.verdicts()

    def incidents(self) -> list[Incident]:
        """Every incident so far, by time of opening."""
        return self._correlator.finish(self._flows)

    def protected(self) -> ProtectedHosts:
        """The hosts learned to be protected so far."""
        return self._host_roles.protected()

    def _handle_batch(self, batch: ScoredBatch) -> list[Command]:
        self._judge.update(batch.words, batch.scores)
        words, scores = batch.words, batch.scores
        if batch.is_touched is not None and batch.is_touched.any():
            words, scores = words.take(~batch.is_touched), scores.take(~batch.is_touched)
        self._learn_from(words)
        commands: list[Command] = []
        changes = self._correlator.update(words, scores, self._flows)
        self._judge.accuse(self._correlator.accusations())
        view = self._view() if changes else NetworkView()
        for change in changes:
            commands += self._expire(change.at)
            if change.kind is not ChangeKind.GREW:
                commands.append(Record(at=change.at, entry=change))
            if change.kind is not ChangeKind.ENDED:
                commands += self._respond(change.incident, view, change.at)
        return commands + [Explain(question=question) for question in self._correlator.questions()]

    def _learn_from(self, words: WordBatch) -> None:
        """Servers, and what is usual, from flows that are above suspicion; each is counted once, for its originator."""
        innocent = self._judge.innocent(words.flow[words.is_close])
        self._host_roles.observe(self._flows, innocent)
        counted = words.is_close & (words.is_orig | (self._flows.orig_is_local[words.flow] != 1))
        rows = np.flatnonzero(counted)
        rows = rows[np.isin(words.flow[rows], innocent)]
        self._memory.observe(self._flows, words.flow[rows], words.known_at_s[rows])

    def _end_idle(self, now: datetime) -> list[Command]:
        """What nothing but the hour ends; an instant may lie half a microsecond after the word that it was taken from,
        which must not end what that word did not."""
        ended = self._correlator.end_idle(now.timestamp() - _ROUNDING_S, self._flows)
        return [Record(at=change.at, entry=change) for change in ended]

    def _respond(self, incident: Incident, view: NetworkView, at: datetime) -> list[Command]:
        commands: list[Command] = []
        known = (item for item in self._ledger().decisions if item.act is not Act.NOTIFY and item.expires_at > at)
        answered = {_traffic(decision.act, decision.target) for decision in known}
        for traffic, proposal in _blocks_before_limits(self._proposals(incident, view, at, answered)):
            if traffic in answered:
                continue
            if is_decided(proposal, self._ledger(), at):
                answered.add(traffic)
                continue
            judged = self._judge_now(proposal, incident, view, at)
            if isinstance(judged, Refusal):
                commands += self._hold(judged, incident)
            else:
                answered.add(traffic)
                commands += self._order(judged)
        return commands

    def _proposals(
        self, incident: Incident, view: NetworkView, at: datetime, answered: set[_Traffic]
    ) -> Sequence[Proposal]:
        if not self._is_greedy:
            return propose(incident, self._playbook, lambda act, target: _traffic(act, target) in answered)
        return plan_greedily(
            incident,
            self._playbook,
            allows=lambda proposal: (
                _traffic(proposal.act, proposal.target) not in answered
                and isinstance(self._judge_now(proposal, incident, view, at), Decision)
            ),
            estimate=lambda act, target: estimate_cost(act, target, incident, self._memory, self._spared(view)),
        )

    def _judge_now(self, proposal: Proposal, incident: Incident, view: NetworkView, at: datetime) -> Decision | Refusal:
        cost = estimate_cost(proposal.act, proposal.target, incident, self._memory, self._spared(view))
        return judge_proposal(
            proposal, incident, view=view, ledger=self._ledger(), settings=self._policy, now=at, cost=cost
        )

    def _spared(self, view: NetworkView) -> frozenset[IpAddress]:
        """Hosts that a quarantined device goes on to reach."""
        return view.protected_addresses | self._policy.protected_addresses

    def _order(self, decision: Decision) -> list[Command]:
        self._orders[decision.decision_id] = _Order(decision, DecisionState.APPROVED)
        return [Record(at=decision.decided_at, entry=decision), ApplyDecision(decision=decision)]

    def _hold(self, refusal: Refusal, incident: Incident) -> list[Command]:
        """Keep a refusal for approval; the same refusal again is not worth a line."""
        key = proposal_id(refusal.proposal)
        before = self._held.pop(key, None)
        self._held[key] = _Held(refusal.proposal, incident, refusal.at, refusal.reasons, refusal.can_approve)
        while len(self._held) > MAX_HELD:
            self._held.pop(next(iter(self._held)))
        is_news = before is None or before.can_approve != refusal.can_approve
        return [Record(at=refusal.at, entry=refusal)] if is_news else []

    def _handle_receipt(self, receipt: Receipt, now: datetime) -> list[Command]:
        order = self._orders.get(receipt.decision_id)
        cause = _CAUSES.get(receipt.status)
        if order is not None and cause is not None:
            order.state = next_state(order.state, cause)
            if receipt.status is ReceiptStatus.APPLIED and order.began_at is None:
                self._begin(order)
            if order.state in FINAL_STATES:
                order.is_in_force, order.ended_at = False, now
        return [Record(at=now, entry=receipt)]

    def _begin(self, order: _Order) -> None:
        order.is_in_force, order.began_at = True, order.decision.decided_at
        for host in hosts_of(order.decision.target):
            self._acting.setdefault(host, []).append(order)

    def _forget(self, name: str) -> None:
        order = self._orders.pop(name)
        for host in hosts_of(order.decision.target):
            self._acting[host] = [other for other in self._acting.get(host, ()) if other is not order]
            if not self._acting[host]:
                del self._acting[host]

    def _follow(self, followed: FollowedOrder) -> None:
        """Know an order of somebody else as if it were ours, and that ours was ended by somebody else."""
        decision, ended_at = followed.decision, followed.ended_at
        order = self._orders.get(decision.decision_id)
        if order is None:
            order = self._orders[decision.decision_id] = _Order(decision, DecisionState.ACTIVE)
        if followed.is_in_force and order.began_at is None:
            self._begin(order)
        order.is_in_force = order.began_at is not None and ended_at is None
        if ended_at is not None and order.state not in FINAL_STATES:
            order.state, order.ended_at = DecisionState.EXPIRED, ended_at

    def _handle_operator(self, act: OperatorAct, now: datetime) -> list[Command]:
        commands: list[Command] = [Record(at=now, entry=act)]
        if act.verb is OperatorVerb.REVOKE:
            order = self._orders.get(act.subject_id)
            if order is None or order.state in FINAL_STATES:
                raise RequestError(f"decision {act.subject_id}", "nothing of that id is in force")
            order.state = next_state(order.state, Cause.DUE)
            return [*commands, RevokeDecision(decision=order.decision)]
        held = self._held.pop(act.subject_id, None)
        if held is None or not held.can_approve or now - held.refused_at > APPROVAL_LASTS:
            raise RequestError(f"proposal {act.subject_id}", "nothing of that id awaits approval")
        judged = judge_proposal(
            held.proposal,
            held.incident,
            view=self._view(),
            ledger=self._ledger(),
            settings=self._policy,
            now=now,
            approved_by=act.person,
        )
        return [*commands, *(self._hold(judged, held.incident) if isinstance(judged, Refusal) else self._order(judged))]

    def _expire(self, at: datetime) -> list[Command]:
        commands: list[Command] = []
        for order in self._orders.values():
            is_stuck = order.state is DecisionState.STUCK
            is_due = order.state in _ENDING_BY_TIME and order.decision.expires_at <= at
            if is_stuck or is_due:
                order.state = next_state(order.state, Cause.DUE)
                commands.append(RevokeDecision(decision=order.decision))
        old = [key for key, order in self._orders.items() if self._is_forgotten(order, at)]
        for key in old:
            self._forget(key)
        return commands

    def _is_forgotten(self, order: _Order, at: datetime) -> bool:
        """An hour after it would be over: what a person revoked is not ordered again before, and a flow that it touched
        may close late."""
        decision = order.decision
        ended_at = max(decision.decided_at, decision.expires_at, order.ended_at or decision.expires_at)
        return order.state in FINAL_STATES and ended_at + _REMEMBERED < at

    def _ledger(self) -> Ledger:
        kept = [order for order in self._orders.values() if order.state is not DecisionState.FAILED]
        return Ledger(
            decisions=tuple(order.decision for order in kept),
            in_force=frozenset(order.decision.decision_id for order in kept if order.is_in_force),
        )

    def _view(self) -> NetworkView:
        protected = self._host_roles.protected()
        return replace(
            self._known,
            devices=tuple(self._devices),
            protected_addresses=self._known.protected_addresses | frozenset(protected.roles),
            protected_macs=self._known.protected_macs | protected.macs,
        )


_Traffic: TypeAlias = tuple[Act, Target]


def _blocks_before_limits(proposals: Sequence[Proposal]) -> list[tuple[_Traffic, Proposal]]:
    """Proposals with what they are about: of a limit and a block of the same traffic the block comes first."""
    about = [(_traffic(proposal.act, proposal.target), proposal) for proposal in proposals]
    return sorted(about, key=lambda item: (item[0][0].severity, -item[1].act.severity))


def _traffic(act: Act, target: Target) -> _Traffic:
    """What an act is about: the same for a limit and a block."""
    return Act.RATE_LIMIT if act is Act.BLOCK_FLOW else act, replace(target, packets_per_s=None)


_CAUSES: Final = {
    ReceiptStatus.APPLIED: Cause.APPLIED,
    ReceiptStatus.DRY_RUN: Cause.APPLIED,
    ReceiptStatus.REVOKED: Cause.REVOKED,
    ReceiptStatus.FAILED: Cause.REJECTED,
}

_ENDING_BY_TIME: Final = frozenset({DecisionState.APPROVED, DecisionState.ACTIVE})
