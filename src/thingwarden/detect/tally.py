"""What an incident remembers of its flows, bounded whatever the attack does.

In: columns of evidence words of one device in one role. Out: ``Tally``, and the immutable parts of an ``Incident``.
Must never: grow with the number of flows, or give another result when the same words come in other portions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.detect.evidence import probability_from_log_odds
from thingwarden.domain.address import IpAddress
from thingwarden.domain.detection import Detection
from thingwarden.domain.flow import (
    CONN_STATE_CODE,
    CONN_STATES,
    MOST_MILESTONES,
    FlowBatch,
    address_from_words,
)
from thingwarden.domain.incident import Contact, Rhythm
from thingwarden.domain.plan import PROTOCOL_NUMBERS
from thingwarden.domain.sighting import NO_FLOW
from thingwarden.domain.taxonomy import CLASSES

MAX_CONTACTS: Final = 4096
"""Services told apart per incident; a scan of more is counted, not listed."""

MAX_STARTS: Final = 128
"""Flow starts remembered per service, for its rhythm."""

SHOWN_CONTACTS: Final = 10
SHOWN_FRESH: Final = 3
"""And of those with most evidence since the incident was told last."""

SHOWN_OF_A_CLASS: Final = 3
"""Contacts of each class that are shown however many busier ones another class has: a quiet controller must not
hide behind its own flood."""

SHOWN_DETECTIONS: Final = 5
MOST_WORDS: Final = 2 + MOST_MILESTONES
"""Words of evidence that one flow can give on one side: its opening, its probes, its closing."""

MAX_SIGHTINGS: Final = 256
"""Sightings remembered per incident; an engine that fires at everything does not make it grow."""

NO_SIGHTING: Final = -1
"""In ``EvidenceColumns.sighting``: the model's own word."""

_PERIODIC_INTERVALS: Final = 5
_PERIODIC_SPREAD_RATIO: Final = 0.25
_PERIODIC_FLOOR_S: Final = 0.5
"""Faster repetition is a flood or a scan, not a beat."""

_LAST_SECOND_S: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
_MILLIONTHS: Final = 1_000_000
_TCP: Final = 6
_PROTO_NAMES: Final = {number: name for name, number in PROTOCOL_NUMBERS.items()}
_CLOSED_BY_BOTH: Final = CONN_STATE_CODE["SF"]
_ESTABLISHED: Final = [CONN_STATE_CODE[name] for name in ("S1", "SF", "S2", "S3", "RSTO", "RSTR")]

ServiceKey = tuple[int, int, int, int]
"""High and low half of the peer's address, protocol number, responder's port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceColumns:
    """Words of one device in one role that speak for an incident, in order; n words.

    Attributes:
        flow: int64 (n,), row in the flows; ``NO_FLOW`` for a sighting that belongs to none.
        is_orig, is_close, is_probe: bool (n,), as in ``WordBatch``.
        known_at_s: float64 (n,).
        log_odds: float64 (n,), calibrated.
        attack_class: int8 (n,), index into ``CLASSES``.
        is_first: bool (n,), the flow's first word of evidence on this side.
        gain: int64 (n,), quanta that the word adds to the alarm statistic.
        strange: int64 (n,), quanta that the word adds to the statistic of strangeness, at least 0.
        calm: int64 (n,), quanta that words of its device and role have taken off that statistic so far; 0 for a
            sighting.
        number: int64 (n,), the how-manyth word of its device it is, from 1; of a probe or a sighting, the device's last
            before it.
        sighting: int64 (n,), row in the ``SightingBatch`` where somebody else's knowledge is the evidence, else
            ``NO_SIGHTING``.
    """

    flow: npt.NDArray[np.int64]
    is_orig: npt.NDArray[np.bool_]
    is_close: npt.NDArray[np.bool_]
    is_probe: npt.NDArray[np.bool_]
    known_at_s: npt.NDArray[np.float64]
    log_odds: npt.NDArray[np.float64]
    attack_class: npt.NDArray[np.int8]
    is_first: npt.NDArray[np.bool_]
    gain: npt.NDArray[np.int64]
    strange: npt.NDArray[np.int64]
    calm: npt.NDArray[np.int64]
    number: npt.NDArray[np.int64]
    sighting: npt.NDArray[np.int64]

    def take(self, rows: npt.NDArray[Any] | slice) -> EvidenceColumns:
        """The words at ``rows`` (indices, boolean mask or slice), in that order."""
        return EvidenceColumns(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})


def has_completed_exchange(flows: FlowBatch, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether a TCP flow proves that its originator owns the address that it used.

    A spoofer never sees the responder's sequence number: the responder neither closes with it nor sends it data.
    A reset by the originator proves nothing alone, for the owner of a spoofed address sends one too.
    """
    state = flows.conn_state[rows]
    is_answered = np.isin(state, _ESTABLISHED) & (flows.resp_bytes[rows] > 0)
    return np.asarray((flows.proto[rows] == _TCP) & ((state == _CLOSED_BY_BOTH) | is_answered))


