"""Network addresses as values, and the one spelling in which they are compared.

In: addresses and networks of ``ipaddress``, MACs as text. Out: the same; MACs as numbers.
Must never: import anything beyond the standard library, for the enforcer's process reads it.
"""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def plain_address(address: IpAddress) -> IpAddress:
    """The address without its spelling: mapped IPv4 as IPv4, no zone."""
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    return address


def mac_number(mac: str) -> int:
    """The number of a MAC written ``aa:bb:cc:dd:ee:ff``."""
    return int(mac.replace(":", ""), 16)
