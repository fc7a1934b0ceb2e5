"""Puts what others know among a model's words: when it counts, how much, against whom.

In: ``SightingBatch`` once; the words and their evidence chunk after chunk. Out: ``Statements``, to be merged with them.
Must never: count a rule or entry twice for a device within an hour, come before the word that makes the device known,
or depend on how the words were split into chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.detect.evidence import OFFENDER, TARGET, Evidence
from thingwarden.detect.sightings import HOUR_S
from thingwarden.detect.tally import instant_from_s
from thingwarden.domain.device import Device
from thingwarden.domain.sighting import NO_CLASS, NO_FLOW, Grade, Sighting, SightingBatch, SightingKind
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.domain.word import UNATTRIBUTED, WordBatch

SHOWN_SIGHTINGS: Final = 8
"""Rules and entries that an incident names; the gravest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What one sighting is worth.

    Attributes:
        alarm_share: what it adds to the device's alarm statistic, as a share of the model's alarm level.
        most_share: the most that sightings of this and lower grades add together until the statistic is empty again.
        log_odds_nats: what it adds to the log-odds that the model gives its flow over the flow threshold.
    """

    alarm_share: float
    most_share: float
    log_odds_nats: float


WEIGHTS: Final = {
    Grade.LOW: Weight(alarm_share=0.2, most_share=0.4, log_odds_nats=0.75),
    Grade.MEDIUM: Weight(alarm_share=0.5, most_share=0.9, log_odds_nats=1.5),
    Grade.HIGH: Weight(alarm_share=1.0, most_share=np.inf, log_odds_nats=3.0),
}
"""The one table of weights. Only a high grade opens an incident by itself; it then asks the owner to look, and no more:
what restricts needs a confidence of 0.6, which a flow reaches with 3 nats only from 2.6 nats below the threshold on,
where one in a hundred benign flows begins and next to none ends."""

_UNKNOWN_CLASS: Final = CLASS_INDEX[AttackClass.UNKNOWN]
_MODEL_AGREES: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """Sightings that are due in a chunk of words, in order; m of them.

    Attributes:
        sighting: int64 (m,), row in the ``SightingBatch``.
        position: int64 (m,), row of the word before which it stands; the chunk's length for its end.
        device: int32 (m,), index of the device.
        role: int8 (m,), ``OFFENDER`` or ``TARGET``.
        at_s: float64 (m,), Unix seconds; never falls.
        log_odds: float64 (m,), that the flow is malicious, by the model's loudest word on it so far and the sighting;
            without a flow, what the sighting says by itself.
        attack_class: int8 (m,), index into ``CLASSES``: the source's, else the model's, else unknown.
        share: float64 (m,), of the alarm level; less where the same was counted in this hour in a lower grade.
    """

    sighting: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    device: npt.NDArray[np.int32]
    role: npt.NDArray[np.int8]
    at_s: npt.NDArray[np.float64]
    log_odds: npt.NDArray[np.float64]
    attack_class: npt.NDArray[np.int8]
    share: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.sighting)


@dataclass(slots=True)
class _Side:
    """One end of a flow, or a device by itself, that a sighting is about, once its device is known."""

    device_index: int
    device: Device
    waiting: list[int]
    log_odds: float = -np.inf
    attack_class: int = _UNKNOWN_CLASS
    first_row: int = -1

    def hear(self, rows: npt.NDArray[np.int64], evidence: Evidence) -> None:
        """Remember the loudest of the words at ``rows``; the earlier among equals."""
        if len(rows):
            loudest = rows[int(evidence.log_odds[rows].argmax())]
            if evidence.log_odds[loudest] > self.log_odds:
                self.log_odds = float(evidence.log_odds[loudest])
                self.attack_class = int(evidence.attack_class[loudest])


@dataclass(frozen=True, slots=True)
class _Due:
    position: int
    at_s: float
    sighting: int
    side: _Side
    log_odds: float
    attack_class: int


@dataclass(slots=True)
class Corroborator:
    """Hands out sightings when their time has come.

    Args:
        sightings: on the flows whose words will arrive, or on devices, in any order.
        evidence_nats: of the model's calibration: log-odds that are zero for what sightings add to.
    """

    sightings: SightingBatch
    evidence_nats: float
    _by_side: dict[int, list[int]] = field(init=False)
    _by_mac: dict[str, list[int]] = field(init=False)
    _awaited: npt.NDArray[np.int64] = field(init=False)
    _sides: dict[int, _Side] = field(default_factory=dict, init=False)
    _source_rank: npt.NDArray[np.int64] = field(init=False)
    _counted: dict[tuple[object, ...], Grade] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        given = self.sightings
        texts = [(source.kind.value, source.name, source.origin, source.quote) for source in given.sources]
        rank = {text: number for number, text in enumerate(sorted(set(texts)))}
        self._source_rank = np.array([rank[text] for text in texts], dtype=np.int64)
        order = np.lexsort(
            (-given.grade.astype(np.int8), self._source_rank[given.source], given.is_offender, given.at_s)
        )
        self._by_side, self._by_mac = {}, {}
        for row, side in zip(order.tolist(), (given.flow * 2 + given.is_orig)[order].tolist(), strict=True):
            mac = given.sources[int(given.source[row])].mac
            if mac is None:
                self._by_side.setdefault(side, []).append(row)
            else:
                self._by_mac.setdefault(mac, []).append(row)
        self._awaited = np.unique((given.flow * 2 + given.is_orig)[given.flow != NO_FLOW])

    def testify(self, words: WordBatch, evidence: Evidence, devices: Sequence[Device]) -> Statements | None:
        """What is due while these words arrive; None where nothing is.

        Args:
            words: the next chunk, not empty.
            evidence: of these words.
            devices: the encoder's table.
        """
        if not len(self._awaited) and not self._by_mac:
            return None
        heard = self._hear_of(words, devices) if len(self._awaited) else {}
        due = [item for key, side in self._sides.items() for item in self._due(side, heard.get(key), words, evidence)]
        for key in [key for key, side in self._sides.items() if not side.waiting]:
            del self._sides[key]
        due += self._due_of_devices(words, devices)
        due.sort(key=lambda item: (item.position, item.at_s, self._rank(item.sighting)))
        counted = [(item, share) for item in due if (share := self._count(item, devices)) > 0.0]
        return self._statements(counted) if counted else None

    def describe(self, rows: Sequence[int], alarm_level_nats: float) -> tuple[Sighting, ...]:
        """The rules and entries behind the sightings at ``rows``, the gravest first, at most ``SHOWN_SIGHTINGS``."""
        by_source: dict[int, list[int]] = {}
        for row in rows:
            by_source.setdefault(self._rank_of(row), []).append(row)
        described = [self._describe(members, alarm_level_nats) for members in by_source.values()]
        described.sort(key=lambda item: (-item.grade, item.first_at, item.name, item.origin, item.quote))
        return tuple(described[:SHOWN_SIGHTINGS])

    def _describe(self, rows: list[int], alarm_level_nats: float) -> Sighting:
        given, met = self.sightings, self.sightings.sources[int(self.sightings.source[rows[0]])]
        grade = Grade(int(given.grade[rows].max()))
        return Sighting(
            kind=met.kind,
            name=met.name,
            origin=met.origin,
            quote=met.quote,
            grade=grade,
            weight_nats=WEIGHTS[grade].alarm_share * alarm_level_nats,
            hour_count=len(np.unique(np.floor(given.at_s[rows] / HOUR_S))),
            first_at=instant_from_s(float(given.at_s[rows].min())),
        )

    def _hear_of(self, words: WordBatch, devices: Sequence[Device]) -> dict[int, npt.NDArray[np.int64]]:
        """Rows of the words on awaited ends of flows; an end becomes known with its device's first word on it."""
        key = words.flow * 2 + words.is_orig
        place = np.minimum(np.searchsorted(self._awaited, key), len(self._awaited) - 1)
        rows = np.flatnonzero((self._awaited[place] == key) & (words.device != UNATTRIBUTED))
        rows = rows[np.argsort(key[rows], kind="stable")]
        bounds = np.flatnonzero(np.diff(key[rows])) + 1
        heard = {int(key[part[0]]): part for part in np.split(rows, bounds) if len(part)}
        for side in self._sides.values():
            side.first_row = -1
        for side_key, part in heard.items():
            if side_key in self._by_side:
                index = int(words.device[part[0]])
                waiting = self._by_side.pop(side_key)
                self._sides[side_key] = _Side(index, devices[index], waiting, first_row=int(part[0]))
        return heard

    def _due(self, side: _Side, rows: npt.NDArray[np.int64] | None, words: WordBatch, evidence: Evidence) -> list[_Due]:
        """The sightings on one end that are due in this chunk; the end hears its words on the way."""
        rest = np.zeros(0, dtype=np.int64) if rows is None else rows
        due = []
        while side.waiting and self.sightings.at_s[side.waiting[0]] <= words.known_at_s[-1]:
            sighting = side.waiting.pop(0)
            at_s = float(self.sightings.at_s[sighting])
            position = max(side.first_row + 1, int(np.searchsorted(words.known_at_s, at_s)))
            if side.first_row >= 0:
                at_s = max(at_s, float(words.known_at_s[side.first_row]))
            side.hear(rest[rest < position], evidence)
            rest = rest[rest >= position]
            due.append(_Due(position, at_s, sighting, side, *self._judged(sighting, side)))
        side.hear(rest, evidence)
        return due

    def _due_of_devices(self, words: WordBatch, devices: Sequence[Device]) -> list[_Due]:
        """The sightings without a flow that are due in this chunk; they wait until their device is known."""
        given, now_s, due = self.sightings, words.known_at_s[-1], []
        ripe = {mac for mac, waiting in self._by_mac.items() if given.at_s[waiting[0]] <= now_s}
        for device in [device for device in devices if device.mac in ripe] if ripe else []:
            begun = np.flatnonzero((words.device == device.index) & words.starts_sentence)
            first_row = int(begun[0]) if len(begun) else -1
            known_s = float(words.known_at_s[first_row]) if len(begun) else -np.inf
            waiting = self._by_mac.pop(str(device.mac))
            ripe.discard(str(device.mac))
            while waiting and given.at_s[waiting[0]] <= now_s:
                row = waiting.pop(0)
                at_s = max(float(given.at_s[row]), known_s)
                position = max(first_row + 1, int(np.searchsorted(words.known_at_s, at_s)))
                log_odds = given.sources[int(given.source[row])].log_odds_nats
                side = _Side(device.index, device, [])
                due.append(_Due(position, at_s, row, side, log_odds, int(given.attack_class[row])))
            if waiting:
                self._by_mac[str(device.mac)] = waiting
        return due

    def _judged(self, sighting: int, side: _Side) -> tuple[float, int]:
        """The flow's log-odds with the sighting, and its class.

        A model's words are often at odds of 1 to 3 on innocent openings, so what it says counts from its level of
        evidence on.
        """
        log_odds = (
            side.log_odds - self.evidence_nats + WEIGHTS[Grade(int(self.sightings.grade[sighting]))].log_odds_nats
        )
        if side.log_odds >= self.evidence_nats:
            log_odds = max(log_odds, side.log_odds)
        stated = int(self.sightings.attack_class[sighting])
        if stated != NO_CLASS:
            return log_odds, stated
        return log_odds, side.attack_class if log_odds >= 0.0 else _UNKNOWN_CLASS

    def _rank(self, sighting: int) -> tuple[int, ...]:
        given = self.sightings
        columns = (given.flow, given.is_orig, given.is_offender, given.grade)
        return (*(int(column[sighting]) for column in columns), self._rank_of(sighting))

    def _rank_of(self, sighting: int) -> int:
        """A number of the sighting's source: equal where sources say the same, whatever order they came in."""
        return int(self._source_rank[self.sightings.source[sighting]])

    def _count(self, item: _Due, devices: Sequence[Device]) -> float:
        """The share that a sighting adds; 0 where its device is gone, or the hour has counted as much already."""
        given, device = self.sightings, item.side.device
        if devices[item.side.device_index] != device:
            return 0.0
        grade = Grade(int(given.grade[item.sighting]))
        hour = float(np.floor(given.at_s[item.sighting] / HOUR_S))
        who = device.mac or device.address
        key = (who, bool(given.is_offender[item.sighting]), self._rank_of(item.sighting), hour)
        before = self._counted.get(key)
        if before is not None and before >= grade:
            return 0.0
        self._counted[key] = grade
        return WEIGHTS[grade].alarm_share - (WEIGHTS[before].alarm_share if before else 0.0)

    def _statements(self, counted: Sequence[tuple[_Due, float]]) -> Statements:
        items = [item for item, _ in counted]
        sighting = np.array([item.sighting for item in items], dtype=np.int64)
        return Statements(
            sighting=sighting,
            position=np.array([item.position for item in items], dtype=np.int64),
            device=np.array([item.side.device_index for item in items], dtype=np.int32),
            role=np.where(self.sightings.is_offender[sighting], OFFENDER, TARGET).astype(np.int8),
            at_s=np.array([item.at_s for item in items], dtype=np.float64),
            log_odds=np.array([item.log_odds for item in items], dtype=np.float64),
            attack_class=np.array([item.attack_class for item in items], dtype=np.int8),
            share=np.array([share for _, share in counted], dtype=np.float64),
        )


def sighting_clause(sightings: Sequence[Sighting], confidence: float, *, has_flows: bool = True) -> str:
    """What a summary's sentence adds about sightings; empty without any.

    Args:
        sightings: the gravest first.
        confidence: the incident's; below one half the sentence says that the model alone would have said nothing.
        has_flows: whether the incident is about flows, which the model can find normal.
    """
    if not sightings:
        return ""
    more = f" (and {len(sightings) - 1} more such)" if len(sightings) > 1 else ""
    but = "" if confidence >= _MODEL_AGREES or not has_flows else "the model finds this traffic normal, but "
    return f"; {but}{_happened(sightings[0])}{more}"


def _happened(sighting: Sighting) -> str:
    match sighting.kind:
        case SightingKind.SIGNATURE:
            return f"{sighting.name} fired"
        case SightingKind.ADDRESS:
            return f"{sighting.name} is listed in {sighting.origin}"
        case SightingKind.DOMAIN:
            return f"the name {sighting.name} is listed in {sighting.origin}"
        case SightingKind.JA4:
            return f"the TLS fingerprint {sighting.name} is listed in {sighting.origin}"
        case SightingKind.LINK_LAYER:
            return f"it {sighting.name}"
