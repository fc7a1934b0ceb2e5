"""Scored words to incidents: a sequential statistic per device and role decides when evidence suffices.

In: ``WordBatch`` and ``Scores`` chunk after chunk, the flows and devices that they speak of.
Out: ``IncidentChange``, in order of traffic time.
Must never: run Python per quiet word, accuse device 0, or depend on how the words were split into chunks.
Source: E. S. Page, "Continuous Inspection Schemes", 1954. The statistic gains the clipped log-odds of each word of
evidence above the calibrated threshold, and loses a drift with every other word of the same device. A second one adds
up how strange closing words are, and loses what harmless ones are less strange than the calibrated middle.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.detect.attribution import Question, choose_witnesses, classes_to_ask, merge_reasons
from thingwarden.detect.corroborate import WEIGHTS, Corroborator, Statements, sighting_clause
from thingwarden.detect.describe import summarise_incident
from thingwarden.detect.evidence import OFFENDER, QUANTA_PER_NAT, TARGET, Evidence, weigh_words
from thingwarden.detect.stream import (
    Course,
    Stream,
    group_by_track,
    grown,
    join,
    merge_streams,
    page_sums,
    pick,
    within_reach,
    without,
)
from thingwarden.detect.tally import MAX_CONTACTS, NO_SIGHTING, EvidenceColumns, Tally, instant_from_s
from thingwarden.detect.unreachable import name_unreachable
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.device import Device
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import ChangeKind, Incident, IncidentChange, Reason, Role
from thingwarden.domain.sighting import NO_FLOW, Grade, SightingBatch
from thingwarden.domain.taxonomy import CLASS_INDEX, CLASSES
from thingwarden.domain.word import Scores, WordBatch

_ROOM_BITS: Final = 32
"""Word i stands at position (i + 1) << 32, which leaves room before it for as many sightings, each at its own."""

_BEFORE_WORDS: Final = -1
"""Position of an ending among the steps of the same instant."""

TELLING_S: Final = 10.0
"""Seconds of traffic time after which an incident's growth is told again."""

TELLING_WORDS: Final = 4
"""Words of evidence with which a class new to an incident is told."""

MAX_PENDING: Final = 256
"""Words of evidence kept while a statistic has not reached the alarm level; the oldest go first."""


