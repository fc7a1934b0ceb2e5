"""What this machine knows of its network by itself: its addresses, routers and resolvers, and their MACs.

In: /proc, /sys and /etc/resolv.conf. Out: ``KnownHosts``; the networks of an interface.
Must never: fail; what cannot be read is not known, and what the operator configured holds without it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from thingwarden.domain.address import IpAddress, IpNetwork, plain_address
from thingwarden.enforce.guard import KnownHosts

_MAX_FILE_BYTES: Final = 1 << 20
_LINK_LOCAL_SCOPE: Final = "20"
_LEAST_PREFIX: Final = {4: 8, 6: 32}
"""A wider network than this is a route to the world."""

_NO_MAC: Final = "00:00:00:00:00:00"


def find_known_hosts(protected: Iterable[IpNetwork] = (), root: Path = Path("/")) -> KnownHosts:
    """The machine's own addresses, routers and resolvers; MACs of these, of its interfaces and of protected hosts.

    Args:
        protected: hosts whose MAC is wanted too, so that no act reaches them by it.
        root: where proc, sys and etc are found.
    """
    addresses = frozenset(map(plain_address, _own_addresses(root))) | frozenset(_routers_and_resolvers(root))
    protected = tuple(protected)
    neighbours = (
        mac
        for address, mac in _neighbours(root)
        if address in addresses or any(address in network for network in protected)
    )
    return KnownHosts(addresses=addresses, macs=frozenset(_interface_macs(root)) | frozenset(neighbours))


def networks_of_interface(interface: str, root: Path = Path("/")) -> tuple[IpNetwork, ...]:
    """Networks that hosts share with an interface, link-local ones left out.

    Args:
        interface: name.
        root: where proc is found.
    """
    found = [*_ipv4_networks(interface, root), *_ipv6_networks(interface, root)]
    return tuple(dict.fromkeys(network for network in found if network.prefixlen >= _LEAST_PREFIX[network.version]))


def _own_addresses(root: Path) -> Iterator[IpAddress]:
    former = ""
    for line in _lines(root / "proc/net/fib_trie"):
        if "/32 host LOCAL" in line:
            with suppress(ValueError):
                yield ipaddress.IPv4Address(former.split()[-1])
        former = line
    for line in _lines(root / "proc/net/if_inet6"):
        with suppress(ValueError):
            yield ipaddress.IPv6Address(int(line[:32], 16))


def _routers_and_resolvers(root: Path) -> Iterator[IpAddress]:
    for fields in map(str.split, _lines(root / "proc/net/route")):
        if len(fields) > 2 and fields[1] == "00000000" and fields[2] not in ("00000000", "Gateway"):
            with suppress(ValueError):
                yield ipaddress.IPv4Address(bytes.fromhex(fields[2])[::-1])
    for fields in map(str.split, _lines(root / "proc/net/ipv6_route")):
        if len(fields) > 4 and fields[1] == "00" and fields[4].strip("0"):
            with suppress(ValueError):
                yield ipaddress.IPv6Address(int(fields[4], 16))
    for fields in map(str.split, _lines(root / "etc/resolv.conf")):
        if len(fields) > 1 and fields[0] == "nameserver":
            with suppress(ValueError):
                yield plain_address(ipaddress.ip_address(fields[1]))


def _neighbours(root: Path) -> Iterator[tuple[IpAddress, str]]:
    for fields in map(str.split, _lines(root / "proc/net/arp")):
        with suppress(ValueError, IndexError):
            if fields[3] != _NO_MAC:
                yield ipaddress.IPv4Address(fields[0]), fields[3].lower()


def _interface_macs(root: Path) -> Iterator[str]:
    for file in (root / "sys/class/net").glob("*/address"):
        yield from (line.lower() for line in _lines(file) if len(line) == len(_NO_MAC) and line != _NO_MAC)


def _ipv4_networks(interface: str, root: Path) -> Iterator[IpNetwork]:
    for fields in map(str.split, _lines(root / "proc/net/route")):
        if len(fields) > 7 and fields[0] == interface and fields[2] == "00000000":
            with suppress(ValueError):
                address, mask = (ipaddress.IPv4Address(bytes.fromhex(fields[n])[::-1]) for n in (1, 7))
                yield ipaddress.IPv4Network(f"{address}/{mask}")


def _ipv6_networks(interface: str, root: Path) -> Iterator[IpNetwork]:
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
