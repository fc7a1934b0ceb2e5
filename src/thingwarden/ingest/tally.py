"""Counts what became of a source's rows, and refuses a source of which nothing could be read.

In: rows read and skipped, by reason. Out: ``counts``, which people are shown, or ``InputError``.
Must never: let a row vanish uncounted.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.errors import InputError

EXPECTED: Final = {
    "columns": "as many cells as the header names",
    "json": "one JSON object",
    "event": "one JSON object with an event_type",
    "line_too_long": "at most 1 MiB",
    "timestamp": "Unix seconds between 1970 and 9999",
    "address": "an IPv4 or IPv6 address",
    "port": "a whole number from 0 to 65535",
    "protocol": "a transport protocol such as tcp, udp or icmp, or its number",
    "duration": "seconds, not negative",
    "count": "a whole number from 0 to 2^53",
    "text": "printable ASCII",
}
"""What a row must hold, by the reason for which rows are skipped."""


class RowTally:
    """Rows of one source: how many there were, how many became flows, why the others did not."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._first_fault: tuple[int, str] | None = None
        self.counts: dict[str, int] = {"rows": 0, "flows": 0}

    def add_flows(self, count: int) -> None:
        """Count rows that became flows."""
        self.counts["rows"] += count
        self.counts["flows"] += count

    def skip(self, reason: str, line_numbers: npt.NDArray[np.int64]) -> None:
        """Count the rows at ``line_numbers`` (int64 (n,), from 1) as skipped for ``reason``."""
        if len(line_numbers):
            key = f"skipped_{reason}"
            self.counts[key] = self.counts.get(key, 0) + len(line_numbers)
            self.counts["rows"] += len(line_numbers)
            first = (int(line_numbers[0]), reason)
            self._first_fault = min(self._first_fault or first, first)

    def check_something_was_read(self) -> None:
        """Accept a source without rows, and one with at least one flow.

        Raises:
            InputError: there were rows and none could be read; names the first fault's line and what was expected.
        """
        if self.counts["flows"] == 0 and self._first_fault is not None:
            line, reason = self._first_fault
            raise InputError(
                f"{self._name}, line {line}",
                f"none of {self.counts['rows']:,} rows could be read; the first fault is its {reason}:"
                f" expected {EXPECTED[reason]}",
                "check that the file is what its header says",
            )
