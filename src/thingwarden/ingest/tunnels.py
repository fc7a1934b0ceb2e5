"""Open tunnels: IP packets that travel inside other IP packets, of many packets at once.

In: the IP layer of packets. Out: the same with what tunnels carry: in the place of the outer packet where that is a
mere wrapper (IP in IP, GRE), behind it where it is a flow of its own (UDP).
Must never: read beyond a packet's captured end, open more than ``MAX_DEPTH`` levels, or loop over packets.
Source: RFC 2003, 2473, 2784, 2890, 2637, 4380, 7348, 8086, 8926; 3GPP TS 29.281; draft-massar-v6ops-ayiya;
draft-foschiano-erspan. Which tunnels have outer flows is as in Zeek's conn.log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from thingwarden.domain.packet import PROTO_UDP
from thingwarden.ingest.gather import Bytes, Index, u8, u16, u32, wide
from thingwarden.ingest.ip_layer import (
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    Layer,
    Network,
    decode_ip,
    join_networks,
)
from thingwarden.ingest.link_header import LINK_ETHERNET, LINK_PPP, LINK_WIFI, open_link

MAX_DEPTH: Final = 4
"""Tunnels in tunnels that are opened; Zeek's default is 2, and real traces reach 3."""

PROTO_IPV4: Final = 4
PROTO_IPV6: Final = 41
PROTO_GRE: Final = 47

_ETHERTYPE_ETHERNET: Final = 0x6558
_ETHERTYPE_PPP: Final = 0x880B
_ETHERTYPE_ERSPAN_2: Final = 0x88BE
_ETHERTYPE_ERSPAN_3: Final = 0x22EB
_IP: Final = (ETHERTYPE_IPV4, ETHERTYPE_IPV6)
_LINK_OF: Final = {_ETHERTYPE_ETHERNET: LINK_ETHERNET, _ETHERTYPE_PPP: LINK_PPP}
_WIFI: Final = 0x1_0000
"""Stands among EtherTypes for 802.11 frames, which have none of their own."""
_LINK_OF_ALL: Final = {**_LINK_OF, _WIFI: LINK_WIFI}
_ARUBA_RANGES: Final = ((0x8200, 0x8300), (0x9000, 0x9100))
"""What Aruba's access points put where GRE has an EtherType."""

_TEREDO_PREFIX: Final = 0x2001_0000

Mask: TypeAlias = npt.NDArray[np.bool_]
_Inside: TypeAlias = tuple[Mask, Index, Index]
"""For each packet whether it is such a tunnel, the EtherType inside and where the inside starts."""


def open_tunnels(buffer: Bytes, network: Network, counts: Counter[str]) -> Network:
    """The packets with the insides of tunnels, in the order of the frames.

    Args:
        buffer: uint8, the bytes; padding behind the last frame as ``FrameBatch`` has it.
        network: IP layer of the packets; fragments are left closed.
        counts: grows by one per inside left out, under the reason.
    """
    done: list[Network] = []
    for _ in range(MAX_DEPTH):
        is_wrapper, inner = _look_inside(buffer, network, counts)
        if inner is None:
            break
        done.append(network.take(~is_wrapper))
        network = inner
    for outer in reversed(done):
        network = join_networks(outer, network)
    return network


def _look_inside(buffer: Bytes, network: Network, counts: Counter[str]) -> tuple[Mask, Network | None]:
    """Which packets are mere wrappers, and all that lies one level inside; None where nothing does."""
    proto = network.proto
    is_wrapper = (proto == PROTO_IPV4) | (proto == PROTO_IPV6) | (proto == PROTO_GRE)
    datagrams = np.flatnonzero(proto == PROTO_UDP)
    ports = wide(buffer, np.minimum(network.transport.starts[datagrams], len(buffer) - 4), 4, ">u2")
    is_carrier = _IS_CARRIER[ports].any(axis=1) | _is_teredo(buffer, network.transport, datagrams)
    if not is_carrier.any() and not is_wrapper.any():
        return is_wrapper, None
    is_whole = (network.fragment_offset == 0) & ~network.has_more_fragments
    rows = np.union1d(np.flatnonzero(is_wrapper), datagrams[is_carrier])
    rows = rows[is_whole[rows]]
    is_tunnel, ethertype, start = _find_inside(buffer, network.take(rows), counts)
    opened = rows[is_tunnel]
    is_wrapper[:] = is_wrapper & np.isin(np.arange(len(proto)), opened)
    inside = Layer(network.transport.rows[opened], start[is_tunnel], network.transport.ends[opened])
    inner = _decode_inside(buffer, ethertype[is_tunnel], inside, counts)
    return is_wrapper, inner if len(inner.transport.rows) else None


