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
_LONG_AGO_US: Final = -(2**60)
_FAR_US: Final = 2**60

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
        recent = np.full(RECENT_OPENS, _LONG_AGO_US, dtype=np.int64)
        self._recent = SlotTable({**at, "opens_at_us": recent, "fresh_at_us": recent}, 2 * 4096)

    @property
    def evicted_count(self) -> int:
        """Entries forgotten because a table was full."""
        return sum(table.evicted_count for table in self._tables)

    @property
    def _tables(self) -> tuple[SlotTable, ...]:
        return (self._devices, self._peers, self._channels, self._services, self._recent)

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
        self._fill_same_size(words, closes, channel[closes], flows.take(closes))

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
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(before_s > 0, gap_s / before_s, np.nan)
        regular = (ratio >= REGULAR_RATIO[0]) & (ratio <= REGULAR_RATIO[1])
        run = groups.run_length(regular, table["regular"])
        words[opens, FIELD_INDEX["channel_gap"]] = _optional_buckets(gap_s, GAP_EDGES_S)
        words[opens, FIELD_INDEX["interval_ratio"]] = _optional_buckets(ratio, RATIO_EDGES)
        words[opens, FIELD_INDEX["regular_count"]] = edge_buckets(run, COUNT_EDGES)
        _remember(table, groups, now_s, open_at_s=now_s, interval_s=gap_s, regular=run)
        is_new = np.zeros(len(slots), dtype=bool)
        is_new[opens] = np.isnan(gap_s)
        return is_new

    def _fill_peer(
        self, words: npt.NDArray[np.uint8], slots: Ints, is_close: Mask, is_new: Mask, failed: Mask, at_s: Floats
    ) -> Mask:
        """Gap, contacts, failures and ports of the peer; returns which openings reach a peer not met for a minute."""
        table, groups = self._peers, Groups(slots)
        marked_s = np.where(is_close, np.nan, at_s)
        before_s = _previous_marked(groups, marked_s, table["open_at_s"])
        gap_s = at_s - before_s
        contacts = groups.sum_before(~is_close, table["opens"])
        closes = groups.sum_before(is_close, table["closes"])
        failures = groups.sum_before(is_close & failed, table["failures"])
        channels = groups.sum_before(is_new, table["channels"])
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(closes > 0, failures / closes, np.nan)
        words[:, FIELD_INDEX["peer_failed"]] = _optional_buckets(share, SHARE_EDGES)
        opens = ~is_close
        words[opens, FIELD_INDEX["peer_gap"]] = _optional_buckets(gap_s[opens], GAP_EDGES_S)
        words[opens, FIELD_INDEX["peer_contacts"]] = edge_buckets(contacts[opens], COUNT_EDGES)
        words[opens, FIELD_INDEX["peer_ports"]] = edge_buckets((channels + is_new)[opens], COUNT_EDGES)
        novelty = np.where(contacts == 0, NOVELTIES.index("all_new"), NOVELTIES.index("known_peer"))
        novelty = np.where(is_new, novelty, NOVELTIES.index("known_channel"))
        words[opens, FIELD_INDEX["novelty"]] = novelty[opens]
        _remember(
            table, groups, at_s,
            open_at_s=np.where(is_close, before_s, at_s),
            opens=contacts + ~is_close, closes=closes + is_close,
            failures=failures + (is_close & failed), channels=channels + is_new,
        )  # fmt: skip
        return opens & ~(gap_s <= FANOUT_HORIZON_S)

    def _fill_service(self, words: npt.NDArray[np.uint8], opens: Ints, slots: Ints, is_new: Mask, at_s: Floats) -> None:
        table, groups = self._services, Groups(slots)
        own = groups.sum_before(np.ones(len(slots), dtype=bool), table["opens"])
        peers = groups.sum_before(is_new, table["peers"])
        words[opens, FIELD_INDEX["service_opens"]] = edge_buckets(own, COUNT_EDGES)
        words[opens, FIELD_INDEX["service_peers"]] = edge_buckets(peers + is_new, COUNT_EDGES)
        novelty = words[opens, FIELD_INDEX["novelty"]]
        novelty[(novelty == NOVELTIES.index("all_new")) & (own > 0)] = NOVELTIES.index("known_service")
        words[opens, FIELD_INDEX["novelty"]] = novelty
        _remember(table, groups, at_s, opens=own + 1, peers=peers + is_new)

    def _fill_fanout(self, words: npt.NDArray[np.uint8], opens: Ints, slots: Ints, fresh: Mask, at_s: Floats) -> None:
        table, groups = self._recent, Groups(slots)
        at_us = np.rint(at_s * _MICROSECONDS).astype(np.int64)
        every = _Recent(table["opens_at_us"], groups, at_us, np.ones(len(at_s), dtype=bool))
        new = _Recent(table["fresh_at_us"], groups, at_us, fresh)
        for name, recent, span_s in (
            ("rate_1s", every, 1.0),
            ("rate_10s", every, 10.0),
            ("fanout_1s", new, 1.0),
            ("fanout_10s", new, 10.0),
            ("fanout_60s", new, 60.0),
        ):
            words[opens, FIELD_INDEX[name]] = edge_buckets(recent.count_within(span_s), RATE_EDGES)
        active, last_s = groups.last(at_s)
        table["last_at_s"][active] = last_s
        table["opens_at_us"][active] = every.newest()
        table["fresh_at_us"][active] = new.newest()

    def _fill_same_size(self, words: npt.NDArray[np.uint8], closes: Ints, slots: Ints, flows: FlowBatch) -> None:
        table, groups = self._channels, Groups(slots)
        orig_before = groups.previous(flows.orig_bytes, table["orig_bytes"])
        resp_before = groups.previous(flows.resp_bytes, table["resp_bytes"])
        same_orig, same_resp = flows.orig_bytes == orig_before, flows.resp_bytes == resp_before
        verdict = np.where(same_orig, SAME_SIZES.index("same_orig"), SAME_SIZES.index("differs"))
        verdict = np.where(
            same_resp, np.where(same_orig, SAME_SIZES.index("same"), SAME_SIZES.index("same_resp")), verdict
        )
        words[closes, FIELD_INDEX["same_size"]] = np.where(orig_before == -2, SAME_SIZES.index("first"), verdict)
        for name, column in (("orig_bytes", flows.orig_bytes), ("resp_bytes", flows.resp_bytes)):
            active, value = groups.last(column)
            table[name][active] = value


