"""The live loop: packets as they pass, to orders that are carried out, in one process and one thread.

In: a ``PacketSource``, an encoder, a ``Scorer``, an ``Enforcer``, a journal, given as arguments. Out: ``LiveSummary``;
what happens, told as it happens.
Must never: choose an implementation itself, print, let the disk stand between a packet and an order, or grow.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from thingwarden.detect.attribution import Question
from thingwarden.domain.device import Device
from thingwarden.domain.errors import ConfigError, EnforcementError, ThingwardenError
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.flow_store import FORGOTTEN, ROW_COUNT, FlowProgress, FlowStore
from thingwarden.domain.incident import Incident, IncidentChange
from thingwarden.domain.packet import PacketsRead
from thingwarden.domain.ports import Enforcer, PacketSource, Scorer
from thingwarden.domain.response import Decision, Receipt, ReceiptStatus, Refusal
from thingwarden.domain.word import WordBatch
from thingwarden.ingest.live_meter import LiveMeter
from thingwarden.ingest.metering import MAX_OPEN_FLOWS
from thingwarden.pipeline import (
    ApplyDecision,
    Command,
    Event,
    Explain,
    Explained,
    NetworkLearned,
    OrdersFollowed,
    Pipeline,
    Record,
    RevokeDecision,
    ScoredBatch,
    Tick,
)
from thingwarden.respond.policy import NetworkView
from thingwarden.respond.protect import HostRoles
from thingwarden.serve.explain import Steps
from thingwarden.serve.following import JournalFollower
from thingwarden.serve.logbook import Logbook
from thingwarden.serve.replay import DeviceSummary, ReplayPlan
from thingwarden.serve.store import Journal, JournalEntry
from thingwarden.serve.wire import plain_from_value

WAIT_S: Final = 0.05
"""The longest wait for a packet: after it, flows that are idle end and decisions expire."""

TICK_S: Final = 0.1
"""However many packets come; where none comes every wait ends in a tick."""
POLL_S: Final = 5.0
"""The enforcer is asked what is in force so often: it notices then what somebody else removed."""

WRITE_S: Final = 1.0
"""What happened is in the journal after this time, and before a clean stop."""

RECYCLED_ROWS: Final = 8192
"""Flows forgotten at a time."""

MAX_ASKED: Final = 64
"""Explanations that are being made at a time; incidents beyond have no reasons."""

_SPARE_RATIO: Final = 4
"""Rows are freed between packets where less than one in so many is free."""


class LiveEncoder(Protocol):
    """What turns flows that are still going on into words, and knows whose they are."""

    @property
    def devices(self) -> Sequence[Device]:
        """The device table; grows while encoding."""

    def follow(self, flows: FlowBatch, progress: FlowProgress, upto_s: float) -> Iterator[WordBatch]:
        """Yield the words that became knowable."""

    def hasten(self, flows: FlowBatch, count: int) -> Iterator[WordBatch]:
        """Yield the closing words of the ``count`` flows that are due soonest, before their time."""


class ExplainsInSteps(Protocol):
    """What finds out why words were scored as they were, a little at a time."""

    def steps(self, question: Question, flows: FlowBatch) -> Steps:
        """An explanation that is being made; its first step is taken before further words are scored."""


class Recalls(Protocol):
    """What remembers words by the rows of their flows."""

    def forget_flows(self, rows: npt.NDArray[np.int64], flow_count: int, forgotten: int) -> None:
        """Remember of these flows' words only what they say: their rows become those of others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """When an order passed each stage; Unix seconds, never falling but where the clock is set.

    Attributes:
        packet_at_s: the kernel's timestamp of the packet that completed the evidence; where it was completed by a
            flow's closing, the instant at which that was due.
        read_at_s: its chunk of packets was read and decoded.
        metered_at_s, encoded_at_s, scored_at_s: the chunk was flows, words, scores.
        decided_at_s: policy had ordered.
        applied_at_s: the enforcer had answered.
    """

    packet_at_s: float
    read_at_s: float
    metered_at_s: float
    encoded_at_s: float
    scored_at_s: float
    decided_at_s: float
    applied_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """An order that was carried out, or was not: the receipt says."""

    decision: Decision
    receipt: Receipt
    course: Course


Told = IncidentChange | Refusal | Carried | Receipt | ThingwardenError
"""What a person may want to hear; a ``Receipt`` is of a decision that ended, an error of a journal not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSummary:
    """What a run saw and did.

    Attributes:
        started_at, ended_at: aware UTC.
        packet_count, flow_count, word_count: what was read, how many flows began, what was scored.
        dropped_packet_count: packets that the kernel had no room for.
        evicted_flow_count: flows that ended early because too many were open.
        hastened_flow_count: flows whose closing was told early because too many were known.
        devices: every device that said anything.
        incidents: by time of opening.
        decision_count, refusal_count: what policy ordered and refused.
    """

    started_at: datetime
    ended_at: datetime
    packet_count: int
    flow_count: int
    word_count: int
    dropped_packet_count: int
    evicted_flow_count: int
    hastened_flow_count: int
    devices: tuple[DeviceSummary, ...]
    incidents: tuple[Incident, ...]
    decision_count: int
    refusal_count: int


