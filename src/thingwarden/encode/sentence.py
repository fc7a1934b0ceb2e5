"""Flows to words in the order in which they become knowable, each in the sentence of its device.

In: ``FlowBatch``. Out: ``WordBatch`` chunks; the device table grows beside them.
Must never: let a word depend on a later packet, on how the stream is cut, or on an address.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.device import Device
from thingwarden.domain.flow import FlowBatch, address_from_words
from thingwarden.domain.word import UNATTRIBUTED, WordBatch
from thingwarden.encode.address import (
    IpNetwork,
    hash_columns,
    in_any,
    is_private,
    is_unicast,
    peer_kinds,
)
from thingwarden.encode.memory import SlotTable
from thingwarden.encode.rhythm import RENEWED_FIELDS, Rhythm
from thingwarden.encode.vocabulary import FIELD_INDEX, FIELD_NAMES, Vocabulary
from thingwarden.encode.word import add_outcome, directions, known_at_s, open_buckets

HOUSEKEEPING_EVENTS: Final = 4096
"""Tables are trimmed only when this many flow events have passed, so that trimming never depends on chunking."""

DEVICE_LIMIT: Final = 4096
NEW_DEVICES_PER_HOUSEKEEPING: Final = 256
"""More new local addresses than this among 4,096 events are a spoofed flood: the rest stays unattributed."""

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
        self._event_count = 0
        self._admitted_count = 0

    @property
    def devices(self) -> Sequence[Device]:
        """The devices met so far, by index."""
        return self._devices

    @property
    def evicted_count(self) -> int:
        """Devices and remembered peers forgotten because a table was full."""
        return self._table.evicted_count + self._rhythm.evicted_count

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
        ends = _Ends.of(flows, self._local_networks)
        opened = np.zeros((len(flows), 2, len(FIELD_NAMES)), dtype=np.uint8)
        at_s, row, is_close = _ordered_events(flows)
        start = 0
        while start < len(row):
            due = HOUSEKEEPING_EVENTS - self._event_count % HOUSEKEEPING_EVENTS
            part = slice(start, min(len(row), start + min(chunk_events, due)))
            yield self._encode_events(flows, ends, opened, at_s[part], row[part], is_close[part])
            self._event_count += part.stop - start
            start = part.stop
            if self._event_count % HOUSEKEEPING_EVENTS == 0:
                self._trim()

    def _trim(self) -> None:
        self._admitted_count = 0
        self._table.evict()
        self._rhythm.trim()

    def _encode_events(
        self,
        flows: FlowBatch,
        ends: _Ends,
        opened: npt.NDArray[np.uint8],
        at_s: npt.NDArray[np.float64],
        row: npt.NDArray[np.int64],
        is_close: npt.NDArray[np.bool_],
    ) -> WordBatch:
        event, side = np.nonzero(ends.speaks[row])
        word_row, word_close, word_at_s = row[event], is_close[event], at_s[event]
        key = ends.key[word_row, side]
        evidence = (side == 0) | (word_close & ends.answered[word_row])
        device, starts = self._attribute(flows, key, word_row, side, evidence, word_at_s)
        picked = flows.take(word_row)
        own, peer = _own_and_peer(picked, side)
        words = open_buckets(picked, directions(side == 0, ends.both_local[word_row]), peer_kinds(own, peer))
        self._rhythm.fill(
            words,
            device=device,
            device_key=np.where(device == UNATTRIBUTED, np.uint64(0), key),
            peer_key=hash_columns(peer[:, 0], peer[:, 1]),
            is_orig=side == 0,
            is_close=word_close,
            at_s=word_at_s,
            flows=picked,
        )
        opened[word_row[~word_close], side[~word_close]] = words[~word_close]
        closing = opened[word_row[word_close], side[word_close]]
        closing[:, _RENEWED] = words[word_close][:, _RENEWED]
        add_outcome(closing, picked.take(word_close), self._vocabulary)
        words[word_close] = closing
        return WordBatch(
            fields=words,
            device=device.astype(np.int32),
            flow=word_row,
            is_close=word_close,
            is_orig=side == 0,
            known_at_s=word_at_s,
            starts_sentence=starts,
        )

    def _attribute(
        self,
        flows: FlowBatch,
        key: npt.NDArray[np.uint64],
        row: npt.NDArray[np.int64],
        side: npt.NDArray[np.int64],
        evidence: npt.NDArray[np.bool_],
        at_s: npt.NDArray[np.float64],
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Device index of each word, and where a device's sentence starts."""
        unique, inverse = np.unique(key, return_inverse=True)
        slots = np.array([self._table.find(k) for k in unique.tolist()], dtype=np.int64)
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
        attributed = device != UNATTRIBUTED
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
            add_outcome(closing, part, self._vocabulary)
            yield WordBatch(
                fields=np.stack([opening, closing], axis=1).reshape(-1, len(FIELD_NAMES)),
                device=np.full(2 * len(row), UNATTRIBUTED, dtype=np.int32),
                flow=np.repeat(row, 2),
                is_close=np.tile([False, True], len(row)),
                is_orig=np.repeat(is_orig, 2),
                known_at_s=np.zeros(2 * len(row)),
                starts_sentence=np.tile([True, False], len(row)),
            )


def local_ends(flows: FlowBatch, networks: Sequence[IpNetwork] = ()) -> npt.NDArray[np.bool_]:
    """Which ends of each flow are hosts of the network under watch, bool (n, 2): originator, responder."""
    orig = _is_local(flows.orig_address, flows.orig_is_local, flows.orig_mac, networks)
    resp = _is_local(flows.resp_address, flows.resp_is_local, np.zeros_like(flows.resp_mac), networks)
    return np.stack([orig, resp], axis=1)


def _ordered_events(
    flows: FlowBatch,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Instants, flow rows and kinds of all openings and closings, in knowable order."""
    count = len(flows)
    at_s = np.concatenate([flows.started_at_s, np.maximum(known_at_s(flows), flows.started_at_s)])
    order = np.argsort(at_s, kind="stable")
    return at_s[order], order % max(count, 1), order >= count


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
        answered = (flows.resp_packets > 0) | (flows.resp_bytes > 0)
        return cls(speaks=speaks, key=key, both_local=orig_local & resp_local, answered=answered)


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
