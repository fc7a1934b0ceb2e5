"""Kernels tell routers of groups, and ask for IPv6 neighbours, as seldom as Linux does."""

from __future__ import annotations

import numpy as np

from thingwarden.lab.simulated.chatter import solicited_group
from thingwarden.lab.world import Behaviour, World
from wire_builder import Seen, address6_of, text_of, watch

IGMP, ICMP6 = 2, 58


async def be_still(world: World) -> None:
    """A host that does nothing."""


def member(group: str, *, is_v6: bool = False, lasts_s: float = 100.0) -> Behaviour:
    async def live(world: World) -> None:
        await world.sleep(1.0)
        first = await world.open_datagrams(5353, (group,), is_v6=is_v6)
        second = await world.open_datagrams(5353, (group,), is_v6=is_v6)
        await world.sleep(lasts_s)
        first.close()
        second.close()

    return live


def kinds_of(seen: Seen, proto: int) -> list[int]:
    return [int(kind) for kind in seen.packets.src_port[seen.packets.proto == proto]]


def test_joining_a_group_is_reported_twice_and_once_per_host() -> None:
    seen = watch(host=member("224.0.0.251"))
    reports = seen.packets.take(seen.packets.proto == IGMP)
    assert reports.ip_bytes.tolist() == [40, 40]
    assert {text_of(words) for words in reports.dst_address} == {"224.0.0.22"}
    assert reports.at_s[-1] - reports.at_s[0] < 1.02


def test_leaving_is_reported_as_well() -> None:
    seen = watch(host=member("224.0.0.251", lasts_s=5.0))
    assert int((seen.packets.proto == IGMP).sum()) == 4


def test_groups_of_ipv6_are_reported_by_icmp() -> None:
    seen = watch(host=member("ff02::fb", is_v6=True))
    reports = seen.packets.take(seen.packets.proto == ICMP6)
    assert reports.src_port.tolist() == [143, 143]
    assert reports.ip_bytes.tolist() == [76, 76]
    assert all(text_of(words).startswith("fe80::") for words in reports.src_address)


def knocking(times: tuple[float, ...]) -> Behaviour:
    async def live(world: World) -> None:
        socket = await world.open_datagrams(is_v6=True)
        for at_s in times:
            await world.sleep(at_s - world.now_s())
            await socket.send(address6_of(1), 4000, b"hello")

    async def answer(world: World) -> None:
        socket = await world.open_datagrams(4000, is_v6=True)
        while True:
            await socket.receive()

    async def either(world: World) -> None:
        await (live if world.me.name == "client" else answer)(world)

    return either


def test_a_new_neighbour_is_asked_for_and_asks_back() -> None:
    part = knocking((1.0,))
    seen = watch(client=part, server=part)
    talk = seen.packets.take(seen.packets.proto == ICMP6)
    assert talk.src_port.tolist() == [135, 136] * 4
    assert text_of(talk.dst_address[0]) == solicited_group(address6_of(1))
    assert np.round(np.diff(talk.at_s)[1::2]).tolist() == [5.0, 5.0, 5.0]


def test_a_known_neighbour_is_not_asked_for_again_soon() -> None:
    part = knocking((1.0, 2.0, 4.0, 8.0))
    seen = watch(client=part, server=part)
    assert int((seen.packets.proto == ICMP6).sum()) == 8


def test_a_forgotten_neighbour_is_asked_for_anew() -> None:
    part = knocking((1.0, 200.0))
    seen = watch(300.0, client=part, server=part)
    asked = seen.packets.take((seen.packets.proto == ICMP6) & (seen.packets.src_port == 135))
    groups = [text_of(words) for words in asked.dst_address]
    assert groups.count(solicited_group(address6_of(1))) == 2


def test_hosts_find_the_gateway_for_what_lies_beyond_it() -> None:
    async def call(world: World) -> None:
        socket = await world.open_datagrams(is_v6=True)
        await world.sleep(1.0)
        await socket.send("2001:db8:100::14", 123, b"\x23" + b"\0" * 47)

    seen = watch(client=call)
    asked = seen.packets.take((seen.packets.proto == ICMP6) & (seen.packets.src_port == 135))
    assert text_of(asked.dst_address[0]) == solicited_group("2001:db8:77::1")


def test_ipv4_needs_nobody() -> None:
    async def call(world: World) -> None:
        socket = await world.open_datagrams()
        await socket.send("10.77.0.11", 4000, b"x")

    assert kinds_of(watch(client=call, server=be_still), ICMP6) == []
