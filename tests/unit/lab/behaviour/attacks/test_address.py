"""Drawn addresses stay inside their targets."""

from __future__ import annotations

import ipaddress
import random

from hypothesis import given
from hypothesis import strategies as st

from thingwarden.lab.behaviour.attacks.address import draw_addresses

LAN = "10.77.0.0/24"
WIDE = "198.18.0.0/15"


def test_small_prefix_is_asked_wholly_and_nobody_twice() -> None:
    asked = list(draw_addresses((LAN,), random.Random(1), 1000))
    assert len(asked) == len(set(asked)) == 254
    assert asked != sorted(asked)


def test_order_is_ascending_where_wanted() -> None:
    asked = list(draw_addresses((LAN,), random.Random(1), 5, is_ordered=True))
    assert asked == ["10.77.0.1", "10.77.0.2", "10.77.0.3", "10.77.0.4", "10.77.0.5"]


def test_single_addresses_of_both_families() -> None:
    asked = set(draw_addresses(("10.77.0.9", "2001:db8:77::9"), random.Random(1), 10))
    assert asked == {"10.77.0.9", "2001:db8:77::9"}


def test_no_target_is_nobody() -> None:
    assert list(draw_addresses((), random.Random(1), 10)) == []


@given(st.integers(0, 2**32), st.integers(1, 300), st.sampled_from([(WIDE,), (WIDE, LAN), ("2001:db8:100::/48",)]))
def test_addresses_are_inside_and_no_more_than_asked(seed: int, count: int, targets: tuple[str, ...]) -> None:
    networks = [ipaddress.ip_network(target) for target in targets]
    asked = list(draw_addresses(targets, random.Random(seed), count))
    assert len(asked) == count
    assert all(any(ipaddress.ip_address(one) in network for network in networks) for one in asked)
