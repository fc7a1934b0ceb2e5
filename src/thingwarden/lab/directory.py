"""Who is on the lab's internet: services with their names, addresses and ports.

In: nothing. Out: ``SERVICES``.
Must never: hold an address outside the lab's prefixes.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A host of the internet.

    Attributes:
        name: as the resolver knows it; one under ``.invalid`` is reached by address only.
        address, address6: text.
        is_hostile: whether it belongs to an attacker.
        is_absent: whether the name leads to an address that no host has; what is sent there is lost.
    """

    name: str
    address: str
    address6: str
    is_hostile: bool = False
    is_absent: bool = False


def _service(name: str, network: int, host: int, *, is_hostile: bool = False, is_absent: bool = False) -> Service:
    prefix = ("203.0.113", "198.51.100")[network]
    return Service(
        name=name,
        address=f"{prefix}.{host}",
        address6=str(ipaddress.IPv6Address(f"2001:db8:100:{network}::{host:x}")),
        is_hostile=is_hostile,
        is_absent=is_absent,
    )


SERVICES: Final = {
    service.name: service
    for service in (
        _service("vendor.example", 0, 10),
        _service("plug-cloud.example", 0, 11),
        _service("weather.example", 0, 12),
        _service("mqtt-cloud.example", 0, 13),
        _service("voice.example", 0, 14),
        _service("push.example", 0, 15),
        _service("coap-cloud.example", 0, 16),
        _service("time.example", 0, 20),
        _service("video.example", 0, 30),
        _service("cdn.example", 0, 31),
        _service("news.example", 0, 32),
        _service("call.example", 0, 33),
        _service("backup.example", 0, 34),
        _service("portal.example", 0, 35),
        _service("gone.example", 0, 40, is_absent=True),
        _service("shop.example", 0, 80),
        _service("office.example", 0, 90),
        _service("control.invalid", 1, 66, is_hostile=True),
        _service("control-2.invalid", 1, 67, is_hostile=True),
        _service("control-3.invalid", 1, 69, is_hostile=True, is_absent=True),
        _service("tunnel.invalid", 1, 68, is_hostile=True),
        _service("drop.invalid", 1, 77, is_hostile=True),
        _service("stranger.invalid", 1, 90, is_hostile=True),
        _service("reflector.invalid", 1, 91),
    )
}
"""``gone.example`` has a name and no host behind it; nobody is left at ``control-3.invalid`` either."""