def _find_inside(buffer: Bytes, network: Network, counts: Counter[str]) -> _Inside:
    """Try each kind of tunnel on the packets that may be one."""
    count = len(network.transport.rows)
    found, ethertype = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.int64)
    start: Index = network.transport.starts.copy()
    for proto, version_type in ((PROTO_IPV4, ETHERTYPE_IPV4), (PROTO_IPV6, ETHERTYPE_IPV6)):
        found[network.proto == proto] = True
        ethertype[network.proto == proto] = version_type
    candidates: list[tuple[npt.NDArray[np.intp], Index, _Opener]] = [
        (np.flatnonzero(network.proto == PROTO_GRE), network.transport.starts, _open_gre)
    ]
    datagrams = np.flatnonzero((network.proto == PROTO_UDP) & (start + 8 <= network.transport.ends))
    ports = wide(buffer, start[datagrams], 4, ">u2")
    behind_udp = network.transport.starts + 8
    candidates.append((datagrams[_is_teredo(buffer, network.transport, datagrams)], behind_udp, _whole_ipv6))
    candidates += [
        (datagrams[np.isin(ports, opener_ports).any(axis=1)], behind_udp, opener)
        for opener_ports, opener in _UDP_TUNNELS
    ]
    for rows, at, opener in candidates:
        is_tunnel, inner_type, inner_start = opener(buffer, at[rows], network.transport.ends[rows])
        is_tunnel = is_tunnel & (inner_start < network.transport.ends[rows])
        counts["malformed_tunnel"] += int(((network.proto[rows] == PROTO_GRE) & ~is_tunnel).sum())
        rows = rows[is_tunnel]
        found[rows], ethertype[rows], start[rows] = True, inner_type[is_tunnel], inner_start[is_tunnel]
    is_ip = np.isin(ethertype, _IP)
    version = u8(buffer, np.where(found, start, 0)) >> 4
    fits = (version == 4) & (ethertype == ETHERTYPE_IPV4) | (version == 6) & (ethertype == ETHERTYPE_IPV6)
    return found & (~is_ip | fits), ethertype, start


def _is_teredo(buffer: Bytes, transport: Layer, datagrams: npt.NDArray[np.intp]) -> Mask:
    """Whether datagrams carry IPv6 from or to a Teredo address: between clients and relays no port tells."""
    at = transport.starts[datagrams] + 8
    is_found: Mask = at + 40 <= transport.ends[datagrams]
    rows = np.flatnonzero(is_found)
    is_found[rows] = buffer[at[rows]] >> 4 == 6
    rows = np.flatnonzero(is_found)
    ends = u32(buffer, at[rows] + 8), u32(buffer, at[rows] + 24)
    is_found[rows] = (ends[0] == _TEREDO_PREFIX) | (ends[1] == _TEREDO_PREFIX)
    return is_found


def _decode_inside(buffer: Bytes, ethertype: Index, inside: Layer, counts: Counter[str]) -> Network:
    """The IP packets of what tunnels carry: IP itself, or frames."""
    is_ip = np.isin(ethertype, _IP)
    network = decode_ip(buffer, ethertype[is_ip], inside.keep(is_ip), counts)
    for kind, link_type in _LINK_OF_ALL.items():
        is_kind = ethertype == kind
        if is_kind.any():
            carried = open_link(buffer, link_type, inside.keep(is_kind), counts)
            network = join_networks(network, decode_ip(buffer, carried.ethertype, carried.payload, counts))
    return network


def _clamped(at: Index, ends: Index, needed: int) -> tuple[Mask, Index]:
    """Whether ``needed`` bytes lie at each place, and the places with 0 where they do not."""
    fits = at + needed <= ends
    return fits, np.where(fits, at, 0)


def _open_gre(buffer: Bytes, at: Index, ends: Index) -> _Inside:
    fits, at = _clamped(at, ends, 4)
    flags, ethertype = u16(buffer, at), u16(buffer, at + 2)
    version = flags & 7
    has_sequence = flags & 0x1000 != 0
    length: Index = np.full(len(at), 4, dtype=np.int64)
    for bit in (0x8000, 0x2000, 0x1000):
        length = length + np.where(flags & bit != 0, 4, 0)
    # Version 1 (PPTP) may acknowledge; routing, of version 0, was withdrawn and is not opened.
    length = length + np.where((version == 1) & (flags & 0x80 != 0), 4, 0)
    is_sound = fits & (version <= 1) & (flags & 0x4000 == 0)
    is_erspan_2, is_erspan_3 = ethertype == _ETHERTYPE_ERSPAN_2, ethertype == _ETHERTYPE_ERSPAN_3
    length = length + np.where(is_erspan_2 & has_sequence, 8, 0)
    flagged, at_flags = _clamped(at + length + 11, ends, 1)
    has_platform = is_erspan_3 & flagged & (u8(buffer, at_flags) & 1 != 0)
    length = length + np.where(is_erspan_3, 12, 0) + np.where(has_platform, 8, 0)
    is_wifi = np.zeros(len(at), dtype=np.bool_)
    for least, beyond in _ARUBA_RANGES:
        is_wifi |= (ethertype >= least) & (ethertype < beyond)
    ethertype = np.select([is_erspan_2 | is_erspan_3, is_wifi], [_ETHERTYPE_ETHERNET, _WIFI], ethertype)
    return is_sound & np.isin(ethertype, (*_IP, *_LINK_OF_ALL)), ethertype, at + length


