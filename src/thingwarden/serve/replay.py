"""Replay of recorded traffic: reads it, judges it, says what would be done, keeps the journal.

In: a ``FlowSource``, an encoder, a ``Scorer``, an ``Enforcer``, a journal, given as arguments.
Out: ``ReplayResult``; every judged flow as JSON lines, if wanted.
Must never: choose an implementation itself, or print.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Protocol, TextIO

import numpy as np
import numpy.typing as npt

from thingwarden.detect.attribution import Question
from thingwarden.detect.correlate import CorrelationSettings
from thingwarden.detect.link_evidence import mac_text, sightings_from_link
from thingwarden.detect.link_watch import LinkWatch
from thingwarden.detect.sightings import sightings_from_addresses, sightings_from_alerts, sightings_from_names
from thingwarden.domain.address import IpNetwork
from thingwarden.domain.alert import AlertBatch
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.detection import FlowVerdicts
from thingwarden.domain.device import Device
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.flow import CONN_STATES, FlowBatch, address_from_words
from thingwarden.domain.heard_name import HeardNames
from thingwarden.domain.incident import ChangeKind, Incident, IncidentChange, Reason
from thingwarden.domain.indicator import IndicatorSet
from thingwarden.domain.ports import Enforcer, FlowSource, Scorer
from thingwarden.domain.response import Decision, Receipt, Refusal
from thingwarden.domain.sighting import SightingBatch
from thingwarden.domain.taxonomy import CLASSES
from thingwarden.domain.word import ROLES, UNATTRIBUTED, WordBatch
from thingwarden.pipeline import (
    ApplyDecision,
    Command,
    Event,
    Explain,
    Explained,
    Pipeline,
    Record,
    RevokeDecision,
    ScoredBatch,
    Tick,
)
from thingwarden.respond.playbook import Playbook
from thingwarden.respond.protect import LOCAL_NETWORKS, HostRoles, ProtectedHosts
from thingwarden.respond.rules import PolicySettings
from thingwarden.serve.entries import entry_from_record, network_entry
from thingwarden.serve.store import Journal, JournalEntry
from thingwarden.serve.wire import plain_from_value

CHUNK_WORDS: Final = 8192
_FLOWS_PER_WRITE: Final = 4096
_LAST_SECOND_S: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


class Explains(Protocol):
    """What finds out why words were scored as they were."""

    def explain(self, question: Question, flows: FlowBatch) -> tuple[Reason, ...]:
        """What moved the scores that a question is about, strongest first; asked before further words are scored."""


class Encoder(Protocol):
    """What turns flows into words, and knows whose they are."""

    @property
    def devices(self) -> Sequence[Device]:
        """The device table; grows while encoding."""

    def encode(self, flows: FlowBatch, chunk_words: int = CHUNK_WORDS) -> Iterator[WordBatch]:
        """Yield the words of the flows in the order in which they became knowable."""


Progress = Callable[[str, int, int | None], None]
"""Called with the step (``read`` or ``judge``), how many flows are done, and of how many; None while unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """How to replay.

    Attributes:
        calibration: of the model that scores.
        playbook: which act answers which attack.
        policy: what the operator allows.
        correlation: how incidents begin and end.
        local_networks: where the network's own hosts live; only they become protected by serving one device.
        chunk_words: words scored at a time; changes nothing but memory and speed.
        alerts: what a signature engine said about the same traffic.
        indicators: lists of what is known to be bad.
        names: names on those lists that a sensor heard in the same traffic.
        link_watch: hears what the source's frames say about the link while they are read.
        is_greedy: whether the greedy planner proposes instead of the playbook.
    """

    calibration: Calibration
    playbook: Playbook
    policy: PolicySettings = field(default_factory=PolicySettings)
    correlation: CorrelationSettings = field(default_factory=CorrelationSettings)
    local_networks: tuple[IpNetwork, ...] = LOCAL_NETWORKS
    chunk_words: int = CHUNK_WORDS
    alerts: AlertBatch | None = None
    indicators: IndicatorSet | None = None
    names: HeardNames | None = None
    link_watch: LinkWatch | None = None
    is_greedy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSummary:
    """What was seen of one device.

    Attributes:
        device: who.
        role: why it is protected, such as ``gateway`` or ``DNS server``; None where it is not.
        flow_count: flows that it began or answered.
        malicious_flow_count: those of them judged malicious, whoever of the two is to blame.
        incident_ids: its incidents, by time of opening.
    """

    device: Device
    role: str | None
    flow_count: int
    malicious_flow_count: int
    incident_ids: tuple[str, ...]

    @property
    def name(self) -> str:
        """What people see."""
        return self.device.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """What a replay found and would do.

    Attributes:
        devices: every device that said anything.
        incidents: by time of opening.
        decisions, refusals, receipts: in order.
        flow_count, word_count, malicious_flow_count: what was judged.
        first_seen_at, last_seen_at: aware UTC, of the flows; None where there is no flow or the source has no time.
        flows: what was read.
        verdicts: one per flow.
        read_s, judge_s: seconds spent reading, and from flows to orders.
        stray_alert_count, stray_name_count: alerts, and names on lists, that belong to none of the flows.
        stray_link_macs: hosts found suspect on the link that sent nothing else, so that no device can be accused.
    """

    devices: tuple[DeviceSummary, ...]
    incidents: tuple[Incident, ...]
    decisions: tuple[Decision, ...]
    refusals: tuple[Refusal, ...]
    receipts: tuple[Receipt, ...]
    flow_count: int
    word_count: int
    malicious_flow_count: int
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    flows: FlowBatch
    verdicts: FlowVerdicts
    read_s: float
    judge_s: float
    stray_alert_count: int = 0
    stray_name_count: int = 0
    stray_link_macs: tuple[str, ...] = ()

    def decisions_for(self, incident_id: str) -> list[Decision]:
        """Decisions that answer one incident, in order."""
        return [decision for decision in self.decisions if decision.incident_id == incident_id]

    def refusals_for(self, incident_id: str) -> list[Refusal]:
        """Refusals that answer one incident, in order."""
        return [refusal for refusal in self.refusals if refusal.proposal.incident_id == incident_id]


