"""What was harmless lately: kinds of flows with their counts, by the minute for an hour and by the day for a week.

In: innocent flows, as they close. Out: kinds of flows and how many of each there were before an instant.
Must never: grow beyond its bound, or keep a single flow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import FlowBatch
from thingwarden.respond.cut import Ends

MAX_KINDS: Final = 32_768
"""Kinds of flows remembered; where there are more, the rarest go."""

MAX_PENDING: Final = 8192
"""Flows kept uncounted at a time."""

MINUTES: Final = 60
DAYS: Final = 7
_MINUTE_S: Final = 60.0
_DAY_S: Final = 86_400.0
_LEAST_ROWS: Final = 256
_KEY_WIDTH: Final = 7

Counts = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """Kinds of flows, n of them.

    Attributes:
        ends: who talked to whom.
        flow_count: float64 (n,), harmless flows in an hour: the latest, or the week's mean where that is more.
        over_s: seconds that were looked at.
    """

    ends: Ends
    flow_count: npt.NDArray[np.float64]
    over_s: float


class TrafficMemory:
    """Counts harmless flows by who talked to whom about what."""

    def __init__(self) -> None:
        self._row: dict[bytes, int] = {}
        self._keys = np.zeros((_LEAST_ROWS, _KEY_WIDTH), dtype=np.uint64)
        self._minutes = np.zeros((_LEAST_ROWS, MINUTES), dtype=np.uint32)
        self._days = np.zeros((_LEAST_ROWS, DAYS), dtype=np.uint32)
        self._minute = self._day = 0
        self._first_at_s: float | None = None
        self._pending: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.float64]]] = []
        self._pending_count = 0
        self._drop_count = 0
        self._recalled: tuple[tuple[int, int, int, int], Remembered | None] | None = None

    def __len__(self) -> int:
        return len(self._row)

    def observe(self, flows: FlowBatch, rows: npt.NDArray[np.int64], at_s: npt.NDArray[np.float64]) -> None:
        """Take in finished flows, none of which is suspect or was touched by an act.

        Args:
            flows: the batch or store.
            rows: of n flows.
            at_s: float64 (n,), Unix seconds at which their end was known; never falls.
        """
        if not len(rows):
            return
        self._pending.append((_keys(flows, rows), at_s))
        self._pending_count += len(rows)
        if self._pending_count > MAX_PENDING:
            self.count()

    def count(self) -> None:
        """Count what was taken in since; until then it is only kept, so that nobody waits for it."""
        if not self._pending:
            return
        keys, at_s = (np.concatenate(parts) for parts in zip(*self._pending, strict=True))
        self._pending, self._pending_count = [], 0
        minutes = np.floor(at_s / _MINUTE_S)
        places = np.flatnonzero(np.append(True, minutes[1:] != minutes[:-1]))
        for part, began_s in zip(np.split(keys, places[1:]), at_s[places].tolist(), strict=True):
            self._add(part, began_s)

    def _add(self, keys: npt.NDArray[np.uint64], at_s: float) -> None:
        self._turn(at_s)
        found, counts = np.unique(keys, axis=0, return_counts=True)
        for key, count in zip(found, counts.tolist(), strict=True):
            row = self._row_of(key)
            self._minutes[row, self._minute % MINUTES] += count
            self._days[row, self._day % DAYS] += count

    def before(self, at_s: float) -> Remembered | None:
        """What was remembered of the time before an instant; None where that is nothing.

        An incident's own traffic is contested, so the minute and the day that it began in are left out; of its first
        day the hour before speaks.
        """
        minute, day = int(at_s // _MINUTE_S), int(at_s // _DAY_S)
        if self._pending and self._pending[0][1][0] < minute * _MINUTE_S:
            self.count()
        known = (minute, day, self._minute, self._drop_count)
        if self._recalled is None or self._recalled[0] != known:
            self._recalled = known, self._recall(minute, day)
        return self._recalled[1]

    def _recall(self, minute: int, day: int) -> Remembered | None:
        """What ``before`` tells; it stays true until the minute turns, for what comes now is of later minutes."""
        if self._first_at_s is None or not self._row:
            return None
        count = len(self._row)
        minutes = _within(self._minute - MINUTES + 1, min(minute, self._minute + 1), self._first_at_s, _MINUTE_S)
        days = _within(self._day - DAYS + 1, min(day, self._day + 1), self._first_at_s, _DAY_S)
        if not minutes and not days:
            return None
        latest = self._minutes[:count, [n % MINUTES for n in minutes]].sum(axis=1).astype(np.float64)
        hours = sum(min(_DAY_S, (n + 1) * _DAY_S - self._first_at_s) for n in days) / 3600.0
        usual = self._days[:count, [n % DAYS for n in days]].sum(axis=1) / max(hours, 1.0)
        return Remembered(
            ends=_ends(self._keys[:count].copy()),
            flow_count=np.maximum(latest, usual),
            over_s=max(len(minutes) * _MINUTE_S, hours * 3600.0),
        )

    def _turn(self, at_s: float) -> None:
        """Begin the minute and the day of an instant; what is an hour or a week old goes."""
        if self._first_at_s is None:
            self._first_at_s = at_s
            self._minute, self._day = int(at_s // _MINUTE_S), int(at_s // _DAY_S)
        minute, day = int(at_s // _MINUTE_S), int(at_s // _DAY_S)
        for n in range(self._minute + 1, min(minute, self._minute + MINUTES) + 1):
            self._minutes[:, n % MINUTES] = 0
        for n in range(self._day + 1, min(day, self._day + DAYS) + 1):
            self._days[:, n % DAYS] = 0
        self._minute, self._day = max(self._minute, minute), max(self._day, day)

    def _row_of(self, key: npt.NDArray[np.uint64]) -> int:
        name = key.tobytes()
        row = self._row.get(name)
        if row is None:
            if len(self._row) == MAX_KINDS:
                self._drop_rarest()
            row = self._row[name] = len(self._row)
            if row == len(self._keys):
                self._grow()
            self._keys[row] = key
        return row

    def _grow(self) -> None:
        self._keys, self._minutes, self._days = (
            np.concatenate([column, np.zeros_like(column)]) for column in (self._keys, self._minutes, self._days)
        )

    def _drop_rarest(self) -> None:
        """Half of the kinds go: the rarest of the week, the older of equally rare ones."""
        self._drop_count += 1
        kept = np.sort(np.argsort(self._days[:MAX_KINDS].sum(axis=1), kind="stable")[MAX_KINDS // 2 :])
        for column in (self._keys, self._minutes, self._days):
            column[: len(kept)] = column[kept]
            column[len(kept) :] = 0
        self._row = {self._keys[row].tobytes(): row for row in range(len(kept))}


def _within(first: int, beyond: int, since_s: float, length_s: float) -> list[int]:
    """Numbers of the minutes or days that do not all lie before an instant."""
    return [number for number in range(first, beyond) if (number + 1) * length_s > since_s]


def _keys(flows: FlowBatch, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    service = flows.proto[rows].astype(np.uint64) << np.uint64(16) | flows.resp_port[rows]
    columns = (flows.orig_mac[rows], flows.resp_mac[rows], service)
    return np.column_stack([*columns, flows.orig_address[rows], flows.resp_address[rows]])


def _ends(keys: npt.NDArray[np.uint64]) -> Ends:
    return Ends(
        orig_mac=keys[:, 0],
        resp_mac=keys[:, 1],
        orig_address=keys[:, 3:5],
        resp_address=keys[:, 5:7],
        proto=(keys[:, 2] >> np.uint64(16)).astype(np.uint8),
        resp_port=(keys[:, 2] & np.uint64(0xFFFF)).astype(np.uint16),
    )