class _Recent:
    """Instants of marked openings per group, old and new in one line, to count those within a span."""

    def __init__(self, stored_us: Ints, groups: Groups, at_us: Ints, marked: Mask) -> None:
        active = groups.sorted_slots[groups.starts]
        self._old_us = stored_us[active]  # (A, K), ascending
        self._rank = np.repeat(np.arange(len(active)), groups.lengths)
        self._groups = groups
        self._ordered_us = at_us[groups.order]
        self._kept = marked[groups.order]
        floor_us = int(at_us.min(initial=_FAR_US)) - 2 * _HORIZON_US
        span_us = int(at_us.max(initial=0)) - floor_us + 2 * _HORIZON_US
        old_us = np.maximum(self._old_us, floor_us) - floor_us
        old_line = (np.arange(len(active))[:, None] * span_us + old_us).ravel()
        self._position = self._rank * span_us + self._ordered_us - floor_us
        self._line = np.sort(np.concatenate([old_line, self._position[self._kept]]), kind="stable")

    def count_within(self, span_s: float) -> Ints:
        """Marked openings in the ``span_s`` seconds up to each opening, itself included, at most ``RECENT_OPENS``."""
        upto = (self._rank + 1) * RECENT_OPENS + np.cumsum(self._kept)
        since = np.searchsorted(self._line, self._position - int(span_s * _MICROSECONDS), side="right")
        counts = np.empty(len(self._position), dtype=np.int64)
        counts[self._groups.order] = np.minimum(upto - since, RECENT_OPENS)
        return counts

    def newest(self) -> Ints:
        """The latest ``RECENT_OPENS`` marked instants of each active group, ascending, int64 (A, K)."""
        active_count = len(self._old_us)
        rank = np.concatenate([np.repeat(np.arange(active_count), RECENT_OPENS), self._rank[self._kept]])
        instants_us = np.concatenate([self._old_us.ravel(), self._ordered_us[self._kept]])
        order = np.lexsort((instants_us, rank))
        ends = np.searchsorted(rank[order], np.arange(active_count), side="right")
        newest: Ints = instants_us[order][ends[:, None] + np.arange(-RECENT_OPENS, 0)]
        return newest


def _previous_marked(groups: Groups, marked_s: Floats, carry: Floats) -> Floats:
    """The group's latest value before this row that is not NaN."""
    ordered = marked_s[groups.order]
    index = np.where(np.isnan(ordered), -1, np.arange(len(ordered)))
    shifted = np.full(len(ordered), -1)
    shifted[1:] = np.maximum.accumulate(index)[:-1]
    start = np.repeat(groups.starts, groups.lengths)
    inside = shifted >= start
    values = np.where(inside, ordered[np.maximum(shifted, 0)], carry[groups.sorted_slots])
    previous = np.empty_like(values)
    previous[groups.order] = values
    return previous


def _optional_buckets(values: Floats, edges: tuple[float, ...]) -> npt.NDArray[np.uint8]:
    """As ``edge_buckets``, with one more bucket at the end for "none yet" (NaN)."""
    return np.where(np.isnan(values), len(edges) + 2, edge_buckets(np.nan_to_num(values), edges)).astype(np.uint8)


def _remember(table: SlotTable, groups: Groups, at_s: Floats, **columns: npt.NDArray[Any]) -> None:
    for name, values in {"last_at_s": at_s, **columns}.items():
        active, last = groups.last(values)
        table[name][active] = last
