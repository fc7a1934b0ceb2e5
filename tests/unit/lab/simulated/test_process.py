"""What a process holds ends with it: by a kill in resets, by a power cut in silence."""

from __future__ import annotations

from typing import Any

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.act import ActKind, ActSettings
from thingwarden.lab.simulated.process import label_nothing
from thingwarden.lab.timeline import Perform, Planned, PowerOff
from thingwarden.lab.world import Stream, World
from wire_builder import address_of, watch

PORT = 9000


async def hold(world: World) -> None:
    """Accept connections and keep them."""

    async def keep(own: World, stream: Stream) -> None:
        while await stream.receive(None):
            pass

    await world.listen(PORT, keep)


async def be_still(world: World) -> None:
    """A host that does nothing."""


def act_of(run: Any) -> dict[str, ActKind[Any]]:
    return {"deed": ActKind(about="A test's deed.", settings=ActSettings, run=run)}


def deed(at_s: float = 2.0, lasts_s: float = 5.0) -> Planned:
    action = Perform(act="deed", host="client", lasts_s=lasts_s, attack_class=AttackClass.C2)
    return Planned(at_s=at_s, event="deed-1", action=action)


def test_an_act_that_overruns_its_time_is_killed_and_its_connections_are_reset() -> None:
    told = []

    async def overrun(world: World, settings: ActSettings) -> None:
        stream = await world.connect(address_of(1), PORT)
        while True:
            await stream.send(b"x" * 20)
            told.append(world.now_s())
            await world.sleep(1.0)

    seen = watch(acts=act_of(overrun), planned=[deed()], client=be_still, server=hold)
    assert seen.states(PORT) == [("RSTO", "ShADaR")]
    assert 6.0 < max(told) < 9.5


def test_what_an_act_leaves_open_is_reset_when_it_ends() -> None:
    async def leave_open(world: World, settings: ActSettings) -> None:
        stream = await world.connect(address_of(1), PORT)
        await stream.send(b"x" * 20)

    seen = watch(acts=act_of(leave_open), planned=[deed()], client=be_still, server=hold)
    assert seen.states(PORT) == [("RSTO", "ShADaR")]
    assert seen.moments_s(PORT)[-1] < 3.0


def test_an_act_lasts_until_what_it_spawned_has_ended() -> None:
    told = []

    async def spawn(world: World, settings: ActSettings) -> None:
        async def linger(own: World) -> None:
            await own.sleep(3.0)
            told.append(own.now_s())

        world.spawn(linger, "linger")

    watch(acts=act_of(spawn), planned=[deed()], client=be_still)
    assert len(told) == 1


def test_an_acts_listening_port_and_sockets_are_free_after_it() -> None:
    free = []

    async def open_all(world: World, settings: ActSettings) -> None:
        async def refuse(own: World, stream: Stream) -> None:
            return

        await world.listen(7000, refuse)
        await world.open_datagrams(7001)
        await world.sleep(1.0)

    async def open_later(world: World) -> None:
        await world.sleep(15.0)

        async def refuse(own: World, stream: Stream) -> None:
            return

        await world.listen(7000, refuse)
        await world.open_datagrams(7001)
        free.append(True)

    watch(acts=act_of(open_all), planned=[deed()], client=open_later)
    assert free == [True]


def test_two_acts_of_one_host_may_use_the_same_names() -> None:
    told = []

    async def spawn(world: World, settings: ActSettings) -> None:
        async def note(own: World) -> None:
            told.append(own.rng.random())

        world.spawn(note, "same")

    watch(acts=act_of(spawn), planned=[deed(), deed(2.5)], client=be_still)
    assert len(told) == 2


def test_a_power_cut_ends_everything_without_a_word() -> None:
    told = []

    async def talk(world: World) -> None:
        await world.sleep(1.0)
        stream = await world.connect(address_of(1), PORT)
        try:
            while True:
                await stream.send(b"x" * 20)
                await world.sleep(0.5)
        finally:
            await stream.close()
            told.append(world.now_s())

    planned = [Planned(at_s=5.0, event="cut-1", action=PowerOff(host="client"))]
    seen = watch(planned=planned, client=talk, server=hold)
    assert told == [5.0]
    assert seen.states(PORT) == [("S1", "ShADa")]
    assert seen.moments_s(PORT)[-1] < 5.0


def test_daily_life_is_labelled_as_nothing() -> None:
    assert label_nothing("10.77.0.1", 6, 80) == 0