@dataclass(frozen=True, slots=True)
class _Closings:
    """Which flow closed in whose sentence, one entry per closing word."""

    flow: npt.NDArray[np.int64]
    device: npt.NDArray[np.int32]


class Replay:
    """One replay; ``run`` it once.

    Args:
        source: where the flows come from.
        encoder: fresh; turns flows into words.
        scorer: fresh or reset; scores words.
        enforcer: what becomes of decisions; the dry run for recorded traffic.
        plan: how.
        explainer: tells why; None for incidents without reasons.
        journal: where it is written down; None for nowhere.
        progress: told how far it is.
    """

    def __init__(
        self,
        source: FlowSource,
        encoder: Encoder,
        scorer: Scorer,
        enforcer: Enforcer,
        plan: ReplayPlan,
        *,
        explainer: Explains | None = None,
        journal: Journal | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._source, self._encoder, self._scorer, self._enforcer = source, encoder, scorer, enforcer
        self._plan, self._explainer, self._journal = plan, explainer, journal
        self._progress: Progress = progress or (lambda step, done, total: None)
        self._records: list[Record] = []
        self._stray_alert_count = self._stray_name_count = 0
        self._incident_of: dict[str, str] = {}

    def run(self) -> ReplayResult:
        """Read, judge, decide.

        Raises:
            InputError: the source is not what it claims to be.
            ArtifactError: the model's scores are not numbers.
            ConfigError: the journal cannot be written.
        """
        started = perf_counter()
        flows = self._read()
        read_s = perf_counter() - started
        pipeline = Pipeline(
            calibration=self._plan.calibration,
            flows=flows,
            devices=self._encoder.devices,
            playbook=self._plan.playbook,
            policy=self._plan.policy,
            correlation=self._plan.correlation,
            host_roles=HostRoles(self._plan.local_networks),
            sightings=self._sightings(flows),
            is_greedy=self._plan.is_greedy,
        )
        closings = self._judge(pipeline, flows)
        result = self._result(pipeline, flows, closings, read_s, perf_counter() - started - read_s)
        if self._journal is not None:
            self._journal.append(self._entries(result, pipeline.protected()))
        return result

    def _read(self) -> FlowBatch:
        batches, count = [], 0
        for batch in self._source.batches():
            batches.append(batch)
            count += len(batch)
            self._progress("read", count, None)
        return FlowBatch.concatenate(batches)

    def _sightings(self, flows: FlowBatch) -> SightingBatch:
        """What the plan's alerts and lists say about these flows."""
        plan, parts = self._plan, []
        if plan.alerts is not None:
            from_alerts, self._stray_alert_count = sightings_from_alerts(flows, plan.alerts, plan.local_networks)
            parts.append(from_alerts)
        if plan.indicators is not None:
            parts.append(sightings_from_addresses(flows, plan.indicators, plan.local_networks))
        if plan.indicators is not None and plan.names is not None:
            from_names, self._stray_name_count = sightings_from_names(flows, plan.names, plan.indicators)
            parts.append(from_names)
        if plan.link_watch is not None:
            parts.append(sightings_from_link(plan.link_watch.findings, flows, plan.local_networks))
        return SightingBatch.concatenate(parts)

    def _judge(self, pipeline: Pipeline, flows: FlowBatch) -> _Closings:
        """Feed the kernel; the devices that each flow closed for."""
        flow, device = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int32)]
        done = 0
        for words in self._encoder.encode(flows, self._plan.chunk_words):
            if not len(words):
                continue
            now = _instant(float(words.known_at_s[-1]))
            self._handle(pipeline, ScoredBatch(words=words, scores=self._scorer.score(words)), now, flows)
            self._handle(pipeline, Tick(), now, flows)
            flow.append(words.flow[words.is_close])
            device.append(words.device[words.is_close])
            done = min(len(flows), done + int(words.is_close.sum()))
            self._progress("judge", done, len(flows))
        self._progress("judge", len(flows), len(flows))
        return _Closings(flow=np.concatenate(flow), device=np.concatenate(device))

    def _handle(self, pipeline: Pipeline, event: Event, now: datetime, flows: FlowBatch) -> None:
        pending: list[Command] = pipeline.handle(event, now)
        while pending:
            command = pending.pop(0)
            if isinstance(command, Record):
                self._records.append(command)
            elif isinstance(command, ApplyDecision):
                self._incident_of[command.decision.decision_id] = command.decision.incident_id
                receipt = self._enforcer.apply(command.decision, command.decision.decided_at)
                pending += pipeline.handle(receipt, command.decision.decided_at)
            elif isinstance(command, RevokeDecision):
                receipt = self._enforcer.revoke(command.decision, command.decision.expires_at)
                pending += pipeline.handle(receipt, command.decision.expires_at)
            elif isinstance(command, Explain) and self._explainer is not None:
                question = command.question
                reasons = self._explainer.explain(question, flows)
                pending += pipeline.handle(Explained(question=question, reasons=reasons), question.at)

    def _result(
        self,
        pipeline: Pipeline,
        flows: FlowBatch,
        closings: _Closings,
        read_s: float,
        judge_s: float,
    ) -> ReplayResult:
        verdicts, incidents = pipeline.verdicts(), pipeline.incidents()
        entries = [record.entry for record in self._records]
        is_dated = flows.is_timed and len(flows) > 0
        return ReplayResult(
            devices=self._summaries(pipeline, verdicts, incidents, closings),
            incidents=tuple(incidents),
            decisions=tuple(entry for entry in entries if isinstance(entry, Decision)),
            refusals=tuple(entry for entry in entries if isinstance(entry, Refusal)),
            receipts=tuple(entry for entry in entries if isinstance(entry, Receipt)),
            flow_count=len(flows),
            word_count=2 * len(closings.flow),
            malicious_flow_count=int(verdicts.is_malicious.sum()),
            first_seen_at=_instant(float(flows.started_at_s.min())) if is_dated else None,
            last_seen_at=_instant(float(flows.ended_at_s.max())) if is_dated else None,
            flows=flows,
            verdicts=verdicts,
            read_s=read_s,
            judge_s=judge_s,
            stray_alert_count=self._stray_alert_count,
            stray_name_count=self._stray_name_count,
            stray_link_macs=self._stray_link_macs(),
        )

    def _stray_link_macs(self) -> tuple[str, ...]:
        watch = self._plan.link_watch
        suspects = {mac_text(finding.suspect_mac) for finding in watch.findings} if watch is not None else set()
        return tuple(sorted(suspects - {device.mac for device in self._encoder.devices}))

    def _summaries(
        self,
        pipeline: Pipeline,
        verdicts: FlowVerdicts,
        incidents: list[Incident],
        closings: _Closings,
    ) -> tuple[DeviceSummary, ...]:
        count = len(self._encoder.devices)
        closed = np.bincount(closings.device, minlength=count)
        malicious = np.bincount(closings.device[verdicts.is_malicious[closings.flow]], minlength=count)
        protected = pipeline.protected()
        return tuple(
            DeviceSummary(
                device=device,
                role=protected.roles.get(device.address) if device.address else None,
                flow_count=int(closed[device.index]),
                malicious_flow_count=int(malicious[device.index]),
                incident_ids=tuple(item.incident_id for item in incidents if item.device.index == device.index),
            )
            for device in self._encoder.devices
            if closed[device.index]
        )

    def _entries(self, result: ReplayResult, protected: ProtectedHosts) -> Iterator[JournalEntry]:
        """What is kept; unsigned, so that nothing decided on recorded traffic is ever enforced from the journal."""
        now = datetime.now(UTC)
        at = plain_from_value(now)
        run = {
            "flow_count": result.flow_count,
            "malicious_flow_count": result.malicious_flow_count,
            "first_seen_at": plain_from_value(result.first_seen_at),
            "last_seen_at": plain_from_value(result.last_seen_at),
            "enforcer": self._enforcer.name,
        }
        yield JournalEntry(at=at, kind="run", subject=at, incident="", body=run)
        for summary in result.devices:
            body = {"name": summary.name, **plain_from_value(summary)}
            yield JournalEntry(at=at, kind="device", subject=summary.name, incident="", body=body)
        yield network_entry(protected, now)
        for record in self._records:
            yield entry_from_record(record, self._incident_of, key=None)
        for incident in result.incidents:
            last = IncidentChange(kind=ChangeKind.GREW, at=incident.last_seen_at, incident=incident)
            yield entry_from_record(Record(at=incident.last_seen_at, entry=last), self._incident_of, key=None)


