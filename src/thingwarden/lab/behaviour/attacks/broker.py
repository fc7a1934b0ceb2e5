"""What can be done to an MQTT broker that lets everybody in: storms, eavesdropping, retained rubbish.

In: a broker inside the lab. Out: sessions that no device needs.
Must never: read what is overheard; it is passed over.
Source: MQTT 3.1.1, OASIS standard, 29 October 2014.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.act import ActKind, ActSettings
from thingwarden.lab.behaviour.attacks import breadth
from thingwarden.lab.behaviour.attacks.pacing import Crowd, Rhythm
from thingwarden.lab.behaviour.protocol import mqtt
from thingwarden.lab.behaviour.protocol.http import filler
from thingwarden.lab.timeline import Aim
from thingwarden.lab.world import World

_TCP: Final = 6
_KEEP_ALIVE_S: Final = 60
_RETAINED: Final = 1


class BrokerSettings(ActSettings):
    """Something at one broker.

    Attributes:
        port: of the broker.
        per_s: of messages or sessions, on average; ``count`` at most.
        payload_bytes: of a message.
        topics: how many differ.
        qos: whether messages are acknowledged.
        is_abrupt: sessions end by a reset, not by DISCONNECT.
    """

    port: int = breadth.known_port(1883)
    per_s: float = breadth.number(50.0, 0.5, 400.0)
    count: int = breadth.number(1_000, 20, 8_000)
    payload_bytes: int = breadth.number(200, 1, 4_000)
    topics: int = breadth.number(1, 1, 200)
    qos: Literal[0, 1] = 0
    is_abrupt: bool = breadth.flag(False)


class StormSettings(BrokerSettings):
    """As ``BrokerSettings``, many sessions.

    Attributes:
        hold_s: how long each stays.
    """

    per_s: float = breadth.number(20.0, 0.5, 200.0)
    count: int = breadth.number(300, 20, 3_000)
    hold_s: float = breadth.rarely(0.0, 0.5, 60.0, likely=0.5)


class RetainSettings(BrokerSettings):
    """As ``BrokerSettings``, few large messages that the broker must keep."""

    per_s: float = breadth.number(2.0, 0.1, 20.0)
    count: int = breadth.number(30, 3, 300)
    payload_bytes: int = breadth.number(60_000, 4_000, 250_000)
    topics: int = breadth.number(30, 1, 300)


async def _with_session(
    world: World, settings: BrokerSettings, use: Callable[[mqtt.Session], Coroutine[Any, Any, None]]
) -> None:
    """Log in at each target, do something, leave; failures end it."""
    for target in settings.targets:
        with contextlib.suppress(OSError):
            stream = await world.connect(target, settings.port)
            session = mqtt.Session(stream, _KEEP_ALIVE_S)
            with contextlib.suppress(OSError):
                await session.log_in(f"x{world.rng.getrandbits(32):08x}")
                await use(session)
            if settings.is_abrupt:
                stream.abort()
            else:
                await session.log_out()


async def flood_by_messages(world: World, settings: BrokerSettings) -> None:
    """Publish without end."""

    async def publish(session: mqtt.Session) -> None:
        rhythm = _rhythm(world, settings)
        while await rhythm.beat():
            await session.publish(_topic(world, settings), filler(settings.payload_bytes), qos=settings.qos)
            if settings.qos:
                await session.await_acknowledgement(max(0.1, rhythm.left_s))

    await _with_session(world, settings, publish)


async def retain_rubbish(world: World, settings: RetainSettings) -> None:
    """Leave large messages behind that every new subscriber gets."""

    async def publish(session: mqtt.Session) -> None:
        rhythm = _rhythm(world, settings)
        while await rhythm.beat():
            body = mqtt.encode_text(_topic(world, settings)) + bytes(settings.payload_bytes)
            await session.stream.send(mqtt.encode_packet(mqtt.PUBLISH, body, _RETAINED))

    await _with_session(world, settings, publish)


async def eavesdrop(world: World, settings: BrokerSettings) -> None:
    """Subscribe to everything and listen."""

    async def listen(session: mqtt.Session) -> None:
        for topics in (["#"], ["+/+/#"]):
            await session.subscribe(topics)
        await mqtt.rest(world, session, settings.lasts_s / max(1, len(settings.targets)))

    await _with_session(world, settings, listen)


async def flood_by_sessions(world: World, settings: StormSettings) -> None:
    """Log in and leave without end."""

    async def come(own: World) -> None:
        stream = await own.connect(own.rng.choice(settings.targets), settings.port)
        session = mqtt.Session(stream, _KEEP_ALIVE_S)
        with contextlib.suppress(OSError):
            await session.log_in(f"s{own.rng.getrandbits(32):08x}")
            await own.sleep(settings.hold_s)
        if settings.is_abrupt:
            stream.abort()
        else:
            await session.log_out()

    rhythm = _rhythm(world, settings)
    crowd = Crowd(world)
    while await rhythm.beat():
        crowd.start(come)
    await crowd.wait(min(rhythm.left_s, settings.hold_s + 1.0))


def _rhythm(world: World, settings: BrokerSettings) -> Rhythm:
    return Rhythm(world, 1 / settings.per_s, lasts_s=settings.lasts_s, count=settings.count, jitter=1.0)


def _topic(world: World, settings: BrokerSettings) -> str:
    return f"home/x{world.rng.randrange(settings.topics)}/state"


def _aims(settings: BrokerSettings) -> tuple[Aim, ...]:
    return tuple(Aim(peer=target, proto=_TCP, ports=(settings.port,)) for target in settings.targets)


BROKER_ABUSES: Final[dict[str, ActKind[Any]]] = {
    "mqtt_flood": ActKind(
        about="Messages without end to a broker.",
        settings=BrokerSettings,
        run=flood_by_messages,
        aims=_aims,
        attack_class=AttackClass.DOS,
        technique="T1499.002",
    ),
    "mqtt_connects": ActKind(
        about="Sessions without end at a broker.",
        settings=StormSettings,
        run=flood_by_sessions,
        aims=_aims,
        attack_class=AttackClass.DOS,
        technique="T1499.002",
    ),
    "mqtt_eavesdrop": ActKind(
        about="A subscription to everything that a home says.",
        settings=BrokerSettings,
        run=eavesdrop,
        aims=_aims,
        attack_class=AttackClass.EXPLOIT,
        technique="T1040",
    ),
    "mqtt_retain": ActKind(
        about="Large retained messages on many topics.",
        settings=RetainSettings,
        run=retain_rubbish,
        aims=_aims,
        attack_class=AttackClass.EXPLOIT,
        technique="T1565",
    ),
}
