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
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FACTORS: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS: Final = (np.uint64(30), np.uint64(27), np.uint64(31))
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


def in_any(addresses: Addresses, networks: Sequence[IpNetwork]) -> Mask:
    """Which rows lie in any of ``networks``, bool (n,)."""
    inside = np.zeros(len(addresses), dtype=bool)
    for network in networks:
        inside |= in_network(addresses, network)
    return inside


def _kind_tables() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Kind by the first 16 bits of an address, one table for IPv4 and one for IPv6; no prefix below is longer."""
    tables = {4: np.full(65536, _KIND["internet"], np.uint8), 6: np.full(65536, _KIND["internet"], np.uint8)}
    for kind, network in (
        ("private", IPv4Network("10.0.0.0/8")),
        ("private", IPv4Network("172.16.0.0/12")),
        ("private", IPv4Network("192.168.0.0/16")),
        ("private", IPv6Network("fc00::/7")),
        ("link_local", IPv4Network("169.254.0.0/16")),
        ("link_local", IPv6Network("fe80::/10")),
        ("multicast", IPv4Network("224.0.0.0/4")),
        ("multicast", IPv6Network("ff00::/8")),
    ):
        first = int(network.network_address) >> (network.max_prefixlen - 16)
        tables[network.version][first : first + (1 << (16 - network.prefixlen))] = _KIND[kind]
    return tables[4], tables[6]


_V4_KIND, _V6_KIND = _kind_tables()


def _prefix_kinds(addresses: Addresses) -> npt.NDArray[np.uint8]:
    """Kind of each address by its prefix, uint8 (n,): private, link-local, multicast or internet."""
    v4 = _V4_KIND[addresses[:, 1] >> np.uint64(16) & np.uint64(0xFFFF)]
    kinds: npt.NDArray[np.uint8] = np.where(is_v4(addresses), v4, _V6_KIND[addresses[:, 0] >> np.uint64(48)])
    return kinds


def _own_kinds(addresses: Addresses) -> npt.NDArray[np.uint8]:
    """Kind of each address by itself, whoever asks, uint8 (n,): by its prefix, or broadcast or unspecified."""
    kinds, v4, low = _prefix_kinds(addresses), is_v4(addresses), addresses[:, 1]
    host = low & np.uint64(0xFFFFFFFF)
    in_subnet = (kinds == _KIND["private"]) & (low & np.uint64(0xFF) == np.uint64(0xFF))
    kinds[v4 & (in_subnet | (host == np.uint64(0xFFFFFFFF)))] = _KIND["broadcast"]
    kinds[(v4 & (host == 0)) | ~addresses.any(axis=1)] = _KIND["unspecified"]
    return kinds


def is_private(addresses: Addresses) -> Mask:
    """Private or link-local, bool (n,): addresses that mean a host of the network under watch."""
    kinds = _prefix_kinds(addresses)
    return np.asarray((kinds == _KIND["private"]) | (kinds == _KIND["link_local"]))


def is_unicast(addresses: Addresses) -> Mask:
    """Addresses that can belong to one host, bool (n,)."""
    kinds = _own_kinds(addresses)
    return np.asarray((kinds != _KIND["multicast"]) & (kinds != _KIND["broadcast"]) & (kinds != _KIND["unspecified"]))


def same_lan(own: Addresses, peer: Addresses) -> Mask:
    """Same IPv4 /24 or IPv6 /64, bool (n,); the usual size of a LAN where the log does not say."""
    both_v4 = is_v4(own) & is_v4(peer)
    v4 = both_v4 & (own[:, 1] >> np.uint64(8) == peer[:, 1] >> np.uint64(8))
    v6 = ~is_v4(own) & ~is_v4(peer) & (own[:, 0] == peer[:, 0])
    return np.asarray(v4 | v6)


def peer_kinds(own: Addresses, peer: Addresses) -> npt.NDArray[np.uint8]:
    """Bucket of ``PEER_KINDS`` for each peer as seen from its own end, uint8 (n,)."""
    kinds = _own_kinds(peer)
    kinds[same_lan(own, peer) & (kinds <= _KIND["internet"])] = _KIND["same_lan"]
    kinds[(own == peer).all(axis=1)] = _KIND["self"]
    return kinds


def hash_columns(*columns: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Mix columns into one 64-bit key per row, uint64 (n,); for tables in memory only, never written anywhere.

    Source: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
    """
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        mixed ^= column
        mixed += _GOLDEN
        mixed ^= mixed >> _SHIFTS[0]
        mixed *= _FACTORS[0]
        mixed ^= mixed >> _SHIFTS[1]
        mixed *= _FACTORS[1]
        mixed ^= mixed >> _SHIFTS[2]
    return mixed
