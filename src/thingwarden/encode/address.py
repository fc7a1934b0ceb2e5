"""What kind of address a flow's ends are, in columns.

In: uint64 (n, 2) address columns. Out: boolean columns and ``PEER_KINDS`` buckets.
Must never: let an address through into a word.
Source: IANA special-purpose address registries (RFC 6890, RFC 4291, RFC 5771).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import words_from_address
from thingwarden.encode.vocabulary import PEER_KINDS

Addresses = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
IpNetwork = IPv4Network | IPv6Network

_V4_MARK: Final = np.uint64(0xFFFF)
_KIND: Final = {name: bucket for bucket, name in enumerate(PEER_KINDS)}


def is_v4(addresses: Addresses) -> Mask:
    """Which rows are IPv4, bool (n,)."""
    return np.asarray((addresses[:, 0] == 0) & (addresses[:, 1] >> np.uint64(32) == _V4_MARK))


def in_network(addresses: Addresses, network: IpNetwork) -> Mask:
    """Which rows lie in ``network``, bool (n,)."""
    high, low = words_from_address(network.network_address)
    bits = network.prefixlen + (96 if network.version == 4 else 0)
    if bits <= 64:
        shift = np.uint64(64 - bits)
        inside: Mask = (
            (addresses[:, 0] >> shift) == np.uint64(high >> (64 - bits))
            if bits
            else np.ones(len(addresses), dtype=bool)
        )
        return inside
    shift = np.uint64(128 - bits)
    return np.asarray(
        (addresses[:, 0] == np.uint64(high)) & (addresses[:, 1] >> shift == np.uint64(low >> (128 - bits)))
    )


_PRIVATE: Final[Sequence[IpNetwork]] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("fc00::/7"),
)
_LINK_LOCAL: Final[Sequence[IpNetwork]] = (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"))
_MULTICAST: Final[Sequence[IpNetwork]] = (IPv4Network("224.0.0.0/4"), IPv6Network("ff00::/8"))
_UNSPECIFIED: Final[Sequence[IpNetwork]] = (IPv4Network("0.0.0.0/32"), IPv6Network("::/128"))


def in_any(addresses: Addresses, networks: Sequence[IpNetwork]) -> Mask:
    """Which rows lie in any of ``networks``, bool (n,)."""
    inside = np.zeros(len(addresses), dtype=bool)
    for network in networks:
        inside |= in_network(addresses, network)
    return inside


def is_private(addresses: Addresses) -> Mask:
    """Private or link-local, bool (n,): addresses that mean a host of the network under watch."""
    return in_any(addresses, (*_PRIVATE, *_LINK_LOCAL))


def is_unicast(addresses: Addresses) -> Mask:
    """Addresses that can belong to one host, bool (n,)."""
    return ~(in_any(addresses, (*_MULTICAST, *_UNSPECIFIED)) | _is_broadcast(addresses))


def _is_broadcast(addresses: Addresses) -> Mask:
    v4 = is_v4(addresses)
    everywhere = addresses[:, 1] & np.uint64(0xFFFFFFFF) == np.uint64(0xFFFFFFFF)
    subnet = (addresses[:, 1] & np.uint64(0xFF) == np.uint64(0xFF)) & in_any(addresses, _PRIVATE)
    return np.asarray(v4 & (everywhere | subnet))


def same_lan(own: Addresses, peer: Addresses) -> Mask:
    """Same IPv4 /24 or IPv6 /64, bool (n,); the usual size of a LAN where the log does not say."""
    both_v4 = is_v4(own) & is_v4(peer)
    v4 = both_v4 & (own[:, 1] >> np.uint64(8) == peer[:, 1] >> np.uint64(8))
    v6 = ~is_v4(own) & ~is_v4(peer) & (own[:, 0] == peer[:, 0])
    return np.asarray(v4 | v6)


def peer_kinds(own: Addresses, peer: Addresses) -> npt.NDArray[np.uint8]:
    """Bucket of ``PEER_KINDS`` for each peer as seen from its own end, uint8 (n,)."""
    kinds = np.full(len(own), _KIND["internet"], dtype=np.uint8)
    kinds[in_any(peer, _PRIVATE)] = _KIND["private"]
    kinds[in_any(peer, _LINK_LOCAL)] = _KIND["link_local"]
    kinds[same_lan(own, peer)] = _KIND["same_lan"]
    kinds[in_any(peer, _MULTICAST)] = _KIND["multicast"]
    kinds[_is_broadcast(peer)] = _KIND["broadcast"]
    kinds[in_any(peer, _UNSPECIFIED)] = _KIND["unspecified"]
    kinds[(own == peer).all(axis=1)] = _KIND["self"]
    return kinds


def hash_columns(*columns: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Mix columns into one 64-bit key per row, uint64 (n,); for tables in memory only, never written anywhere.

    Source: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
    """
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        mixed = (mixed ^ column) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return mixed
