"""Tunnels are opened as Zeek does: wrappers vanish, datagrams stay and their inside follows."""

from __future__ import annotations

import pytest

from packet_builder import CLIENT, SERVER, decode, ethernet, ip_packet, udp_datagram
from thingwarden.domain.flow import address_from_words
from tunnel_builder import OUTER, carried, gre, in_udp

INSIDE = {
    4: ip_packet(CLIENT, SERVER, 17, udp_datagram(5000, 6000, b"abc")),
    6: ip_packet("fd00::1", "fd00::2", 17, udp_datagram(5000, 6000, b"abc")),
}
FAMILIES = [(outer, inner) for outer in (4, 6) for inner in (4, 6)]


def ends(frames: list[bytes]) -> list[tuple[str, str, int]]:
    packets, _ = decode(frames)
    return [
        (str(address_from_words(*src)), str(address_from_words(*dst)), int(port))
        for src, dst, port in zip(packets.src_address, packets.dst_address, packets.dst_port, strict=True)
    ]


def inner_ends(family: int) -> tuple[str, str, int]:
    return (CLIENT, SERVER, 6000) if family == 4 else ("fd00::1", "fd00::2", 6000)


@pytest.mark.parametrize(("outer", "inner"), FAMILIES)
def test_ip_in_ip_shows_only_the_inside(outer: int, inner: int) -> None:
    assert ends([carried(INSIDE[inner], 4 if inner == 4 else 41, outer)]) == [inner_ends(inner)]


@pytest.mark.parametrize(("outer", "inner"), FAMILIES)
@pytest.mark.parametrize(("flags", "options"), [(0, b""), (0xB000, bytes(12)), (0x3081, bytes(12))])
def test_gre_with_any_options_shows_only_the_inside(outer: int, inner: int, flags: int, options: bytes) -> None:
    assert ends([carried(gre(INSIDE[inner], flags=flags, options=options), 47, outer)]) == [inner_ends(inner)]


@pytest.mark.parametrize(("outer", "inner"), FAMILIES)
@pytest.mark.parametrize("port", [4789, 6081, 2152, 5072, 4754])
def test_udp_tunnels_show_both(port: int, outer: int, inner: int) -> None:
    assert ends([in_udp(port, INSIDE[inner], outer)]) == [(*OUTER[outer], port), inner_ends(inner)]


@pytest.mark.parametrize("outer", [4, 6])
def test_teredo_shows_both(outer: int) -> None:
    assert ends([in_udp(3544, INSIDE[6], outer)]) == [(*OUTER[outer], 3544), inner_ends(6)]


def test_teredo_between_clients_is_known_by_its_addresses() -> None:
    inside = ip_packet("2001:0:5::1", "2001:db8::9", 17, udp_datagram(1, 2))
    frame = carried(udp_datagram(40_000, 41_000, inside), 17)
    assert ends([frame]) == [(*OUTER[4], 41_000), ("2001:0:5::1", "2001:db8::9", 2)]


def test_tunnels_in_tunnels_in_the_order_of_the_frames() -> None:
    nested = in_udp(4789, ip_packet(*OUTER[6], 47, gre(INSIDE[4])))
    plain = ethernet(INSIDE[6])
    assert ends([plain, nested, plain]) == [inner_ends(6), (*OUTER[4], 4789), inner_ends(4), inner_ends(6)]


def test_a_tunnel_that_cannot_be_opened_stays_a_flow() -> None:
    packets, counts = decode([carried(b"\0\0\x12\x34" + bytes(8), 47), carried(bytes(3), 47)])
    assert packets.proto.tolist() == [47, 47]
    assert counts == {"malformed_tunnel": 2}


def test_other_traffic_of_a_tunnel_port_stays_as_it_is() -> None:
    frames = [carried(udp_datagram(50_000, port, b"hello, this is something else, 40 bytes long.."), 17) for port in
              (4789, 6081, 2152, 3544, 5072)]  # fmt: skip
    packets, counts = decode(frames)
    assert packets.dst_port.tolist() == [4789, 6081, 2152, 3544, 5072]
    assert counts == {}


def test_depth_is_bounded() -> None:
    packet = INSIDE[4]
    for _ in range(6):
        packet = ip_packet(*OUTER[4], 4, packet)
    packets, _ = decode([ethernet(packet)])
    assert packets.proto.tolist() == [4]
