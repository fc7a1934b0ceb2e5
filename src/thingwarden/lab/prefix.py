"""The lab's own addresses, and the guard that refuses every other one.

In: addresses, prefixes and command lines. Out: nothing, or a refusal.
Must never: let through an address that could be somebody's.
Sources: RFC 5737 and RFC 3849 (documentation), RFC 2544 (benchmarking), RFC 1918.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from thingwarden.domain.address import IpNetwork
from thingwarden.domain.errors import RequestError

LAN: Final = ipaddress.IPv4Network("10.77.0.0/24")
LAN6: Final = ipaddress.IPv6Network("2001:db8:77::/64")
UPLINK: Final = ipaddress.IPv4Network("192.0.2.0/24")
UPLINK6: Final = ipaddress.IPv6Network("2001:db8:2::/64")
INTERNET: Final = (ipaddress.IPv4Network("203.0.113.0/24"), ipaddress.IPv4Network("198.51.100.0/24"))
INTERNET6: Final = ipaddress.IPv6Network("2001:db8:100::/48")
SPOOFED: Final = ipaddress.IPv4Network("198.18.0.0/15")
"""Sources that a spoofed flood claims to have, and hosts that a sweep of the internet asks in vain."""

LAB_PREFIXES: Final[tuple[IpNetwork, ...]] = (
    LAN,
    LAN6,
    UPLINK,
    UPLINK6,
    *INTERNET,
    INTERNET6,
    SPOOFED,
    ipaddress.IPv4Network("224.0.0.251/32"),
    ipaddress.IPv4Network("239.255.255.250/32"),
    ipaddress.IPv4Network("255.255.255.255/32"),
    ipaddress.IPv6Network("ff02::/16"),
)
"""All that the lab may send to: its own prefixes, mDNS, SSDP, IPv6's local groups and the limited broadcast."""

_IPV4_FORM: Final = re.compile(r"(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?(?![\w.])")
"""An address in a locator such as ``ftp://192.0.2.1:21``, too."""

GATEWAY: Final = ipaddress.IPv4Address("10.77.0.1")
GATEWAY6: Final = ipaddress.IPv6Address("2001:db8:77::1")
GATEWAY_MAC: Final = "02:77:00:00:00:01"


def require_inside(target: str) -> None:
    """Refuse an address or prefix that the lab does not own.

    Raises:
        RequestError: ``target`` is no IP address or prefix, or any part of it lies outside ``LAB_PREFIXES``.
    """
    try:
        network = ipaddress.ip_network(target)
    except ValueError as error:
        raise RequestError(f"lab target {target}", "not an IP address or prefix", "The lab knows no names.") from error
    if not any(_is_part(network, prefix) for prefix in LAB_PREFIXES):
        allowed = ", ".join(str(prefix) for prefix in LAB_PREFIXES)
        raise RequestError(f"lab target {target}", "outside the lab's own prefixes", f"Allowed: {allowed}.")


def require_arguments_inside(argv: Iterable[str]) -> None:
    """Refuse a command line in which any argument, or part of one, is an address or prefix outside the lab.

    Raises:
        RequestError: naming the first such argument.
    """
    for argument in argv:
        for part in (*re.split(r"[,=;@\[\]]", argument), *_IPV4_FORM.findall(argument)):
            with contextlib.suppress(ValueError):
                ipaddress.ip_network(part, strict=False)
                if "." in part or ":" in part:
                    require_inside(part)


def _is_part(network: IpNetwork, prefix: IpNetwork) -> bool:
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(prefix, ipaddress.IPv4Network) and network.subnet_of(prefix)
    return isinstance(prefix, ipaddress.IPv6Network) and network.subnet_of(prefix)
