"""Attacks are bounded before they start: in target, count and rate."""

from __future__ import annotations

import json

import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.lab.attacks import (
    MAX_FLOOD_PACKETS,
    MAX_PACKETS_PER_S,
    flood_arguments,
    own_arguments,
    scan_arguments,
)


def test_a_scan_is_a_syn_scan_of_the_given_hosts() -> None:
    argv = scan_arguments(["10.77.0.1", "10.77.0.22"], 100, 60)
    assert argv[:2] == ["nmap", "-sS"]
    assert argv[-2:] == ["10.77.0.1", "10.77.0.22"]
    assert argv[argv.index("--max-rate") + 1] == "60"


def test_a_flood_keeps_its_own_address_and_its_count() -> None:
    argv = flood_arguments("203.0.113.80", 80, 3000, 500)
    assert argv[argv.index("-c") + 1] == "3000"
    assert argv[argv.index("-i") + 1] == "u2000"
    assert not {"--rand-source", "-a", "--spoof", "--flood"} & set(argv)


@pytest.mark.parametrize("count", [0, -1, MAX_FLOOD_PACKETS + 1])
def test_a_flood_without_a_bound_is_refused(count: int) -> None:
    with pytest.raises(RequestError):
        flood_arguments("203.0.113.80", 80, count, 500)


@pytest.mark.parametrize("packets_per_s", [0, MAX_PACKETS_PER_S + 1])
def test_a_rate_out_of_bounds_is_refused(packets_per_s: int) -> None:
    with pytest.raises(RequestError):
        flood_arguments("203.0.113.80", 80, 100, packets_per_s)
    with pytest.raises(RequestError):
        scan_arguments(["10.77.0.1"], 10, packets_per_s)


def test_no_attack_leaves_the_lab() -> None:
    with pytest.raises(RequestError):
        scan_arguments(["10.77.0.1", "10.78.0.1"], 10, 10)
    with pytest.raises(RequestError):
        flood_arguments("8.8.8.8", 80, 10, 10)
    with pytest.raises(RequestError):
        own_arguments("guess", "example.com", 23, lasts_s=1, seed="1")


def test_own_code_gets_its_bound_in_time() -> None:
    argv = own_arguments("beacon", "198.51.100.66", 6667, lasts_s=12.5, seed="1")
    assert json.loads(argv[-1])["lasts_s"] == 12.5
