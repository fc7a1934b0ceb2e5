"""The fields of a word that its device's past shows: gaps, periods, novelty, failures, fan-out.

In: the words of a chunk with their devices and peers. Out: rhythm fields, written in place; memory for the next chunk.
Must never: look ahead, or give other values when the same words come in other chunks.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import FlowBatch
from thingwarden.encode.address import hash_columns
from thingwarden.encode.groups import Groups
from thingwarden.encode.memory import SlotTable
from thingwarden.encode.vocabulary import (
    COUNT_EDGES,
    FIELD_INDEX,
    GAP_EDGES_S,
    NOVELTIES,
    RATE_EDGES,
    RATIO_EDGES,
    SAME_SIZES,
    SHARE_EDGES,
)
from thingwarden.encode.word import edge_buckets, is_failed

MEMORY_LIMIT: Final = 65536
"""Peers, channels and services remembered at most, each; about 4 MB a table."""

RENEWED_FIELDS: Final = ("device_gap", "peer_failed", "same_size")
"""Fields that a closing word has from its own instant; the other rhythm fields are those of its opening."""

RECENT_OPENS: Final = 128
"""Openings remembered per device and direction; the rate buckets end below it."""

FANOUT_HORIZON_S: Final = 60.0
REGULAR_RATIO: Final = (0.8, 1.25)
"""Two intervals whose ratio lies between these count as one period."""

_MICROSECONDS: Final = 1_000_000
_HORIZON_US: Final = int(FANOUT_HORIZON_S) * _MICROSECONDS
_LONG_AGO_US: Final = np.int32(-(2**31))
"""Half an hour, far beyond what is counted."""

_FAR_US: Final = 2**60

_COUNT_BUCKET: Final = edge_buckets(np.arange(COUNT_EDGES[-1] + 1), COUNT_EDGES)
_RATE_BUCKET: Final = edge_buckets(np.arange(RECENT_OPENS + 1), RATE_EDGES)
_SAME_SIZE: Final = np.array(
    [[SAME_SIZES.index(name) for name in row] for row in (("differs", "same_resp"), ("same_orig", "same"))],
    dtype=np.uint8,
)
"""By whether the originator's bytes are the same as last time, and the responder's."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Rhythm:
    """Memory per device, peer, channel (peer and service) and service, and the fields that it gives."""

    def __init__(self) -> None:
        never = np.float64(np.nan)
        none = np.int64(0)
        at = {"last_at_s": np.float64(0.0)}
        self._devices = SlotTable({**at, "word_at_s": never}, MEMORY_LIMIT)
        self._peers = SlotTable(
            {**at, "open_at_s": never, "opens": none, "closes": none, "failures": none, "channels": none}, MEMORY_LIMIT
        )
        self._channels = SlotTable(
            {**at, "open_at_s": never, "interval_s": never, "regular": none, "orig_bytes": np.int64(-2),
             "resp_bytes": np.int64(-2)}, MEMORY_LIMIT,
        )  # fmt: skip
        self._services = SlotTable({**at, "opens": none, "peers": none}, MEMORY_LIMIT)
        long_ago = np.full(RECENT_OPENS, _LONG_AGO_US)
        self._recent = SlotTable(
            {**at, "open_at_us": none, "opens_ago_us": long_ago, "fresh_at_us": none, "fresh_ago_us": long_ago},
            2 * 4096,
        )

    @property
    def evicted_count(self) -> int:
        """Entries forgotten because a table was full."""
        return sum(table.evicted_count for table in self._tables)

    @property
    def _tables(self) -> tuple[SlotTable, ...]:
        return (self._devices, self._peers, self._channels, self._services, self._recent)

    @property
    def device_bytes(self) -> int:
        """Memory of one device: its own row, and the latest openings in both directions."""
        return self._devices.row_bytes + 2 * self._recent.row_bytes

    @property
    def shared_bytes(self) -> int:
        """Most memory of what all devices share: peers, channels and services."""
        return MEMORY_LIMIT * sum(table.row_bytes for table in (self._peers, self._channels, self._services))

    def trim(self) -> None:
        """Bring every table back under its limit."""
        for table in self._tables:
            table.evict()

    def fill(
        self,
        words: npt.NDArray[np.uint8],
        *,
        device: Ints,
        device_key: npt.NDArray[np.uint64],
        peer_key: npt.NDArray[np.uint64],
        is_orig: Mask,
        is_close: Mask,
        at_s: Floats,
        flows: FlowBatch,
    ) -> None:
        """Write the rhythm fields of n words, in order, and remember what later words need.

        Args:
            words: uint8 (n, F), changed in place; closing words get only what is known anew when they close.
            device, device_key, peer_key: whose sentence, and with whom.
            is_orig, is_close: side and kind of each word.
            at_s: instants, never falling.
            flows: the n words' flows, row by row.
        """
        service = (flows.proto.astype(np.uint64) << np.uint64(17)) | flows.resp_port.astype(np.uint64)
        service |= np.where(is_orig, np.uint64(0), np.uint64(1 << 16))
        pair_key = hash_columns(device_key, peer_key)
        channel = self._channels.slots(hash_columns(pair_key, service))
        pair = self._peers.slots(pair_key)
        self._fill_device_gap(words, self._devices.slots(device_key), at_s)
        is_new = self._fill_channel(words, channel, ~is_close, at_s)
        fresh = self._fill_peer(words, pair, is_close, is_new, is_failed(flows), at_s)
        opens = np.flatnonzero(~is_close)
        served = self._services.slots(hash_columns(device_key, service)[opens])
        self._fill_service(words, opens, served, is_new[opens], at_s[opens])
        sided = self._recent.slots((device_key[opens] << np.uint64(1)) | is_orig[opens].astype(np.uint64))
        self._fill_fanout(words, opens, sided, fresh[opens], at_s[opens])
        closes = np.flatnonzero(is_close)
        self._fill_same_size(words, closes, channel[closes], flows.orig_bytes[closes], flows.resp_bytes[closes])

    def _fill_device_gap(self, words: npt.NDArray[np.uint8], slots: Ints, at_s: Floats) -> None:
        groups = Groups(slots)
        gap_s = at_s - groups.previous(at_s, self._devices["word_at_s"])
        words[:, FIELD_INDEX["device_gap"]] = _optional_buckets(gap_s, GAP_EDGES_S)
        _remember(self._devices, groups, at_s, word_at_s=at_s)

    def _fill_channel(self, words: npt.NDArray[np.uint8], slots: Ints, is_open: Mask, at_s: Floats) -> Mask:
        """Gap, ratio of the last two gaps, length of the regular run; returns which openings are a channel's first."""
        opens = np.flatnonzero(is_open)
        table, groups, now_s = self._channels, Groups(slots[opens]), at_s[opens]
        gap_s = now_s - groups.previous(now_s, table["open_at_s"])
        before_s = groups.previous(gap_s, table["interval_s"])
        ratio = np.full(len(opens), np.nan)
        with np.errstate(over="ignore"):
            np.divide(gap_s, before_s, out=ratio, where=before_s > 0)
        regular = (ratio >= REGULAR_RATIO[0]) & (ratio <= REGULAR_RATIO[1])
        run = groups.run_length(regular, table["regular"])
        _write(
            words, opens,
            channel_gap=_optional_buckets(gap_s, GAP_EDGES_S), interval_ratio=_optional_buckets(ratio, RATIO_EDGES),
            regular_count=_count_buckets(run),
        )  # fmt: skip
        _remember(table, groups, now_s, open_at_s=now_s, interval_s=gap_s, regular=run)
        is_new = np.zeros(len(slots), dtype=bool)
        is_new[opens] = np.isnan(gap_s)
        return is_new

    def _fill_peer(
        self, words: npt.NDArray[np.uint8], slots: Ints, is_close: Mask, is_new: Mask, failed: Mask, at_s: Floats
    ) -> Mask:
        """Gap, contacts, failures and ports of the peer; returns which openings reach a peer not met for a minute."""
        table, groups, opens = self._peers, Groups(slots), ~is_close
        before_s = groups.latest(at_s, opens, table["open_at_s"])
        gap_s = at_s - before_s
        failure = is_close & failed
        names = ("opens", "closes", "failures", "channels")
        added = [opens, is_close, failure, is_new]
        sums = groups.sums_before(added, [table[name] for name in names])
        contacts, closes, failures, channels = sums
        share = np.full(len(slots), np.nan)
        np.divide(failures, closes, out=share, where=closes > 0)
        words[:, FIELD_INDEX["peer_failed"]] = _optional_buckets(share, SHARE_EDGES)
        novelty = np.where(contacts == 0, NOVELTIES.index("all_new"), NOVELTIES.index("known_peer"))
        novelty[~is_new] = NOVELTIES.index("known_channel")
        _write(
            words, opens.nonzero()[0],
            peer_gap=_optional_buckets(gap_s[opens], GAP_EDGES_S), peer_contacts=_count_buckets(contacts[opens]),
            peer_ports=_count_buckets((channels + is_new)[opens]), novelty=novelty[opens],
        )  # fmt: skip
        last = dict(zip(names, sums + np.array(added), strict=True))
        _remember(table, groups, at_s, open_at_s=np.where(is_close, before_s, at_s), **last)
        is_fresh: Mask = opens & ~(gap_s <= FANOUT_HORIZON_S)
        return is_fresh

    def _fill_service(self, words: npt.NDArray[np.uint8], opens: Ints, slots: Ints, is_new: Mask, at_s: Floats) -> None:
        table, groups = self._services, Groups(slots)
        is_open = np.ones(len(slots), dtype=bool)
        own, peers = groups.sums_before([is_open, is_new], [table["opens"], table["peers"]])
        novelty = words[opens, FIELD_INDEX["novelty"]]
        novelty[(novelty == NOVELTIES.index("all_new")) & (own > 0)] = NOVELTIES.index("known_service")
        _write(
            words, opens,
            service_opens=_count_buckets(own), service_peers=_count_buckets(peers + is_new), novelty=novelty,
        )  # fmt: skip
        _remember(table, groups, at_s, opens=own + 1, peers=peers + is_new)

    def _fill_fanout(self, words: npt.NDArray[np.uint8], opens: Ints, slots: Ints, fresh: Mask, at_s: Floats) -> None:
        table, groups = self._recent, Groups(slots)
        at_us = np.rint(at_s * _MICROSECONDS).astype(np.int64)
        every = _Recent(table, ("open_at_us", "opens_ago_us"), groups, at_us, np.ones(len(at_s), dtype=bool))
        new = _Recent(table, ("fresh_at_us", "fresh_ago_us"), groups, at_us, fresh)
        _write(
            words, opens,
            rate_1s=_rate_buckets(every.count_within(1.0)), rate_10s=_rate_buckets(every.count_within(10.0)),
            fanout_1s=_rate_buckets(new.count_within(1.0)), fanout_10s=_rate_buckets(new.count_within(10.0)),
            fanout_60s=_rate_buckets(new.count_within(60.0)),
        )  # fmt: skip
        active, last_s = groups.last(at_s)
        table["last_at_s"][active] = last_s
        every.remember()
        new.remember()

    def _fill_same_size(
        self, words: npt.NDArray[np.uint8], closes: Ints, slots: Ints, orig_bytes: Ints, resp_bytes: Ints
    ) -> None:
        table, groups = self._channels, Groups(slots)
        orig_before = groups.previous(orig_bytes, table["orig_bytes"])
        same_orig = orig_bytes == orig_before
        same_resp = resp_bytes == groups.previous(resp_bytes, table["resp_bytes"])
        verdict = _SAME_SIZE[same_orig.astype(np.int8), same_resp.astype(np.int8)]
        verdict[orig_before == -2] = SAME_SIZES.index("first")
        words[closes, FIELD_INDEX["same_size"]] = verdict
        table["orig_bytes"][groups.slots] = orig_bytes[groups.last_rows]
        table["resp_bytes"][groups.slots] = resp_bytes[groups.last_rows]


