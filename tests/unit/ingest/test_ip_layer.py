"""IP headers of both families: chains of extension headers, and what announces that nothing follows."""

from __future__ import annotations

import struct

from packet_builder import decode, ethernet, ip_packet, udp_datagram
from thingwarden.ingest.ip_layer import MAX_EXTENSION_HEADERS

UDP = udp_datagram(5000, 6000, b"abc")


def chained(count: int) -> bytes:
    """IPv6 with so many destination options."""
    headers = b"".join(struct.pack("!BB6x", 60 if number + 1 < count else 17, 0) for number in range(count))
    return ethernet(ip_packet("fd00::1", "fd00::2", 60, headers + UDP))


def test_chains_of_extension_headers() -> None:
    packets, counts = decode([chained(1), chained(MAX_EXTENSION_HEADERS), chained(MAX_EXTENSION_HEADERS + 1)])
    assert packets.dst_port.tolist() == [6000, 6000]
    assert packets.payload_bytes.tolist() == [3, 3]
    assert counts == {"malformed_ip_header": 1}


def test_no_next_header_is_no_flow() -> None:
    packets, counts = decode([ethernet(ip_packet("fd00::1", "fd00::2", 59, b""))])
    assert len(packets) == 0
    assert counts == {"no_next_header": 1}


def test_a_length_beyond_the_capture_is_kept_and_not_read() -> None:
    packet = bytearray(ip_packet("192.0.2.1", "192.0.2.2", 17, UDP))
    packet[2:4] = struct.pack("!H", 1000)
    packets, _ = decode([ethernet(bytes(packet))])
    assert packets.ip_bytes.tolist() == [1000]
    assert packets.payload_head[0, :4].tobytes() == b"abc\0"
