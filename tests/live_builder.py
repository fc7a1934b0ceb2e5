"""Recorded packets as a live source gives them, with a clock that goes with them.

In: packets and how many come at a time. Out: a ``PacketSource`` that ends, and its clock.
Must never: wait.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from thingwarden.domain.packet import PacketBatch, PacketsRead
from thingwarden.ingest.pcap import PcapSource


class RecordedSource:
    """Gives packets in parts of so many; what is of one instant stays together.

    Attributes:
        parts: what is still to come.
        now_s: the clock: the instant of the latest packet given.
        dropped_count: as a test wants it.
    """

    def __init__(self, packets: PacketBatch, count: int) -> None:
        later = np.flatnonzero(np.diff(packets.at_s) > 0) + 1
        wanted = np.arange(count, len(packets), count)
        places = np.unique(later[np.minimum(np.searchsorted(later, wanted), len(later) - 1)]) if len(later) else wanted
        self.parts = [packets.take(rows) for rows in np.split(np.arange(len(packets)), places)]
        self.now_s = float(packets.at_s[0])
        self.dropped_count = 0

    def read(self, wait_s: float) -> PacketsRead:
        part = self.parts.pop(0)
        self.now_s = float(part.at_s.max())
        return PacketsRead(packets=part, upto_s=self.now_s, is_over=not self.parts)

    def clock(self) -> float:
        return self.now_s


def read_packets(path: Path) -> PacketBatch:
    """All packets of a capture."""
    parts = list(PcapSource(path).packets())
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in PacketBatch.__slots__}
    return PacketBatch(**columns)