MAX_RETIRED: Final = 4096
"""Incidents kept of devices that the encoder has forgotten; the oldest go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationSettings:
    """How incidents begin and end.

    Attributes:
        idle_s: an incident ends after this many seconds of traffic time without evidence.
        resume_s: new evidence of the same device and role within this many seconds continues the ended incident.
    """

    idle_s: float = 900.0
    resume_s: float = 86_400.0


@dataclass(slots=True)
class _Track:
    """State of one device in one role: ``statistic`` of class and ``strangeness`` in quanta, whether the latter has
    alarmed; ``tally`` set once an incident exists."""

    device: Device
    statistic: int = 0
    strangeness: int = 0
    is_strange: bool = False
    last_calm: int = 0
    sighting_quanta: int = 0
    last_word: int = 0
    pending: list[EvidenceColumns] = field(default_factory=list)
    tally: Tally | None = None
    incident_id: str = ""
    opened_at_s: float = 0.0
    opening_quanta: int = 0
    last_at_s: float = 0.0
    told_counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CLASSES), dtype=np.int64))
    told_at_s: float = 0.0
    is_open: bool = False
    recent: list[EvidenceColumns] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    reasons: dict[int, tuple[Reason, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accusation:
    """Words of evidence of one incident: of the device with this index, ``role`` an index into ``ROLES``;
    ``is_strange`` says whether strangeness has alarmed."""

    device: int
    role: int
    is_strange: bool
    words: EvidenceColumns


@dataclass(frozen=True, slots=True)
class _Step:
    at_s: float
    position: int
    change: IncidentChange


class Correlator:
    """Turns the scored words of one ``FlowBatch``, or of the rows of a ``FlowStore``, into incidents.

    Args:
        calibration: of the model that scores.
        devices: the encoder's table; may grow while words arrive, and give an index to another device at a word that
            starts a sentence.
        settings: how incidents begin and end.
        sightings: what others know about the flows; none by default.
    """

    def __init__(
        self,
        calibration: Calibration,
        devices: Sequence[Device],
        settings: CorrelationSettings | None = None,
        sightings: SightingBatch | None = None,
    ) -> None:
        self._calibration = calibration
        self._devices = devices
        self._settings = settings or CorrelationSettings()
        self._drift = round(calibration.drift_nats * QUANTA_PER_NAT)
        self._alarm = max(1, round(calibration.alarm_level_nats * QUANTA_PER_NAT))
        self._strange_alarm = max(1, round(calibration.strange_alarm_nats * QUANTA_PER_NAT))
        given = sightings if sightings is not None else SightingBatch.empty()
        self._corroborator = Corroborator(given, calibration.evidence_nats)
        self._tracks: dict[tuple[int, int], _Track] = {}
        self._retired: list[tuple[tuple[int, int], _Track]] = []
        self._course = Course()
        self._is_counted = np.zeros(0, dtype=np.bool_)
        self._questions: list[Question] = []
        self._accusations: list[Accusation] = []

    def update(self, words: WordBatch, scores: Scores, flows: FlowBatch) -> list[IncidentChange]:
        """Take in a chunk.

        Args:
            words: the next words.
            scores: of these words.
            flows: the batch whose rows ``words.flow`` names; the same in every call, though it may change in place.

        Returns:
            What opened, grew or ended, exact in traffic time. Growth is told when the evidence of a class has
            doubled, or with the first evidence ``TELLING_S`` after it was told last.

        Raises:
            ArtifactError: the scores are not finite.
        """
        self._questions, self._accusations = [], []
        if not len(words):
            return []
        steps = self._retire_evicted(words, flows)
        evidence = weigh_words(words, scores, self._calibration)
        rows = evidence.telling()
        number, calm = self._course.follow(words, evidence)
        stream = Stream(
            device=words.device[rows],
            role=evidence.role[rows],
            position=rows + 1 << _ROOM_BITS,
            columns=self._columns(words, evidence, rows, number[rows], calm[rows]),
        )
        statements = self._corroborator.testify(words, evidence, self._devices)
        if statements is not None:
            stream = merge_streams(stream, self._testified(statements, words))
        columns = self._mark_first(stream.columns, len(flows))
        for key, members in group_by_track(stream.device, stream.role):
            track = self._tracks.get(key)
            if track is None:
                track = self._tracks[key] = _Track(self._devices[key[0]])
            steps += self._advance_track(key, track, pick(columns, members), stream.position[members], flows)
        steps += self._end_idle(float(words.known_at_s[-1]), flows)
        return [step.change for step in sorted(steps, key=lambda step: (step.at_s, step.position))]

    def accusations(self) -> list[Accusation]:
        """What became evidence of an incident with the last chunk, also from chunks before."""
        return self._accusations

    def questions(self) -> list[Question]:
        """What the last chunk made worth explaining, in the order of traffic time."""
        return sorted(self._questions, key=lambda question: question.at)

    def answer(self, question: Question, reasons: tuple[Reason, ...], flows: FlowBatch) -> IncidentChange | None:
        """Note what moved the scores that a question is about.

        Args:
            question: one of this correlator's.
            reasons: strongest first; none where nothing stands out.
            flows: as given to ``update``.

        Returns:
            The explained incident; None where there is nothing to tell, or the incident is no longer known.
        """
        key = (question.device, question.role)
        track = self._tracks.get(key)
        if not reasons or track is None or track.incident_id != question.incident_id:
            return None
        track.reasons[CLASS_INDEX[question.attack_class]] = reasons
        return IncidentChange(kind=ChangeKind.EXPLAINED, at=question.at, incident=self._snapshot(key, track, flows))

    def finish(self, flows: FlowBatch) -> list[Incident]:
        """Every incident so far, by time of opening; those still going on have no end."""
        current = [(key, track) for key, track in self._tracks.items() if track.tally is not None]
        known = self._retired + current
        ordered = sorted(known, key=lambda item: (item[1].opened_at_s, item[0]))
        return [self._snapshot(key, track, flows) for key, track in ordered]

    def end_idle(self, now_s: float, flows: FlowBatch) -> list[IncidentChange]:
        """End the incidents whose devices have been quiet for long enough, where no word comes to show it.

        Args:
            now_s: Unix seconds; all words up to then were given to ``update``.
            flows: as given to ``update``.
        """
        steps = sorted(self._end_idle(now_s, flows), key=lambda step: step.at_s)
        return [step.change for step in steps]

    def held_flows(self) -> npt.NDArray[np.int64]:
        """Rows of flows that an incident, or what may become one, still names; int64, some more than once."""
        tracks = [*self._tracks.values(), *(track for _, track in self._retired)]
        named = [part.flow for track in tracks for part in (*track.pending, *track.recent)]
        shown = [entry[1] for track in tracks if track.tally is not None for entry in track.tally.loudest]
        rows = np.concatenate([np.array(shown, dtype=np.int64), *named])
        return np.asarray(rows[rows != NO_FLOW])

    def forget_flows(self, rows: npt.NDArray[np.int64], flow_count: int) -> None:
        """Name these flows no more: their rows become those of others.

        Args:
            rows: of ``flow_count`` rows.
            flow_count: rows of the flows given to ``update``.
        """
        is_gone = np.zeros(flow_count + 1, dtype=np.bool_)  # the last stands for no flow, NO_FLOW
        is_gone[rows] = True
        self._is_counted = grown(self._is_counted, 2 * flow_count)
        self._is_counted[2 * rows] = self._is_counted[2 * rows + 1] = False
        for track in [*self._tracks.values(), *(track for _, track in self._retired)]:
            track.pending = without(track.pending, is_gone)
            track.recent = without(track.recent, is_gone)
            if track.tally is not None:
                track.tally.forget(is_gone)

    def _retire_evicted(self, words: WordBatch, flows: FlowBatch) -> list[_Step]:
        """Part with the tracks of devices whose index now names another device."""
        steps = []
        for index in np.unique(words.device[words.starts_sentence]).tolist():
            for role in (OFFENDER, TARGET):
                track = self._tracks.get((index, role))
                if track is None or track.device == self._devices[index]:
                    continue
                del self._tracks[index, role]
                if track.tally is not None:
                    self._retired = [*self._retired[1 - MAX_RETIRED :], ((index, role), track)]
                if track.is_open:
                    steps.append(self._end((index, role), track, flows))
        return steps

    def _columns(
        self,
        words: WordBatch,
        evidence: Evidence,
        rows: npt.NDArray[np.int64],
        number: npt.NDArray[np.int64],
        calm: npt.NDArray[np.int64],
    ) -> EvidenceColumns:
        return EvidenceColumns(
            flow=words.flow[rows],
            is_orig=words.is_orig[rows],
            is_close=words.is_close[rows],
            is_probe=words.is_probe[rows],
            known_at_s=words.known_at_s[rows],
            log_odds=evidence.log_odds[rows],
            attack_class=evidence.attack_class[rows],
            is_first=np.zeros(len(rows), dtype=np.bool_),
            gain=evidence.gain[rows],
            strange=np.maximum(evidence.strange[rows], 0),
            calm=calm,
            number=number,
            sighting=np.full(len(rows), NO_SIGHTING, dtype=np.int64),
        )

    def _testified(self, statements: Statements, words: WordBatch) -> Stream:
        """Sightings in the shape of words of evidence, which open or close no flow."""
        given, rows = self._corroborator.sightings, statements.sighting
        later = [
            np.count_nonzero((words.device[position:] == device) & ~words.is_probe[position:])
            for position, device in zip(statements.position.tolist(), statements.device.tolist(), strict=True)
        ]
        columns = EvidenceColumns(
            flow=given.flow[rows],
            is_orig=given.is_orig[rows],
            is_close=np.zeros(len(rows), dtype=np.bool_),
            is_probe=np.zeros(len(rows), dtype=np.bool_),
            known_at_s=statements.at_s,
            log_odds=statements.log_odds,
            attack_class=statements.attack_class,
            is_first=np.zeros(len(rows), dtype=np.bool_),
            gain=np.rint(statements.share * self._alarm).astype(np.int64),
            strange=np.zeros(len(rows), dtype=np.int64),
            calm=np.zeros(len(rows), dtype=np.int64),
            number=self._course.said[statements.device] - np.array(later, dtype=np.int64),
            sighting=rows,
        )
        position = (statements.position << _ROOM_BITS) + np.arange(1, len(rows) + 1)
        return Stream(statements.device, statements.role, position, columns)

    def _mark_first(self, columns: EvidenceColumns, flow_count: int) -> EvidenceColumns:
        """The columns with ``is_first`` filled in, in order."""
        self._is_counted = grown(self._is_counted, 2 * flow_count)
        rows = np.flatnonzero(columns.flow != NO_FLOW)
        flow_side = columns.flow[rows] * 2 + columns.is_orig[rows]
        is_first = np.zeros(len(columns.flow), dtype=np.bool_)
        is_first[rows[np.unique(flow_side, return_index=True)[1]]] = True
        is_first[rows] &= ~self._is_counted[flow_side]
        self._is_counted[flow_side] = True
        return replace(columns, is_first=is_first)

    def _advance_track(
        self,
        key: tuple[int, int],
        track: _Track,
        columns: EvidenceColumns,
        position: npt.NDArray[np.int64],
        flows: FlowBatch,
    ) -> Iterator[_Step]:
        at_s, done = columns.known_at_s, 0
        while done < len(at_s):
            if track.is_open:
                end = self._end_of_run(track, at_s, done)
                if end == done:
                    yield self._end(key, track, flows)
                    continue
                told = self._next_telling(track, pick(columns, slice(done, end)))
                end = end if told is None else done + told
                self._grow(key, track, pick(columns, slice(done, end)), flows)
                if told is not None:
                    yield self._tell(ChangeKind.GREW, key, track, int(position[end - 1]), flows)
                done = end
            else:
                word = pick(columns, slice(done, done + 1))
                if self._accumulate(track, word):
                    yield self._open(key, track, int(position[done]), flows)
                done += 1

    def _end_of_run(self, track: _Track, at_s: npt.NDArray[np.float64], done: int) -> int:
        gaps = np.diff(at_s[done:], prepend=track.last_at_s)
        late = np.flatnonzero(gaps > self._settings.idle_s)
        return done + int(late[0]) if len(late) else len(at_s)

    def _accumulate(self, track: _Track, word: EvidenceColumns) -> bool:
        number, calm = int(word.number[0]), int(word.calm[0])
        drift = self._drift * max(0, number - track.last_word - 1)
        track.statistic = max(0, track.statistic - drift)
        track.strangeness = max(0, track.strangeness - max(0, calm - track.last_calm))
        if track.statistic == 0 and track.strangeness == 0:
            track.pending.clear()
            track.sighting_quanta = 0
        track.statistic += self._granted(track, int(word.sighting[0]), int(word.gain[0]))
        track.strangeness += int(word.strange[0])
        track.last_word, track.last_calm = number, max(calm, track.last_calm)
        track.is_strange = track.strangeness >= self._strange_alarm
        track.pending = [*track.pending[-MAX_PENDING + 1 :], word]
        return track.is_strange or track.statistic >= self._alarm

    def _granted(self, track: _Track, sighting: int, gain: int) -> int:
        """What evidence may add: the model's all, a sighting's as far as the cap of its grade leaves room."""
        if sighting == NO_SIGHTING:
            return gain
        most_share = WEIGHTS[Grade(int(self._corroborator.sightings.grade[sighting]))].most_share
        if math.isinf(most_share):
            return gain
        granted = max(0, min(gain, round(most_share * self._alarm) - track.sighting_quanta))
        track.sighting_quanta += granted
        return granted

    def _open(self, key: tuple[int, int], track: _Track, position: int, flows: FlowBatch) -> _Step:
        pending, at_s = join(track.pending), float(track.pending[-1].known_at_s[0])
        started_s = float(pending.known_at_s[0])
        if track.tally is None or started_s - track.last_at_s > self._settings.resume_s:
            track.tally, track.opened_at_s = Tally(), at_s
            track.opening_quanta = max(track.statistic, track.strangeness)
            track.incident_id = _identify(track.device, key[1], started_s)
            track.asked, track.reasons = [], {}
        track.tally.add(pending, flows)
        self._accusations.append(Accusation(key[0], key[1], track.is_strange, pending))
        track.recent = within_reach([pending])
        track.pending = [] if track.is_strange else [pending]
        track.is_open, track.last_at_s = True, at_s
        return self._tell(ChangeKind.OPENED, key, track, position, flows)

    def _next_telling(self, track: _Track, words: EvidenceColumns) -> int | None:
        """After how many of the next words of evidence growth is worth telling; None while it is not.

        What is told of the device by itself is rare, and worth it at once.
        """
        assert track.tally is not None
        at_s, attack_class = words.known_at_s, words.attack_class
        stated = np.flatnonzero(words.flow == NO_FLOW)[:1]
        due = int(np.searchsorted(at_s, track.told_at_s + TELLING_S)) + 1
        due = min([due, *(stated + 1).tolist()])
        missing = np.maximum(2 * track.told_counts, TELLING_WORDS) - track.tally.class_counts
        for class_index in np.unique(attack_class).tolist():
            rows = np.flatnonzero(attack_class == class_index)
            nth = max(int(missing[class_index]), 1)
            if nth <= len(rows):
                due = min(due, int(rows[nth - 1]) + 1)
        return due if due <= len(at_s) else None

    def _grow(self, key: tuple[int, int], track: _Track, words: EvidenceColumns, flows: FlowBatch) -> None:
        assert track.tally is not None
        track.tally.add(words, flows)
        self._accuse(key, track, words)
        track.recent = within_reach([*track.recent, words])
        track.last_at_s, track.last_word = float(words.known_at_s[-1]), int(words.number[-1])

    def _accuse(self, key: tuple[int, int], track: _Track, words: EvidenceColumns) -> None:
        """Note the next words of an open incident, and those before as well once strangeness alarms too: a class that
        opens an incident early must not hide flows that only strangeness tells."""
        was_strange, before = track.is_strange, self._until_strange(track, words)
        self._accusations.append(Accusation(key[0], key[1], was_strange, words))
        if was_strange:
            return
        known = join([*track.pending, words])
        oldest = max(0, len(known.flow) - len(words.flow) + before - MAX_PENDING)
        track.pending = [pick(known, np.arange(oldest, len(known.flow)))]
        if track.is_strange:
            self._accusations.append(Accusation(key[0], key[1], True, track.pending.pop()))

    def _until_strange(self, track: _Track, words: EvidenceColumns) -> int:
        """How many of the next words come before strangeness alarms; all where it does not."""
        calm = np.maximum.accumulate(np.concatenate([[track.last_calm], words.calm]))
        sums = page_sums(track.strangeness, np.diff(calm), words.strange)
        track.strangeness, track.last_calm = int(sums[-1]), int(calm[-1])
        alarming = np.flatnonzero(sums >= self._strange_alarm)
        track.is_strange |= len(alarming) > 0
        return int(alarming[0]) if len(alarming) else len(sums)

    def _tell(self, kind: ChangeKind, key: tuple[int, int], track: _Track, position: int, flows: FlowBatch) -> _Step:
        assert track.tally is not None
        track.told_counts, track.told_at_s = track.tally.class_counts, track.last_at_s
        self._ask(key, track)
        step = self._step(kind, track.last_at_s, position, key, track, flows)
        track.tally.settle()
        return step

    def _ask(self, key: tuple[int, int], track: _Track) -> None:
        """Ask about classes that the incident shows for the first time."""
        if not track.recent:
            return
        words = join(track.recent)
        for class_index in classes_to_ask(words, track.told_counts, track.asked, TELLING_WORDS):
            track.asked.append(class_index)
            question = Question(
                incident_id=track.incident_id,
                device=key[0],
                role=key[1],
                attack_class=CLASSES[class_index],
                at=instant_from_s(track.last_at_s),
                witnesses=choose_witnesses(pick(words, words.attack_class == class_index)),
            )
            self._questions.append(question)

    def _end(self, key: tuple[int, int], track: _Track, flows: FlowBatch) -> _Step:
        track.is_open, track.is_strange, track.pending = False, False, []
        track.statistic, track.strangeness, track.sighting_quanta = 0, 0, 0
        ended_at_s = track.last_at_s + self._settings.idle_s
        return self._step(ChangeKind.ENDED, ended_at_s, _BEFORE_WORDS, key, track, flows)

    def _end_idle(self, now_s: float, flows: FlowBatch) -> Iterator[_Step]:
        for key, track in self._tracks.items():
            if track.is_open and now_s - track.last_at_s > self._settings.idle_s:
                yield self._end(key, track, flows)

    def _step(
        self, kind: ChangeKind, at_s: float, position: int, key: tuple[int, int], track: _Track, flows: FlowBatch
    ) -> _Step:
        change = IncidentChange(kind=kind, at=instant_from_s(at_s), incident=self._snapshot(key, track, flows))
        return _Step(at_s, position, change)

    def _snapshot(self, key: tuple[int, int], track: _Track, flows: FlowBatch) -> Incident:
        tally = track.tally
        assert tally is not None
        contacts, order = tally.contacts(), tally.class_order()
        role = Role.OFFENDER if key[1] == OFFENDER else Role.TARGET
        incident = Incident(
            incident_id=track.incident_id,
            device=track.device,
            role=role,
            attack_class=CLASSES[order[0][0]],
            class_counts=tuple((CLASSES[index], count) for index, count in order),
            first_seen_at=instant_from_s(tally.first_seen_s),
            last_seen_at=instant_from_s(tally.last_seen_s),
            opened_at=instant_from_s(track.opened_at_s),
            ended_at=None if track.is_open else instant_from_s(track.last_at_s + self._settings.idle_s),
            flow_count=tally.flow_count,
            confidence=tally.confidence,
            evidence_nats=track.opening_quanta / QUANTA_PER_NAT,
            has_proven_origin=tally.has_proven_origin,
            detections=tally.detections(flows),
            contacts=tuple(contacts),
            other_contact_count=len(tally.services) - len(contacts),
            peer_count=tally.peer_count(),
            is_count_exact=len(tally.services) < MAX_CONTACTS,
            rhythm=tally.rhythm(order[0][0]),
            summary="",
            reasons=merge_reasons(track.reasons, order[0][0]),
            sightings=self._corroborator.describe(tally.sighting_rows, self._alarm / QUANTA_PER_NAT),
        )
        incident = name_unreachable(incident, tally)
        main = tally.contacts(order[0][0]), tally.peer_count(order[0][0])
        clause = sighting_clause(incident.sightings, incident.confidence, has_flows=incident.flow_count > 0)
        return replace(incident, summary=summarise_incident(incident, *main) + clause)


def _identify(device: Device, role: int, started_s: float) -> str:
    text = f"{device.mac}|{device.address}|{role}|{started_s:.6f}"
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:12]
