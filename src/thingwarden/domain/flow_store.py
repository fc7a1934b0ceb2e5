"""Flows that are still going on and flows that lately ended, in one set of columns whose rows stay where they are.

In: how many rows there may be; which flows began, and of which all has been told. Out: ``FlowBatch`` columns that grow
in place, ``FlowProgress`` between one look and the next.
Must never: give a row to another flow before everybody who may still name it has been told to forget it.

A capture that is read to its end has one ``FlowBatch`` that never changes. A sensor has none: its flows begin, go on
and end for months. So a flow keeps the number of its row for as long as it is known, and rows are used again in the
order in which their flows were told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import FlowBatch, Milestones

ROW_COUNT: Final = 131_072
"""Flows known at a time: those open, at most 50,000, and the latest that ended. At the ten flows a second of a busy
home these are some two hours of history, in 25 MB."""

FORGOTTEN: Final = 0
"""The row of no flow: nothing is known of it, and whoever still names a flow that is gone names this one."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowProgress:
    """What became of flows between one look and the next; rows of a ``FlowStore``.

    Attributes:
        opened: int64, flows that began, in the order of their first packets.
        reached: how flows stood at the milestones that they reached, of these and of earlier flows.
        touched: int64, flows that had packets and are still open, those of ``opened`` among them; their outcome
            columns say how they stand.
        ended: int64, flows of which no further packet will be counted; their outcome columns are final.
    """

    opened: Rows
    reached: Milestones
    touched: Rows
    ended: Rows

    @classmethod
    def none(cls) -> Self:
        """Nothing happened."""
        nobody = np.zeros(0, dtype=np.int64)
        return cls(opened=nobody, reached=Milestones.empty(), touched=nobody, ended=nobody)


class FlowStore:
    """The rows, who has which, and in what order they become free.

    Args:
        row_count: at least 2; memory is taken as rows are used.

    Attributes:
        flows: all rows as columns; changed in place.
    """

    def __init__(self, row_count: int = ROW_COUNT) -> None:
        self.flows = FlowBatch.unknown(row_count)
        self._free = np.arange(row_count - 1, FORGOTTEN, -1)
        self._free_count = row_count - 1
        self._told: list[Rows] = []

    @property
    def free_count(self) -> int:
        """Rows that a new flow can have at once."""
        return self._free_count

    @property
    def told_count(self) -> int:
        """Flows that ended, of which everything has been told, and which are still known."""
        return sum(len(part) for part in self._told)

    def open(self, count: int) -> Rows:
        """Rows for ``count`` new flows, in the order in which they are to be used.

        Raises:
            ValueError: fewer are free.
        """
        if count > self._free_count:
            raise ValueError(f"{count} rows asked for, {self._free_count} are free")
        self._free_count -= count
        return self._free[self._free_count : self._free_count + count][::-1].copy()

    def tell(self, rows: Rows) -> None:
        """Note that these flows ended, and that all that there is to say of them has been said."""
        if len(rows):
            self._told.append(rows)

    def forget(self, count: int, spared: Rows) -> Rows:
        """Free the rows of ``count`` flows that were told, the earliest first; fewer where there are fewer.

        Args:
            count: how many.
            spared: rows of flows that somebody still needs: they stay, as long as others suffice.

        Returns:
            The rows that are now free; the caller makes everybody forget them.
        """
        told = np.concatenate([np.zeros(0, dtype=np.int64), *self._told])
        is_spared = np.zeros(len(self.flows), dtype=np.bool_)
        is_spared[spared] = True
        by_need = told[np.argsort(is_spared[told], kind="stable")]
        gone = by_need[:count]
        is_gone = np.zeros(len(self.flows), dtype=np.bool_)
        is_gone[gone] = True
        self._told = [told[~is_gone[told]]]
        self._free[self._free_count : self._free_count + len(gone)] = gone[::-1]
        self._free_count += len(gone)
        return gone
