"""Addresses behind a MAC, as the kernel knows them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from network_builder import own_network, run
from thingwarden.enforce.neighbours import addresses_of


@pytest.mark.root
def test_both_families_are_found_by_mac() -> None:
    with own_network():
        run("ip", "link", "add", "lan", "type", "bridge")
        run("ip", "link", "set", "lan", "up")
        for address, last in (("10.0.0.5", 0), ("fd00::5", 0), ("10.0.0.6", 2)):
            mac = f"02:00:00:00:00:0{last}"
            run("ip", "neigh", "add", address, "lladdr", mac, "dev", "lan", "nud", "permanent")
        assert set(addresses_of("02:00:00:00:00:00")) == {ip_address("10.0.0.5"), ip_address("fd00::5")}
        assert addresses_of("02:00:00:00:00:02") == [ip_address("10.0.0.6")]


def test_a_stranger_has_none() -> None:
    assert addresses_of("02:ff:ff:ff:ff:ff") == []
