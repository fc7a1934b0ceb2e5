"""What frames say about the link is read; what breaks the rules is counted, not believed."""

from __future__ import annotations

import struct

import pytest

from link_builder import (
    NOBODY,
    advertises,
    announces,
    answers,
    arp,
    asks,
    ipv6,
    leases,
    offers_way_out,
    option,
    read,
    solicits,
)
from packet_builder import Frame, conversation, udp
from thingwarden.domain.flow import address_from_words
from thingwarden.domain.link_layer import LinkBatch, LinkKind
from thingwarden.ingest.link_layer import MALFORMED, TRUNCATED

CAMERA = ("02:00:00:00:00:0a", "192.168.1.10")
ROUTER = ("02:00:00:00:00:01", "192.168.1.1")
CAMERA6 = ("02:00:00:00:00:0a", "fe80::a")
ROUTER6 = ("02:00:00:00:00:01", "fe80::1")

Line = tuple[str, str, str, str]


def lines(said: LinkBatch) -> list[Line]:
    """Kind, claimed address, the MAC it is said to belong to, and what is asked; a dash for none."""
    return [
        (
            LinkKind(int(said.kind[row])).name.lower(),
            _address(said.address[row].tolist()),
            f"{int(said.mac[row]):012x}"[-2:],
            _address(said.asked[row].tolist()),
        )
        for row in range(len(said))
    ]


def _address(halves: list[int]) -> str:
    return str(address_from_words(*halves)) if any(halves) else "-"


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        (asks(0, CAMERA, ROUTER[1]), ("question", "192.168.1.10", "0a", "192.168.1.1")),
        (asks(0, (CAMERA[0], "0.0.0.0"), CAMERA[1]), ("question", "-", "0a", "192.168.1.10")),
        (answers(0, ROUTER, CAMERA), ("answer", "192.168.1.1", "01", "192.168.1.10")),
        (announces(0, CAMERA), ("announcement", "192.168.1.10", "0a", "-")),
        (answers(0, CAMERA, (NOBODY, CAMERA[1])), ("announcement", "192.168.1.10", "0a", "-")),
        (solicits(0, CAMERA6, "fe80::1"), ("question", "fe80::a", "0a", "fe80::1")),
        (solicits(0, (CAMERA6[0], "::"), "fe80::a"), ("question", "-", "00", "fe80::a")),
        (advertises(0, CAMERA6), ("announcement", "fe80::a", "0a", "-")),
        (advertises(0, CAMERA6, "fe80::1", flags=0x60), ("answer", "fe80::a", "0a", "fe80::1")),
        (offers_way_out(0, ROUTER6), ("router", "fe80::1", "01", "-")),
        (offers_way_out(0, ROUTER6, lifetime_s=0), ("mention", "fe80::1", "01", "-")),
        (leases(0, ROUTER), ("dhcp_server", "192.168.1.1", "01", "-")),
        (leases(0, ROUTER, message=2, router="192.168.1.254"), ("dhcp_server", "192.168.1.1", "01", "192.168.1.254")),
    ],
)
def test_what_is_said(frame: Frame, line: Line) -> None:
    said, counts, _ = read([frame])
    assert lines(said) == [line]
    assert MALFORMED not in counts
    assert TRUNCATED not in counts


def test_segment_and_sender_stand_beside() -> None:
    forged = arp(0.0, 2, ROUTER, CAMERA, tags=b"\x81\x00\x00\x07", sender="02:00:00:00:00:66")
    said, _, _ = read([forged, announces(1.0, CAMERA)])
    assert said.segment.tolist() == [7, 0]
    assert said.sender_mac.tolist() == [0x66 | 2 << 40, 0x0A | 2 << 40]
    assert said.at_s[1] - said.at_s[0] == 1.0


def test_statements_keep_the_order_of_the_capture() -> None:
    frames = [leases(0, ROUTER), announces(1, CAMERA), advertises(2, CAMERA6), announces(3, ROUTER)]
    assert [line[0] for line in lines(read(frames)[0])] == [
        "dhcp_server",
        "announcement",
        "announcement",
        "announcement",
    ]


SOLICITATION = struct.pack("!BBHI", 135, 0, 0, 0) + bytes(15) + b"\x01"
ADVERTISEMENT = struct.pack("!BBHI", 136, 0, 0, 0x20 << 24) + bytes(15) + b"\x01"


@pytest.mark.parametrize(
    "frame",
    [
        arp(0, 2, CAMERA, ROUTER, shape=(6, 0x0800, 6, 4)),
        arp(0, 2, CAMERA, ROUTER, shape=(1, 0x0800, 8, 4)),
        arp(0, 9, CAMERA, ROUTER),
        announces(0, ("01:00:5e:00:00:01", CAMERA[1])),
        announces(0, (NOBODY, CAMERA[1])),
        announces(0, (CAMERA[0], "224.0.0.1")),
        announces(0, (CAMERA[0], "127.0.0.1")),
        answers(0, (CAMERA[0], "0.0.0.0"), ROUTER),
        advertises(0, CAMERA6, hops=64),
        advertises(0, (CAMERA6[0], "ff02::5")),
        offers_way_out(0, (ROUTER6[0], "2001:db8::1")),
        Frame(0, ipv6(CAMERA6[0], "fe80::a", "ff02::1", ADVERTISEMENT + b"\x02\x00" + bytes(6))),
    ],
)
def test_what_breaks_the_rules_is_counted_and_not_believed(frame: Frame) -> None:
    said, counts, _ = read([frame])
    assert len(said) == 0
    assert counts[MALFORMED] == 1


@pytest.mark.parametrize(
    "frame",
    [
        Frame(0, announces(0, CAMERA).data[:-1]),
        Frame(0, ipv6(CAMERA6[0], "fe80::a", "ff02::1", SOLICITATION[:-1])),
        leases(0, ROUTER, cut_bytes=20),
        leases(0, ROUTER, cut_bytes=5),
    ],
)
def test_what_was_not_captured_whole_is_counted(frame: Frame) -> None:
    said, counts, _ = read([frame])
    assert len(said) == 0
    assert counts[TRUNCATED] == 1


@pytest.mark.parametrize(
    "frame",
    [
        leases(0, ROUTER, message=6),
        advertises(0, CAMERA6, flags=0x40),
        Frame(0, ipv6(CAMERA6[0], "fe80::a", "ff02::1", ADVERTISEMENT)),
        Frame(0, ipv6(CAMERA6[0], "fe80::a", "ff02::1", b"\x80\x00" + bytes(40))),
    ],
)
def test_what_claims_nothing_is_passed_over(frame: Frame) -> None:
    said, counts, _ = read([frame])
    assert len(said) == 0
    assert MALFORMED not in counts


def test_an_option_behind_another_is_found() -> None:
    nonce = bytes([14, 1]) + bytes(6)
    frame = Frame(0, ipv6(CAMERA6[0], "fe80::a", "ff02::1", SOLICITATION + nonce + option(1, CAMERA6[0])))
    assert lines(read([frame])[0]) == [("question", "fe80::a", "0a", "::1")]


def test_ordinary_packets_say_nothing() -> None:
    said, counts, flows = read([*conversation(), udp(3.0)])
    assert len(said) == 0
    assert len(flows) == 2
    assert "not_ip" not in counts


def test_a_capture_without_a_link_layer_still_shows_who_is_said_to_have_an_address() -> None:
    said, _, _ = read([Frame(0, advertises(0, CAMERA6).data[14:])], link_type=101)
    assert lines(said) == [("announcement", "fe80::a", "0a", "-")]
    assert said.sender_mac.tolist() == said.mac.tolist()