def _open_vxlan(buffer: Bytes, at: Index, ends: Index) -> _Inside:
    fits, at = _clamped(at, ends, 8)
    is_tunnel = fits & (u8(buffer, at) == 0x08)
    return is_tunnel, np.full(len(at), _ETHERTYPE_ETHERNET), at + 8


def _open_geneve(buffer: Bytes, at: Index, ends: Index) -> _Inside:
    fits, at = _clamped(at, ends, 8)
    head, ethertype = u8(buffer, at), u16(buffer, at + 2)
    is_tunnel = fits & (head >> 6 == 0) & np.isin(ethertype, (*_IP, _ETHERTYPE_ETHERNET))
    return is_tunnel, ethertype, at + 8 + (head & 0x3F) * 4


def _open_teredo(buffer: Bytes, at: Index, ends: Index) -> _Inside:
    """IPv6 behind an optional authentication and an optional origin indication."""
    fits, at = _clamped(at, ends, 4)
    has_authentication = fits & (u16(buffer, at) == 1)
    at = at + np.where(has_authentication, 13 + u8(buffer, at + 2) + u8(buffer, at + 3), 0)
    fits, at = _clamped(at, ends, 8)
    at = at + np.where(fits & (u16(buffer, at) == 0), 8, 0)
    return _whole_ipv6(buffer, at, ends)


def _whole_ipv6(buffer: Bytes, at: Index, ends: Index) -> _Inside:
    """An IPv6 packet that ends within the datagram, so that other traffic of the port is not taken for one."""
    fits, at = _clamped(at, ends, 40)
    is_tunnel = fits & (u8(buffer, at) >> 4 == 6) & (at + 40 + u16(buffer, at + 4) <= ends)
    return is_tunnel, np.full(len(at), ETHERTYPE_IPV6), at


def _open_gtp(buffer: Bytes, at: Index, ends: Index) -> _Inside:
    """User data of GTP version 1, behind optional fields and a chain of extension headers."""
    fits, at = _clamped(at, ends, 12)
    flags = u8(buffer, at)
    is_tunnel = fits & (flags >> 5 == 1) & (flags & 0x10 != 0) & (u8(buffer, at + 1) == 0xFF)
    has_extension = is_tunnel & (flags & 4 != 0) & (u8(buffer, at + 11) != 0)
    start = at + np.where(flags & 7 != 0, 12, 8)
    for _ in range(MAX_DEPTH):
        extended, place = _clamped(start, ends, 1)
        length = u8(buffer, place) * 4
        more, next_type = _clamped(start + length - 1, ends, 1)
        start = start + np.where(has_extension, length, 0)
        is_tunnel &= ~has_extension | (extended & more & (length > 0))
        has_extension = has_extension & is_tunnel & (u8(buffer, next_type) != 0)
    is_tunnel &= ~has_extension
    fits, start = _clamped(start, ends, 1)
    version = u8(buffer, start) >> 4
    ethertype = np.where(version == 6, ETHERTYPE_IPV6, ETHERTYPE_IPV4)
    return is_tunnel & fits & np.isin(version, (4, 6)), ethertype, start


def _open_ayiya(buffer: Bytes, at: Index, ends: Index) -> _Inside:
    fits, at = _clamped(at, ends, 8)
    length = 8 + (1 << np.minimum(u8(buffer, at) >> 4, 12)) + (u8(buffer, at + 1) >> 4) * 4
    inner_proto = u8(buffer, at + 3)
    is_forward = u8(buffer, at + 2) & 0x0F == 1
    ethertype = np.where(inner_proto == PROTO_IPV6, ETHERTYPE_IPV6, ETHERTYPE_IPV4)
    return fits & is_forward & np.isin(inner_proto, (PROTO_IPV4, PROTO_IPV6)), ethertype, at + length


_Opener: TypeAlias = Callable[[Bytes, Index, Index], _Inside]
_UDP_TUNNELS: Final[tuple[tuple[tuple[int, ...], _Opener], ...]] = (
    ((4789,), _open_vxlan),
    ((6081,), _open_geneve),
    ((3544,), _open_teredo),
    ((2152, 2123), _open_gtp),
    ((5072,), _open_ayiya),
    ((4754,), _open_gre),
)
_IS_CARRIER: Final = np.zeros(65536, dtype=np.bool_)
_IS_CARRIER[[port for ports, _ in _UDP_TUNNELS for port in ports]] = True
