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

SPARE_ROWS: Final = 8192
"""Rows beyond the limit, for what comes between two evictions; more are made where even they are used up."""

KEY_BYTES: Final = 12
"""Memory of a key and its slot."""


class SlotTable:
    """Columns of state with a row per key.

    The columns are as long as they may become from the beginning: the system gives memory to the rows that are used.

    Args:
        columns: name -> value of a fresh row (a NumPy scalar or array; its dtype and shape are the column's);
            ``last_at_s`` must be among them and decides who is oldest.
        limit: most keys held after ``evict``.
    """

    def __init__(self, columns: Mapping[str, Any], limit: int) -> None:
        self._fresh = {name: np.asarray(value) for name, value in columns.items()}
        self._index = _Index()
        self._free: list[int] = []
        self._used = 0
        self._limit = limit
        self._columns = {name: _rows(value, limit + SPARE_ROWS) for name, value in self._fresh.items()}
        self.evicted_count = 0

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._columns[name]

    @property
    def row_bytes(self) -> int:
        """Memory of one key with its row."""
        return KEY_BYTES + sum(column[:1].nbytes for column in self._columns.values())

    def find(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """The slot of each key, int64 (n,); -1 where it has none."""
        return self._index.find(keys)

    def slots(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """The slot of each key, int64 (n,); keys not seen before get a fresh row, in the order in which they come."""
        found = self._index.find(keys)
        missing = (found < 0).nonzero()[0]
        if len(missing):
            fresh, first, inverse = np.unique(keys[missing], return_index=True, return_inverse=True)
            by_coming = first.argsort()
            slots = np.empty_like(first)
            slots[by_coming] = self._allocate(fresh[by_coming])
            found[missing] = slots[inverse]
        return found

    def evict(self) -> None:
        """Drop the oldest entries if the table is over its limit."""
        keys, slots = self._index.settle()
        if len(keys) <= self._limit:
            return
        drop_count = len(slots) - self._limit + self._limit // EVICTED_SHARE
        oldest = np.lexsort((slots, self._columns["last_at_s"][slots]))[:drop_count]
        self._index.drop(oldest)
        self._free += slots[oldest].tolist()
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
        self._index.add(keys, slots)
        return slots

    def _reserve(self, count: int) -> None:
        capacity = len(self._columns["last_at_s"])
        if count <= capacity:
            return
        for name, column in self._columns.items():
            longer = _rows(self._fresh[name], max(count, 2 * capacity))
            longer[:capacity] = column
            self._columns[name] = longer


class _Index:
    """Which slot a key has: two ascending columns for keys that are settled, a dictionary for the latest."""

    def __init__(self) -> None:
        self._keys = np.zeros(0, dtype=np.uint64)
        self._slots = np.zeros(0, dtype=np.int32)
        self._latest: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._keys) + len(self._latest)

    def find(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """The slot of each key, int64 (n,); -1 for keys that have none."""
        found = np.full(len(keys), -1, dtype=np.int64)
        if len(self._keys):
            place = self._keys.searchsorted(keys)
            place[place == len(self._keys)] = 0
            is_settled = self._keys[place] == keys
            found[is_settled] = self._slots[place[is_settled]]
        if self._latest:
            others = (found < 0).nonzero()[0]
            get = self._latest.get
            found[others] = [get(key, -1) for key in keys[others].tolist()]
        return found

    def add(self, keys: npt.NDArray[np.uint64], slots: npt.NDArray[np.int64]) -> None:
        """Note keys that have no slot yet."""
        self._latest.update(zip(keys.tolist(), slots.tolist(), strict=True))

    def settle(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
        """Bring the latest keys to the others; all keys, ascending, and their slots."""
        if self._latest:
            keys = np.fromiter(self._latest.keys(), dtype=np.uint64, count=len(self._latest))
            slots = np.fromiter(self._latest.values(), dtype=np.int32, count=len(self._latest))
            order = keys.argsort()
            place = self._keys.searchsorted(keys[order])
            self._keys = np.insert(self._keys, place, keys[order])
            self._slots = np.insert(self._slots, place, slots[order])
            self._latest.clear()
        return self._keys, self._slots

    def drop(self, places: npt.NDArray[np.int64]) -> None:
        """Forget the settled keys at ``places``."""
        self._keys, self._slots = np.delete(self._keys, places), np.delete(self._slots, places)


def _rows(fresh: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    return np.empty((count, *fresh.shape), dtype=fresh.dtype)
