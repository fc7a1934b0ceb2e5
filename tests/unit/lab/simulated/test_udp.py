"""Datagrams reach sockets, groups and hosts behind the gateway; closed ports complain, absent hosts do not."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.timeline import Cut, Planned
from thingwarden.lab.world import Behaviour, World
from wire_builder import address6_of, address_of, text_of, watch

PORT = 5683
GROUP = "224.0.0.251"
GROUP6 = "ff02::fb"


async def echo(world: World) -> None:
    """Answer whatever comes to ``PORT``."""
    for is_v6 in (False, True):

        async def serve(own: World, is_v6: bool = is_v6) -> None:
            socket = await own.open_datagrams(PORT, is_v6=is_v6)
            while True:
                address, port, data = await socket.receive()
                await socket.send(address, port, data[::-1])

        world.spawn(serve, f"echo {is_v6}")


def asking(address: str, heard: list[object], *, is_v6: bool = False, times: int = 1) -> Behaviour:
    async def live(world: World) -> None:
        await world.sleep(1.0)
        socket = await world.open_datagrams(is_v6=is_v6)
        for _ in range(times):
            try:
                await socket.send(address, PORT, b"ping")
                heard.append(await socket.receive(2.0))
            except OSError as error:
                heard.append(type(error).__name__)

    return live


def test_a_question_is_answered() -> None:
    heard: list[object] = []
    seen = watch(client=asking(address_of(1), heard), server=echo)
    assert heard == [(address_of(1), PORT, b"gnip")]
    assert seen.states(PORT) == [("SF", "Dd")]
    assert seen.of_port(PORT).ip_bytes.tolist() == [32, 32]
    assert bytes(seen.of_port(PORT).payload_head[0][:5]) == b"ping\0"


def test_over_ipv6_as_well() -> None:
    heard: list[object] = []
    seen = watch(client=asking(address6_of(1), heard, is_v6=True), server=echo)
    assert heard == [(address6_of(1), PORT, b"gnip")]
    assert seen.of_port(PORT).ip_bytes.tolist() == [52, 52]


def test_a_closed_port_is_told_of_by_icmp() -> None:
    async def be_still(world: World) -> None:
        pass

    heard: list[object] = []
    seen = watch(client=asking(address_of(1), heard), server=be_still)
    assert heard == ["ConnectionRefusedError"]
    icmp = seen.packets.take(seen.packets.proto == 1)
    assert (icmp.src_port.tolist(), icmp.dst_port.tolist()) == ([3], [3])
    assert icmp.ip_bytes.tolist() == [28 + 28 + 4]


def test_complaints_are_limited_to_one_a_second_after_six() -> None:
    async def be_still(world: World) -> None:
        pass

    async def knock(world: World) -> None:
        await world.sleep(1.0)
        for number in range(60):
            socket = await world.open_datagrams()
            await socket.send(address_of(1), 1000 + number, b"")
            await world.sleep(0.05)

    seen = watch(client=knock, server=be_still)
    assert 7 <= int((seen.packets.proto == 1).sum()) <= 10


def test_absent_hosts_are_silent() -> None:
    heard: list[object] = []
    seen = watch(client=asking(SERVICES["gone.example"].address, heard))
    assert heard == ["TimeoutError"]
    assert seen.states(PORT) == [("S0", "D")]
    seen = watch(client=asking("10.77.0.200", heard, times=2))
    assert len(seen.of_port(PORT)) == 0
    assert heard[-1] == "OSError"


def test_a_service_answers_a_device_through_the_gateway_from_the_address_that_was_asked() -> None:
    heard: list[object] = []
    seen = watch(client=asking("203.0.113.20", heard), internet=echo)
    assert heard == [("203.0.113.20", PORT, b"gnip")]
    packets = seen.of_port(PORT)
    assert text_of(packets.src_address[0]) == address_of(0)
    assert text_of(packets.dst_address[1]) == address_of(0)


def test_two_devices_with_one_port_are_told_apart_behind_the_gateway() -> None:
    heard: dict[str, object] = {}

    async def ask(world: World) -> None:
        await world.sleep(1.0)
        socket = await world.open_datagrams(4000)
        await socket.send("203.0.113.20", PORT, world.me.name.encode())
        heard[world.me.name] = (await socket.receive(2.0))[2]

    watch(one=ask, two=ask, internet=echo)
    assert heard == {"one": b"eno", "two": b"owt"}


@pytest.mark.parametrize(("group", "is_v6"), [(GROUP, False), (GROUP6, True), ("255.255.255.255", False)])
def test_all_members_hear_what_is_sent_to_a_group(group: str, is_v6: bool) -> None:
    heard: list[tuple[str, str, bytes]] = []

    async def listen(world: World) -> None:
        groups = (group,) if group != "255.255.255.255" else ()
        socket = await world.open_datagrams(5353, groups, is_v6=is_v6)
        if world.me.name == "one":
            await world.sleep(1.0)
            await socket.send(group, 5353, b"who is there")
        while True:
            address, _, data = await socket.receive()
            heard.append((world.me.name, address, data))

    async def keep_to_itself(world: World) -> None:
        socket = await world.open_datagrams(5354, is_v6=is_v6)
        heard.append((world.me.name, *(await socket.receive())[::2]))

    seen = watch(one=listen, two=listen, three=listen, four=keep_to_itself)
    assert {name for name, _, _ in heard} == {"two", "three"}
    assert all(address.startswith("fe80::") == is_v6 for _, address, _ in heard)
    packets = seen.of_port(5353)
    assert len(packets) == 1
    assert int(packets.dst_mac[0]) >> 40 & 1


def test_a_closed_socket_hears_nothing_and_frees_its_port() -> None:
    failed = []

    async def open_and_close(world: World) -> None:
        socket = await world.open_datagrams(PORT)
        try:
            await world.open_datagrams(PORT)
        except OSError as error:
            failed.append(str(error))
        socket.close()
        socket.close()
        try:
            await socket.send(address_of(0), PORT, b"x")
        except OSError as error:
            failed.append(str(error))
        again = await world.open_datagrams(PORT)
        assert again.port == PORT

    watch(host=open_and_close)
    assert failed == [f"port {PORT} is taken", "the socket is closed"]


def test_a_socket_of_one_family_does_not_reach_the_other() -> None:
    heard: list[object] = []
    watch(client=asking(address6_of(1), heard), server=echo)
    assert heard == ["OSError"]


def test_an_address_outside_the_lab_is_refused() -> None:
    with pytest.raises(RequestError, match="outside the lab"):
        watch(client=asking("8.8.8.8", []))


def test_the_resolvers_port_can_fail_alone() -> None:
    heard: list[object] = []

    async def ask(world: World) -> None:
        for at_s in (1.0, 5.0):
            await world.sleep(at_s - world.now_s())
            socket = await world.open_datagrams()
            try:
                await socket.send("10.77.0.1", 53, b"\0\1\1\0\0\1\0\0\0\0\0\0\4none\0\0\1\0\1")
                heard.append(len((await socket.receive(1.0))[2]))
            except OSError as error:
                heard.append(type(error).__name__)

    planned = (Planned(at_s=3.0, event="outage-1", action=Cut(target="resolver")),)
    watch(client=ask, planned=planned)
    assert heard == [22, "TimeoutError"]


def test_labels_do_not_depend_on_the_socket_but_on_the_target() -> None:
    seen = watch(client=asking(address_of(1), []), server=echo)
    assert seen.flows.labels is not None
    assert np.all(seen.flows.labels.malicious == 0)