class _Recent:
    """Instants of marked openings per group, old and new in one line, to count those within a span.

    A group's stretch of the line holds the ``RECENT_OPENS`` instants that it remembers, then its new ones. As time
    never falls each stretch ascends as it is; a group's stretch lies beyond that of the group before.

    Args:
        table: where each group's instants are remembered.
        names: of the columns of the latest instant, and of how far from it the others are, in half the room.
        groups, at_us, marked: the openings, their instants, and which of them count.
    """

    def __init__(self, table: SlotTable, names: tuple[str, str], groups: Groups, at_us: Ints, marked: Mask) -> None:
        self._groups, group_count = groups, len(groups.slots)
        self._latest_us, self._ago_us = table[names[0]], table[names[1]]
        kept = marked[groups.order]
        self._passed = kept.cumsum()
        ordered_us = at_us[groups.order]
        self._new_before = np.zeros(group_count + 1, dtype=np.int64)
        self._new_before[1:] = self._passed[groups.starts + groups.lengths - 1]
        self._first = np.arange(group_count) * RECENT_OPENS
        new_place = groups.per_row(self._first + RECENT_OPENS)[kept] + np.arange(self._new_before[-1])
        is_old = np.ones(group_count * RECENT_OPENS + len(new_place), dtype=bool)
        is_old[new_place] = False
        self._line_us = np.empty(len(is_old), dtype=np.int64)
        self._line_us[is_old] = (self._latest_us[groups.slots, None] + self._ago_us[groups.slots]).ravel()
        self._line_us[new_place] = ordered_us[kept]
        floor_us, now_us = int(at_us.min(initial=_FAR_US)) - 2 * _HORIZON_US, int(at_us.max(initial=0))
        lane_us = np.arange(group_count) * (now_us - floor_us + _HORIZON_US) - floor_us
        stretch = np.diff(self._new_before) + RECENT_OPENS
        self._line = np.minimum(np.maximum(self._line_us, floor_us), now_us) + lane_us.repeat(stretch)
        self._position = ordered_us + groups.per_row(lane_us)
        if (self._line[1:] < self._line[:-1]).any():  # a caller let time fall between its calls
            order = self._line.argsort(kind="stable")
            self._line, self._line_us = self._line[order], self._line_us[order]

    def count_within(self, span_s: float) -> Ints:
        """Marked openings in the ``span_s`` seconds up to each opening, itself included, at most ``RECENT_OPENS``."""
        since = self._line.searchsorted(self._position - int(span_s * _MICROSECONDS), side="right")
        upto = self._groups.per_row(self._first + RECENT_OPENS) + self._passed
        return self._groups.in_row_order(np.minimum(upto - since, RECENT_OPENS))

    def remember(self) -> None:
        """Keep the latest ``RECENT_OPENS`` marked instants of each group."""
        newest_us = self._line_us[(self._first + self._new_before[1:])[:, None] + np.arange(RECENT_OPENS)]
        latest_us = newest_us[:, -1]
        self._latest_us[self._groups.slots] = latest_us
        self._ago_us[self._groups.slots] = np.maximum(newest_us - latest_us[:, None], _LONG_AGO_US)


def _write(words: npt.NDArray[np.uint8], rows: Ints, **fields: npt.NDArray[Any]) -> None:
    for name, buckets in fields.items():
        words[rows, FIELD_INDEX[name]] = buckets


def _optional_buckets(values: Floats, edges: tuple[float, ...]) -> npt.NDArray[np.uint8]:
    """As ``edge_buckets``, with one more bucket at the end for "none yet" (NaN, which sorts beyond every number)."""
    return edge_buckets(values, (*edges, np.nan))


def _count_buckets(counts: Ints) -> npt.NDArray[np.uint8]:
    return _COUNT_BUCKET[np.minimum(counts, COUNT_EDGES[-1])]


def _rate_buckets(counts: Ints) -> npt.NDArray[np.uint8]:
    return _RATE_BUCKET[counts]


def _remember(table: SlotTable, groups: Groups, at_s: Floats, **columns: npt.NDArray[Any]) -> None:
    table["last_at_s"][groups.slots] = at_s[groups.last_rows]
    for name, values in columns.items():
        table[name][groups.slots] = values[groups.last_rows]
