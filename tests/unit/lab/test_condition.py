"""Presets of networks."""

from __future__ import annotations

import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.lab.condition import CONDITIONS, Link, find_condition


def test_a_wired_network_does_nothing_to_packets_and_every_other_does() -> None:
    plain = {
        name for name, condition in CONDITIONS.items() if condition.uplink.is_plain and condition.wireless.is_plain
    }
    assert plain == {"wired"}


@pytest.mark.parametrize("link", [one for two in CONDITIONS.values() for one in (two.uplink, two.wireless)])
def test_links_are_possible(link: Link) -> None:
    assert 0.0 <= link.loss_ratio < 0.1
    assert 0.0 <= link.reorder_ratio < 0.1
    assert link.jitter_ms <= max(link.delay_ms, 8.0)
    assert link.reorder_ratio == 0.0 or link.delay_ms > 0.0, "nothing can overtake what is not delayed"


def test_a_condition_is_found_by_its_name() -> None:
    assert all(find_condition(name).name == name for name in CONDITIONS)


def test_an_unknown_condition_is_refused_with_those_there_are() -> None:
    with pytest.raises(RequestError) as refusal:
        find_condition("carrier-pigeon")
    assert "satellite" in refusal.value.hint
