"""What a packet meets on its way: delay, jitter, loss, and the failures that a schedule brings.

In: a ``Link`` of the condition. Out: when a packet that enters comes out at the other end, infinity for never.
Must never: let a packet overtake another of the same direction, except where the link reorders.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.lab.condition import Link

LOST: Final = math.inf
_HOP_S: Final = 5e-6
_HOP_SPREAD_S: Final = 6e-6
"""A virtual Ethernet pair, a bridge port and the kernels on both sides; the spread is uniform."""
ROUTING_S: Final = 1.4e-5
"""What routing and address translation take more."""
_FOLLOWING_S: Final = 1e-6
_DRAWN_COUNT: Final = 4096


class Noise:
    """Random numbers for all links, drawn many at a time.

    Args:
        rng: that they come from.
    """

    __slots__ = ("_normals", "_rng", "_shares")

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._shares: list[float] = []
        self._normals: list[float] = []

    def share(self) -> float:
        """Uniform from 0 to 1."""
        if not self._shares:
            self._shares = self._rng.random(_DRAWN_COUNT).tolist()
        return self._shares.pop()

    def normal(self) -> float:
        """Normal, mean 0 and deviation 1."""
        if not self._normals:
            self._normals = self._rng.standard_normal(_DRAWN_COUNT).tolist()
        return self._normals.pop()


class Channel:
    """One direction of the link between a host and the gateway.

    Attributes:
        link: None where it only takes the kernel's time.
        is_cut: nothing passes.
        overtakes: whether the last packet overtook others.
        more_s: taken by every packet, beyond what a hop takes.
    """

    __slots__ = ("_hop_s", "_last_s", "_normal", "_share", "_spread_s", "is_cut", "link", "overtakes")

    def __init__(self, link: Link | None, noise: Noise, more_s: float = 0.0) -> None:
        self.link = None if link is None or link.is_plain else link
        self._share, self._normal = noise.share, noise.normal
        self.is_cut = False
        self._hop_s = _HOP_S + more_s
        self._spread_s = _HOP_SPREAD_S + more_s
        self._last_s = 0.0
        self.overtakes = False

    def cross(self, at_s: float, size_bytes: int) -> float:
        """When a packet of ``size_bytes`` that enters now, at ``at_s``, leaves; ``LOST`` if it never does."""
        out_s = self.cross_alone(at_s, size_bytes)
        if out_s != LOST and not self.overtakes:
            out_s = self._last_s = max(out_s, self._last_s + _FOLLOWING_S)
        return out_s

    def cross_alone(self, at_s: float, size_bytes: int) -> float:
        """As ``cross`` for a packet of any instant, whose order among others the caller looks after."""
        if self.is_cut:
            return LOST
        out_s = at_s + self._hop_s + self._share() * self._spread_s
        link = self.link
        if link is None:
            return out_s
        if link.loss_ratio and self._share() < link.loss_ratio:
            return LOST
        if link.rate_mbps:
            out_s += size_bytes * 8e-6 / link.rate_mbps
        self.overtakes = link.reorder_ratio > 0.0 and self._share() < link.reorder_ratio
        if self.overtakes:
            return out_s
        delay_ms = link.delay_ms + link.jitter_ms * self._normal() if link.jitter_ms else link.delay_ms
        return out_s + delay_ms * 1e-3 if delay_ms > 0 else out_s

    def cross_many(
        self, at_s: npt.NDArray[np.float64], size_bytes: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> npt.NDArray[np.float64]:
        """As ``cross`` for packets in the order in which they enter."""
        count = len(at_s)
        if self.is_cut:
            return np.full(count, LOST)
        out_s = at_s + (self._hop_s + rng.random() * self._spread_s)
        link = self.link
        if link is None:
            return out_s
        if link.rate_mbps:
            out_s += size_bytes * 8e-6 / link.rate_mbps
        delay_s = np.maximum(rng.normal(link.delay_ms, link.jitter_ms, count), 0.0) * 1e-3
        delayed_s = np.maximum.accumulate(out_s + delay_s)
        if link.reorder_ratio:
            delayed_s = np.where(rng.random(count) < link.reorder_ratio, out_s, delayed_s)
        if link.loss_ratio:
            delayed_s[rng.random(count) < link.loss_ratio] = LOST
        return delayed_s
