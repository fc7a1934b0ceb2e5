"""Who claims what, how often, besides whom: attacks are told, what honest networks do is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from link_builder import advertises, announces, answers, asks, leases, offers_way_out, read
from packet_builder import START_S, Frame
from thingwarden.detect.link_watch import (
    ESTABLISHED_S,
    INSISTENCE,
    LASTING_S,
    MAX_ADDRESSES,
    MAX_PER_S,
    SILENCE_S,
    TURNS,
    FindingKind,
    LinkWatch,
)

ROUTER = ("02:00:00:00:00:01", "192.168.1.1")
CAMERA = ("02:00:00:00:00:0a", "192.168.1.10")
PLUG = ("02:00:00:00:00:0b", "192.168.1.11")
SPY = ("02:00:00:00:00:66", "192.168.1.66")


def watch(frames: list[Frame]) -> LinkWatch:
    """What is found in frames, in the order of their time."""
    heard = LinkWatch()
    heard.observe(read(sorted(frames, key=lambda frame: frame.at_s))[0])
    return heard


def found(frames: list[Frame]) -> list[tuple[str, str, bool]]:
    """Kind, the suspect's last byte, whether it is about the gateway's address."""
    return [(item.kind.value, f"{item.suspect_mac:012x}"[-2:], item.is_gateway) for item in watch(frames).findings]


def as_(host: tuple[str, str], other: tuple[str, str]) -> tuple[str, str]:
    """What ``host`` says when it pretends to be ``other``."""
    return host[0], other[1]


def life(lasts_s: float, *hosts: tuple[str, str]) -> list[Frame]:
    """Hosts that ask for the gateway every 30 s, and are answered."""
    frames = []
    for number, host in enumerate(hosts):
        for beat in range(int(lasts_s // 30) + 1):
            at_s = beat * 30.0 + number
            frames += [asks(at_s, host, ROUTER[1]), answers(at_s + 0.01, ROUTER, host)]
    return frames


def spoofs(lasts_s: float, victim: tuple[str, str], *, from_s: float = 5.3) -> list[Frame]:
    """What arpspoof does, both ways."""
    beats = [from_s + 2.0 * beat for beat in range(int(lasts_s / 2))]
    return [
        frame
        for at_s in beats
        for frame in (answers(at_s, as_(SPY, ROUTER), victim), answers(at_s + 0.01, as_(SPY, victim), ROUTER))
    ]


def test_arp_spoofing_is_told_and_then_that_it_lasts() -> None:
    frames = [*life(120.0, CAMERA, PLUG), *spoofs(100.0, CAMERA)]
    told = watch(frames)
    kinds = [item.kind for item in told.findings if item.is_gateway]
    assert FindingKind.INSISTS in kinds
    assert FindingKind.INSISTS_LONG in kinds
    assert FindingKind.SEVERAL in {item.kind for item in told.findings}
    assert {f"{item.suspect_mac:012x}"[-2:] for item in told.findings} == {"66"}
    first = next(item for item in told.findings if item.is_gateway)
    assert f"{first.rival_mac:012x}"[-2:] == "01"
    assert first.at_s - START_S < 40.0
    lasting = next(item for item in told.findings if item.is_gateway and item.kind is FindingKind.INSISTS_LONG)
    assert lasting.at_s - first.at_s >= LASTING_S - 40.0


def test_the_spoofer_is_blamed_though_it_was_heard_first() -> None:
    frames = [*spoofs(60.0, CAMERA, from_s=0.0), *[f._replace(at_s=f.at_s + 10.0) for f in life(60.0, CAMERA, PLUG)]]
    assert {suspect for _, suspect, _ in found(frames)} == {"66"}


def test_answering_those_who_ask_is_no_insisting() -> None:
    questions = [asks(n * 1.0, CAMERA, PLUG[1]) for n in range(60)]
    replies = [answers(n * 1.0 + 0.1, PLUG, CAMERA) for n in range(60)]
    assert watch(questions + replies).counts == {"statements": 120, "new": 2}


def test_answers_to_somebody_who_did_not_ask_are_unasked_though_others_ask() -> None:
    frames = [*life(60.0, CAMERA, PLUG), *[asks(n * 1.0, PLUG, ROUTER[1]) for n in range(60)], *spoofs(40.0, CAMERA)]
    assert ("insists", "66", True) in found(frames)


def test_neighbour_advertisements_that_override_are_told_alike() -> None:
    router, spy = ("02:00:00:00:00:01", "fe80::1"), ("02:00:00:00:00:66", "fe80::1")
    frames = [offers_way_out(n * 10.0, router) for n in range(4)]
    frames += [advertises(5.5 + 2.0 * n, spy) for n in range(12)]
    assert ("insists", "66", True) in found(frames)


def renewed(at_s: float) -> list[Frame]:
    return [asks(at_s, CAMERA, ROUTER[1]), answers(at_s + 0.1, ROUTER, CAMERA), leases(at_s + 0.2, ROUTER)]


def boots(at_s: float, host: tuple[str, str]) -> list[Frame]:
    """Duplicate address detection and announcements, as RFC 5227 has them."""
    probes = [asks(at_s + n, (host[0], "0.0.0.0"), host[1]) for n in range(3)]
    return [*probes, announces(at_s + 4, host), announces(at_s + 6, host)]


def given_to_another() -> list[Frame]:
    """The lease of one device ends; hours later another has its address."""
    return [
        *boots(0.0, CAMERA),
        *life(60.0, CAMERA),
        *boots(9000.0, as_(PLUG, CAMERA)),
        asks(9100.0, as_(PLUG, CAMERA), ROUTER[1]),
    ]


def new_mac_at_once() -> list[Frame]:
    """A phone comes back with another random MAC and the same address."""
    return [*boots(0.0, CAMERA), *boots(60.0, ("06:12:34:56:78:9a", CAMERA[1]))]


def fails_over(beats: list[float], mac: str) -> list[Frame]:
    """Routers that take the gateway's address in turns, each announcing it five times, twice."""
    frames = life(30.0, CAMERA, PLUG)
    for turn, at_s in enumerate(beats):
        owner = (mac or ("02:00:00:00:00:02" if turn % 2 == 0 else ROUTER[0]), ROUTER[1])
        frames += [announces(at_s + burst + n * 0.1, owner) for burst in (0.0, 5.0) for n in range(5)]
    return frames


