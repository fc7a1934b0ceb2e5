"""Writes packet columns as a capture file, so that what was simulated can be looked at like what was captured.

In: ``PacketBatch``es. Out: pcap with Ethernet frames cut at ``snap_bytes``; checksums are zero.
Must never: say of a packet what its columns do not say; options of TCP, which they do not keep, are padding.
Source: draft-ietf-opsawg-pcap; RFC 791, 8200, 9293, 768, 792.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

from thingwarden.domain.packet import PROTO_ICMP, PROTO_ICMP6, PROTO_TCP, PROTO_UDP, PacketBatch

_FILE_HEAD: Final = struct.Struct("<IHHiIII")
_RECORD_HEAD: Final = struct.Struct("<IIII")
_IP4_HEAD: Final = struct.Struct(">BBHHHBBH4s4s")
_IP6_HEAD: Final = struct.Struct(">IHBB16s16s")
_TCP_HEAD: Final = struct.Struct(">HHIIBBHHH")
_UDP_HEAD: Final = struct.Struct(">HHHH")
_ICMP_HEAD: Final = struct.Struct(">BBHI")
_MICROSECOND_MAGIC: Final = 0xA1B2C3D4
_ETHERNET: Final = 1
_ETHERNET_BYTES: Final = 14
_IP4_TYPE: Final = b"\x08\x00"
_IP6_TYPE: Final = b"\x86\xdd"
_HOP_LIMIT: Final = 64
_NO_OPERATION: Final = b"\x01"
_MAPPED_PREFIX: Final = 0xFFFF


class PacketFile:
    """A pcap file under way.

    Args:
        sink: where it goes.
        snap_bytes: how much of each packet is kept.
    """

    def __init__(self, sink: BinaryIO, snap_bytes: int) -> None:
        self._sink = sink
        self._snap_bytes = snap_bytes
        sink.write(_FILE_HEAD.pack(_MICROSECOND_MAGIC, 2, 4, 0, 0, snap_bytes, _ETHERNET))

    def write(self, packets: PacketBatch) -> None:
        """Append packets, in their order."""
        self._sink.writelines(self._records(packets))

    def _records(self, packets: PacketBatch) -> Iterator[bytes]:
        columns = [getattr(packets, name).tolist() for name in _Packet._fields]
        for packet in map(_Packet._make, zip(*columns, strict=True)):
            length = _ETHERNET_BYTES + packet.ip_bytes
            # The columns keep the head of the payload only: what is missing up to the cut is zeros.
            frame = _frame(packet)[: self._snap_bytes].ljust(min(length, self._snap_bytes), b"\0")
            at_us = round(packet.at_s * 1e6)
            yield _RECORD_HEAD.pack(at_us // 1_000_000, at_us % 1_000_000, len(frame), length) + frame


class _Packet(NamedTuple):
    """A row of ``PacketBatch``."""

    at_s: float
    src_mac: int
    dst_mac: int
    src_address: list[int]
    dst_address: list[int]
    src_port: int
    dst_port: int
    proto: int
    ip_bytes: int
    payload_bytes: int
    tcp_flags: int
    tcp_seq: int
    tcp_ack: int
    tcp_receive_bytes: int
    payload_head: list[int]


def _frame(packet: _Packet) -> bytes:
    high, low = packet.src_address
    is_v4 = high == 0 and low >> 32 == _MAPPED_PREFIX
    ends = [high.to_bytes(8, "big") + low.to_bytes(8, "big") for high, low in (packet.src_address, packet.dst_address)]
    link = packet.dst_mac.to_bytes(6, "big") + packet.src_mac.to_bytes(6, "big") + (_IP4_TYPE if is_v4 else _IP6_TYPE)
    if is_v4:
        ends = [end[-4:] for end in ends]
        head = _IP4_HEAD.pack(0x45, 0, packet.ip_bytes, 0, 0x4000, _HOP_LIMIT, packet.proto, 0, *ends)
    else:
        head = _IP6_HEAD.pack(0x60000000, packet.ip_bytes - _IP6_HEAD.size, packet.proto, _HOP_LIMIT, *ends)
    data = bytes(packet.payload_head[: packet.payload_bytes])
    return link + head + _transport(packet, packet.ip_bytes - len(head)) + data


def _transport(packet: _Packet, rest_bytes: int) -> bytes:
    """The transport header of a packet that has ``rest_bytes`` after its IP header."""
    ports = packet.src_port, packet.dst_port
    if packet.proto == PROTO_TCP:
        head_bytes = rest_bytes - packet.payload_bytes
        offset, numbers = head_bytes // 4 << 4, (packet.tcp_seq, packet.tcp_ack)
        head = _TCP_HEAD.pack(*ports, *numbers, offset, packet.tcp_flags, packet.tcp_receive_bytes, 0, 0)
        return head.ljust(head_bytes, _NO_OPERATION)
    if packet.proto == PROTO_UDP:
        return _UDP_HEAD.pack(*ports, rest_bytes, 0)
    if packet.proto in (PROTO_ICMP, PROTO_ICMP6):
        return _ICMP_HEAD.pack(*ports, 0, 0)
    return b""
