"""The device that nobody sells is many devices."""

from __future__ import annotations

import numpy as np
import pytest

from play_builder import build_hosts, contacts, run_hosts
from thingwarden.lab.behaviour.invented import INVENTED
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Identity


def _identity(seed: int, breadth: float = 1.0) -> Identity:
    return Identity(
        name="a", kind="invented", mac="", address="10.77.0.9", address6="", pace=1.0,
        traits=Traits(seed=str(seed), breadth=breadth), peers={"plug-1": "10.77.0.10", "camera-1": "10.77.0.11"},
        kinds={"plug-1": "plug", "camera-1": "camera"},
    )  # fmt: skip


def test_habits_are_two_to_many_with_names_of_their_own() -> None:
    for seed in range(200):
        names = [habit.name for habit in INVENTED.habits(_identity(seed))]
        assert len(names) >= 2
        assert len(set(names)) == len(names)


def test_periods_span_seconds_to_hours() -> None:
    periods = np.array([habit.every_s for seed in range(200) for habit in INVENTED.habits(_identity(seed))])
    assert np.quantile(periods, 0.1) < 15.0
    assert np.quantile(periods, 0.9) > 1500.0


def test_habits_belong_to_the_seed() -> None:
    assert [habit.name for habit in INVENTED.habits(_identity(7))] == [
        habit.name for habit in INVENTED.habits(_identity(7))
    ]
    assert len({tuple(habit.name for habit in INVENTED.habits(_identity(seed))) for seed in range(50)}) > 45


@pytest.mark.parametrize("seed", range(6))
def test_ten_of_them_with_neighbours_live_in_many_ways(seed: int) -> None:
    hosts = build_hosts(["invented"] * 6 + ["plug", "camera", "hub"], seed=seed, breadth=1.0)
    flows = run_hosts(hosts, duration_s=1200.0, seed=seed)
    seen = contacts(flows)
    assert len({contact[1] for contact in seen if contact[0] == 6}) >= 5
    assert len({contact[2] for contact in seen if contact[0] == 6}) >= 3
    assert {contact[0] for contact in seen} >= {6, 17}