def is_answered(flows: FlowBatch, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether the responder took part in a flow: it sent data, or a connection was established. A refusal is none."""
    has_data = flows.resp_bytes[rows] > 0
    return np.asarray(has_data | np.isin(flows.conn_state[rows], [_CLOSED_BY_BOTH, *_ESTABLISHED]))


@dataclass(slots=True)
class _Service:
    flow_count: int
    is_outbound: bool
    is_proven: bool
    class_counts: dict[int, int] = field(default_factory=dict)
    starts_s: list[float] = field(default_factory=list)
    class_index: int = 0
    fresh_count: int = 0

    def count(self, classes: npt.NDArray[np.int8]) -> None:
        """Count words by class; ``class_index`` is that of most of them, the lower index among equals."""
        self.fresh_count += len(classes)
        for class_index, count in Counter(classes.tolist()).items():
            self.class_counts[class_index] = self.class_counts.get(class_index, 0) + count
        self.class_index = min(self.class_counts, key=lambda index: (-self.class_counts[index], index))


@dataclass(slots=True)
class Tally:
    """Bounded sums over the evidence of one incident."""

    flow_count: int = 0
    probability_millionths: int = 0
    probability_count: int = 0
    sighting_millionths: int = 0
    sighting_rows: list[int] = field(default_factory=list)
    sighting_count: int = 0
    stated_millionths: int = 0
    stated_class_counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CLASSES), dtype=np.int64))
    first_seen_s: float = np.inf
    last_seen_s: float = -np.inf
    has_proven_origin: bool = False
    untold_flow_count: int = 0
    closed_count: int = 0
    answered_count: int = 0
    open_class_counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CLASSES), dtype=np.int64))
    close_class_counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CLASSES), dtype=np.int64))
    services: dict[ServiceKey, _Service] = field(default_factory=dict)
    loudest: list[tuple[float, int, bool, bool, int]] = field(default_factory=list)

    def add(self, words: EvidenceColumns, flows: FlowBatch) -> None:
        """Count further evidence, in order."""
        has_flow = words.flow != NO_FLOW
        if not has_flow.all():
            self._add_stated(words.take(~has_flow))
            words = words.take(has_flow)
        if len(words.flow):
            self._add_of_flows(words, flows)

    def _add_stated(self, words: EvidenceColumns) -> None:
        """Count what is told of the device by itself, and belongs to no flow."""
        self.first_seen_s = min(self.first_seen_s, float(words.known_at_s[0]))
        self.last_seen_s = max(self.last_seen_s, float(words.known_at_s[-1]))
        stated = np.rint(probability_from_log_odds(words.log_odds) * _MILLIONTHS)
        self.stated_millionths = max(self.stated_millionths, int(stated.max()))
        self.stated_class_counts += np.bincount(words.attack_class, minlength=len(CLASSES))
        self._remember_sightings(words.sighting)

    def _remember_sightings(self, sighting: npt.NDArray[np.int64]) -> None:
        room = MAX_SIGHTINGS - len(self.sighting_rows)
        self.sighting_rows += sighting[:room].tolist()

    def _add_of_flows(self, words: EvidenceColumns, flows: FlowBatch) -> None:
        start = flows.started_at_s[words.flow]
        seen = np.where(words.is_close, flows.ended_at_s[words.flow], np.maximum(start, words.known_at_s))
        self.first_seen_s = min(self.first_seen_s, float(start.min()))
        self.last_seen_s = max(self.last_seen_s, float(seen.max()))
        probability = np.rint(probability_from_log_odds(words.log_odds) * _MILLIONTHS).astype(np.int64)
        self.flow_count += int(words.is_first.sum())
        is_sighting = words.sighting != NO_SIGHTING
        self.probability_millionths += int(probability[~is_sighting].sum())
        self.probability_count += int((~is_sighting).sum())
        self.sighting_millionths += int(probability[is_sighting].sum())
        self.sighting_count += int(is_sighting.sum())
        self._remember_sightings(words.sighting[is_sighting])
        closed = words.flow[words.is_close]
        self.closed_count += len(closed)
        self.answered_count += int(is_answered(flows, closed).sum())
        classes = len(CLASSES)
        self.open_class_counts += np.bincount(words.attack_class[~words.is_close], minlength=classes)
        self.close_class_counts += np.bincount(words.attack_class[words.is_close], minlength=classes)
        self._add_services(words, flows, start)
        self._add_loudest(words)

    def _add_services(self, words: EvidenceColumns, flows: FlowBatch, start: npt.NDArray[np.float64]) -> None:
        is_proven = has_completed_exchange(flows, words.flow) & words.is_close
        self.has_proven_origin |= bool(is_proven.any())
        keys = _service_keys(words, flows)
        groups, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        inverse = inverse.reshape(-1)
        counts = np.bincount(inverse, weights=words.is_first).astype(np.int64)
        proofs = np.bincount(inverse, weights=is_proven) > 0
        by_group = np.argsort(inverse, kind="stable")
        bounds = np.searchsorted(inverse[by_group], np.arange(len(groups) + 1))
        for group in np.argsort(first):
            key: ServiceKey = tuple(groups[group].tolist())
            service = self._service_at(key, bool(words.is_orig[first[group]]))
            if service is None:
                self.untold_flow_count += int(counts[group])
                continue
            service.flow_count += int(counts[group])
            service.is_proven |= bool(proofs[group])
            members = by_group[bounds[group] : bounds[group + 1]]
            service.count(words.attack_class[members])
            room = MAX_STARTS - len(service.starts_s)
            service.starts_s.extend(start[members[words.is_first[members]]][:room].tolist())

    def _service_at(self, key: ServiceKey, is_outbound: bool) -> _Service | None:
        service = self.services.get(key)
        if service is None and len(self.services) < MAX_CONTACTS:
            service = self.services[key] = _Service(0, is_outbound, False)
        return service

    def _add_loudest(self, words: EvidenceColumns) -> None:
        keep = MOST_WORDS * SHOWN_DETECTIONS  # so many words hold enough distinct flows
        order = np.lexsort((~words.is_close, words.flow, -words.log_odds))[:keep]
        rows = zip(
            (-words.log_odds[order]).tolist(),
            words.flow[order].tolist(),
            (~words.is_close[order]).tolist(),
            words.is_orig[order].tolist(),
            words.attack_class[order].tolist(),
            strict=True,
        )
        self.loudest = sorted([*self.loudest, *rows])[:keep]

    def forget(self, is_gone: npt.NDArray[np.bool_]) -> None:
        """Show these flows no more, bool by row; what they were counted for stays counted."""
        self.loudest = [entry for entry in self.loudest if not is_gone[entry[1]]]

    @property
    def class_counts(self) -> npt.NDArray[np.int64]:
        """Words of evidence by class, int64 (classes,)."""
        return self.open_class_counts + self.close_class_counts + self.stated_class_counts

    @property
    def confidence(self) -> float:
        """Mean calibrated probability of the words of evidence; sightings count where they do not lower it.

        What is told of the device by itself is no witness of flows: the most probable of it counts as it is.
        """
        own = self.probability_millionths / max(self.probability_count, 1)
        count = self.probability_count + self.sighting_count
        joined = (self.probability_millionths + self.sighting_millionths) / max(count, 1)
        return max(own, joined, self.stated_millionths) / _MILLIONTHS

    def class_order(self) -> list[tuple[int, int]]:
        """Class index and count of words, most frequent first; closing words decide where there are any.

        What is told of the device by itself always counts.
        """
        counts = self.close_class_counts if self.close_class_counts.any() else self.open_class_counts
        counts = counts + self.stated_class_counts
        order = np.argsort(-counts, kind="stable")
        return [(int(index), int(counts[index])) for index in order if counts[index]]

    def contacts(self, class_index: int | None = None) -> list[Contact]:
        """Services with most flows, of one class if given; otherwise the busiest of every class among them, and those
        with most evidence since the incident was told last."""
        ranked = sorted(self._services_of(class_index), key=lambda item: -item[1].flow_count)
        by_news = sorted((item for item in ranked if item[1].fresh_count), key=lambda item: -item[1].fresh_count)
        fresh = {key for key, _ in by_news[:SHOWN_FRESH]}
        of_class: Counter[int] = Counter()
        shown = []
        for place, (key, service) in enumerate(ranked):
            of_class[service.class_index] += 1
            if place < SHOWN_CONTACTS or of_class[service.class_index] <= SHOWN_OF_A_CLASS or key in fresh:
                shown.append(_contact(key, service))
        return shown

    def settle(self) -> None:
        """The incident was told: from now on everything is news."""
        for service in self.services.values():
            service.fresh_count = 0

    def peer_count(self, class_index: int | None = None) -> int:
        """Distinct addresses among the services told apart; of one class if given."""
        return len({key[:2] for key, _ in self._services_of(class_index)})

    def _services_of(self, class_index: int | None) -> list[tuple[ServiceKey, _Service]]:
        """Services that mostly show a class; all where none does."""
        found = [item for item in self.services.items() if item[1].class_index == class_index]
        return found or list(self.services.items())

    def rhythm(self, class_index: int | None = None) -> Rhythm | None:
        """Beat of the service with most flows, of one class if given; None with fewer than three flows."""
        services = [service for _, service in self._services_of(class_index)]
        if not services:
            return None
        starts = np.sort(max(services, key=lambda service: service.flow_count).starts_s)
        intervals = np.diff(starts)
        if len(intervals) < 2:
            return None
        interval_s = float(np.median(intervals))
        spread_ratio = float(np.median(np.abs(intervals - interval_s))) / interval_s if interval_s > 0 else 0.0
        is_periodic = (
            len(intervals) >= _PERIODIC_INTERVALS
            and interval_s >= _PERIODIC_FLOOR_S
            and spread_ratio <= _PERIODIC_SPREAD_RATIO
        )
        return Rhythm(interval_s=interval_s, spread_ratio=spread_ratio, is_periodic=is_periodic)

    def detections(self, flows: FlowBatch) -> tuple[Detection, ...]:
        """The flows that speak loudest, one entry each."""
        chosen: dict[int, tuple[float, int, bool, bool, int]] = {}
        for entry in self.loudest:
            flow = entry[1]
            if flow not in chosen or chosen[flow][2] > entry[2]:
                chosen[flow] = entry
        return tuple(_detection(entry, flows) for entry in sorted(chosen.values())[:SHOWN_DETECTIONS])


def _contact(key: ServiceKey, service: _Service) -> Contact:
    return Contact(
        peer=address_from_words(key[0], key[1]),
        proto=proto_name(key[2]),
        port=key[3],
        flow_count=service.flow_count,
        is_outbound=service.is_outbound,
        is_proven=service.is_proven,
        attack_class=CLASSES[service.class_index],
    )


def proto_name(number: int) -> str:
    """``tcp``, ``udp``, ``icmp``, ``icmp6``, else the number as text."""
    return _PROTO_NAMES.get(number, str(number))


def instant_from_s(unix_s: float) -> datetime:
    """Unix seconds as aware UTC; what no calendar holds becomes its first or last second."""
    return datetime.fromtimestamp(min(max(unix_s, 0.0), _LAST_SECOND_S), UTC)


def peer_of(flows: FlowBatch, row: int, is_orig: bool) -> IpAddress:
    """The other side of a flow, seen from its originator or its responder."""
    halves = flows.resp_address[row] if is_orig else flows.orig_address[row]
    return address_from_words(int(halves[0]), int(halves[1]))


def _service_keys(words: EvidenceColumns, flows: FlowBatch) -> npt.NDArray[np.uint64]:
    peer = np.where(words.is_orig[:, None], flows.resp_address[words.flow], flows.orig_address[words.flow])
    service = np.stack([flows.proto[words.flow], flows.resp_port[words.flow]], axis=1).astype(np.uint64)
    return np.concatenate([peer, service], axis=1)  # (n, 4)


def _detection(entry: tuple[float, int, bool, bool, int], flows: FlowBatch) -> Detection:
    negative_log_odds, row, is_open, is_orig, class_index = entry
    state, service = CONN_STATES[flows.conn_state[row]], flows.service[row].decode("ascii", "replace")
    sent, received = int(flows.orig_bytes[row]), int(flows.resp_bytes[row])
    if not is_orig:
        sent, received = received, sent
    return Detection(
        flow=row,
        started_at=instant_from_s(float(flows.started_at_s[row])),
        proto=proto_name(int(flows.proto[row])),
        is_outbound=is_orig,
        peer=peer_of(flows, row, is_orig),
        port=int(flows.resp_port[row]),
        service=None if is_open or not service else service,
        conn_state=None if is_open or state == "-" else state,
        sent_bytes=None if is_open or sent < 0 else sent,
        received_bytes=None if is_open or received < 0 else received,
        probability=float(probability_from_log_odds(np.array([-negative_log_odds]))[0]),
        attack_class=CLASSES[class_index],
    )
