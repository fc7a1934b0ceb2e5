"""Frames of every link type are opened down to IP."""

from __future__ import annotations

import struct

import pytest

from packet_builder import CLIENT, CLIENT_MAC, SERVER, SERVER_MAC, decode, ethernet, ip_packet, udp_datagram
from thingwarden.ingest.link_header import LINK_TYPES, MAX_SUBFRAMES, MAX_TAGS
from tunnel_builder import aggregate, ethertype, llc, radiotap, wifi

PACKETS = {
    4: ip_packet(CLIENT, SERVER, 17, udp_datagram(5000, 6000, b"abc")),
    6: ip_packet("fd00::1", "fd00::2", 17, udp_datagram(5000, 6000, b"abc")),
}
MPLS = b"\x88\x47"


def framed(link_type: int, packet: bytes) -> bytes:
    kind = struct.pack("!H", ethertype(packet))
    ppp = b"\0\x57" if ethertype(packet) == 0x86DD else b"\0\x21"
    return {
        0: b"\x02\0\0\0" + packet,
        1: ethernet(packet),
        9: ppp + packet,
        50: b"\xff\x03" + ppp + packet,
        104: b"\x0f\0" + kind + packet,
        105: wifi(packet),
        108: b"\0\0\0\x02" + packet,
        113: bytes(4) + b"\0\x06" + CLIENT_MAC + bytes(2) + kind + packet,
        127: radiotap(wifi(packet)),
        276: kind + bytes(9) + b"\x06" + CLIENT_MAC + bytes(2) + packet,
    }.get(link_type, packet)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("link_type", LINK_TYPES)
def test_every_link_type_carries_both_families(link_type: int, family: int) -> None:
    packets, counts = decode([framed(link_type, PACKETS[family])], link_type)
    assert counts == {}
    assert (packets.src_port.tolist(), packets.dst_port.tolist()) == ([5000], [6000])


@pytest.mark.parametrize("link_type", LINK_TYPES)
def test_every_cut_is_counted_once(link_type: int) -> None:
    frame = framed(link_type, PACKETS[4])
    for length in range(len(frame) - 3):
        packets, counts = decode([frame[:length]], link_type)
        assert len(packets) + sum(counts.values()) == 1, (length, counts)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    "tags",
    [
        b"\x81\0\0\x05",
        b"\x88\xa8\0\x05\x81\0\0\x06",
        b"\x81\0\0\x05" * MAX_TAGS,
    ],
)
def test_tags(tags: bytes, family: int) -> None:
    packets, _ = decode([ethernet(PACKETS[family], tags=tags)])
    assert packets.dst_port.tolist() == [6000]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("depth", [1, 3])
def test_mpls_labels(family: int, depth: int) -> None:
    labels = b"\0\x01\0\x40" * (depth - 1) + b"\0\x01\x01\x40"
    packets, _ = decode([SERVER_MAC + CLIENT_MAC + MPLS + labels + PACKETS[family]])
    assert packets.dst_port.tolist() == [6000]


@pytest.mark.parametrize(("family", "protocol"), [(4, 0x21), (6, 0x57)])
def test_pppoe(family: int, protocol: int) -> None:
    packet = PACKETS[family]
    session = struct.pack("!BBHHH", 0x11, 0, 7, 2 + len(packet), protocol)
    packets, _ = decode([SERVER_MAC + CLIENT_MAC + b"\x88\x64" + session + packet])
    assert packets.dst_port.tolist() == [6000]
    assert packets.src_mac.tolist() == [int.from_bytes(CLIENT_MAC, "big")]


@pytest.mark.parametrize("family", [4, 6])
def test_802_3_with_snap(family: int) -> None:
    body = llc(PACKETS[family])
    packets, _ = decode([SERVER_MAC + CLIENT_MAC + struct.pack("!H", len(body)) + body])
    assert packets.dst_port.tolist() == [6000]


def test_what_is_not_ip_is_counted() -> None:
    spanning_tree = SERVER_MAC + CLIENT_MAC + b"\0\x26\x42\x42\x03" + bytes(35)
    other_session = SERVER_MAC + CLIENT_MAC + b"\x88\x64" + bytes.fromhex("11000007000ac021") + bytes(8)
    too_many = ethernet(PACKETS[4], tags=b"\x81\0\0\x05" * (MAX_TAGS + 1))
    packets, counts = decode([spanning_tree, other_session, too_many])
    assert len(packets) == 0
    assert counts == {"not_ip": 3}


@pytest.mark.parametrize(
    ("flags", "src", "dst"),
    [
        (0x00, "02000000000a", "020000000001"),
        (0x01, "02000000000a", "020000000005"),
        (0x02, "020000000005", "020000000001"),
        (0x03, "0200000000ff", "020000000005"),
    ],
)
@pytest.mark.parametrize("qos", [False, True])
def test_wifi_addresses_follow_the_direction(flags: int, src: str, dst: str, qos: bool) -> None:
    packets, _ = decode([wifi(PACKETS[4], qos=qos, flags=flags)], 105)
    assert (packets.src_mac.tolist(), packets.dst_mac.tolist()) == ([int(src, 16)], [int(dst, 16)])
    assert packets.dst_port.tolist() == [6000]


def test_wifi_that_cannot_be_read_is_counted_by_reason() -> None:
    beacon, no_data = b"\x80\0" + bytes(40), b"\x48\x01" + bytes(22)
    packets, counts = decode([beacon, no_data, wifi(PACKETS[4], flags=0x41)], 105)
    assert len(packets) == 0
    assert counts == {"wifi_without_data": 2, "wifi_protected": 1}


def test_every_part_of_an_aggregate_is_a_packet() -> None:
    packets, _ = decode([wifi(PACKETS[6]), aggregate(PACKETS[4], PACKETS[6], PACKETS[4]), wifi(PACKETS[4])], 105)
    assert packets.at_s.tolist() == [0, 1, 1, 1, 2]
    assert packets.dst_port.tolist() == [6000] * 5
    _, counts = decode([aggregate(*[PACKETS[4]] * (MAX_SUBFRAMES + 1))], 105)
    assert counts == {"malformed_link": 1}


def test_a_radiotap_header_that_cannot_be_is_counted() -> None:
    _, counts = decode([b"\0\0\x04\0" + bytes(40), b"\x01\0\x08\0" + bytes(40)], 127)
    assert counts == {"malformed_link": 2}
