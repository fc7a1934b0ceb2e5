"""Meter packets as they come: every chunk costs what it holds, however many flows are open.

In: ``PacketBatch`` chunks, the instant where no packet comes. Out: ``FlowProgress``; columns of a ``FlowStore`` kept up
to date.
Must never: count a packet otherwise than ``ingest.metering`` does, walk all open flows for a chunk, or grow.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import COLUMN_DTYPES, Milestones
from thingwarden.domain.flow_store import FlowProgress, FlowStore
from thingwarden.domain.packet import PacketBatch
from thingwarden.ingest.flow_index import FlowIndex
from thingwarden.ingest.flow_key import FlowKeys, key_packets
from thingwarden.ingest.flow_rows import opening_columns, outcome_columns
from thingwarden.ingest.flow_table import FlowTable
from thingwarden.ingest.metering import MAX_OPEN_FLOWS, Followed, follow_packets

_NOBODY: Final = -1
"""Row of a flow whose closing was told although it may have packets yet: nothing more is said of it."""

Rows = npt.NDArray[np.int64]


class LiveMeter:
    """Open flows in a table whose rows stay where they are, found by an index.

    Args:
        store: where the flows' columns are kept; nobody else writes them.
        open_limit: flows open at a time; beyond, those that would end soonest end at once and are counted.

    Attributes:
        evicted_count: flows that ended for want of room.
    """

    def __init__(self, store: FlowStore, *, open_limit: int = MAX_OPEN_FLOWS) -> None:
        self._store = store
        self._table = FlowTable.blank(FlowKeys.blank(open_limit))
        self._table.expires_at_s[:] = np.inf
        self._row = np.full(open_limit, _NOBODY, dtype=np.int64)
        self._slot_of = np.full(len(store.flows), _NOBODY, dtype=np.int64)
        self._free = np.arange(open_limit - 1, -1, -1)
        self._free_count = open_limit
        self._index = FlowIndex(self._table.keys)
        self.evicted_count = 0

    @property
    def open_count(self) -> int:
        """Flows open now."""
        return len(self._free) - self._free_count

    def meter(self, packets: PacketBatch) -> FlowProgress:
        """Count a chunk of packets.

        Args:
            packets: in the order of capture; the store must have a free row for each.
        """
        if not len(packets):
            return FlowProgress.none()
        slots = np.unique(self._index.find(key_packets(packets)[0]))
        slots = slots[slots >= 0]
        chunk = follow_packets(self._table.take(slots), packets)
        reached, chunk.flows.milestones = chunk.flows.milestones, Milestones.empty()
        slot = np.where(chunk.source >= 0, slots[chunk.source] if len(slots) else _NOBODY, _NOBODY)
        row = np.where(slot >= 0, self._row[slot], _NOBODY)
        opened = self._open(chunk, row)
        self._write(chunk.flows, row)
        now_s = float(packets.at_s.max())
        is_open = chunk.is_last & (chunk.flows.expires_at_s > now_s)
        ended = [row[~is_open], self._release(np.concatenate([slots[chunk.replaced], slot[(slot >= 0) & ~is_open]]))]
        ended.append(self._keep(chunk.flows, slot, row, is_open))
        ended.append(self.expire(now_s).ended)
        over = _known(np.unique(np.concatenate(ended)))
        touched = _known(row[is_open])
        reached = replace(reached, flow=row[reached.flow])
        return FlowProgress(
            opened=opened, reached=reached.at(reached.flow >= 0), touched=np.setdiff1d(touched, over), ended=over
        )

    def expire(self, now_s: float) -> FlowProgress:
        """End the flows whose time is over, packets or not."""
        due = np.flatnonzero(self._table.expires_at_s <= now_s)
        return replace(FlowProgress.none(), ended=_known(self._release(due)))

    def finish(self) -> FlowProgress:
        """End all open flows."""
        return self.expire(np.finfo(np.float64).max)

    def disown(self, rows: Rows) -> None:
        """Note that the closing of these flows was told: their rows are not written again."""
        slots = self._slot_of[rows]
        self._row[slots[slots >= 0]] = _NOBODY
        self._slot_of[rows] = _NOBODY

    def _open(self, chunk: Followed, row: Rows) -> Rows:
        """Give rows to the flows that begin, in the order of their packets; noted in ``row``."""
        new = np.flatnonzero(chunk.source < 0)
        new = new[np.argsort(chunk.first_packet[new], kind="stable")]
        rows = row[new] = self._store.open(len(new))
        columns = opening_columns(chunk.flows.take(new))
        columns["orig_mac"], columns["resp_mac"] = chunk.first_mac[new].T
        for name, column in columns.items():
            getattr(self._store.flows, name)[rows] = column
        return rows

    def _write(self, flows: FlowTable, row: Rows) -> None:
        """Bring the outcome columns of flows that had packets up to date."""
        known = np.flatnonzero(row >= 0)
        if len(known) < len(row):
            flows, row = flows.take(known), row[known]
        for name, column in outcome_columns(flows).items():
            getattr(self._store.flows, name)[row] = column.astype(COLUMN_DTYPES[name], copy=False)

    def _keep(self, flows: FlowTable, slot: Rows, row: Rows, is_open: npt.NDArray[np.bool_]) -> Rows:
        """Put the flows that are open into the table; rows of those that had to make room."""
        goes_on = np.flatnonzero(is_open & (slot >= 0))
        self._table.put(slot[goes_on], flows.take(goes_on))
        begins = np.flatnonzero(is_open & (slot < 0))
        evicted, begins = self._make_room(flows, begins, row)
        slots = self._take_slots(len(begins))
        fresh = flows.take(begins)
        self._table.keys.put(slots, fresh.keys)
        self._table.put(slots, fresh)
        self._row[slots] = row[begins]
        self._slot_of[row[begins]] = slots
        self._index.add(slots)
        return evicted

    def _make_room(self, flows: FlowTable, begins: Rows, row: Rows) -> tuple[Rows, Rows]:
        """Rows of the flows that end for want of room, and which of ``begins`` may stay."""
        excess = len(begins) - self._free_count
        if excess <= 0:
            return np.zeros(0, dtype=np.int64), begins
        self.evicted_count += excess
        used = np.flatnonzero(np.isfinite(self._table.expires_at_s))
        expiry_s = np.concatenate([self._table.expires_at_s[used], flows.expires_at_s[begins]])
        soonest = np.argpartition(expiry_s, excess - 1)[:excess]
        old = self._release(used[soonest[soonest < len(used)]])
        new = soonest[soonest >= len(used)] - len(used)
        return np.concatenate([old, row[begins[new]]]), np.delete(begins, new)

    def _take_slots(self, count: int) -> Rows:
        self._free_count -= count
        return self._free[self._free_count : self._free_count + count].copy()

    def _release(self, slots: Rows) -> Rows:
        """Free slots; the rows of their flows."""
        if not len(slots):
            return np.zeros(0, dtype=np.int64)
        self._index.remove(slots)
        self._table.expires_at_s[slots] = np.inf
        self._free[self._free_count : self._free_count + len(slots)] = slots
        self._free_count += len(slots)
        rows = self._row[slots]
        self._row[slots] = _NOBODY
        self._slot_of[_known(rows)] = _NOBODY
        return rows


def _known(rows: Rows) -> Rows:
    return rows[rows >= 0]
