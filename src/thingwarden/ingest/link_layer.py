"""Decode what frames say about who is who on the link, all frames of a chunk at once.

In: ``FrameLayers``, of which only the rare rows are looked into. Out: ``LinkBatch`` and counts by reason of what was
left out.
Must never: read beyond a frame's captured end, trust a length field unchecked, or loop over frames.
Source: RFC 826, 5227 (ARP); RFC 4861, 6980 (neighbour discovery); RFC 2131, 2132 (DHCP).
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.link_layer import LINK_COLUMNS, LinkBatch, LinkKind
from thingwarden.domain.packet import PROTO_ICMP6, PROTO_UDP
from thingwarden.ingest.gather import Bytes, Index, macs, u8, u16, u32, u64_pairs
from thingwarden.ingest.ip_layer import ETHERTYPE_IPV4, ETHERTYPE_IPV6, Layer, Network
from thingwarden.ingest.link_header import LINK_ETHERNET
from thingwarden.ingest.packets import PADDING_BYTES, FrameLayers

MALFORMED: Final = "malformed_link_layer"
TRUNCATED: Final = "truncated_link_layer"

MAX_ND_OPTIONS: Final = 16
MAX_DHCP_OPTIONS: Final = 64
"""Far above what real packets carry; what stands behind is not read."""

_ETHERTYPE_ARP: Final = 0x0806
_VLAN_TAGS: Final = (0x8100, 0x88A8, 0x9100)
_ARP_BYTES: Final = 28
_ARP_ETHERNET_IPV4: Final = (1, 0x0800, 6, 4)
_REQUEST: Final = 1
_ROUTER_ADVERTISEMENT, _SOLICITATION, _ADVERTISEMENT = 134, 135, 136
_ND_BYTES: Final = {_ROUTER_ADVERTISEMENT: 16, _SOLICITATION: 24, _ADVERTISEMENT: 24}
_OPTION_SOURCE_MAC, _OPTION_TARGET_MAC = 1, 2
_SOLICITED, _OVERRIDE = 0x40, 0x20
_DHCP_SERVER_TO_CLIENT: Final = 67 << 16 | 68
_DHCP_OPTIONS_AT: Final = 240
_DHCP_MAGIC: Final = 0x63825363
_DHCP_OFFER, _DHCP_ACK = 2, 5
_PAD, _ROUTERS, _MESSAGE_TYPE, _SERVER, _END = 0, 3, 53, 54, 255
_GROUP_BIT: Final = np.uint64(1 << 40)
_MAPPED: Final = np.uint64(0xFFFF << 32)

Mask = npt.NDArray[np.bool_]
Addresses = npt.NDArray[np.uint64]


def decode_link_layer(layers: FrameLayers, counts: Counter[str]) -> LinkBatch:
    """What a chunk of frames says about the link, in the order of the frames.

    Args:
        layers: of the frames.
        counts: grows by one per statement left out, under ``MALFORMED`` or ``TRUNCATED``.
    """
    parts = [_decode_arp(layers, counts), _decode_neighbours(layers, counts), _decode_dhcp(layers, counts)]
    parts = [part for part in parts if len(part[0])]
    if not parts:
        return LinkBatch.empty()
    rows = np.concatenate([part[0] for part in parts])
    return LinkBatch.concatenate([part[1] for part in parts]).take(np.argsort(rows, kind="stable"))


_Told = tuple[Index, LinkBatch]
"""Frames, and what each of them says."""

_NOTHING: Final[_Told] = (np.zeros(0, dtype=np.int64), LinkBatch.empty())


def _told(layers: FrameLayers, rows: Index, is_kept: Mask, **columns: npt.NDArray[Any]) -> _Told:
    """The statements of ``rows`` where ``is_kept``; columns not given are zeros."""
    blank: dict[str, npt.NDArray[Any]] = {
        name: np.zeros((len(rows), *shape), dtype) for name, (dtype, shape) in LINK_COLUMNS.items()
    }
    typed: dict[str, npt.NDArray[Any]] = {name: item.astype(LINK_COLUMNS[name][0]) for name, item in columns.items()}
    own: dict[str, npt.NDArray[Any]] = {
        "at_s": layers.frames.at_s[rows],
        "segment": _segments(layers, rows),
        "sender_mac": layers.src_mac[rows],
    }
    batch = LinkBatch(**{**blank, **own, **typed})
    return rows[is_kept], batch.take(is_kept)


def _segments(layers: FrameLayers, rows: Index) -> npt.NDArray[np.uint16]:
    """The outermost VLAN identifier of each frame."""
    if layers.frames.link_type != LINK_ETHERNET:
        return np.zeros(len(rows), dtype=np.uint16)
    buffer, at = layers.frames.buffer, layers.frames.starts[rows] + 12
    is_tagged = np.any([u16(buffer, at) == tag for tag in _VLAN_TAGS], axis=0)
    return np.where(is_tagged, u16(buffer, at + 2) & 0xFFF, 0).astype(np.uint16)


def _is_single(mac: npt.NDArray[np.uint64]) -> Mask:
    return np.asarray((mac != 0) & ((mac & _GROUP_BIT) == 0))


def _mapped(address: npt.NDArray[np.uint32]) -> Addresses:
    """IPv4 as ::ffff:a.b.c.d; 0.0.0.0 as zeros, which stand for none."""
    low = np.where(address == 0, np.uint64(0), address.astype(np.uint64) | _MAPPED)
    return np.column_stack([np.zeros(len(address), dtype=np.uint64), low])


def _is_host(address: npt.NDArray[np.uint32]) -> Mask:
    """Neither multicast, reserved or broadcast, nor loopback."""
    first = address >> 24
    return np.asarray((first < 224) & (first != 127))


def _decode_arp(layers: FrameLayers, counts: Counter[str]) -> _Told:
    is_arp = layers.ethertype == _ETHERTYPE_ARP
    if not is_arp.any():
        return _NOTHING
    arp, buffer = layers.payload.keep(is_arp), layers.frames.buffer
    fits = arp.starts + _ARP_BYTES <= arp.ends
    counts[TRUNCATED] += int(len(fits) - fits.sum())
    arp = arp.keep(fits)
    at = arp.starts
    shape = np.column_stack([u16(buffer, at), u16(buffer, at + 2), u8(buffer, at + 4), u8(buffer, at + 5)])
    operation, mac = u16(buffer, at + 6), macs(buffer, at + 8)
    own, asked = u32(buffer, at + 14), u32(buffer, at + 24)
    is_request = operation == _REQUEST
    is_sound = (shape == _ARP_ETHERNET_IPV4).all(axis=1) & _is_single(mac) & _is_host(own)
    is_sound &= (is_request | (operation == _REQUEST + 1)) & (is_request | (own != 0))
    counts[MALFORMED] += int(len(is_sound) - is_sound.sum())
    form = np.where(is_request, LinkKind.QUESTION, LinkKind.ANSWER)
    kind = np.where((own == asked) & (own != 0), LinkKind.ANNOUNCEMENT, form)
    sender = layers.src_mac[arp.rows]
    return _told(
        layers,
        arp.rows,
        is_sound,
        kind=kind,
        address=_mapped(own),
        mac=mac,
        sender_mac=np.where(_is_single(sender), sender, mac),
        asked=np.where((kind == LinkKind.ANNOUNCEMENT)[:, None], np.uint64(0), _mapped(asked)),
    )


def _whole_packets(network: Network, rows: Index) -> tuple[Layer, Index]:
    """The transport layer of those of ``rows`` that are no fragments, and which these are."""
    whole = rows[(network.fragment_offset[rows] == 0) & ~network.has_more_fragments[rows]]
    return network.transport.keep(whole), whole


def _decode_neighbours(layers: FrameLayers, counts: Counter[str]) -> _Told:
    icmp6 = np.flatnonzero(layers.network.proto == PROTO_ICMP6)
    if not len(icmp6):
        return _NOTHING
    buffer = layers.frames.buffer
    found, place = _whole_packets(layers.network, icmp6)
    at = np.minimum(found.starts, len(buffer) - PADDING_BYTES)
    need = np.select([u8(buffer, at) == kind for kind in _ND_BYTES], list(_ND_BYTES.values()), 0)
    is_nd = np.flatnonzero((need > 0) & (found.starts < found.ends))
    found, place, need = found.keep(is_nd), place[is_nd], need[is_nd]
    fits = found.starts + need <= found.ends
    counts[TRUNCATED] += int(len(fits) - fits.sum())
    found, place, need = found.keep(fits), place[fits], need[fits]
    header = layers.payload.starts[np.searchsorted(layers.payload.rows, found.rows)]
    is_v6 = layers.ethertype[np.searchsorted(layers.payload.rows, found.rows)] == ETHERTYPE_IPV6
    is_near = is_v6 & (buffer[header + 7] == 255) & (buffer[found.starts + 1] == 0)
    columns = _neighbour_columns(layers, found, need, place)
    is_sound = is_near & columns.pop("is_sound")
    counts[MALFORMED] += int(len(is_sound) - is_sound.sum())
    return _told(layers, found.rows, is_sound & columns.pop("says_something"), **columns)


def _neighbour_columns(layers: FrameLayers, found: Layer, need: Index, place: Index) -> dict[str, npt.NDArray[Any]]:
    """Columns of ``LinkBatch``; whether each message keeps to the rules; whether it is of any interest."""
    buffer, at, sender_mac = layers.frames.buffer, found.starts, layers.src_mac[found.rows]
    source, destination = layers.network.src_address[place], layers.network.dst_address[place]
    kind = u8(buffer, at)
    is_router, is_question, is_answer = (kind == code for code in _ND_BYTES)
    option_mac, is_walked = _link_layer_option(buffer, at + need, found.ends, is_answer)
    target = np.where(is_router[:, None], np.uint64(0), u64_pairs(buffer, at + np.where(is_router, 0, 8)))
    flags, lifetime_s = u8(buffer, at + 4), u16(buffer, at + 6)
    has_source, has_mac = source.any(axis=1), _is_single(option_mac)
    is_link_local = source[:, 0] >> np.uint64(54) == np.uint64(0xFE80 >> 6)
    is_group = target[:, 0] >> np.uint64(56) == np.uint64(0xFF)
    mac = np.where(is_router & ~has_mac, sender_mac, option_mac)
    claims = np.where(is_question, has_source & has_mac, _is_single(mac))
    announced = np.where(is_answer & ((flags & _SOLICITED) != 0), LinkKind.ANSWER, LinkKind.ANNOUNCEMENT)
    offered = np.where(lifetime_s > 0, LinkKind.ROUTER, LinkKind.MENTION)
    said = np.where(is_answer[:, None], target, source)
    return {
        "kind": np.select([is_router, is_question], [offered, LinkKind.QUESTION], announced),
        "address": np.where(claims[:, None], said, np.uint64(0)),
        "mac": np.where(claims, mac, np.uint64(0)),
        "sender_mac": np.where(_is_single(sender_mac), sender_mac, mac),
        "asked": np.select(
            [is_question[:, None], (announced == LinkKind.ANSWER)[:, None]], [target, destination], np.uint64(0)
        ),
        "is_sound": is_walked & ~is_group & (~is_router | is_link_local),
        # An advertisement without the override flag takes no address from anybody.
        "says_something": is_question | (claims & (is_router | ((flags & _OVERRIDE) != 0))),
    }


def _link_layer_option(
    buffer: Bytes, starts: Index, ends: Index, is_target: Mask
) -> tuple[npt.NDArray[np.uint64], Mask]:
    """The MAC in each message's source or target option, 0 without one; whether all options have a length."""
    at, mac = starts.copy(), np.zeros(len(starts), dtype=np.uint64)
    is_walked, wanted = (
        np.ones(len(starts), dtype=np.bool_),
        np.where(is_target, _OPTION_TARGET_MAC, _OPTION_SOURCE_MAC),
    )
    for _ in range(MAX_ND_OPTIONS):
        row = np.flatnonzero(at + 8 <= ends)
        if not len(row):
            break
        here, option_bytes = at[row], u8(buffer, at[row] + 1) * 8
        is_walked[row] &= option_bytes > 0
        is_found = (u8(buffer, here) == wanted[row]) & (option_bytes == 8) & (mac[row] == 0)
        mac[row[is_found]] = macs(buffer, here[is_found] + 2)
        at[row] = np.where(option_bytes > 0, here + option_bytes, ends[row])
    return mac, is_walked


