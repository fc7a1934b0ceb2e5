"""Bounded tables of what is remembered per device, peer, channel and service.

In: 64-bit keys. Out: slots, rows of the table's columns.
Must never: grow past its limit, nor forget silently: evictions are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

EVICTED_SHARE: Final = 4
"""One in this many entries goes, the oldest first, when a table is full: rare enough to be cheap."""

_FIRST_CAPACITY: Final = 256


class SlotTable:
    """Columns of state with a row per key.

    Args:
        columns: name -> value of a fresh row (a NumPy scalar or array; its dtype and shape are the column's);
            ``last_at_s`` must be among them and decides who is oldest.
        limit: most keys held after ``evict``.
    """

    def __init__(self, columns: Mapping[str, Any], limit: int) -> None:
        self._fresh = {name: np.asarray(value) for name, value in columns.items()}
        self._slot_of: dict[int, int] = {}
        self._free: list[int] = []
        self._used = 0
        self._limit = limit
        self._columns = {name: np.repeat(value[None], _FIRST_CAPACITY, axis=0) for name, value in self._fresh.items()}
        self.evicted_count = 0

    def __len__(self) -> int:
        return len(self._slot_of)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._columns[name]

    def find(self, key: int) -> int:
        """The key's slot, -1 where it has none."""
        return self._slot_of.get(key, -1)

    def slots(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """The slot of each key, int64 (n,); keys not seen before get a fresh row, in the order in which they come."""
        unique, inverse = np.unique(keys, return_inverse=True)
        get = self._slot_of.get
        found = np.array([get(key, -1) for key in unique.tolist()], dtype=np.int64)
        missing = np.flatnonzero(found < 0)
        if len(missing):
            first = np.empty(len(unique), dtype=np.int64)
            first[inverse[::-1]] = np.arange(len(keys))[::-1]  # of equal keys the first is written last, and stays
            missing = missing[np.argsort(first[missing])]
            found[missing] = self._allocate(unique[missing])
        return found[inverse]

    def evict(self) -> None:
        """Drop the oldest entries if the table is over its limit."""
        if len(self._slot_of) <= self._limit:
            return
        keys = np.fromiter(self._slot_of.keys(), dtype=np.uint64, count=len(self._slot_of))
        slots = np.fromiter(self._slot_of.values(), dtype=np.int64, count=len(self._slot_of))
        drop_count = len(slots) - self._limit + self._limit // EVICTED_SHARE
        oldest = np.lexsort((slots, self._columns["last_at_s"][slots]))[:drop_count]
        for key in keys[oldest].tolist():
            self._free.append(self._slot_of.pop(key))
        self.evicted_count += drop_count

    def _allocate(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        count = len(keys)
        reused = [self._free.pop() for _ in range(min(count, len(self._free)))]
        fresh = range(self._used, self._used + count - len(reused))
        self._used += len(fresh)
        self._reserve(self._used)
        slots = np.array([*reused, *fresh], dtype=np.int64)
        for name, column in self._columns.items():
            column[slots] = self._fresh[name]
        self._slot_of.update(zip(keys.tolist(), slots.tolist(), strict=True))
        return slots

    def _reserve(self, count: int) -> None:
        capacity = len(self._columns["last_at_s"])
        if count <= capacity:
            return
        for name, column in self._columns.items():
            extra = np.repeat(self._fresh[name][None], max(count, 2 * capacity) - capacity, axis=0)
            self._columns[name] = np.concatenate([column, extra])
