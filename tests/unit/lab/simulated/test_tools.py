"""Tools stay inside the lab and their bounds; a host that steps between two others is seen twice."""

from __future__ import annotations

import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.lab.tool import ArpSpoof, LoginGuess, PacketFlood, PortScan, Tool
from thingwarden.lab.world import Stream, World
from wire_builder import Seen, address_of, watch


def use(tool: Tool) -> Seen:
    async def attack(world: World) -> None:
        await world.use(tool)

    async def be_still(world: World) -> None:
        pass

    return watch(5.0, attacker=attack, target=be_still)


@pytest.mark.parametrize(
    "tool",
    [
        PortScan(targets=("8.8.8.8",)),
        PortScan(targets=("10.0.0.0/8",)),
        PortScan(targets=(address_of(1),), packets_per_s=1e6),
        PortScan(targets=(address_of(1),), lasts_s=1e6),
        PortScan(targets=(address_of(1),) * 5000),
        PacketFlood(target="8.8.8.8"),
        PacketFlood(target=address_of(1), source="8.8.8.8"),
        PacketFlood(target=address_of(1), packet_count=10**7),
        PacketFlood(target=address_of(1), packets_per_s=0.0),
        LoginGuess(target="8.8.8.8", service="ssh", port=22),
        LoginGuess(target=address_of(1), service="ssh", port=22, tries=10**6),
        ArpSpoof(victim="8.8.8.8", pretends="10.77.0.1"),
        ArpSpoof(victim=address_of(1), pretends="8.8.8.8"),
    ],
)
def test_what_is_out_of_bounds_is_refused(tool: Tool) -> None:
    with pytest.raises(RequestError):
        use(tool)


def test_what_a_deceived_host_says_to_the_world_crosses_the_switch_twice() -> None:
    async def attack(world: World) -> None:
        await world.sleep(10.0)
        await world.use(ArpSpoof(victim=address_of(1), pretends="10.77.0.1", lasts_s=10.0))

    async def poll(world: World) -> None:
        for at_s in (5.0, 15.0, 25.0):
            await world.sleep(at_s - world.now_s())
            stream = await world.connect("203.0.113.10", 8080)
            await stream.send(b"x" * 30)
            await stream.close()

    async def serve(world: World) -> None:
        async def wait(own: World, stream: Stream) -> None:
            while await stream.receive(10.0):
                pass

        await world.listen(8080, wait)

    seen = watch(40.0, attacker=attack, victim=poll, internet=serve)
    counts = [len(seen.packets.take((seen.packets.at_s - seen.began_at_s) // 10 == part)) for part in range(3)]
    assert counts[1] == 2 * counts[0] == 2 * counts[2]


def test_nobody_is_deceived_about_a_host_that_is_not_there() -> None:
    assert len(use(ArpSpoof(victim=address_of(1), pretends="10.77.0.200")).packets) == 0
