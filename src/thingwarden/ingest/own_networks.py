"""The networks that an interface of this machine lies in: their hosts are the devices that it watches.

In: /proc/net. Out: networks.
Must never: fail; what cannot be read is not known, and what the operator configured holds without it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from thingwarden.domain.address import IpNetwork

_MAX_FILE_BYTES: Final = 1 << 20
_LINK_LOCAL_SCOPE: Final = "20"
_LEAST_PREFIX: Final = {4: 8, 6: 32}
"""A wider network than this is a route to the world."""


def networks_of_interface(interface: str, root: Path = Path("/")) -> tuple[IpNetwork, ...]:
    """Networks that hosts share with an interface, link-local ones left out.

    Args:
        interface: name.
        root: where proc is found.
    """
    found = [*_ipv4(interface, root), *_ipv6(interface, root)]
    return tuple(dict.fromkeys(network for network in found if network.prefixlen >= _LEAST_PREFIX[network.version]))


def _ipv4(interface: str, root: Path) -> Iterator[IpNetwork]:
    for fields in map(str.split, _lines(root / "proc/net/route")):
        if len(fields) > 7 and fields[0] == interface and fields[2] == "00000000":
            with suppress(ValueError):
                address, mask = (ipaddress.IPv4Address(bytes.fromhex(fields[n])[::-1]) for n in (1, 7))
                yield ipaddress.IPv4Network(f"{address}/{mask}")


def _ipv6(interface: str, root: Path) -> Iterator[IpNetwork]:
    for fields in map(str.split, _lines(root / "proc/net/if_inet6")):
        if len(fields) == 6 and fields[5] == interface and fields[3] != _LINK_LOCAL_SCOPE:
            with suppress(ValueError):
                yield ipaddress.IPv6Network((int(fields[0], 16), int(fields[2], 16)), strict=False)


def _lines(file: Path) -> list[str]:
    try:
        with file.open(errors="replace") as stream:
            return stream.read(_MAX_FILE_BYTES).splitlines()
    except OSError:
        return []
