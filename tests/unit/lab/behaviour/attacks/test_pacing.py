"""Rhythms keep to their period and bounds; crowds end."""

from __future__ import annotations

import itertools
import statistics
from typing import Any, cast

import pytest

from lab_act_builder import StillWorld, drive
from thingwarden.lab.behaviour.attacks.pacing import Crowd, Rhythm
from thingwarden.lab.world import Behaviour, World


async def beats_of(world: StillWorld, **rest: Any) -> list[float]:
    rhythm = Rhythm(cast(World, world), **rest)
    moments = []
    while await rhythm.beat():
        moments.append(world.now_s())
    return moments


def gaps(moments: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(moments)]


def test_steady_rhythm_beats_once_a_period() -> None:
    moments = drive(beats_of(StillWorld(), period_s=5.0, lasts_s=60.0, count=100))
    assert moments == [5.0 * number for number in range(12)]


def test_count_ends_a_rhythm() -> None:
    assert len(drive(beats_of(StillWorld(), period_s=1.0, lasts_s=1000.0, count=7))) == 7


def test_jitter_spreads_the_period_around_its_mean() -> None:
    spans = gaps(drive(beats_of(StillWorld(), period_s=10.0, lasts_s=1e6, count=2000, jitter=0.2)))
    assert statistics.mean(spans) == pytest.approx(10.0, rel=0.03)
    assert statistics.stdev(spans) == pytest.approx(2.0, rel=0.1)


def test_full_jitter_is_exponential() -> None:
    spans = gaps(drive(beats_of(StillWorld(), period_s=2.0, lasts_s=1e6, count=4000, jitter=1.0)))
    assert statistics.mean(spans) == pytest.approx(2.0, rel=0.06)
    assert statistics.stdev(spans) == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize(("begins", "ends"), [(22.0, 6.0), (1.0, 5.0)])
def test_nothing_beats_at_night(begins: float, ends: float) -> None:
    world = StillWorld(hour=12.0)
    moments = drive(beats_of(world, period_s=601.0, lasts_s=2 * 86_400.0, count=10_000, sleeps=(begins, ends)))
    hours = [(12.0 + moment / 3600.0) % 24.0 for moment in moments]
    since_begin_h = [(hour - begins + 1e-9) % 24.0 for hour in hours]
    assert min(since_begin_h) >= (ends - begins) % 24.0
    assert len(moments) > 150


def test_slow_dialogue_delays_and_does_not_hurry() -> None:
    async def dawdle(world: StillWorld) -> list[float]:
        rhythm = Rhythm(cast(World, world), 1.0, lasts_s=20.0, count=100)
        moments = []
        while await rhythm.beat():
            moments.append(world.now_s())
            await world.sleep(4.0)
        return moments

    assert gaps(drive(dawdle(StillWorld()))) == [4.0] * 4


def test_pause_ends_at_the_bound() -> None:
    world = StillWorld()
    rhythm = Rhythm(cast(World, world), 1.0, lasts_s=3.0, count=1)
    drive(rhythm.pause(100.0))
    assert world.now_s() == 3.0
    assert rhythm.left_s == 0.0


class SpawningWorld(StillWorld):
    """Runs what is spawned at once."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def spawn(self, behaviour: Behaviour, name: str) -> None:
        self.names.append(name)
        drive(behaviour(cast(World, self)))


def test_crowd_names_its_tasks_apart_and_outlives_failures() -> None:
    async def fail(world: World) -> None:
        raise ConnectionRefusedError

    world = SpawningWorld()
    crowd = Crowd(cast(World, world))
    for _ in range(3):
        crowd.start(fail)
    drive(crowd.wait(5.0))
    assert len(set(world.names)) == 3
    assert world.now_s() == 0.0


class NeverRuns(StillWorld):
    """What is spawned never ends."""

    def spawn(self, behaviour: Behaviour, name: str) -> None:
        """Forget it."""


def test_crowd_is_not_waited_for_longer_than_allowed() -> None:
    async def anything(world: World) -> None:
        """Nothing."""

    world = NeverRuns()
    crowd = Crowd(cast(World, world))
    crowd.start(anything)
    drive(crowd.wait(2.0))
    assert world.now_s() == pytest.approx(2.0, abs=0.2)