class Live:
    """One watch; ``run`` it once.

    Args:
        source: where the packets come from.
        encoder: fresh; turns flows into words.
        scorer: fresh or reset; scores words.
        enforcer: what becomes of decisions.
        plan: how; what it says of alerts and lists is for recorded traffic only.
        explainer: tells why; None for incidents without reasons.
        recalls: what remembers words by their flows' rows, as the explainer's scorer does; None where nothing does.
        journal: where it is written down; None for nowhere.
        key: that decisions are signed with in the journal; None where nothing may be enforced from it.
        tell: called with what happens.
        clock: Unix seconds; the clock that the source stamps packets by.
        row_count: flows known at a time.
        learn: what this machine knows of the network and the enforcers by now; asked at the start and with each poll.
    """

    def __init__(
        self,
        source: PacketSource,
        encoder: LiveEncoder,
        scorer: Scorer,
        enforcer: Enforcer,
        plan: ReplayPlan,
        *,
        explainer: ExplainsInSteps | None = None,
        recalls: Recalls | None = None,
        journal: Journal | None = None,
        key: bytes | None = None,
        tell: Callable[[Told], None] | None = None,
        clock: Callable[[], float] = time.time,
        row_count: int = ROW_COUNT,
        learn: Callable[[], NetworkView] = NetworkView,
    ) -> None:
        self._source, self._encoder, self._scorer, self._enforcer = source, encoder, scorer, enforcer
        self._explainer, self._recalls, self._clock = explainer, recalls, clock
        self._tell: Callable[[Told], None] = tell or (lambda told: None)
        self._store = FlowStore(row_count)
        self._meter = LiveMeter(self._store, open_limit=min(MAX_OPEN_FLOWS, row_count // 2))
        self._pipeline = Pipeline(
            calibration=plan.calibration,
            flows=self._store.flows,
            devices=encoder.devices,
            playbook=plan.playbook,
            policy=plan.policy,
            correlation=plan.correlation,
            host_roles=HostRoles(plan.local_networks),
            is_greedy=plan.is_greedy,
        )
        self._learn = learn
        self._book = Logbook(journal, key)
        self._follower = None if journal is None else JournalFollower(journal, key)
        self._stamps = [0.0, 0.0, 0.0, 0.0]  # read, metered, encoded, scored
        self._asked: deque[tuple[Question, Steps]] = deque()
        self._trouble = ""  # why the journal could not be written when last tried
        self._unread = ""  # why the journal could not be read when last tried
        self._refused = ""  # why the enforcer could not say what is in force when last asked
        self._unconfirmed: set[str] = set()
        self._packet_count = self._flow_count = self._word_count = self._hastened_count = 0

    def run(self, is_stopped: Callable[[], bool]) -> LiveSummary:
        """Watch until told to stop, or until the source is over.

        Raises:
            InputError: the source is broken for good.
            ArtifactError: the model's scores are not numbers.
            ConfigError: the journal cannot be written when all is over.
        """
        started_at, is_over = self._now(), False
        tick_due_s = write_due_s = 0.0
        poll_due_s = time.monotonic() + POLL_S
        self._handle(NetworkLearned(view=self._learn()))
        self._keep_up()
        while not (is_over or is_stopped()):
            read = self._source.read(0.0 if self._asked else WAIT_S)
            is_over = read.is_over
            self._take(read)
            if self._asked:
                self._explain()
            if is_over or not len(read.packets) or time.monotonic() >= tick_due_s:
                self._tick()
                tick_due_s = time.monotonic() + TICK_S
            if time.monotonic() >= write_due_s:
                self._write()
                write_due_s = time.monotonic() + WRITE_S
            if time.monotonic() >= poll_due_s:
                self._poll()
                poll_due_s = time.monotonic() + POLL_S
        while self._asked:
            self._explain()
        return self._close(started_at)

    def _take(self, read: PacketsRead) -> None:
        """From packets to orders; more than there may be rows for are taken in parts."""
        self._stamps[0] = self._clock()
        most, packets = len(self._store.flows) // 4, read.packets
        for start in range(0, len(packets), most):
            part = packets if len(packets) <= most else packets.take(np.arange(start, min(start + most, len(packets))))
            self._make_room(len(part))
            self._follow(self._meter.meter(part), float(part.at_s.max()))
        if not len(packets):
            self._follow(self._meter.expire(read.upto_s), read.upto_s)
        self._packet_count += len(packets)
        if read.is_over:
            self._follow(self._meter.finish(), np.inf)

    def _follow(self, progress: FlowProgress, upto_s: float) -> None:
        self._flow_count += len(progress.opened)
        self._stamps[1] = self._clock()
        self._judge(self._encoder.follow(self._store.flows, progress, upto_s))

    def _judge(self, chunks: Iterator[WordBatch]) -> None:
        for words in chunks:
            if not len(words):
                continue
            self._stamps[2] = self._clock()
            is_touched = self._pipeline.touched(words)
            if is_touched.any():
                words = replace(words, is_probe=words.is_probe | is_touched)
            scores = self._scorer.score(words)
            self._stamps[3] = self._clock()
            self._handle(ScoredBatch(words=words, scores=scores, is_touched=is_touched))
            closed = np.unique(words.flow[words.is_close])
            self._meter.disown(closed)
            self._store.tell(closed)
            self._book.note_closings(words)
            self._word_count += len(words)

    def _tick(self) -> None:
        """What follows from nothing but that it is later; and rows for what comes next, while there is time."""
        self._handle(Tick())
        if self._store.free_count < len(self._store.flows) // _SPARE_RATIO:
            self._forget(RECYCLED_ROWS)

    def _write(self) -> None:
        """Write what happened; a journal that cannot be written is told of, and tried again: the watch goes on."""
        try:
            self._book.write(self._encoder.devices, self._pipeline.protected(), self._now())
        except ConfigError as error:
            if str(error) != self._trouble:
                self._tell(error)
            self._trouble = str(error)
        else:
            self._trouble = ""

    def _poll(self) -> None:
        """Ask what is really in force; what was pending may be by now."""
        self._handle(NetworkLearned(view=self._learn()))
        self._keep_up()
        try:
            held = self._enforcer.in_force(self._now())
        except EnforcementError as error:
            if str(error) != self._refused:
                self._tell(error)
            self._refused = str(error)
            return
        self._refused = ""
        for receipt in held:
            if receipt.decision_id in self._unconfirmed:
                self._unconfirmed.discard(receipt.decision_id)
                self._handle(receipt)

    def _keep_up(self) -> None:
        """Learn what people and earlier runs did about decisions; a journal that cannot be read is told of."""
        if self._follower is None:
            return
        try:
            orders = self._follower.news(self._now())
        except ThingwardenError as error:
            if str(error) != self._unread:
                self._tell(error)
            self._unread = str(error)
            return
        self._unread = ""
        if orders:
            self._handle(OrdersFollowed(orders=orders))

    def _make_room(self, count: int) -> None:
        """Have as many rows free as packets may need; flows that ended are told before their time if it must be."""
        while self._store.free_count < count:
            if not self._store.told_count:
                before = self._store.told_count
                self._judge(self._encoder.hasten(self._store.flows, max(count, RECYCLED_ROWS)))
                self._hastened_count += self._store.told_count - before
            self._forget(max(count - self._store.free_count, RECYCLED_ROWS))

    def _forget(self, count: int) -> None:
        rows = self._store.forget(count, self._pipeline.held_flows())
        self._pipeline.forget_flows(rows)
        if self._recalls is not None:
            self._recalls.forget_flows(rows, len(self._store.flows), FORGOTTEN)

    def _handle(self, event: Event, at: datetime | None = None) -> None:
        """Let the kernel judge, and carry out what it orders; explanations are begun when orders have gone out."""
        pending: list[Command] = self._pipeline.handle(event, at or self._now())
        decided_at_s = self._clock()
        news: list[Told] = []
        while pending:
            command = pending.pop(0)
            if isinstance(command, Record):
                self._book.note(command)
                if isinstance(command.entry, IncidentChange | Refusal):
                    news.append(command.entry)
            elif isinstance(command, ApplyDecision):
                receipt = self._enforcer.apply(command.decision, self._now())
                if receipt.status is ReceiptStatus.PENDING:
                    self._unconfirmed.add(receipt.decision_id)
                course = self._course(command, decided_at_s)
                news.append(Carried(decision=command.decision, receipt=receipt, course=course))
                pending += self._pipeline.handle(receipt, self._now())
            elif isinstance(command, RevokeDecision):
                receipt = self._enforcer.revoke(command.decision, self._now())
                self._unconfirmed.discard(receipt.decision_id)
                news.append(receipt)
                pending += self._pipeline.handle(receipt, self._now())
            elif isinstance(command, Explain) and self._explainer is not None:
                self._ask(self._explainer, command.question)
        for told in news:  # who listens may be slow, so orders go first
            self._tell(told)

    def _ask(self, explainer: ExplainsInSteps, question: Question) -> None:
        """Begin an explanation, where not too many are being made."""
        steps = explainer.steps(question, self._store.flows)
        if len(self._asked) < MAX_ASKED:
            next(steps)
            self._asked.append((question, steps))

    def _explain(self) -> None:
        """Go on with the oldest explanation that is being made, a few milliseconds long."""
        question, steps = self._asked[0]
        try:
            next(steps)
        except StopIteration as end:
            self._asked.popleft()
            self._handle(Explained(question=question, reasons=end.value), question.at)

    def _course(self, command: ApplyDecision, decided_at_s: float) -> Course:
        read_at_s, metered_at_s, encoded_at_s, scored_at_s = self._stamps
        return Course(
            packet_at_s=command.decision.decided_at.timestamp(),
            read_at_s=read_at_s,
            metered_at_s=metered_at_s,
            encoded_at_s=encoded_at_s,
            scored_at_s=scored_at_s,
            decided_at_s=decided_at_s,
            applied_at_s=self._clock(),
        )

    def _close(self, started_at: datetime) -> LiveSummary:
        incidents, ended_at = self._pipeline.incidents(), self._now()
        body = {
            "flow_count": self._flow_count,
            "malicious_flow_count": sum(incident.flow_count for incident in incidents),
            "first_seen_at": plain_from_value(started_at),
            "last_seen_at": plain_from_value(ended_at),
            "enforcer": self._enforcer.name,
        }
        at = plain_from_value(ended_at)
        run = JournalEntry(at=at, kind="run", subject=at, incident="", body=body)
        devices = self._book.close(self._encoder.devices, self._pipeline.protected(), incidents, run)
        return LiveSummary(
            started_at=started_at,
            ended_at=ended_at,
            packet_count=self._packet_count,
            flow_count=self._flow_count,
            word_count=self._word_count,
            dropped_packet_count=self._source.dropped_count,
            evicted_flow_count=self._meter.evicted_count,
            hastened_flow_count=self._hastened_count,
            devices=devices,
            incidents=tuple(incidents),
            decision_count=self._book.decision_count,
            refusal_count=self._book.refusal_count,
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
