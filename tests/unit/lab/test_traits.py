"""What distinguishes devices of a kind: drawn once, kept, as wide as asked."""

from __future__ import annotations

import pytest

from thingwarden.lab.traits import Traits

MANY = [Traits(seed=f"device-{number}", breadth=1.0) for number in range(300)]


def test_without_breadth_every_answer_is_the_usual_one() -> None:
    traits = Traits(seed="any")
    assert traits.number("period_s", 60.0, 1.0, 7200.0) == 60.0
    assert traits.count("tries", 3, 0, 9) == 3
    assert traits.choice("agent", "curl", ("okhttp",)) == "curl"
    assert traits.port("web", 80, (8080,)) == 80
    assert (traits.chance("common", 0.6), traits.chance("rare", 0.2)) == (True, False)


def test_an_answer_depends_on_seed_and_name_only() -> None:
    one, other = (Traits(seed="camera", breadth=1.0) for _ in range(2))
    first = one.number("period_s", 60.0, 1.0, 7200.0)
    other.port("web", 80)
    assert other.number("period_s", 60.0, 1.0, 7200.0) == first
    assert other.number("pause_s", 60.0, 1.0, 7200.0) != first


def test_numbers_fill_their_range_evenly_in_the_logarithm() -> None:
    drawn = [traits.number("period_s", 60.0, 1.0, 10_000.0) for traits in MANY]
    assert all(1.0 <= value <= 10_000.0 for value in drawn)
    for low, high in ((1.0, 10.0), (10.0, 100.0), (100.0, 1000.0), (1000.0, 10_000.0)):
        assert 0.15 < sum(low <= value < high for value in drawn) / len(drawn) < 0.35


def test_half_the_breadth_stays_nearer_to_the_usual() -> None:
    drawn = [Traits(seed=traits.seed, breadth=0.5).number("period_s", 100.0, 1.0, 10_000.0) for traits in MANY]
    assert min(drawn) >= 10.0
    assert max(drawn) <= 1000.0


@pytest.mark.parametrize(("low", "high"), [(0, 4), (1, 4)])
def test_counts_are_whole_and_reach_both_ends(low: int, high: int) -> None:
    assert {traits.count("burst", 2, low, high) for traits in MANY} == set(range(low, high + 1))


def test_choices_and_ports_leave_the_usual_and_keep_to_what_there_is() -> None:
    assert {traits.choice("close", "fin", ("rst", "idle")) for traits in MANY} == {"fin", "rst", "idle"}
    ports = [traits.port("web", 80, (8080, 81)) for traits in MANY]
    assert {80, 8080, 81} < set(ports)
    assert all(1 <= port <= 65_535 for port in ports)


def test_a_share_of_devices_has_a_property() -> None:
    assert 0.2 < sum(traits.chance("is_tls", 0.3) for traits in MANY) / len(MANY) < 0.4
