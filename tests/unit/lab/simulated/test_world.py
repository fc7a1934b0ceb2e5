"""The simulated world keeps the contract that behaviours are written against."""

from __future__ import annotations

import pytest

from thingwarden.lab.world import Stream, World
from wire_builder import address_of, watch


async def be_still(world: World) -> None:
    """A host that does nothing."""


def test_time_passes_as_told_and_a_little_more() -> None:
    told = []

    async def live(world: World) -> None:
        told.append((world.now_s(), world.hour_of_day()))
        await world.sleep(3600.0)
        told.append((world.now_s(), world.hour_of_day()))
        await world.sleep(-5.0)
        told.append((world.now_s(), world.hour_of_day()))

    watch(4000.0, host=live)
    assert told[0] == (0.0, 12.0)
    assert 3600.0 < told[1][0] < 3600.01
    assert told[1][1] == pytest.approx(13.0, abs=1e-4)
    assert told[2][0] - told[1][0] < 0.01


def test_each_task_has_a_random_stream_of_its_own_name() -> None:
    drawn: dict[str, float] = {}

    async def live(world: World) -> None:
        drawn[f"{world.me.name} main"] = world.rng.random()

        async def habit(own: World) -> None:
            drawn[f"{own.me.name} habit"] = own.rng.random()

        world.spawn(habit, "habit")

    watch(one=live, two=live)
    first = dict(drawn)
    watch(one=live, two=live)
    assert drawn == first
    assert len(set(first.values())) == 4
    watch(one=live, two=live, seed=2)
    assert not set(drawn.values()) & set(first.values())


def test_a_name_is_used_once_at_a_time() -> None:
    async def live(world: World) -> None:
        async def wait(own: World) -> None:
            await own.sleep(5.0)

        world.spawn(wait, "same")
        world.spawn(wait, "same")

    with pytest.raises(ValueError, match="runs same already"):
        watch(host=live)


def test_a_taken_port_is_refused_and_every_connection_has_its_own_stream_of_numbers() -> None:
    drawn, failed = [], []

    async def serve(world: World) -> None:
        async def answer(own: World, stream: Stream) -> None:
            drawn.append(own.rng.random())

        await world.listen(9000, answer)
        try:
            await world.listen(9000, answer)
        except OSError as error:
            failed.append(str(error))

    async def call(world: World) -> None:
        await world.sleep(1.0)
        for _ in range(3):
            await (await world.connect(address_of(1), 9000)).close()

    watch(client=call, server=serve)
    assert failed == ["port 9000 is taken"]
    assert len(set(drawn)) == 3


def test_a_stream_is_closed_when_its_handler_fails() -> None:
    async def serve(world: World) -> None:
        async def fail(own: World, stream: Stream) -> None:
            await stream.receive(5.0)
            raise ConnectionAbortedError("nonsense")

        await world.listen(9000, fail)

    ended = []

    async def call(world: World) -> None:
        await world.sleep(1.0)
        stream = await world.connect(address_of(1), 9000)
        await stream.send(b"x")
        ended.append(await stream.receive(5.0))
        await stream.close()

    seen = watch(client=call, server=serve)
    assert ended == [b""]
    assert seen.states(9000)[0][0] == "SF"


def test_a_bug_in_a_behaviour_comes_to_light() -> None:
    async def live(world: World) -> None:
        await world.sleep(1.0)
        raise KeyError("oops")

    with pytest.raises(KeyError) as caught:
        watch(host=live)
    assert "task main of host" in caught.value.__notes__[0]


def test_an_identity_tells_of_the_neighbours() -> None:
    told = []

    async def note(world: World) -> None:
        told.append((world.me.peers, world.me.kinds, sorted(world.me.peer_traits)))

    watch(one=note, two=be_still, kinds={"two": "camera"})
    assert told == [({"two": address_of(1)}, {"one": "test", "two": "camera"}, ["one", "two"])]