def roams() -> list[Frame]:
    """An extender speaks for its clients with its own MAC; a device comes to it and goes back."""
    extender = "02:00:00:00:00:ee"
    hosts = [(extender, CAMERA[1]), (extender, PLUG[1])]
    there = [f._replace(at_s=f.at_s + 60.0) for f in life(60.0, *hosts)]
    back = [f._replace(at_s=f.at_s + 200.0) for f in life(60.0, CAMERA, PLUG)]
    return [*life(30.0, CAMERA, PLUG), *there, *back]


def defends() -> list[Frame]:
    """Two devices were given one address by hand, and both insist on it."""
    return [
        announces(n * 10.0 + shift, host) for n in range(12) for shift, host in ((0, CAMERA), (5, as_(PLUG, CAMERA)))
    ]


@pytest.mark.parametrize(
    "frames",
    [
        [*renewed(0.0), *renewed(1800.0), *renewed(3600.0)],
        boots(0.0, CAMERA),
        given_to_another(),
        new_mac_at_once(),
        fails_over([60.0, 90.0], ""),
        fails_over([60.0, 62.0, 64.0, 66.0, 68.0, 70.0], "00:00:5e:00:01:07"),
        roams(),
        [announces(n * 1.0, ROUTER) for n in range(100)],
    ],
)
def test_what_honest_networks_do_is_no_finding(frames: list[Frame]) -> None:
    assert found(frames) == []


def test_an_address_given_twice_by_hand_is_a_dispute_and_no_insisting() -> None:
    assert [kind for kind, _, _ in found(defends())] == ["turns"]


def test_a_failover_that_flaps_is_a_dispute_about_the_gateway() -> None:
    beats = [60.0 + 12.0 * n for n in range(TURNS + 2)]
    assert {(kind, is_gateway) for kind, _, is_gateway in found(fails_over(beats, ""))} == {("turns", True)}


def second(kind: str, gap_s: float) -> list[Frame]:
    if kind == "second_dhcp_server":
        return [leases(0.0, ROUTER), leases(gap_s, SPY), leases(gap_s + 1, SPY)]
    return [
        offers_way_out(at_s, (mac, address))
        for at_s, mac, address in (
            (0.0, ROUTER[0], "fe80::1"),
            (gap_s, SPY[0], "fe80::66"),
            (gap_s + 1, SPY[0], "fe80::66"),
        )
    ]


@pytest.mark.parametrize("kind", ["second_dhcp_server", "second_router"])
def test_a_second_server_is_told_once_when_the_first_is_established(kind: str) -> None:
    assert [item[:2] for item in found(second(kind, ESTABLISHED_S + 1.0))] == [(kind, "66")]
    assert found(second(kind, ESTABLISHED_S - 1.0)) == []


def test_a_router_that_offers_no_way_out_is_none() -> None:
    """Border routers of Thread advertise so, several to a home."""
    border = ("02:00:00:00:00:bb", "fe80::bb")
    assert found([offers_way_out(0.0, (ROUTER[0], "fe80::1")), offers_way_out(100.0, border, lifetime_s=0)]) == []


def test_one_virtual_mac_more_or_less_is_no_second_server() -> None:
    frames = [leases(0.0, ROUTER), leases(100.0, ("00:00:5e:00:01:01", "192.168.1.2"))]
    assert found(frames) == []


def test_silence_ends_a_claim() -> None:
    frames = [announces(0.0, CAMERA), *[announces(SILENCE_S + 1 + n, as_(SPY, CAMERA)) for n in range(20)]]
    told = watch(frames)
    assert told.findings == ()
    assert "changed" not in told.counts


def test_what_repeats_within_a_second_counts_once() -> None:
    frames = [
        announces(0.0, ROUTER),
        *[answers(1.0 + n / 100, as_(SPY, ROUTER), CAMERA) for n in range(INSISTENCE * 5)],
    ]
    assert watch(frames).counts == {"statements": 2, "unasked": 2, "new": 2, "changed": 1}


def address(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def flood(at: Callable[[int], float], count: int) -> list[Frame]:
    return [
        announces(at(n), (f"02:00:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}", address(n))) for n in range(count)
    ]


def test_a_flood_of_claims_is_passed_over_and_counted() -> None:
    counts = watch(flood(lambda n: 0.0, MAX_PER_S + 7)).counts
    assert (counts["statements"], counts["passed_over"]) == (MAX_PER_S, 7)


def test_tables_are_bounded_and_say_what_they_forgot() -> None:
    counts = watch(flood(lambda n: float(n // 256), MAX_ADDRESSES + 5)).counts
    assert (counts["new"], counts["evicted"]) == (MAX_ADDRESSES + 5, 5)


def test_another_recording_begins_anew() -> None:
    heard = LinkWatch()
    heard.observe(read([announces(1000.0, CAMERA)])[0])
    heard.observe(read([announces(0.0, as_(SPY, CAMERA))])[0])
    assert "changed" not in heard.counts
