"""Decode captured frames into packet columns, all frames of a chunk at once.

In: ``FrameBatch``, a byte buffer and where each frame lies in it. Out: ``PacketBatch`` and counts by reason of what
was left out.
Must never: read beyond a frame's captured end, trust a length field unchecked, or loop over packets.
Source: RFC 791, 8200, 9293, 768, 792, 4443; tcpdump.org/linktypes.html for the link types.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.packet import (
    PAYLOAD_HEAD_LENGTH,
    PROTO_ICMP,
    PROTO_ICMP6,
    PROTO_TCP,
    PROTO_UDP,
    PacketBatch,
)
from thingwarden.ingest.fragments import fold_fragments
from thingwarden.ingest.gather import Bytes, Index, macs, u8, u16, u32, u64_pairs, wide

LINK_NULL: Final = 0
LINK_ETHERNET: Final = 1
LINK_RAW: Final = 101
LINK_LOOP: Final = 108
LINK_LINUX_COOKED: Final = 113
LINK_IPV4: Final = 228
LINK_IPV6: Final = 229
LINK_LINUX_COOKED_2: Final = 276
RAW_LINK_TYPES: Final = (LINK_RAW, 12, 14, LINK_IPV4, LINK_IPV6)
"""12 and 14 are what BSD systems wrote for raw IP."""
LINK_TYPES: Final = (LINK_NULL, LINK_ETHERNET, LINK_LOOP, LINK_LINUX_COOKED, LINK_LINUX_COOKED_2, *RAW_LINK_TYPES)

PADDING_BYTES: Final = 64
"""Zeros that ``FrameBatch.buffer`` carries after its last frame, so that a fixed-width read never leaves it."""

MAX_TAGS: Final = 4
MAX_EXTENSION_HEADERS: Final = 8
"""Far above what real packets carry; a longer chain is counted as malformed."""

ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_IPV6: Final = 0x86DD
_TAGS: Final = {0x8100: (4, 2), 0x88A8: (4, 2), 0x9100: (4, 2), 0x8926: (6, 4), 0x8903: (16, 14), 0x88E7: (18, 16)}
"""Length, and where in it the next EtherType lies: 802.1Q, 802.1ad and its forerunner, VN-Tag, FabricPath, 802.1ah."""
_MAPPED: Final = np.uint64(0xFFFF << 32)
_ICMP_HEADER_BYTES: Final = 8
_TRANSPORT_HEADER_BYTES: Final = {PROTO_TCP: 20, PROTO_UDP: 8, PROTO_ICMP: 4, PROTO_ICMP6: 4}
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION, _MOBILITY = 0, 43, 44, 51, 60, 135
_EXTENSIONS: Final = (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION, _MOBILITY)


def _tag_table(column: int) -> Index:
    table = np.zeros(65536, dtype=np.int64)
    for ethertype, shape in _TAGS.items():
        table[ethertype] = shape[column]
    return table


_TAG_LENGTH: Final = _tag_table(0)
_TAG_TYPE_AT: Final = _tag_table(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameBatch:
    """Frames as captured.

    Attributes:
        buffer: uint8, the bytes, ``PADDING_BYTES`` of zeros behind the last frame.
        starts: int64 (n,), offset of each frame in ``buffer``.
        captured_bytes: int64 (n,), how much of each frame was captured.
        at_s: float64 (n,), Unix seconds.
        link_type: the link type of all these frames, one of ``LINK_TYPES``.
    """

    buffer: Bytes
    starts: Index
    captured_bytes: Index
    at_s: npt.NDArray[np.float64]
    link_type: int

    def __len__(self) -> int:
        return len(self.starts)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLayers:
    """What lies where in the frames of a chunk.

    Attributes:
        frames: as captured.
        payload: what each decodable frame carries behind its link layer and tags; rows ascend.
        ethertype: int64, of each row of ``payload``.
        src_mac, dst_mac: uint64, of every frame; 0 unknown.
        network: of the IP packets, in the order of the frames.
    """

    frames: FrameBatch
    payload: Layer
    ethertype: Index
    src_mac: npt.NDArray[np.uint64]
    dst_mac: npt.NDArray[np.uint64]
    network: Network


def decode_frames(frames: FrameBatch, counts: Counter[str]) -> PacketBatch:
    """Decode the IP packets of a chunk of frames.

    Args:
        frames: the frames; their link type must be one of ``LINK_TYPES``.
        counts: grows by one per frame left out, under the reason.

    Returns:
        The packets in the order of the frames; later fragments are folded into their first.
    """
    return decode_packets(decode_layers(frames, counts), counts)


def decode_layers(frames: FrameBatch, counts: Counter[str]) -> FrameLayers:
    """Find the layers of a chunk of frames up to IP; arguments as for ``decode_frames``."""
    link = Layer(np.arange(len(frames)), frames.starts, frames.starts + frames.captured_bytes)
    ethertype, payload, src_mac, dst_mac = _decode_link(frames, link, counts)
    is_v4 = ethertype == ETHERTYPE_IPV4
    is_v6 = ethertype == ETHERTYPE_IPV6
    counts["not_ip"] += int(len(ethertype) - is_v4.sum() - is_v6.sum())
    v4 = _decode_ipv4(frames.buffer, payload.keep(is_v4), counts)
    v6 = _decode_ipv6(frames.buffer, payload.keep(is_v6), counts)
    return FrameLayers(
        frames=frames, payload=payload, ethertype=ethertype, src_mac=src_mac, dst_mac=dst_mac, network=_join(v4, v6)
    )


def decode_packets(layers: FrameLayers, counts: Counter[str]) -> PacketBatch:
    """The IP packets whose layers were found; result as of ``decode_frames``."""
    network, rows = layers.network, layers.network.transport.rows
    return _decode_transport(layers.frames, network, layers.src_mac[rows], layers.dst_mac[rows], counts)


def _checked(layer: Layer, header_bytes: int, counts: Counter[str], reason: str) -> Layer:
    """The rows whose captured bytes hold a header of ``header_bytes``; the others are counted."""
    fits = layer.starts + header_bytes <= layer.ends
    counts[reason] += int(len(fits) - fits.sum())
    return layer if fits.all() else layer.keep(fits)


def _decode_link(
    frames: FrameBatch, link: Layer, counts: Counter[str]
) -> tuple[Index, Layer, npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """EtherType and network layer per decodable frame; MACs per frame, 0 where the link layer has none."""
    src_mac = np.zeros(len(frames), dtype=np.uint64)
    dst_mac = np.zeros(len(frames), dtype=np.uint64)
    buffer = frames.buffer
    if frames.link_type == LINK_ETHERNET:
        link = _checked(link, 14, counts, "truncated_link")
        dst_mac[link.rows] = macs(buffer, link.starts)
        src_mac[link.rows] = macs(buffer, link.starts + 6)
        ethertype, layer = u16(buffer, link.starts + 12), Layer(link.rows, link.starts + 14, link.ends)
    elif frames.link_type == LINK_LINUX_COOKED:
        link = _checked(link, 16, counts, "truncated_link")
        src_mac[link.rows] = np.where(u16(buffer, link.starts + 4) == 6, macs(buffer, link.starts + 6), 0)
        ethertype, layer = u16(buffer, link.starts + 14), Layer(link.rows, link.starts + 16, link.ends)
    elif frames.link_type == LINK_LINUX_COOKED_2:
        link = _checked(link, 20, counts, "truncated_link")
        src_mac[link.rows] = np.where(u8(buffer, link.starts + 11) == 6, macs(buffer, link.starts + 12), 0)
        ethertype, layer = u16(buffer, link.starts), Layer(link.rows, link.starts + 20, link.ends)
    else:
        skip = 0 if frames.link_type in RAW_LINK_TYPES else 4
        layer = _checked(Layer(link.rows, link.starts + skip, link.ends), 1, counts, "truncated_link")
        version = u8(buffer, layer.starts) >> 4
        ethertype = np.select([version == 4, version == 6], [ETHERTYPE_IPV4, ETHERTYPE_IPV6], 0).astype(np.int64)
    ethertype, layer = _skip_tags(buffer, ethertype, layer, counts)
    return ethertype, layer, src_mac, dst_mac


def _skip_tags(buffer: Bytes, ethertype: Index, layer: Layer, counts: Counter[str]) -> tuple[Index, Layer]:
    """Step over tags between the Ethernet and the IP header, one per round."""
    for _ in range(MAX_TAGS):
        length, type_at = _TAG_LENGTH[ethertype], _TAG_TYPE_AT[ethertype]
        is_tagged = length > 0
        if not is_tagged.any():
            break
        fits = layer.starts + length <= layer.ends
        counts["truncated_tag"] += int(len(fits) - fits.sum())
        layer, ethertype, length = layer.keep(fits), ethertype[fits], length[fits]
        ethertype = np.where(length > 0, u16(buffer, layer.starts + type_at[fits]), ethertype)
        layer = Layer(layer.rows, layer.starts + length, layer.ends)
    return ethertype, layer


def _decode_ipv4(buffer: Bytes, layer: Layer, counts: Counter[str]) -> Network:
    layer = _checked(layer, 20, counts, "truncated_ip_header")
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
    layer = _checked(layer, 40, counts, "truncated_ip_header")
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
    return _skip_extension_headers(buffer, network, counts)


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


def _join(first: Network, second: Network) -> Network:
    """Both in the order of their frames."""
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


def _is_transport_sound(network: Network, counts: Counter[str]) -> npt.NDArray[np.bool_]:
    """Whether ports and lengths of each packet were captured; later fragments have none to check."""
    needed = np.zeros(256, dtype=np.int64)
    for proto, length in _TRANSPORT_HEADER_BYTES.items():
        needed[proto] = length
    need = np.where(network.fragment_offset > 0, 0, needed[network.proto])
    is_short = network.transport_bytes < need
    is_cut = ~is_short & (network.transport.starts + need > network.transport.ends)
    counts["malformed_transport_header"] += int(is_short.sum())
    counts["truncated_transport_header"] += int(is_cut.sum())
    return ~(is_short | is_cut)


def _decode_transport(
    frames: FrameBatch,
    network: Network,
    src_mac: npt.NDArray[np.uint64],
    dst_mac: npt.NDArray[np.uint64],
    counts: Counter[str],
) -> PacketBatch:
    is_sound = _is_transport_sound(network, counts)
    if not is_sound.all():
        network, src_mac, dst_mac = network.take(is_sound), src_mac[is_sound], dst_mac[is_sound]
    buffer, at, proto = frames.buffer, network.transport.starts, network.proto
    is_first = network.fragment_offset == 0
    is_tcp, is_udp = (proto == PROTO_TCP) & is_first, (proto == PROTO_UDP) & is_first
    is_icmp = ((proto == PROTO_ICMP) | (proto == PROTO_ICMP6)) & is_first
    has_ports = is_tcp | is_udp
    # A clamped offset keeps the reads of portless packets inside the padded buffer; their values are masked.
    at = np.minimum(at, len(buffer) - PADDING_BYTES)
    ports = np.where(has_ports[:, None], wide(buffer, at, 4, ">u2"), 0)
    ports = np.where(is_icmp[:, None], buffer[at[:, None] + np.arange(2)], ports).astype(np.uint16)
    tcp = _tcp_fields(buffer, at, is_tcp)
    header_bytes = np.select([is_tcp, is_udp, is_icmp], [tcp.pop("header_bytes"), 8, _ICMP_HEADER_BYTES], 0)
    payload_bytes = _payload_bytes(buffer, at, network, header_bytes, is_udp)
    is_malformed = is_tcp & ((header_bytes < 20) | (header_bytes > network.transport_bytes))
    counts["malformed_transport_header"] += int(is_malformed.sum())
    packets = PacketBatch(
        at_s=frames.at_s[network.transport.rows],
        src_address=network.src_address,
        dst_address=network.dst_address,
        src_port=ports[:, 0],
        dst_port=ports[:, 1],
        proto=proto,
        ip_bytes=network.ip_bytes,
        payload_bytes=payload_bytes,
        src_mac=src_mac,
        dst_mac=dst_mac,
        payload_head=_payload_head(buffer, at + header_bytes, network.transport.ends),
        **tcp,
    )
    return _without_fragments(packets, network, is_malformed, counts)


def _tcp_fields(buffer: Bytes, at: Index, is_tcp: npt.NDArray[np.bool_]) -> dict[str, Any]:
    header = wide(buffer, at + 4, 16, ">u4")  # (n, 4): seq, ack, offset/flags/window, checksum
    control = header[:, 2].astype(np.uint32)
    return {
        "header_bytes": (control >> 28).astype(np.int64) * 4,
        "tcp_flags": np.where(is_tcp, control >> 16 & 0xFF, 0).astype(np.uint8),
        "tcp_seq": np.where(is_tcp, header[:, 0], 0).astype(np.uint32),
        "tcp_ack": np.where(is_tcp, header[:, 1], 0).astype(np.uint32),
        "tcp_receive_bytes": np.where(is_tcp, control & 0xFFFF, 1).astype(np.uint16),
    }


def _payload_bytes(
    buffer: Bytes, at: Index, network: Network, header_bytes: Index, is_udp: npt.NDArray[np.bool_]
) -> Index:
    """Bytes behind the transport header; UDP's own length counts, as in Zeek, unless it exceeds the packet."""
    payload_bytes = np.maximum(network.transport_bytes - header_bytes, 0)
    stated = np.where(is_udp, u16(buffer, at + 4), 0) - 8
    is_whole = is_udp & ~network.has_more_fragments & (stated >= 0) & (stated <= payload_bytes)
    return np.where(is_whole, stated, payload_bytes)


def _payload_head(buffer: Bytes, starts: Index, ends: Index) -> Bytes:
    starts = np.minimum(starts, len(buffer) - PADDING_BYTES)
    head = np.lib.stride_tricks.sliding_window_view(buffer, PAYLOAD_HEAD_LENGTH)[starts]
    captured = np.maximum(ends - starts, 0)
    if (captured < PAYLOAD_HEAD_LENGTH).any():
        head[np.arange(PAYLOAD_HEAD_LENGTH) >= captured[:, None]] = 0
    return head


def _without_fragments(
    packets: PacketBatch, network: Network, is_malformed: npt.NDArray[np.bool_], counts: Counter[str]
) -> PacketBatch:
    is_fragment = (network.fragment_offset > 0) | network.has_more_fragments
    if is_fragment.any():
        packets, is_orphan = fold_fragments(packets, network.fragment_id, network.fragment_offset > 0, is_fragment)
        counts["orphan_fragment"] += int(is_orphan.sum())
        is_malformed = is_malformed | (network.fragment_offset > 0)
    return packets.take(~is_malformed) if is_malformed.any() else packets
