"""Random networks: drawn by seed and number alone, inside the recipe's ranges, apart for training and counting."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from thingwarden.domain.errors import ConfigError
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.condition import CONDITIONS
from thingwarden.lab.draw import (
    WEEK_S,
    CorpusRecipe,
    describe_condition,
    draw_condition,
    draw_network,
    load_corpus_recipe,
    present_s,
)
from thingwarden.lab.timeline import Perform, Planned, PowerOn, Schedule

RECIPE = CorpusRecipe(name="test")
NETWORKS = 40


@pytest.fixture(scope="module")
def networks() -> list[Schedule]:
    return [draw_network(RECIPE, seed=5, number=number) for number in range(NETWORKS)]


def _attacks(schedule: Schedule) -> list[Perform]:
    performed = [item.action for item in schedule.planned if isinstance(item.action, Perform)]
    return [action for action in performed if action.attack_class is not AttackClass.BENIGN]


def test_seed_and_number_decide_everything(networks: list[Schedule]) -> None:
    assert draw_network(RECIPE, seed=5, number=7) == networks[7]
    assert draw_network(RECIPE, seed=6, number=7) != networks[7]
    assert len({schedule.seed for schedule in networks}) == NETWORKS


def test_networks_stay_inside_the_ranges(networks: list[Schedule]) -> None:
    for schedule in networks:
        assert RECIPE.devices[0] <= len(schedule.hosts) <= RECIPE.devices[1]
        assert RECIPE.duration_s[0] <= schedule.duration_s <= RECIPE.duration_s[1]
        assert len({host.address for host in schedule.hosts}) == len(schedule.hosts)
        busiest, quietest = (choose(host.pace for host in schedule.hosts) for choose in (max, min))
        assert busiest / quietest < 1.1 * RECIPE.spread[1] / RECIPE.spread[0]
        moments = [item.at_s for item in schedule.planned]
        assert moments == sorted(moments)
        assert all(0.0 <= moment < schedule.duration_s for moment in moments)


def test_networks_differ_in_what_the_recipe_leaves_open(networks: list[Schedule]) -> None:
    assert len({host.kind for schedule in networks for host in schedule.hosts}) > 3
    assert len({schedule.condition for schedule in networks}) > NETWORKS // 2
    assert {bool(host.address6) for schedule in networks for host in schedule.hosts} == {True, False}
    quiet = sum(not _attacks(schedule) for schedule in networks)
    assert 0 < quiet < NETWORKS


def test_counting_networks_last_a_week_and_hold_no_attack(networks: list[Schedule]) -> None:
    counting = [draw_network(RECIPE, seed=5, number=number, purpose="count") for number in range(10)]
    assert not any(_attacks(schedule) for schedule in counting)
    assert {schedule.duration_s for schedule in counting} == {WEEK_S}
    assert not {schedule.seed for schedule in counting} & {schedule.seed for schedule in networks}
    shared = {host.traits.seed for schedule in networks for host in schedule.hosts}
    assert not shared & {host.traits.seed for schedule in counting for host in schedule.hosts}
    assert any(schedule.planned for schedule in counting)


def test_long_networks_are_quiet_and_short_ones_busy(networks: list[Schedule]) -> None:
    def pace(schedule: Schedule) -> float:
        return sum(host.pace for host in schedule.hosts) / len(schedule.hosts)

    by_length = sorted(networks, key=lambda schedule: schedule.duration_s * len(schedule.hosts))
    assert sum(map(pace, by_length[:10])) > 5 * sum(map(pace, by_length[-10:]))


def test_conditions_are_presets_or_drawn() -> None:
    drawn = [draw_condition(random.Random(number), 0.5) for number in range(60)]
    presets = [condition for condition in drawn if condition.name in CONDITIONS]
    assert 10 < len(presets) < 50
    for condition in drawn:
        assert 0.0 <= condition.uplink.loss_ratio <= 0.05
        described = describe_condition(condition)
        assert described == condition.name if condition in presets else "uplink" in described


def test_a_device_that_joins_is_there_from_then_on(networks: list[Schedule]) -> None:
    late = replace(networks[0].hosts[0], joins=True)
    schedule = replace(
        networks[0],
        hosts=(late, *networks[0].hosts[1:]),
        planned=(Planned(at_s=100.0, event="join-1", action=PowerOn(host=late.name)),),
    )
    there = present_s(schedule, 500.0)
    assert there[late.name] == 400.0
    assert there[networks[0].hosts[1].name] == 500.0
    assert present_s(replace(schedule, planned=()), 500.0)[late.name] == 0.0


def test_the_packaged_recipe_is_read(repository: Path) -> None:
    recipe = load_corpus_recipe(repository / "recipes" / "lab-corpus.toml")
    assert recipe.name == "lab"
    assert recipe.sha256 != RECIPE.sha256


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name = 'x'\ndevices = [9, 2]", "smaller one comes first"),
        ("name = 'x'\ndevices = [2, 900]", "room for"),
        ("name = 'x'\nattackers = 3", "attackers"),
        ("name = 'x'\nduration_s = [0, 5]", "duration_s"),
        ("name = ", "not a readable recipe"),
    ],
)
def test_a_wrong_recipe_is_refused_by_key(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_corpus_recipe(path)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none"):
        load_corpus_recipe(tmp_path / "none.toml")
