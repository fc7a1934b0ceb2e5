"""Frames decode to packet columns; what cannot be decoded is counted by reason."""

from __future__ import annotations

import struct

import pytest

from packet_builder import CLIENT, SERVER, Frame, decode, ethernet, ip_packet, tcp, tcp_segment, udp_datagram
from thingwarden.domain.flow import address_from_words

UDP = ip_packet(CLIENT, SERVER, 17, udp_datagram(5000, 6000, b"abc"))


def test_tcp_fields() -> None:
    packets, counts = decode([tcp(0, "PA", 0xFFFFFFFE, 7, b"hello", receive_bytes=99).data])
    assert counts == {}
    assert packets.src_port.tolist() == [40_000]
    assert (packets.tcp_seq[0], packets.tcp_ack[0], packets.tcp_flags[0]) == (0xFFFFFFFE, 7, 0x18)
    assert (packets.ip_bytes[0], packets.payload_bytes[0], packets.tcp_receive_bytes[0]) == (45, 5, 99)
    assert packets.payload_head[0, :6].tobytes() == b"hello\0"


def test_addresses_of_both_families_in_the_order_of_the_frames() -> None:
    six = ip_packet("fd00::1", "fd00::2", 17, udp_datagram(1, 2))
    packets, _ = decode([ethernet(UDP), ethernet(six), ethernet(UDP)])
    assert [str(address_from_words(*row)) for row in packets.src_address] == [CLIENT, "fd00::1", CLIENT]


@pytest.mark.parametrize(
    ("link_type", "frame"),
    [
        (1, ethernet(UDP)),
        (1, ethernet(UDP, tags=b"\x81\x00\x00\x05")),
        (1, ethernet(UDP, tags=b"\x88\xa8\x00\x05\x81\x00\x00\x06")),
        (1, ethernet(UDP, tags=b"\x89\x26\x00\x00\x00\x01")),
        (1, ethernet(UDP, tags=b"\x89\x03\x00\x01" + bytes(12))),
        (101, UDP),
        (228, UDP),
        (0, struct.pack("<I", 2) + UDP),
        (108, struct.pack(">I", 2) + UDP),
        (113, struct.pack("!HHH8sH", 0, 1, 6, bytes(8), 0x800) + UDP),
        (276, struct.pack("!HHIHBB8s", 0x800, 0, 1, 1, 0, 6, bytes(8)) + UDP),
    ],
)
def test_every_link_type_leads_to_the_same_packet(link_type: int, frame: bytes) -> None:
    packets, counts = decode([frame], link_type)
    assert counts == {}
    assert (packets.src_port[0], packets.dst_port[0], packets.payload_bytes[0]) == (5000, 6000, 3)


def test_options_are_stepped_over() -> None:
    with_options = bytes([0x46]) + UDP[1:2] + struct.pack("!H", len(UDP) + 4) + UDP[4:20] + bytes(4) + UDP[20:]
    packets, _ = decode([ethernet(with_options)])
    assert (packets.dst_port[0], packets.payload_bytes[0], packets.ip_bytes[0]) == (6000, 3, len(UDP) + 4)


def test_ipv6_extension_headers_are_stepped_over() -> None:
    body = udp_datagram(5000, 6000, b"abc")
    hop_by_hop = bytes([60, 0]) + bytes(6)
    destination = bytes([17, 1]) + bytes(14)
    packets, counts = decode([ethernet(ip_packet("fd00::1", "fd00::2", 0, hop_by_hop + destination + body))])
    assert counts == {}
    assert (packets.proto[0], packets.dst_port[0], packets.payload_bytes[0]) == (17, 6000, 3)


def test_an_endless_chain_of_extension_headers_is_malformed() -> None:
    chain = (bytes([60, 0]) + bytes(6)) * 20
    packets, counts = decode([ethernet(ip_packet("fd00::1", "fd00::2", 60, chain))])
    assert (len(packets), counts) == (0, {"malformed_ip_header": 1})


def test_padding_is_not_payload() -> None:
    packets, _ = decode([ethernet(ip_packet(CLIENT, SERVER, 6, tcp_segment(1, 2, "A"))) + bytes(6)])
    assert packets.payload_bytes.tolist() == [0]


def test_a_cut_packet_counts_the_lengths_of_its_header() -> None:
    packets, counts = decode([tcp(0, "PA", 1, 1, bytes(1000)).data[:60]])
    assert counts == {}
    assert (packets.payload_bytes[0], packets.ip_bytes[0]) == (1000, 1040)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (ethernet(UDP)[:10], "truncated_link"),
        (ethernet(UDP)[:20], "truncated_ip_header"),
        (ethernet(UDP)[:36], "truncated_transport_header"),
        (ethernet(b"\x41" + UDP[1:]), "malformed_ip_header"),
        (ethernet(ip_packet(CLIENT, SERVER, 6, b"short")), "malformed_transport_header"),
        (
            ethernet(ip_packet(CLIENT, SERVER, 6, tcp_segment(1, 2, "A")[:12] + b"\x10" + bytes(7))),
            "malformed_transport_header",
        ),
        (bytes(12) + b"\x81\x00\x00", "truncated_tag"),
        (bytes(12) + b"\x08\x06" + bytes(28), "not_ip"),
    ],
)
def test_what_cannot_be_decoded_is_counted(frame: bytes, reason: str) -> None:
    packets, counts = decode([frame, ethernet(UDP)])
    assert (len(packets), counts) == (1, {reason: 1})


def test_other_protocols_have_no_ports() -> None:
    packets, _ = decode([ethernet(ip_packet(CLIENT, SERVER, 89, bytes(24)))])
    assert (packets.proto[0], packets.src_port[0], packets.dst_port[0]) == (89, 0, 0)


def test_icmp_has_type_and_code_for_ports() -> None:
    packets, _ = decode([ethernet(ip_packet(CLIENT, SERVER, 1, bytes([3, 1]) + bytes(30)))])
    assert (packets.src_port[0], packets.dst_port[0], packets.payload_bytes[0]) == (3, 1, 24)


def test_frame_of_zero_bytes() -> None:
    packets, counts = decode([b""])
    assert (len(packets), counts) == (0, {"truncated_link": 1})


def test_fragments_count_as_one_packet() -> None:
    body = udp_datagram(5000, 6000, bytes(92))
    first = ip_packet(CLIENT, SERVER, 17, body[:48], fragment=0x2000)
    second = ip_packet(CLIENT, SERVER, 17, body[48:], fragment=6)
    packets, counts = decode([ethernet(first), ethernet(second)])
    assert counts == {}
    assert (packets.payload_bytes.tolist(), packets.ip_bytes.tolist()) == ([92], [120])


def test_a_later_fragment_without_its_first_is_an_orphan() -> None:
    packets, counts = decode(
        [ethernet(ip_packet(CLIENT, SERVER, 17, bytes(40), fragment=6)), Frame(0, ethernet(UDP)).data]
    )
    assert (len(packets), counts) == (1, {"orphan_fragment": 1})
