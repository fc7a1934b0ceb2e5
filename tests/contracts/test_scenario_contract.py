"""What every packaged scenario keeps, and what all of them together cover."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest

from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.catalogue import ACTS, DEVICES, live
from thingwarden.lab.events import EVENTS
from thingwarden.lab.labelling import label_flows
from thingwarden.lab.prefix import require_inside
from thingwarden.lab.recipe import Recipe, list_scenarios
from thingwarden.lab.schedule import draw_schedule
from thingwarden.lab.simulated.run import simulate
from thingwarden.lab.timeline import Perform, Planned
from thingwarden.lab.truth import Timing, truth_from_schedule

SCENARIOS = list_scenarios()
SHORT_S = 20.0
NOT_TOLD_BY_PEOPLE = {"gateway", "internet"}

each = pytest.mark.parametrize("recipe", SCENARIOS, ids=[recipe.name for recipe in SCENARIOS])


def performed(recipe: Recipe) -> Iterator[Planned]:
    return (item for item in draw_schedule(recipe).planned if isinstance(item.action, Perform))


@each
def test_a_seed_draws_one_schedule_and_one_truth(recipe: Recipe) -> None:
    one, other = draw_schedule(recipe, seed=5), draw_schedule(recipe, seed=5)
    assert one == other
    assert truth_from_schedule(one) == truth_from_schedule(other)
    if recipe.events:
        assert draw_schedule(recipe, seed=6).planned != one.planned


@each
@pytest.mark.parametrize("seed", range(2))
def test_everything_happens_inside_the_lab_and_the_duration(recipe: Recipe, seed: int) -> None:
    schedule = draw_schedule(recipe, seed=seed)
    for item in schedule.planned:
        assert 0.0 <= item.at_s <= schedule.duration_s
        if isinstance(item.action, Perform):
            assert item.at_s + item.action.lasts_s <= schedule.duration_s + 0.01
            assert item.action.aims
            for aim in item.action.aims:
                require_inside(aim.peer)


@each
def test_a_scenario_takes_one_to_six_minutes(recipe: Recipe) -> None:
    assert 60.0 <= recipe.duration_s <= 360.0


@each
def test_hard_negatives_hold_nothing_malicious_and_are_not_trained_on(recipe: Recipe) -> None:
    if recipe.name.startswith("hard-"):
        truth = truth_from_schedule(draw_schedule(recipe))
        assert truth.harmless
        assert not truth.intervals
        assert recipe.exclude_from_training


@each
def test_a_short_simulation_yields_labelled_flows(recipe: Recipe) -> None:
    schedule = draw_schedule(recipe, duration_s=SHORT_S)
    flows = FlowBatch.concatenate(list(simulate(schedule, live, ACTS)))
    assert len(flows) > 10
    assert flows.labels is not None
    wanted = {act.action.attack_class for act in performed(recipe) if isinstance(act.action, Perform)}
    assert flows.labels.malicious.any() == bool(wanted - {AttackClass.BENIGN})


@pytest.mark.parametrize("name", ["attacks-c2", "attacks-guess", "attacks-flood", "worm"])
def test_truth_says_of_flows_what_the_simulation_knows_of_them(name: str) -> None:
    schedule = draw_schedule(next(recipe for recipe in SCENARIOS if recipe.name == name))
    flows = FlowBatch.concatenate(list(simulate(schedule, live, ACTS)))
    midnight_s = 86_400.0 * (flows.started_at_s.min() // 86_400.0)
    began_at = datetime.fromtimestamp(midnight_s + schedule.starts_at_hour * 3600.0, UTC)
    told = label_flows(flows, truth_from_schedule(schedule), Timing(began_at=began_at)).labels
    assert told is not None
    assert flows.labels is not None
    differing = np.count_nonzero(told.attack_class != flows.labels.attack_class)
    assert differing <= 0.01 * np.count_nonzero(flows.labels.malicious)


def test_every_kind_of_device_lives_somewhere() -> None:
    lived = {device.kind for recipe in SCENARIOS for device in recipe.devices}
    assert lived == set(DEVICES) - NOT_TOLD_BY_PEOPLE


def test_every_act_is_performed_somewhere() -> None:
    assert {item.action.act for recipe in SCENARIOS for item in performed(recipe)} == set(ACTS)  # type: ignore[union-attr]


def test_every_event_happens_somewhere() -> None:
    assert set(EVENTS) <= {event.kind for recipe in SCENARIOS for event in recipe.events}


def test_both_ip_versions_are_attacked() -> None:
    peers = {row.peer for recipe in SCENARIOS for row in truth_from_schedule(draw_schedule(recipe)).intervals}
    assert any(":" in peer for peer in peers)
    assert any("." in peer for peer in peers)


def test_life_without_anything_happening_is_there_too() -> None:
    assert any(not recipe.events for recipe in SCENARIOS)
