"""Decode the IP layer of many packets at once: headers, options, extension headers.

In: a byte buffer and where IP headers are said to lie in it. Out: ``Network`` columns and counts by reason of what was
left out.
Must never: read beyond a layer's end, trust a length field unchecked, or loop over packets.
Source: RFC 791, 8200.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.packet import PROTO_TCP
from thingwarden.ingest.gather import Bytes, Index, u8, u16, u32, u64_pairs, wide

MAX_EXTENSION_HEADERS: Final = 8
"""Far above what real packets carry; a longer chain is counted as malformed."""

ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_IPV6: Final = 0x86DD
_MAPPED: Final = np.uint64(0xFFFF << 32)
_NO_NEXT_HEADER: Final = 59
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION, _MOBILITY = 0, 43, 44, 51, 60, 135
_EXTENSIONS: Final = (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION, _MOBILITY)


@dataclass(slots=True)
class Layer:
    """Where one protocol layer of some frames lies; ``rows`` are frame numbers."""

    rows: Index
    starts: Index
    ends: Index

    def keep(self, mask: npt.NDArray[Any]) -> Layer:
        """The layer of the frames at ``mask`` (boolean, or indices)."""
        return Layer(self.rows[mask], self.starts[mask], self.ends[mask])


@dataclass(slots=True)
class Network:
    """The IP layer of some frames, columns of equal length; ``transport`` spans the bytes after all IP headers."""

    transport: Layer
    src_address: npt.NDArray[np.uint64]
    dst_address: npt.NDArray[np.uint64]
    proto: npt.NDArray[np.uint8]
    ip_bytes: Index
    transport_bytes: Index
    fragment_offset: Index
    fragment_id: npt.NDArray[np.uint32]
    has_more_fragments: npt.NDArray[np.bool_]

    def take(self, rows: npt.NDArray[Any]) -> Network:
        """The packets at ``rows`` (indices or boolean mask), in that order."""
        columns = {name: getattr(self, name)[rows] for name in self.__slots__ if name != "transport"}
        return Network(transport=self.transport.keep(rows), **columns)


def decode_ip(buffer: Bytes, ethertype: Index, payload: Layer, counts: Counter[str]) -> Network:
    """The IP packets among the payloads of frames, in the order of ``payload``.

    Args:
        buffer: uint8, the bytes.
        ethertype: int64, of each row of ``payload``; what is neither IPv4 nor IPv6 is counted.
        payload: rows ascend.
        counts: grows by one per packet left out, under the reason.
    """
    is_v4 = ethertype == ETHERTYPE_IPV4
    is_v6 = ethertype == ETHERTYPE_IPV6
    counts["not_ip"] += int(len(ethertype) - is_v4.sum() - is_v6.sum())
    v4 = _decode_ipv4(buffer, payload.keep(is_v4), counts)
    v6 = _decode_ipv6(buffer, payload.keep(is_v6), counts)
    return join_networks(v4, v6)


def checked(layer: Layer, header_bytes: int, counts: Counter[str], reason: str) -> Layer:
    """The rows whose captured bytes hold a header of ``header_bytes``; the others are counted."""
    fits = layer.starts + header_bytes <= layer.ends
    counts[reason] += int(len(fits) - fits.sum())
    return layer if fits.all() else layer.keep(fits)


def _decode_ipv4(buffer: Bytes, layer: Layer, counts: Counter[str]) -> Network:
    layer = checked(layer, 20, counts, "truncated_ip_header")
    version_and_length = u8(buffer, layer.starts)
    header_bytes = (version_and_length & 15) * 4
    total_bytes = u16(buffer, layer.starts + 2)
    # Segmentation offload writes 0; what was captured is then the best guess.
    total_bytes = np.where(total_bytes == 0, layer.ends - layer.starts, total_bytes)
    is_sound = (version_and_length >> 4 == 4) & (header_bytes >= 20) & (total_bytes >= header_bytes)
    counts["malformed_ip_header"] += int(len(is_sound) - is_sound.sum())
    layer, header_bytes, total_bytes = layer.keep(is_sound), header_bytes[is_sound], total_bytes[is_sound]
    start = layer.starts
    fragment = u16(buffer, start + 6)
    addresses = wide(buffer, start + 12, 8, ">u4").astype(np.uint64) | _MAPPED  # (n, 2): source, destination
    zeros = np.zeros(len(start), dtype=np.uint64)
    # Ethernet pads short frames: the packet ends where its header says.
    ends = np.minimum(layer.ends, start + total_bytes)
    return Network(
        transport=Layer(layer.rows, start + header_bytes, ends),
        src_address=np.column_stack([zeros, addresses[:, 0]]),
        dst_address=np.column_stack([zeros, addresses[:, 1]]),
        proto=buffer[start + 9],
        ip_bytes=total_bytes,
        transport_bytes=total_bytes - header_bytes,
        fragment_offset=(fragment & 0x1FFF) * 8,
        fragment_id=u16(buffer, start + 4).astype(np.uint32),
        has_more_fragments=(fragment & 0x2000) != 0,
    )


def _decode_ipv6(buffer: Bytes, layer: Layer, counts: Counter[str]) -> Network:
    layer = checked(layer, 40, counts, "truncated_ip_header")
    is_sound = u8(buffer, layer.starts) >> 4 == 6
    counts["malformed_ip_header"] += int(len(is_sound) - is_sound.sum())
    layer = layer.keep(is_sound)
    start = layer.starts
    payload_bytes = u16(buffer, start + 4)
    is_offloaded = (payload_bytes == 0) & (buffer[start + 6] == PROTO_TCP)
    payload_bytes = np.where(is_offloaded, layer.ends - start - 40, payload_bytes)
    ends = np.minimum(layer.ends, start + 40 + payload_bytes)
    count = len(start)
    network = Network(
        transport=Layer(layer.rows, start + 40, ends),
        src_address=u64_pairs(buffer, start + 8),
        dst_address=u64_pairs(buffer, start + 24),
        proto=buffer[start + 6],
        ip_bytes=payload_bytes + 40,
        transport_bytes=payload_bytes,
        fragment_offset=np.zeros(count, dtype=np.int64),
        fragment_id=np.zeros(count, dtype=np.uint32),
        has_more_fragments=np.zeros(count, dtype=np.bool_),
    )
    return _without_empty(_skip_extension_headers(buffer, network, counts), counts)


def _skip_extension_headers(buffer: Bytes, network: Network, counts: Counter[str]) -> Network:
    """Walk the extension header chains of all packets together, one header per round."""
    for _ in range(MAX_EXTENSION_HEADERS):
        # Behind a later fragment's header lies payload, not another header.
        is_extended = np.isin(network.proto, _EXTENSIONS) & (network.fragment_offset == 0)
        if not is_extended.any():
            return network
        fits = ~is_extended | (network.transport.starts + 8 <= network.transport.ends)
        counts["truncated_ip_header"] += int(len(fits) - fits.sum())
        network, is_extended = network.take(fits), is_extended[fits]
        _step_over_extension(buffer, network, np.flatnonzero(is_extended))
    is_extended = np.isin(network.proto, _EXTENSIONS) & (network.fragment_offset == 0)
    counts["malformed_ip_header"] += int(is_extended.sum())
    return network.take(~is_extended)


def _without_empty(network: Network, counts: Counter[str]) -> Network:
    """Packets that announce that nothing follows belong to no flow."""
    is_empty = (network.proto == _NO_NEXT_HEADER) & (network.fragment_offset == 0)
    counts["no_next_header"] += int(is_empty.sum())
    return network.take(~is_empty) if is_empty.any() else network


def _step_over_extension(buffer: Bytes, network: Network, rows: Index) -> None:
    at = network.transport.starts[rows]
    kind = network.proto[rows]
    units = u8(buffer, at + 1)
    length = np.select([kind == _FRAGMENT, kind == _AUTHENTICATION], [8, (units + 2) * 4], (units + 1) * 8)
    fragment = np.where(kind == _FRAGMENT, u16(buffer, at + 2), 0)
    is_fragment = kind == _FRAGMENT
    network.fragment_offset[rows] = np.where(is_fragment, fragment & 0xFFF8, network.fragment_offset[rows])
    network.has_more_fragments[rows] |= (fragment & 1) != 0
    network.fragment_id[rows] = np.where(is_fragment, u32(buffer, at + 4), network.fragment_id[rows])
    network.proto[rows] = buffer[at]
    network.transport.starts[rows] += length
    network.transport_bytes[rows] -= length


def join_networks(first: Network, second: Network) -> Network:
    """Both in the order of their frames; of one frame the first's packets come first."""
    if not len(second.transport.rows):
        return first
    if not len(first.transport.rows):
        return second
    layers = first.transport, second.transport
    rows, starts, ends = (
        np.concatenate([getattr(layer, name) for layer in layers]) for name in ("rows", "starts", "ends")
    )
    order = np.argsort(rows, kind="stable")
    columns = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])[order]
        for name in Network.__slots__
        if name != "transport"
    }
    return Network(transport=Layer(rows[order], starts[order], ends[order]), **columns)
