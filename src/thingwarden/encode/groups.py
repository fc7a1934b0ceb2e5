"""Running values within groups of rows, without a loop over rows.

In: the group of each row and what each group carried in from earlier rows. Out: per-row values in row order.
Must never: let the place where a stream is cut into batches change a value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class Groups:
    """Rows sorted by group, order kept within a group.

    Args:
        slots: int64 (n,), the group's row in its state table.
    """

    def __init__(self, slots: npt.NDArray[np.int64]) -> None:
        self.order = np.argsort(slots, kind="stable")
        self.sorted_slots = slots[self.order]
        count = len(slots)
        self.is_first = np.ones(count, dtype=bool)
        self.is_first[1:] = self.sorted_slots[1:] != self.sorted_slots[:-1]
        self.starts = np.flatnonzero(self.is_first)
        self.lengths = np.diff(np.append(self.starts, count))
        self.is_last = np.append(self.is_first[1:], True)[:count]

    def previous(self, values: npt.NDArray[Any], carry: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The group's value one row earlier, (n,); at a group's first row what ``carry[slot]`` holds."""
        shifted = np.empty_like(values)
        ordered = values[self.order]
        shifted[1:] = ordered[:-1]
        shifted[self.is_first] = carry[self.sorted_slots[self.is_first]]
        return self._unsort(shifted)

    def sum_before(self, values: npt.NDArray[Any], carry: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Sum of the group's values before this row, int64 (n,), starting from ``carry[slot]``."""
        ordered = values[self.order].astype(np.int64)
        before = np.cumsum(ordered) - ordered
        base = before[self.starts] - carry[self.sorted_slots[self.starts]]
        return self._unsort(before - np.repeat(base, self.lengths))

    def run_length(self, holds: npt.NDArray[np.bool_], carry: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many rows in a row up to this one hold, int64 (n,), continuing from ``carry[slot]``."""
        ordered = holds[self.order]
        position = np.arange(len(ordered)) - np.repeat(self.starts, self.lengths)
        broken_at = np.maximum.accumulate(np.where(ordered, -1, np.arange(len(ordered))))
        broken_here = broken_at >= np.repeat(self.starts, self.lengths)
        carried = np.repeat(carry[self.sorted_slots[self.starts]], self.lengths) + position + 1
        return self._unsort(np.where(broken_here, np.arange(len(ordered)) - broken_at, carried))

    def last(self, values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Each group's slot and its last row's value."""
        return self.sorted_slots[self.is_last], values[self.order][self.is_last]

    def _unsort(self, ordered: npt.NDArray[Any]) -> npt.NDArray[Any]:
        values = np.empty_like(ordered)
        values[self.order] = ordered
        return values