def write_flows(result: ReplayResult, stream: TextIO) -> int:
    """Write every judged flow as one JSON object per line, in the source's order; returns how many.

    Keys: ``flow`` (row), ``uid``, ``started_at_s`` (Unix seconds), ``duration_s``, ``proto`` (IANA number), ``orig``,
    ``orig_port``, ``resp``, ``resp_port``, ``service``, ``conn_state``, ``orig_bytes``, ``resp_bytes``, ``device``
    (name, null where unattributed), ``role``, ``is_malicious``, ``malicious_probability``, ``attack_class``,
    ``surprise_nats``. Null where unknown.

    Raises:
        ConfigError: the stream cannot be written.
    """
    names = {summary.device.index: summary.device.name for summary in result.devices}
    names.pop(UNATTRIBUTED, None)
    try:
        for start in range(0, result.flow_count, _FLOWS_PER_WRITE):
            stop = min(start + _FLOWS_PER_WRITE, result.flow_count)
            stream.writelines(json.dumps(row) + "\n" for row in _flow_rows(result, names, start, stop))
    except OSError as error:
        raise ConfigError("flows", error.strerror or str(error), "check the path and the disk") from error
    return result.flow_count


def write_flows_to(result: ReplayResult, path: Path) -> int:
    """``write_flows`` to a file, replacing it; returns how many.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        with path.open("w", encoding="ascii") as stream:
            return write_flows(result, stream)
    except OSError as error:
        raise ConfigError(f"flows {path}", error.strerror or str(error), "check the path and the disk") from error


def _flow_rows(result: ReplayResult, names: dict[int, str], start: int, stop: int) -> Iterator[dict[str, Any]]:
    flows, verdicts = result.flows, result.verdicts
    for row in range(start, stop):
        orig, resp = flows.orig_address[row], flows.resp_address[row]
        yield {
            "flow": row,
            "uid": _text(flows.uid[row]),
            "started_at_s": round(float(flows.started_at_s[row]), 6) if flows.is_timed else None,
            "duration_s": _number(float(flows.duration_s[row])),
            "proto": int(flows.proto[row]),
            "orig": str(address_from_words(int(orig[0]), int(orig[1]))),
            "orig_port": int(flows.orig_port[row]),
            "resp": str(address_from_words(int(resp[0]), int(resp[1]))),
            "resp_port": int(flows.resp_port[row]),
            "service": _text(flows.service[row]),
            "conn_state": CONN_STATES[flows.conn_state[row]] if flows.conn_state[row] else None,
            "orig_bytes": _count(int(flows.orig_bytes[row])),
            "resp_bytes": _count(int(flows.resp_bytes[row])),
            "device": names.get(int(verdicts.device[row])),
            "role": ROLES[verdicts.role[row]],
            "is_malicious": bool(verdicts.is_malicious[row]),
            "malicious_probability": _number(float(verdicts.malicious_probability[row])),
            "attack_class": CLASSES[verdicts.attack_class[row]].value,
            "surprise_nats": _number(float(verdicts.surprise_nats[row])),
        }


def _text(value: bytes) -> str | None:
    return value.decode("ascii", "backslashreplace") or None


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _count(value: int) -> int | None:
    return value if value >= 0 else None


def _instant(unix_s: float) -> datetime:
    return datetime.fromtimestamp(min(max(unix_s, 0.0), _LAST_SECOND_S), UTC)
