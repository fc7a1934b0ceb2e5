"""Stepping between two hosts."""

from __future__ import annotations

from lab_act_builder import aims_of, lan_address, tools_of
from thingwarden.lab.tool import ArpSpoof

CAMERA, HUB = lan_address("camera"), lan_address("hub")
GATEWAY = "10.77.0.1"


def test_victims_are_deceived_in_turn() -> None:
    tools = tools_of("arp_spoof", {"targets": (CAMERA, HUB), "lasts_s": 80.0})
    assert tools == [
        ArpSpoof(victim=CAMERA, pretends=GATEWAY, lasts_s=40.0),
        ArpSpoof(victim=HUB, pretends=GATEWAY, lasts_s=40.0),
    ]


def test_over_ipv6_there_is_no_arp() -> None:
    assert tools_of("arp_spoof", {"targets": ("2001:db8:77::15",)}) == []


def test_what_passes_carries_the_victims_address() -> None:
    aims = aims_of("arp_spoof", {"targets": (CAMERA,)})
    assert {aim.source for aim in aims} == {CAMERA}
    assert {aim.peer for aim in aims} == {GATEWAY, "203.0.113.0/24", "198.51.100.0/24"}


def test_between_neighbours_only_their_flows_are_meant() -> None:
    (aim,) = aims_of("arp_spoof", {"targets": (CAMERA,), "pretends": HUB})
    assert (aim.source, aim.peer) == (CAMERA, HUB)
