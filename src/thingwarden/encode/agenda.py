"""What is known of flows in the order in which it becomes knowable: openings, milestones, closings.

In: a complete ``FlowBatch``, or the progress of flows that are still going on. Out: ``Events``.
Must never: tell a closing before its time, or twice; give another order to a stream than to the batch that it ends as.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import FlowBatch, Milestones
from thingwarden.domain.flow_store import FlowProgress
from thingwarden.encode.vocabulary import CLOSE_KIND, OPEN_KIND, PROBE_KIND
from thingwarden.encode.word import is_reset, known_at_s

_KINDS_IN_ORDER: Final = (OPEN_KIND, PROBE_KIND, CLOSE_KIND)

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Events:
    """Openings, milestones and closings of flows in knowable order; of one instant in that order."""

    at_s: Floats
    row: Rows
    kind: npt.NDArray[np.uint8]
    milestone: Rows  # row in the milestones, meaningless where the kind is another

    def __len__(self) -> int:
        return len(self.row)

    def take(self, part: slice) -> Events:
        """The events of a stretch."""
        return Events(self.at_s[part], self.row[part], self.kind[part], self.milestone[part])

    @classmethod
    def of(cls, flows: FlowBatch) -> Events:
        """All events of flows that are over."""
        every = np.arange(len(flows))
        return cls._in_order(flows, every, flows.milestones or Milestones.empty(), every, closing_at_s(flows))

    @classmethod
    def _in_order(
        cls,
        flows: FlowBatch,
        opened: Rows,
        noted: Milestones,
        closed: Rows,
        closed_at_s: Floats,
        floor_s: float = -np.inf,
    ) -> Events:
        reached_at_s = flows.started_at_s[noted.flow] + noted.elapsed_s
        at_s = np.concatenate([flows.started_at_s[opened], reached_at_s, closed_at_s])
        at_s = np.maximum(at_s, floor_s)
        order = np.argsort(at_s, kind="stable")
        kinds = np.repeat(np.array(_KINDS_IN_ORDER, dtype=np.uint8), [len(opened), len(noted), len(closed)])
        return cls(
            at_s=at_s[order],
            row=np.concatenate([opened, noted.flow, closed])[order],
            kind=kinds[order],
            milestone=order - len(opened),
        )


def closing_at_s(flows: FlowBatch) -> Floats:
    """When each flow's closing word is told, float64 (n,)."""
    return np.maximum(known_at_s(flows), flows.started_at_s)


class Agenda:
    """When the closings of flows that go on are due.

    A flow that ended is due when its outcome is knowable. A flow that was reset is due as soon as that, although the
    meter still counts its stragglers for some seconds: they come too late for its word, as they do in Zeek's log.

    Args:
        row_count: rows of the ``FlowStore``.
    """

    def __init__(self, row_count: int) -> None:
        self._due_at_s = np.full(row_count, np.inf)
        self._number = np.zeros(row_count, dtype=np.int64)  # how many flows began before; rows are used again
        self._begun_count = 0
        self._row_bound = 0
        self._told_until_s = -np.inf

    def advance(self, flows: FlowBatch, progress: FlowProgress, upto_s: float) -> Events:
        """What became knowable.

        Args:
            flows: the store's.
            progress: since the last call.
            upto_s: no later packet will be older; closings before this instant are told.

        Returns:
            Events that are never older than those returned before: what came out of order is told late.
        """
        opened = progress.opened
        self._number[opened] = self._begun_count + np.arange(len(opened))
        self._begun_count += len(opened)
        self._row_bound = max(self._row_bound, int(opened.max(initial=-1)) + 1)
        standing = flows.take(progress.touched)
        self._due_at_s[progress.touched] = np.where(is_reset(standing), closing_at_s(standing), np.inf)
        self._due_at_s[progress.ended] = closing_at_s(flows.take(progress.ended))
        return self._tell(flows, progress, np.flatnonzero(self._due_at_s[: self._row_bound] < upto_s))

    def hasten(self, flows: FlowBatch, count: int) -> Events:
        """Tell the closings of ``count`` flows that are due soonest now: there is no room to wait for their time."""
        waiting = np.flatnonzero(np.isfinite(self._due_at_s[: self._row_bound]))
        soonest = waiting[np.argsort(self._due_at_s[waiting], kind="stable")[:count]]
        self._due_at_s[soonest] = self._told_until_s
        return self._tell(flows, FlowProgress.none(), soonest)

    def _tell(self, flows: FlowBatch, progress: FlowProgress, due: Rows) -> Events:
        due = due[np.argsort(self._number[due])]
        by_number = np.argsort(self._number[progress.reached.flow], kind="stable")
        noted = progress.reached.at(by_number)
        events = Events._in_order(flows, progress.opened, noted, due, self._due_at_s[due], self._told_until_s)
        is_probe = events.kind == PROBE_KIND
        events.milestone[is_probe] = by_number[events.milestone[is_probe]]
        self._due_at_s[due] = np.inf
        if len(events):
            self._told_until_s = float(events.at_s[-1])
        return events
