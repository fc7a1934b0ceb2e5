"""How makers choose, and how a habit lives with failure."""

from __future__ import annotations

from itertools import pairwise

import pytest

from play_builder import play
from thingwarden.lab.behaviour.kind import TLS_PORTS, DeviceKind, Door, Habit, Retry, Site, activity, draw_habit
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Identity, World

SITE = Site(
    services=("vendor.example", "plug-cloud.example"), port=443, others=(8443, 8080), is_tls=True, plain_port=80
)
BROAD = [Traits(seed=str(seed), breadth=1.0) for seed in range(300)]


async def _nothing(world: World) -> None:
    del world


def _identity(traits: Traits) -> Identity:
    return Identity(name="a", kind="plug", mac="", address="10.77.0.9", address6="", pace=1.0, traits=traits)


def test_usual_maker_takes_what_comes_first() -> None:
    endpoint = SITE.drawn("cloud", Traits(seed="1"))
    assert (endpoint.service, endpoint.port, endpoint.is_tls) == ("vendor.example", 443, True)


def test_makers_differ_and_each_stays_with_its_choice() -> None:
    drawn = [SITE.drawn("cloud", traits) for traits in BROAD]
    assert drawn == [SITE.drawn("cloud", traits) for traits in BROAD]
    assert {endpoint.service for endpoint in drawn} == set(SITE.services)
    assert {endpoint.is_tls for endpoint in drawn} == {True, False}
    assert len({endpoint.port for endpoint in drawn}) > 20


def test_listed_ports_are_spoken_as_everybody_speaks_them() -> None:
    for endpoint in (SITE.drawn("cloud", traits) for traits in BROAD):
        if endpoint.port in (443, 8443, 80, 8080):
            assert endpoint.is_tls == (endpoint.port in TLS_PORTS)


def test_registered_ports_do_not_move() -> None:
    fixed = Site(services=("time.example",), port=123, transport="udp", is_fixed=True)
    assert {fixed.drawn("clock", traits).port for traits in BROAD} == {123}
    assert {Door(port=1900, about="SSDP", is_fixed=True).drawn("discovery", traits) for traits in BROAD} == {1900}


def test_some_makers_keep_a_door_shut() -> None:
    door = Door(port=23, about="telnet", open_share=0.5)
    shut = [door.drawn("telnet", traits) == 0 for traits in BROAD]
    assert 100 < sum(shut) < 200


def test_kind_says_in_words_whom_it_contacts() -> None:
    kind = DeviceKind(about="A.", sites={"cloud": SITE}, doors={"web": Door(port=80, about="page")}, lan=("hub",))
    assert kind.talks_to == ("hub", "vendor.example or plug-cloud.example, tcp/443, TLS")
    assert kind.opens == ("tcp/80 page",)


def test_period_spans_hours_and_seconds() -> None:
    periods = [draw_habit(_identity(traits), "poll", _nothing, 60.0).every_s for traits in BROAD]
    assert min(periods) < 5.0
    assert max(periods) > 2000.0
    assert draw_habit(_identity(Traits(seed="1")), "poll", _nothing, 60.0).every_s == 60.0


def test_night_is_quieter_than_evening() -> None:
    assert activity(3.5) < 0.1 * activity(20.0)
    assert activity(23.99) == pytest.approx(activity(0.0), abs=0.01)


@pytest.mark.parametrize(("retry", "least", "most"), [("doubling", 5, 9), ("fixed", 90, 110), ("storm", 25, 60)])
def test_failures_are_met_as_the_maker_likes(retry: Retry, least: int, most: int) -> None:
    tried: list[float] = []

    async def fail(world: World) -> None:
        tried.append(world.now_s())
        raise ConnectionRefusedError("down")

    async def device(world: World) -> None:
        habit = Habit(name="poll", act=fail, every_s=1.0, retry=retry, retry_s=4.0, retry_most_s=1000.0)
        await habit.live(world)

    play(400.0, device=device)
    assert least <= len(tried) <= most


def test_habit_goes_on_after_success_at_its_period() -> None:
    done: list[float] = []

    async def act(world: World) -> None:
        done.append(world.now_s())

    async def device(world: World) -> None:
        await Habit(name="poll", act=act, every_s=10.0, jitter=0.02).live(world)

    play(1000.0, device=device)
    gaps = [after - before for before, after in pairwise(done)]
    assert 95 <= len(done) <= 101
    assert 8.0 < min(gaps) <= max(gaps) < 12.0


def test_what_people_cause_happens_by_day() -> None:
    done: list[int] = []

    async def act(world: World) -> None:
        done.append(int(world.hour_of_day()))

    async def device(world: World) -> None:
        await Habit(name="look", act=act, every_s=120.0, jitter=1.0, is_by_day=True).live(world)

    play(86_400.0, device=device)
    assert sum(18 <= hour < 22 for hour in done) > 8 * sum(1 <= hour < 5 for hour in done)
