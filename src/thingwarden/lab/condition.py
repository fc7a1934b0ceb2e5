"""Network conditions by name: what a link does to the packets that cross it.

In: nothing. Out: ``Condition``, for both worlds alike.
Must never: know how a world brings it about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from thingwarden.domain.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One direction of a link.

    Attributes:
        delay_ms: of every packet; ``jitter_ms`` is the standard deviation around it, order kept.
        loss_ratio: share of packets lost.
        reorder_ratio: share of packets that skip the delay and so overtake others.
        rate_mbps: bits that pass per second, in millions; 0 is unlimited.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_ratio: float = 0.0
    reorder_ratio: float = 0.0
    rate_mbps: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether it does nothing to a packet."""
        return self == Link()


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """The state of a network: ``uplink`` between gateway and internet, ``wireless`` between gateway and each device."""

    name: str
    uplink: Link = Link()
    wireless: Link = Link()


CONDITIONS: Final = {
    condition.name: condition
    for condition in (
        Condition(name="wired"),
        Condition(name="fibre", uplink=Link(delay_ms=5.0, jitter_ms=0.5, rate_mbps=200.0)),
        Condition(
            name="home",
            uplink=Link(delay_ms=10.0, jitter_ms=2.0, loss_ratio=0.0005, rate_mbps=50.0),
            wireless=Link(delay_ms=1.5, jitter_ms=1.0, loss_ratio=0.001, rate_mbps=40.0),
        ),
        Condition(name="dsl", uplink=Link(delay_ms=18.0, jitter_ms=4.0, loss_ratio=0.001, rate_mbps=10.0)),
        Condition(
            name="weak-wifi",
            uplink=Link(delay_ms=10.0, jitter_ms=2.0, rate_mbps=50.0),
            wireless=Link(delay_ms=6.0, jitter_ms=8.0, loss_ratio=0.03, reorder_ratio=0.005, rate_mbps=5.0),
        ),
        Condition(name="lte", uplink=Link(delay_ms=35.0, jitter_ms=12.0, loss_ratio=0.005, rate_mbps=20.0)),
        Condition(
            name="congested",
            uplink=Link(delay_ms=120.0, jitter_ms=60.0, loss_ratio=0.04, reorder_ratio=0.01, rate_mbps=2.0),
        ),
        Condition(name="satellite", uplink=Link(delay_ms=280.0, jitter_ms=20.0, loss_ratio=0.01, rate_mbps=25.0)),
    )
}
"""Presets from usual access networks; ``wired`` delays nothing."""


def find_condition(name: str) -> Condition:
    """The preset of that name.

    Raises:
        RequestError: there is none.
    """
    if name not in CONDITIONS:
        raise RequestError(f"condition {name}", "unknown", f"one of {', '.join(CONDITIONS)}")
    return CONDITIONS[name]
