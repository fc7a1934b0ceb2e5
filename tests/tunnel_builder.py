"""Packets in packets and in rare frames, made by hand for the tests of ingest.

In: the packet inside. Out: the bytes around it.
Must never: use the code under test to make its input.
"""

from __future__ import annotations

import struct

from packet_builder import ethernet, ip_packet, udp_datagram

OUTER = {4: ("198.51.100.1", "198.51.100.2"), 6: ("2001:db8::1", "2001:db8::2")}


def ethertype(packet: bytes) -> int:
    """Of an IP packet."""
    return 0x86DD if packet[0] >> 4 == 6 else 0x0800


def gre(packet: bytes, *, flags: int = 0, options: bytes = b"") -> bytes:
    """GRE around an IP packet."""
    return struct.pack("!HH", flags, ethertype(packet)) + options + packet


def vxlan(packet: bytes) -> bytes:
    """VXLAN around a frame with the packet."""
    return bytes([8, 0, 0, 0, 0, 0, 7, 0]) + ethernet(packet)


def geneve(packet: bytes) -> bytes:
    """Geneve with one option of four bytes around a frame with the packet."""
    return struct.pack("!BBH", 1, 0, 0x6558) + bytes(4) + bytes(4) + ethernet(packet)


def gtp(packet: bytes) -> bytes:
    """GTP-U with one extension header."""
    return struct.pack("!BBHI", 0x34, 0xFF, 8 + len(packet), 1) + bytes([0, 0, 0, 0x85]) + bytes([1, 0, 0, 0]) + packet


def teredo(packet: bytes) -> bytes:
    """An origin indication, then IPv6."""
    return bytes(8) + packet


def ayiya(packet: bytes) -> bytes:
    """AYIYA with an identity of 16 bytes and a signature of 20."""
    return bytes([0x44, 0x52, 0x11, 41 if packet[0] >> 4 == 6 else 4]) + bytes(4 + 16 + 20) + packet


UDP_TUNNELS = {4789: vxlan, 6081: geneve, 2152: gtp, 3544: teredo, 5072: ayiya, 4754: gre}


def carried(packet: bytes, proto: int, family: int = 4) -> bytes:
    """A frame whose packet of ``proto`` has ``packet`` as its payload."""
    return ethernet(ip_packet(*OUTER[family], proto, packet))


def in_udp(port: int, packet: bytes, family: int = 4) -> bytes:
    """A frame with the tunnel that ``port`` stands for."""
    return carried(udp_datagram(50_000, port, UDP_TUNNELS[port](packet)), 17, family)


def llc(packet: bytes) -> bytes:
    """LLC and SNAP before an IP packet."""
    return bytes.fromhex("aaaa03000000") + struct.pack("!H", ethertype(packet)) + packet


def wifi(packet: bytes, *, qos: bool = False, flags: int = 0x01) -> bytes:
    """A data frame of 802.11, to the access point unless ``flags`` say otherwise."""
    addresses = bytes.fromhex("02000000000102000000000a020000000005") + bytes(2)
    fourth = bytes.fromhex("0200000000ff") if flags & 3 == 3 else b""
    return bytes([0x88 if qos else 0x08, flags]) + bytes(2) + addresses + fourth + bytes(2 * qos) + llc(packet)


def radiotap(frame: bytes) -> bytes:
    """A radiotap header of 18 bytes before an 802.11 frame."""
    return struct.pack("<BBHI", 0, 0, 18, 0) + bytes(10) + frame


def aggregate(*packets: bytes) -> bytes:
    """A QoS data frame of several parts, from the access point."""
    parts = b""
    for packet in packets:
        body = llc(packet)
        part = bytes.fromhex("02000000000a020000000005") + struct.pack("!H", len(body)) + body
        parts += part + bytes(-len(part) % 4)
    return bytes([0x88, 0x02]) + bytes(2) + bytes(18) + bytes(2) + b"\x80\0" + parts
