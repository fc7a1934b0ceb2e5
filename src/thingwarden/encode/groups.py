"""Running values within groups of rows, without a loop over rows.

In: the group of each row and what each group carried in from earlier rows. Out: per-row values in row order.
Must never: let the place where a stream is cut into batches change a value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class Groups:
    """Rows sorted by group, order kept within a group.

    Args:
        slots: int64 (n,), the group's row in its state table.

    Attributes:
        order: int64 (n,), the rows, group after group.
        slots: int64 (A,), the slot of each group.
        starts, lengths: int64 (A,), where in ``order`` each group begins, and how many rows it has.
        last_rows: int64 (A,), each group's last row.
    """

    def __init__(self, slots: Ints) -> None:
        self.order = slots.argsort(kind="stable")
        ordered = slots[self.order]
        breaks = np.empty(len(slots), dtype=bool)
        breaks[:1] = True
        np.not_equal(ordered[1:], ordered[:-1], out=breaks[1:])
        self.starts = breaks.nonzero()[0]
        self.slots = ordered[self.starts]
        ends = np.empty_like(self.starts)
        ends[:-1] = self.starts[1:]
        ends[-1:] = len(slots)
        self.lengths = ends - self.starts
        self.last_rows = self.order[ends - 1]
        self._first_rows = self.order[self.starts]
        self._before = np.empty_like(self.order)  # the row before in the same group; of first rows anything
        self._before[self.order[1:]] = self.order[:-1]
        self._before[self._first_rows] = 0

    def previous(self, values: npt.NDArray[Any], carry: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The group's value one row earlier, (n,); at a group's first row what ``carry[slot]`` holds."""
        previous = values[self._before]
        previous[self._first_rows] = carry[self.slots]
        return previous

    def latest(
        self, values: npt.NDArray[Any], is_known: npt.NDArray[np.bool_], carry: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        """The group's value at its latest earlier row that ``is_known``, (n,); ``carry[slot]`` where there is none."""
        place = np.where(is_known[self.order], np.arange(len(self.order)), -1)
        before = np.full_like(place, -1)
        np.maximum.accumulate(place[:-1], out=before[1:])
        is_carried = before < self.per_row(self.starts)
        latest = np.where(is_carried, self.per_row(carry[self.slots]), values[self.order[before]])
        return self.in_row_order(latest)

    def sum_before(self, values: npt.NDArray[Any], carry: Ints) -> Ints:
        """Sum of the group's values before this row, int64 (n,), starting from ``carry[slot]``."""
        sums: Ints = self.sums_before([values], [carry])[0]
        return sums

    def sums_before(self, values: list[npt.NDArray[Any]], carries: list[Ints]) -> Ints:
        """``sum_before`` of k columns at once, int64 (k, n)."""
        ordered = np.array(values, dtype=np.int64)[:, self.order]
        before = ordered.cumsum(axis=1) - ordered
        base = before[:, self.starts] - np.array([carry[self.slots] for carry in carries])
        sums = np.empty_like(before)
        sums[:, self.order] = before - base.repeat(self.lengths, axis=1)
        return sums

    def run_length(self, holds: npt.NDArray[np.bool_], carry: Ints) -> Ints:
        """How many rows in a row up to this one hold, int64 (n,), continuing from ``carry[slot]``."""
        place, start = np.arange(len(self.order)), self.per_row(self.starts)
        broken_at = np.maximum.accumulate(np.where(holds[self.order], -1, place))
        carried = self.per_row(carry[self.slots]) + place - start + 1
        return self.in_row_order(np.where(broken_at >= start, place - broken_at, carried))

    def last(self, values: npt.NDArray[Any]) -> tuple[Ints, npt.NDArray[Any]]:
        """Each group's slot and its last row's value."""
        return self.slots, values[self.last_rows]

    def per_row(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """One value per group, (A,), to one per row in the order of ``order``, (n,)."""
        return values.repeat(self.lengths)

    def in_row_order(self, ordered: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values in the order of ``order`` to the order of the rows."""
        values = np.empty_like(ordered)
        values[self.order] = ordered
        return values
