"""The broker serves sessions as Mosquitto does: acknowledges, forwards, keeps alive, closes."""

from __future__ import annotations

import pytest

from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.protocol.mqtt import (
    CONNACK,
    PUBACK,
    PUBLISH,
    SUBACK,
    Session,
    encode_connect,
    encode_publish,
    encode_subscribe,
    read_packet,
)
from thingwarden.lab.simulated.broker import matches, parse_subscribe
from thingwarden.lab.world import Behaviour, Stream, World
from wire_builder import Seen, address_of, watch

BROKER = address_of(1)


async def be_still(world: World) -> None:
    """A hub whose broker is all that it runs."""


def run(duration_s: float = 30.0, **parts: Behaviour) -> Seen:
    first = next(iter(parts))
    others = {name: part for name, part in parts.items() if name != first}
    return watch(duration_s, kinds={"hub": "hub"}, **{first: parts[first], "hub": be_still, **others})


async def log_in(world: World, name: str, *, keep_alive_s: int = 60, port: int = 1883) -> Stream:
    await world.sleep(1.0 - world.now_s())
    stream = await world.connect(BROKER, port, tls_name="hub.lan" if port == 8883 else "")
    await Session(stream, keep_alive_s).log_in(name)
    return stream


@pytest.mark.parametrize("port", [1883, 8883])
def test_a_message_is_acknowledged_and_forwarded_to_who_asked_for_it(port: int) -> None:
    heard: list[tuple[int, bytes]] = []

    async def subscribe(world: World) -> None:
        stream = await log_in(world, "phone", port=port)
        source = Buffered(stream)
        await stream.send(encode_subscribe(1, ["home/+/state"]))
        for _ in range(2):
            kind, _, body = await read_packet(source, 10.0)
            heard.append((kind, body))

    async def publish(world: World) -> None:
        stream = await log_in(world, "sensor", port=port)
        await world.sleep(1.0)
        for topic in ("home/attic/other", "home/attic/state"):
            await stream.send(encode_publish(topic, b"21", number=7))
        kind, _, body = await read_packet(Buffered(stream), 10.0)
        heard.append((kind, body))

    seen = run(phone=subscribe, sensor=publish)
    assert (SUBACK, b"\0\1\0") in heard
    assert (PUBLISH, b"\0\x10home/attic/state21") in heard
    assert (PUBACK, b"\0\7") in heard
    assert set(seen.flows.service.tolist()) == ({b"mqtt"} if port == 1883 else {b"ssl"})


def test_a_silent_client_is_given_up_after_one_and_a_half_keep_alives() -> None:
    ended: list[float] = []

    async def fall_silent(world: World) -> None:
        stream = await log_in(world, "sensor", keep_alive_s=4)
        began_s = world.now_s()
        assert await stream.receive(None) == b""
        ended.append(world.now_s() - began_s)

    run(sensor=fall_silent)
    assert ended == [pytest.approx(6.0, abs=0.1)]


def test_a_second_session_of_one_name_ends_the_first() -> None:
    ended: list[bytes] = []

    async def stay(world: World) -> None:
        ended.append(await (await log_in(world, "same")).receive(20.0))

    async def come_later(world: World) -> None:
        await world.sleep(5.0)
        await log_in(world, "same")

    run(first=stay, second=come_later)
    assert ended == [b""]


@pytest.mark.parametrize("message", [b"GET / HTTP/1.1\r\n\r\n", encode_publish("a", b"b"), encode_connect("x", 60)[:5]])
def test_who_does_not_begin_with_connect_is_turned_away(message: bytes) -> None:
    ended: list[bytes] = []

    async def talk_nonsense(world: World) -> None:
        await world.sleep(1.0)
        stream = await world.connect(BROKER, 1883)
        await stream.send(message)
        ended.append(await stream.receive(60.0))

    run(120.0, stranger=talk_nonsense)
    assert ended == [b""]


def test_a_subscribe_with_wrong_flags_ends_the_session() -> None:
    ended: list[bytes] = []

    async def err(world: World) -> None:
        stream = await log_in(world, "sensor")
        await stream.send(b"\x80" + encode_subscribe(1, ["a"])[1:])
        ended.append(await stream.receive(10.0))

    run(sensor=err)
    assert ended == [b""]


def test_leaving_is_answered_by_the_brokers_own_end() -> None:
    async def visit(world: World) -> None:
        await world.sleep(1.0)
        session = Session(await world.connect(BROKER, 1883), 60)
        await session.log_in("door")
        await session.publish("home/door", b"open")
        await session.log_out()

    assert run(door=visit).states(1883)[0][0] == "SF"


@pytest.mark.parametrize(
    ("wish", "topic", "expected"),
    [
        ("home/#", "home/a/b", True),
        ("#", "a", True),
        ("home/+/state", "home/a/state", True),
        ("home/+/state", "home/a/b/state", False),
        ("home/a", "home/a", True),
        ("home/a", "home/a/b", False),
        ("home/a/b", "home/a", False),
    ],
)
def test_wishes_match_as_the_standard_says(wish: str, topic: str, expected: bool) -> None:
    assert matches(wish, topic) is expected


def test_a_subscription_is_read_as_far_as_it_goes() -> None:
    body = encode_subscribe(9, ["home/#", "x"], 1)[2:]
    assert parse_subscribe(body) == {"home/#": 1, "x": 1}
    assert parse_subscribe(body[:-3]) == {"home/#": 1}
    assert parse_subscribe(b"") == {}
    assert CONNACK == 2
