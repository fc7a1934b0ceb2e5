"""Flows to words in the order in which they become knowable, each in the sentence of its device.

In: ``FlowBatch``. Out: ``WordBatch`` chunks; the device table grows beside them.
Must never: let a word depend on a later packet, on how the stream is cut, or on an address.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.device import Device
from thingwarden.domain.flow import FlowBatch, Milestones, address_from_words
from thingwarden.domain.flow_store import FlowProgress
from thingwarden.domain.word import UNATTRIBUTED, WordBatch
from thingwarden.encode.address import (
    IpNetwork,
    hash_columns,
    in_any,
    is_private,
    is_unicast,
    peer_kinds,
)
from thingwarden.encode.agenda import Agenda, Events
from thingwarden.encode.memory import SlotTable
from thingwarden.encode.neighbours import Neighbours
from thingwarden.encode.rhythm import RENEWED_FIELDS, Rhythm
from thingwarden.encode.vocabulary import CLOSE_KIND, FIELD_INDEX, FIELD_NAMES, OPEN_KIND, PROBE_KIND, Vocabulary
from thingwarden.encode.word import Outcome, add_outcome, directions, open_buckets

HOUSEKEEPING_EVENTS: Final = 4096
"""Tables are trimmed only when this many openings and closings have passed: trimming never depends on chunking, nor on
whether a source has probes."""

DEVICE_LIMIT: Final = 4096
NEW_DEVICES_PER_HOUSEKEEPING: Final = 256
"""More new local addresses than this among 4,096 events are a spoofed flood: the rest stays unattributed."""

FOLLOWED_EVENTS: Final = 8192
"""Openings, milestones and closings of a stream that are encoded at a time."""

_RENEWED: Final = [FIELD_INDEX[name] for name in RENEWED_FIELDS]


class SentenceEncoder:
    """Encodes flows and remembers devices, peers and rhythms between calls.

    Args:
        vocabulary: what the model was trained with.
        local_networks: further prefixes whose addresses are hosts of the network under watch; private and
            link-local ones always are, and the source's own local flags go first.
    """

    def __init__(self, vocabulary: Vocabulary, *, local_networks: Sequence[IpNetwork] = ()) -> None:
        self._vocabulary = vocabulary
        self._local_networks = tuple(local_networks)
        self._table = SlotTable({"last_at_s": np.float64(0.0)}, DEVICE_LIMIT)
        self._table.slots(np.array([UNATTRIBUTED], dtype=np.uint64))
        self._table["last_at_s"][UNATTRIBUTED] = np.inf
        self._devices = [Device(index=UNATTRIBUTED, mac=None, address=None)]
        self._rhythm = Rhythm()
        self._neighbours = Neighbours()
        self._event_count = 0
        self._admitted_count = 0
        self._standing: _Standing | None = None

    @property
    def devices(self) -> Sequence[Device]:
        """The devices met so far, by index."""
        return self._devices

    @property
    def evicted_count(self) -> int:
        """Devices and remembered peers forgotten because a table was full."""
        return self._table.evicted_count + self._rhythm.evicted_count + self._neighbours.evicted_count

    @property
    def device_bytes(self) -> int:
        """Memory of one device."""
        return self._table.row_bytes + self._rhythm.device_bytes

    @property
    def shared_bytes(self) -> int:
        """Most memory of what is remembered of peers, channels and services, whatever the number of devices."""
        return self._rhythm.shared_bytes

    def encode(self, flows: FlowBatch, chunk_words: int = 8192) -> Iterator[WordBatch]:
        """Yield the flows' words in the order in which they become knowable.

        Args:
            flows: any order; without time each flow is a sentence of its own, in the source's order.
            chunk_words: about how many words a chunk holds; changes no word.
        """
        chunk_events = max(1, chunk_words)
        if not flows.is_timed:
            yield from self._encode_untimed(flows, chunk_events)
            return
        batch = _Batch(
            flows=replace(flows, milestones=None),  # what is taken word by word must not drag them along
            noted=flows,
            ends=_Ends.of(flows, self._local_networks),
            opened=np.zeros((len(flows), 2, len(FIELD_NAMES)), dtype=np.uint8),
        )
        yield from self._encode_in_order(batch, Events.of(flows), chunk_events)

    def follow(self, flows: FlowBatch, progress: FlowProgress, upto_s: float) -> Iterator[WordBatch]:
        """Yield the words that became knowable, of flows that are still going on.

        Cut as it may be, a stream gives the words that ``encode`` gives for the flows that it ends as, in the order in
        which they began; but for stragglers of a flow that was reset, which come after its closing word, and packets
        older than those before them. A device is known by what its flow's first packet shows.

        Args:
            flows: the rows of a ``FlowStore``, the same in every call.
            progress: since the last call.
            upto_s: no later packet will be older; Unix seconds.
        """
        events = self._standing_of(flows).agenda.advance(flows, progress, upto_s)
        yield from self._follow_events(flows, progress.reached, events)

    def hasten(self, flows: FlowBatch, count: int) -> Iterator[WordBatch]:
        """Yield the closing words of the ``count`` flows that are due soonest, before their time.

        Args:
            flows: as given to ``follow``.
            count: how many; fewer where fewer flows have ended.
        """
        events = self._standing_of(flows).agenda.hasten(flows, count)
        yield from self._follow_events(flows, Milestones.empty(), events)

    def _standing_of(self, flows: FlowBatch) -> _Standing:
        if self._standing is None:
            self._standing = _Standing(len(flows))
        return self._standing

    def _follow_events(self, flows: FlowBatch, reached: Milestones, events: Events) -> Iterator[WordBatch]:
        standing = self._standing_of(flows)
        opened = events.row[events.kind == OPEN_KIND]
        standing.ends.put(opened, _Ends.of(flows.take(opened), self._local_networks))
        closed = events.row[events.kind == CLOSE_KIND]
        standing.ends.answered[closed] = _has_answered(flows.take(closed))
        noted = replace(flows, milestones=reached)
        batch = _Batch(flows=flows, noted=noted, ends=standing.ends, opened=standing.opened)
        yield from self._encode_in_order(batch, events, FOLLOWED_EVENTS)

    def _encode_in_order(self, batch: _Batch, events: Events, chunk_events: int) -> Iterator[WordBatch]:
        remembered = np.flatnonzero(events.kind != PROBE_KIND)
        start, passed = 0, 0
        while start < len(events):
            due = passed + HOUSEKEEPING_EVENTS - self._event_count % HOUSEKEEPING_EVENTS
            mark = int(remembered[due - 1]) + 1 if due <= len(remembered) else len(events)
            stop = min(mark, start + chunk_events)
            words = self._encode_events(batch, events.take(slice(start, stop)))
            if len(words):
                yield words
            count = int(np.searchsorted(remembered, stop)) - passed
            self._event_count, passed, start = self._event_count + count, passed + count, stop
            if count and self._event_count % HOUSEKEEPING_EVENTS == 0:
                self._trim()

    def _trim(self) -> None:
        self._admitted_count = 0
        self._table.evict()
        self._rhythm.trim()
        self._neighbours.trim()

    def _encode_events(self, batch: _Batch, events: Events) -> WordBatch:
        flows, ends = batch.flows, batch.ends
        event, side = np.nonzero(ends.speaks[events.row])
        row, kind, at_s = events.row[event], events.kind[event], events.at_s[event]
        is_close, is_probe = kind == CLOSE_KIND, kind == PROBE_KIND
        key = ends.key[row, side]
        evidence = np.where(side == 0, ~is_probe, is_close & ends.answered[row])
        device, starts = self._attribute(flows, key, row, side, evidence, at_s, is_probe)
        words = np.zeros((len(row), len(FIELD_NAMES)), dtype=np.uint8)
        said = np.flatnonzero(~is_probe)
        picked = flows.take(row[said])
        own, peer = _own_and_peer(picked, side[said])
        kinds = self._peer_kinds(own, peer, event[said], kind[said], flows, events)
        spoken = open_buckets(picked, directions(side[said] == 0, ends.both_local[row[said]]), kinds)
        self._rhythm.fill(
            spoken,
            device=device[said],
            device_key=np.where(device[said] == UNATTRIBUTED, np.uint64(0), key[said]),
            peer_key=hash_columns(peer[:, 0], peer[:, 1]),
            is_orig=side[said] == 0,
            is_close=is_close[said],
            at_s=at_s[said],
            flows=picked,
        )
        self._close(spoken, batch, row[said], side[said], is_close[said], picked)
        words[said] = spoken
        heard = ~is_probe | (device != UNATTRIBUTED)  # nobody is accused by a probe of nobody's flow
        probes = np.flatnonzero(is_probe & heard)
        if len(probes):
            words[probes] = self._probe(batch, row[probes], side[probes], events.milestone[event[probes]])
        return WordBatch(
            fields=words[heard],
            device=device[heard].astype(np.int32),
            flow=row[heard],
            is_close=is_close[heard],
            is_probe=is_probe[heard],
            is_orig=side[heard] == 0,
            known_at_s=at_s[heard],
            starts_sentence=starts[heard],
        )

    def _peer_kinds(
        self,
        own: npt.NDArray[np.uint64],
        peer: npt.NDArray[np.uint64],
        event: npt.NDArray[np.int64],
        kind: npt.NDArray[np.uint8],
        flows: FlowBatch,
        events: Events,
    ) -> npt.NDArray[np.uint8]:
        """By address, and for openings by what the peer did before; a closing word takes its opening's."""
        kinds = peer_kinds(own, peer)
        opens = np.flatnonzero(kind == OPEN_KIND)
        refined = kinds[opens]
        spoken = np.flatnonzero(events.kind != PROBE_KIND)
        self._neighbours.name(
            refined,
            peer[opens],
            np.searchsorted(spoken, event[opens]),
            flows=flows,
            row=events.row[spoken],
            is_close=events.kind[spoken] == CLOSE_KIND,
            at_s=events.at_s[spoken],
        )
        kinds[opens] = refined
        return kinds

    def _close(
        self,
        words: npt.NDArray[np.uint8],
        batch: _Batch,
        row: npt.NDArray[np.int64],
        side: npt.NDArray[np.int64],
        is_close: npt.NDArray[np.bool_],
        picked: FlowBatch,
    ) -> None:
        """Keep the openings among the words, and make of each closing word its opening and the outcome."""
        batch.opened[row[~is_close], side[~is_close]] = words[~is_close]
        closing = batch.opened[row[is_close], side[is_close]]
        closing[:, _RENEWED] = words[is_close][:, _RENEWED]
        add_outcome(closing, Outcome.of(picked.take(is_close)), self._vocabulary)
        words[is_close] = closing

    def _probe(
        self,
        batch: _Batch,
        row: npt.NDArray[np.int64],
        side: npt.NDArray[np.int64],
        milestone: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.uint8]:
        """A flow's opening, and how the flow stood at a milestone."""
        words: npt.NDArray[np.uint8] = batch.opened[row, side]
        add_outcome(words, Outcome.so_far(batch.noted, milestone), self._vocabulary, PROBE_KIND)
        return words

    def _attribute(
        self,
        flows: FlowBatch,
        key: npt.NDArray[np.uint64],
        row: npt.NDArray[np.int64],
        side: npt.NDArray[np.int64],
        evidence: npt.NDArray[np.bool_],
        at_s: npt.NDArray[np.float64],
        is_probe: npt.NDArray[np.bool_],
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Device index of each word, and where a device's sentence starts."""
        unique, inverse = np.unique(key, return_inverse=True)
        slots = self._table.find(unique)
        first = np.full(len(unique), len(key), dtype=np.int64)
        proven = np.flatnonzero(evidence)
        np.minimum.at(first, inverse[proven], proven)
        is_known = slots >= 0
        first[is_known] = 0
        newcomers = np.flatnonzero(~is_known & (first < len(key)))
        room = NEW_DEVICES_PER_HOUSEKEEPING - self._admitted_count
        newcomers = newcomers[np.argsort(first[newcomers])][:room]
        starts = np.zeros(len(key), dtype=bool)
        if len(newcomers):
            self._admitted_count += len(newcomers)
            slots[newcomers] = self._table.slots(unique[newcomers])
            starts[first[newcomers]] = True
            self._describe(flows, slots[newcomers], row[first[newcomers]], side[first[newcomers]])
        has_slot = slots >= 0
        device = np.where(has_slot[inverse] & (np.arange(len(key)) >= first[inverse]), slots[inverse], UNATTRIBUTED)
        attributed = (device != UNATTRIBUTED) & ~is_probe
        np.maximum.at(self._table["last_at_s"], device[attributed], at_s[attributed])
        return device, starts

    def _describe(
        self,
        flows: FlowBatch,
        slots: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
        sides: npt.NDArray[np.int64],
    ) -> None:
        for slot, row, side in zip(slots.tolist(), rows.tolist(), sides.tolist(), strict=True):
            high, low = (flows.resp_address if side else flows.orig_address)[row].tolist()
            mac = int((flows.resp_mac if side else flows.orig_mac)[row])
            device = Device(index=slot, mac=_mac_text(mac) if mac else None, address=address_from_words(high, low))
            self._devices.extend([device] * (slot + 1 - len(self._devices)))
            self._devices[slot] = device

    def _encode_untimed(self, flows: FlowBatch, chunk_events: int) -> Iterator[WordBatch]:
        for start in range(0, len(flows), chunk_events):
            row = np.arange(start, min(len(flows), start + chunk_events))
            part = flows.take(row)
            ends = _Ends.of(part, self._local_networks)
            is_orig = ends.speaks[:, 0]
            own, peer = _own_and_peer(part, (~is_orig).astype(np.int64))
            opening = open_buckets(part, directions(is_orig, ends.both_local), peer_kinds(own, peer))
            closing = opening.copy()
            add_outcome(closing, Outcome.of(part), self._vocabulary)
            yield WordBatch(
                fields=np.stack([opening, closing], axis=1).reshape(-1, len(FIELD_NAMES)),
                device=np.full(2 * len(row), UNATTRIBUTED, dtype=np.int32),
                flow=np.repeat(row, 2),
                is_close=np.tile([False, True], len(row)),
                is_probe=np.zeros(2 * len(row), dtype=np.bool_),
                is_orig=np.repeat(is_orig, 2),
                known_at_s=np.zeros(2 * len(row)),
                starts_sentence=np.tile([True, False], len(row)),
            )


def local_ends(flows: FlowBatch, networks: Sequence[IpNetwork] = ()) -> npt.NDArray[np.bool_]:
    """Which ends of each flow are hosts of the network under watch, bool (n, 2): originator, responder."""
    orig = _is_local(flows.orig_address, flows.orig_is_local, flows.orig_mac, networks)
    resp = _is_local(flows.resp_address, flows.resp_is_local, np.zeros_like(flows.resp_mac), networks)
    return np.stack([orig, resp], axis=1)


def _own_and_peer(
    flows: FlowBatch, side: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    is_orig = (side == 0)[:, None]
    own = np.where(is_orig, flows.orig_address, flows.resp_address)
    peer = np.where(is_orig, flows.resp_address, flows.orig_address)
    return own, peer


def _mac_text(mac: int) -> str:
    return ":".join(f"{mac >> shift & 0xFF:02x}" for shift in range(40, -8, -8))


@dataclass(frozen=True, slots=True)
class _Batch:
    """The flows that are being encoded."""

    flows: FlowBatch  # without milestones
    noted: FlowBatch  # with them
    ends: _Ends
    opened: npt.NDArray[np.uint8]  # (n, 2, F): what the opening word said, by flow and side


@dataclass(frozen=True, slots=True)
class _Ends:
    """Which ends of each flow are hosts of this network, and by which key they are known."""

    speaks: npt.NDArray[np.bool_]  # (n, 2): originator, responder has a sentence that this flow belongs to
    key: npt.NDArray[np.uint64]  # (n, 2)
    both_local: npt.NDArray[np.bool_]  # (n,)
    answered: npt.NDArray[np.bool_]  # (n,): the responder sent something

    @classmethod
    def of(cls, flows: FlowBatch, networks: Sequence[IpNetwork]) -> _Ends:
        orig_local, resp_local = local_ends(flows, networks).T
        is_self = (flows.orig_address == flows.resp_address).all(axis=1)
        speaks = np.stack([orig_local | ~resp_local, resp_local & ~is_self], axis=1)
        key = np.stack(
            [
                _device_keys(flows.orig_address, flows.orig_mac, orig_local),
                _device_keys(flows.resp_address, flows.resp_mac, resp_local),
            ],
            axis=1,
        )
        return cls(speaks=speaks, key=key, both_local=orig_local & resp_local, answered=_has_answered(flows))

    @classmethod
    def blank(cls, count: int) -> _Ends:
        """Room for the ends of flows."""
        return cls(
            speaks=np.zeros((count, 2), dtype=np.bool_),
            key=np.zeros((count, 2), dtype=np.uint64),
            both_local=np.zeros(count, dtype=np.bool_),
            answered=np.zeros(count, dtype=np.bool_),
        )

    def put(self, rows: npt.NDArray[np.int64], other: _Ends) -> None:
        """Overwrite the ends of the flows at ``rows``."""
        for name in self.__slots__:
            getattr(self, name)[rows] = getattr(other, name)


class _Standing:
    """What is remembered of each row of a store from a flow's opening to its closing."""

    def __init__(self, row_count: int) -> None:
        self.agenda = Agenda(row_count)
        self.ends = _Ends.blank(row_count)
        self.opened = np.zeros((row_count, 2, len(FIELD_NAMES)), dtype=np.uint8)


def _has_answered(flows: FlowBatch) -> npt.NDArray[np.bool_]:
    return np.asarray((flows.resp_packets > 0) | (flows.resp_bytes > 0))


def _is_local(
    addresses: npt.NDArray[np.uint64],
    flags: npt.NDArray[np.int8],
    macs: npt.NDArray[np.uint64],
    networks: Sequence[IpNetwork],
) -> npt.NDArray[np.bool_]:
    unicast = is_unicast(addresses)
    by_address = is_private(addresses) | in_any(addresses, networks)
    unnumbered = ~unicast & (macs != 0)  # a DHCP client that has no address yet still has its MAC
    return np.asarray((unicast & ((flags == 1) | by_address)) | unnumbered)


def _device_keys(
    addresses: npt.NDArray[np.uint64], macs: npt.NDArray[np.uint64], is_local: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint64]:
    return np.where(is_local & (macs != 0), macs, hash_columns(addresses[:, 0], addresses[:, 1]) | np.uint64(1 << 63))