def _decode_dhcp(layers: FrameLayers, counts: Counter[str]) -> _Told:
    buffer, network = layers.frames.buffer, layers.network
    udp = np.flatnonzero((network.proto == PROTO_UDP) & (network.transport_bytes >= 8 + _DHCP_OPTIONS_AT))
    at = np.minimum(network.transport.starts[udp], len(buffer) - PADDING_BYTES)
    # One byte first: it rules out nearly everything.
    udp = udp[buffer[at + 1] == _DHCP_SERVER_TO_CLIENT >> 16]
    udp = udp[network.transport.starts[udp] + 4 <= network.transport.ends[udp]]
    udp = udp[u32(buffer, network.transport.starts[udp]) == _DHCP_SERVER_TO_CLIENT]
    found, place = _whole_packets(network, udp)
    if not len(place):
        return _NOTHING
    fits = found.starts + 8 + _DHCP_OPTIONS_AT <= found.ends
    counts[TRUNCATED] += int(len(fits) - fits.sum())
    found, place = found.keep(fits), place[fits]
    body = found.starts + 8
    is_sound = (buffer[body] == 2) & (buffer[body + 1] == 1) & (buffer[body + 2] == 6)
    is_sound &= u32(buffer, body + _DHCP_OPTIONS_AT - 4) == _DHCP_MAGIC
    is_v4 = layers.ethertype[np.searchsorted(layers.payload.rows, found.rows)] == ETHERTYPE_IPV4
    is_sound &= is_v4 & _is_single(layers.src_mac[found.rows])
    counts[MALFORMED] += int(len(is_sound) - is_sound.sum())
    options, is_whole = _dhcp_options(buffer, body + _DHCP_OPTIONS_AT, found.ends)
    counts[TRUNCATED] += int((is_sound & ~is_whole).sum())
    is_lease = np.isin(options[_MESSAGE_TYPE], (_DHCP_OFFER, _DHCP_ACK))
    sender = layers.network.src_address[place]
    server = options[_SERVER].astype(np.uint32)
    return _told(
        layers,
        found.rows,
        is_sound & is_whole & is_lease,
        kind=np.full(len(place), LinkKind.DHCP_SERVER),
        address=np.where((server != 0)[:, None], _mapped(server), sender),
        mac=layers.src_mac[found.rows],
        asked=_mapped(options[_ROUTERS].astype(np.uint32)),
    )


def _dhcp_options(buffer: Bytes, starts: Index, ends: Index) -> tuple[dict[int, Index], Mask]:
    """Message type, server and first router of each message, 0 without one; whether its options come to their end."""
    at, is_whole = starts.copy(), np.zeros(len(starts), dtype=np.bool_)
    values = {code: np.zeros(len(starts), dtype=np.int64) for code in (_MESSAGE_TYPE, _SERVER, _ROUTERS)}
    for _ in range(MAX_DHCP_OPTIONS):
        row = np.flatnonzero((at < ends) & ~is_whole)
        if not len(row):
            break
        here = at[row]
        code, value_bytes = u8(buffer, here), u8(buffer, here + 1)
        is_whole[row] = code == _END
        has_room = here + 2 + value_bytes <= ends[row]
        for wanted, column in values.items():
            width = 1 if wanted == _MESSAGE_TYPE else 4
            hit = (code == wanted) & (value_bytes >= width) & has_room
            read = u8(buffer, here[hit] + 2) if width == 1 else u32(buffer, here[hit] + 2).astype(np.int64)
            column[row[hit]] = read
        at[row] = here + np.where(code == _PAD, 1, 2 + value_bytes)
    return values, is_whole
