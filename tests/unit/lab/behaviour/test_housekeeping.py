"""What firmware does beside its purpose."""

from __future__ import annotations

from collections import Counter

from play_builder import build_hosts, contacts, run_hosts
from thingwarden.lab.behaviour.catalogue import live
from thingwarden.lab.behaviour.housekeeping import SITES, draw_housekeeping
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Identity, World


def _identity(traits: Traits) -> Identity:
    return Identity(name="a", kind="plug", mac="", address="10.77.0.9", address6="", pace=1.0, traits=traits)


def test_usual_firmware_asks_the_time_and_for_updates_and_announces_itself() -> None:
    names = [habit.name for habit in draw_housekeeping(_identity(Traits(seed="1")))]
    assert names == ["clock", "firmware", "announcing"]


def test_makers_mistakes_are_found_among_many_and_in_few() -> None:
    many = 400
    counts = Counter(
        habit.name for s in range(many) for habit in draw_housekeeping(_identity(Traits(seed=str(s), breadth=1.0)))
    )
    assert counts["clock"] == counts["firmware"] == many
    for name in ("gone", "heartbeat", "idle-names", "reachability"):
        assert 0.08 * many < counts[name] < 0.4 * many


def test_every_mistake_shows_in_traffic_and_stops_nothing() -> None:
    async def life(world: World) -> None:
        if not world.me.name.startswith("plug"):
            await live(world)
            return
        for habit in draw_housekeeping(world.me):
            world.spawn(habit.live, habit.name)

    flows = run_hosts(build_hosts(["plug"] * 25, seed=3, breadth=1.0), life, duration_s=3000.0)
    seen = Counter((proto, state, service) for proto, _, state, service in contacts(flows))
    assert seen[6, "S0", ""] > 3
    assert seen[17, "S0", ""] > 3
    assert seen[17, "SF", "ntp"] > 50
    assert seen[6, "SF", "ssl"] + seen[6, "RSTO", "ssl"] > 5
    assert set(SITES) == {"clock", "firmware", "reachability", "gone", "heartbeat"}
