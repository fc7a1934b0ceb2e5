"""Decode captured frames into packet columns, all frames of a chunk at once.

In: ``FrameBatch``, a byte buffer and where each frame lies in it. Out: ``PacketBatch`` and counts by reason of what
was left out.
Must never: read beyond a frame's captured end, trust a length field unchecked, or loop over packets.
Source: RFC 9293, 768, 792, 4443. Other protocols, SCTP among them, are flows without ports, as in Zeek.
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
from thingwarden.ingest.gather import Bytes, Index, u16, wide
from thingwarden.ingest.ip_layer import Layer, Network, decode_ip
from thingwarden.ingest.link_header import open_link
from thingwarden.ingest.tunnels import open_tunnels

PADDING_BYTES: Final = 64
"""Zeros that ``FrameBatch.buffer`` carries after its last frame, so that a fixed-width read never leaves it."""

_ICMP_HEADER_BYTES: Final = 8
_TRANSPORT_HEADER_BYTES: Final = {PROTO_TCP: 20, PROTO_UDP: 8, PROTO_ICMP: 4, PROTO_ICMP6: 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameBatch:
    """Frames as captured.

    Attributes:
        buffer: uint8, the bytes, ``PADDING_BYTES`` of zeros behind the last frame.
        starts: int64 (n,), offset of each frame in ``buffer``.
        captured_bytes: int64 (n,), how much of each frame was captured.
        at_s: float64 (n,), Unix seconds.
        link_type: the link type of all these frames, one of ``link_header.LINK_TYPES``.
    """

    buffer: Bytes
    starts: Index
    captured_bytes: Index
    at_s: npt.NDArray[np.float64]
    link_type: int

    def __len__(self) -> int:
        return len(self.starts)


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
        frames: the frames; their link type must be one of ``link_header.LINK_TYPES``.
        counts: grows by one per frame left out, under the reason.

    Returns:
        The packets in the order of the frames; later fragments are folded into their first.
    """
    return decode_packets(decode_layers(frames, counts), counts)


def decode_layers(frames: FrameBatch, counts: Counter[str]) -> FrameLayers:
    """Find the layers of a chunk of frames up to IP; arguments as for ``decode_frames``."""
    link = Layer(np.arange(len(frames)), frames.starts, frames.starts + frames.captured_bytes)
    carried = open_link(frames.buffer, frames.link_type, link, counts)
    return FrameLayers(
        frames=frames,
        payload=carried.payload,
        ethertype=carried.ethertype,
        src_mac=_by_frame(carried.payload.rows, carried.src_mac, len(frames)),
        dst_mac=_by_frame(carried.payload.rows, carried.dst_mac, len(frames)),
        network=decode_ip(frames.buffer, carried.ethertype, carried.payload, counts),
    )


def _by_frame(rows: Index, macs: npt.NDArray[np.uint64], count: int) -> npt.NDArray[np.uint64]:
    by_frame = np.zeros(count, dtype=np.uint64)
    by_frame[rows] = macs
    return by_frame


def decode_packets(layers: FrameLayers, counts: Counter[str]) -> PacketBatch:
    """The IP packets whose layers were found, and those in tunnels; result as of ``decode_frames``."""
    network = open_tunnels(layers.frames.buffer, layers.network, counts)
    rows = network.transport.rows
    return _decode_transport(layers.frames, network, layers.src_mac[rows], layers.dst_mac[rows], counts)


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
