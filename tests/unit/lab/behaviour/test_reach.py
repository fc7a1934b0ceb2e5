"""How services and neighbours are found and left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from play_builder import address_of, contacts, play
from thingwarden.lab.behaviour.kind import Site
from thingwarden.lab.behaviour.reach import ENDINGS, Ending, Reach, door_of, leave, neighbours, visits
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Identity, Stream, World

SITE = Site(services=("vendor.example",), port=80)
STATES = {"close": "SF", "abort": "RSTO", "finish": "SF", "wait": "SF", "linger": "SF"}


def _me(traits: Traits, peer_traits: Traits) -> Identity:
    return Identity(
        name="hub-1", kind="hub", mac="", address="10.77.0.2", address6="2001:db8:77::2", pace=1.0, traits=traits,
        peers={"camera-1": "10.77.0.3", "camera-0": "10.77.0.4", "plug-1": "10.77.0.5"},
        kinds={"camera-1": "camera", "camera-0": "camera", "plug-1": "plug", "hub-1": "hub"},
        peer_traits={"camera-1": peer_traits},
    )  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_connection_is_left_in_the_makers_way(ending: Ending) -> None:
    async def serve(world: World, stream: Stream) -> None:
        while await stream.receive():
            await stream.send(b"answer")
        await world.sleep(0.1)

    async def server(world: World) -> None:
        await world.listen(9, serve)

    async def client(world: World) -> None:
        stream = await world.connect(address_of(0), 9)
        await stream.send(b"question")
        await stream.receive()
        await leave(world, stream, ending, linger_s=10.0)

    flows = play(server=server, client=client)
    assert contacts(flows) == [(6, 9, STATES[ending], "")]
    assert (flows.duration_s[0] > 9.0) == (ending == "linger")


def test_name_is_kept_for_as_long_as_the_maker_says() -> None:
    async def client(world: World) -> None:
        forgetful = replace(world.me, traits=Traits(seed="x"))
        reach = Reach(forgetful, "cloud", SITE)
        for _ in range(5):
            assert await reach.locate(world) == SERVICES["vendor.example"].address
            await world.sleep(50.0)

    assert [contact[1] for contact in contacts(play(300.0, client=client))].count(53) == 3


def test_makers_differ_in_family_and_in_hard_coded_addresses() -> None:
    reaches = [Reach(_me(Traits(seed=str(s), breadth=1.0), Traits(seed="1")), "cloud", SITE) for s in range(100)]
    assert 20 < sum(reach.is_v6 for reach in reaches) < 60
    assert {reach.ending for reach in reaches} == set(ENDINGS)


def test_neighbours_ports_follow_from_their_own_traits() -> None:
    seen = {door_of(_me(Traits(seed="1"), Traits(seed=str(s), breadth=1.0)), "camera-1", "rtsp") for s in range(60)}
    assert len(seen) > 5
    me = _me(Traits(seed="1"), Traits(seed="5", breadth=1.0))
    assert neighbours(me, "camera") == ["camera-0", "camera-1"]
    assert door_of(me, "camera-0", "rtsp") == 554
    assert door_of(me, "plug-1", "rtsp") == 0
    assert [visit.name for visit in visits(me, "rtsp")] == ["camera-0.lan", "camera-1.lan"]


def test_neighbour_is_found_by_name_or_by_memory() -> None:
    found: list[str] = []

    async def camera(world: World) -> None:
        del world

    async def hub(world: World) -> None:
        me = replace(world.me, kinds={"camera-0": "camera"})
        for seed in range(8):
            visit = visits(replace(me, traits=Traits(seed=str(seed), breadth=1.0)), "rtsp")[0]
            found.append(await visit.locate(world))

    flows = play(camera=camera, hub=hub)
    assert found == [address_of(0)] * 8
    assert 0 < [contact[1] for contact in contacts(flows)].count(53) < 8
