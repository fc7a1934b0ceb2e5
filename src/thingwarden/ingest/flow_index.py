"""Which row an open flow has: a hash table over the rows of a table of keys, without a Python object per flow.

In: keys of packets. Out: rows, -1 where no flow is open.
Must never: take two keys for one, or let a sender choose keys that collide: places depend on a secret number.
Source: open addressing with linear probing, D. Knuth, TAOCP volume 3, 6.4.
"""

from __future__ import annotations

import secrets
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.ingest.flow_key import FlowKeys, mix_words

_VACANT: Final = -1
_LEFT: Final = -2
"""A place whose flow is gone: a search goes on behind it."""

_PLACES_PER_ROW: Final = 4
"""Few enough places are taken, then, that a search ends after one or two."""

Rows = npt.NDArray[np.int64]


class FlowIndex:
    """Finds the rows of flows by their keys.

    Args:
        keys: a table's keys; those of a row must stand in it when the row is added, and until it is removed.
    """

    def __init__(self, keys: FlowKeys) -> None:
        self._keys = keys
        place_count = 1 << max(4, (_PLACES_PER_ROW * len(keys) - 1).bit_length())
        self._mask = np.int64(place_count - 1)
        self._secret = np.uint64(secrets.randbits(64))
        self._row_at = np.full(place_count, _VACANT, dtype=np.int64)
        self._place_of = np.full(len(keys), _VACANT, dtype=np.int64)
        self._used_count = 0

    def find(self, keys: FlowKeys) -> Rows:
        """The row of each key, int64 (n,); -1 where it has none."""
        place, found = self._homes(keys), np.full(len(keys), -1, dtype=np.int64)
        searching = np.arange(len(keys))
        while len(searching):
            row = self._row_at[place[searching]]
            is_taken = row >= 0
            is_same = is_taken.copy()
            is_same[is_taken] = _are_equal(keys.take(searching[is_taken]), self._keys.take(row[is_taken]))
            found[searching[is_same]] = row[is_same]
            searching = searching[~is_same & (row != _VACANT)]
            place[searching] = place[searching] + 1 & self._mask
        return found

    def add(self, rows: Rows) -> None:
        """Note rows whose keys differ from each other and from all that are noted."""
        if self._used_count + len(rows) > len(self._row_at) // 2:
            self._rebuild()
        place = self._homes(self._keys.take(rows))
        seeking = np.arange(len(rows))
        while len(seeking):
            vacant = seeking[self._row_at[place[seeking]] < 0]
            self._used_count += int(np.count_nonzero(self._row_at[place[vacant]] == _VACANT))
            self._row_at[place[vacant]] = rows[vacant]  # of several on one place the last stays
            has_won = self._row_at[place[seeking]] == rows[seeking]
            self._place_of[rows[seeking[has_won]]] = place[seeking[has_won]]
            seeking = seeking[~has_won]
            place[seeking] = place[seeking] + 1 & self._mask

    def remove(self, rows: Rows) -> None:
        """Forget rows that were added."""
        self._row_at[self._place_of[rows]] = _LEFT
        self._place_of[rows] = _VACANT

    def _rebuild(self) -> None:
        """Make the places vacant again that flows have left."""
        rows = np.flatnonzero(self._place_of >= 0)
        self._row_at[:] = _VACANT
        self._used_count = 0
        self.add(rows)

    def _homes(self, keys: FlowKeys) -> Rows:
        """Where the search for each key begins."""
        ports = keys.port[:, 0].astype(np.uint64) << np.uint64(32) | keys.port[:, 1].astype(np.uint64) << np.uint64(16)
        value = mix_words((ports | keys.kind) ^ self._secret)
        for column in range(keys.address.shape[1]):
            value = mix_words(value ^ keys.address[:, column])
        return (value >> np.uint64(1)).astype(np.int64) & self._mask


def _are_equal(one: FlowKeys, other: FlowKeys) -> npt.NDArray[np.bool_]:
    equal: npt.NDArray[np.bool_] = (one.address == other.address).all(axis=1)
    equal &= (one.port == other.port).all(axis=1) & (one.kind == other.kind)
    return equal
