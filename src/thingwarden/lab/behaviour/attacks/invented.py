"""Attacks that no list of real malware has: their dialogues, ports, rhythms and sizes drawn from the widest ranges.

In: targets inside the lab. Out: contacts, one after the other or many at a time.
Must never: exceed ``count`` contacts or ``lasts_s``; what is sent is filler.
Source: docs/decisions/0011-sketches.md for the ranges, which span what timers, protocols and tools at hand produce.
"""

from __future__ import annotations

import contextlib
from functools import partial
from itertools import cycle
from typing import Any, Final, Literal

from pydantic import Field

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.act import ActKind, ActSettings
from thingwarden.lab.behaviour.attacks import breadth
from thingwarden.lab.behaviour.attacks.address import draw_addresses
from thingwarden.lab.behaviour.attacks.control import CONTROL, varied
from thingwarden.lab.behaviour.attacks.exfiltration import STRANGER
from thingwarden.lab.behaviour.attacks.pacing import Crowd, Rhythm
from thingwarden.lab.behaviour.protocol import http, session
from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.reach import Ending, leave
from thingwarden.lab.timeline import Aim
from thingwarden.lab.world import Stream, World

_PROTO: Final = {"tcp": 6, "udp": 17}
_LAST_PORT: Final = 65535
_NAMED_PORTS: Final = 32
"""An aim names ports up to so many; beyond that it is any."""
_HEAD_BYTES: Final = len(session.encode_turn(session.Turn()))


class InventedSettings(ActSettings):
    """Contacts of one shape.

    Attributes:
        hosts: of the targets, drawn once.
        takes_turns: hosts are contacted in turn, not at random.
        transport: TCP or UDP.
        port: the first of ``port_count``, each ``port_step`` above the one before.
        period_s: from one contact to the next; ``jitter`` as a part of it.
        count: contacts at most; so many at the same time as ``is_parallel`` allows.
        speaks: counted messages, HTTP requests, lines, or nothing.
        turns: messages per contact, ``gap_s`` apart.
        sent_bytes, answer_bytes: of each; ``spread`` is how much they vary.
        think_ms: before an answer.
        patience_s: waited for a connection or an answer.
        ending: how a connection is left.
        own_port: to connect from; 0 is any.
    """

    hosts: int = Field(default=1, ge=1, le=4000)
    takes_turns: bool = breadth.flag(True)
    transport: Literal["tcp", "udp"] = "tcp"
    port: int = breadth.port(4444, 22, 23, 53, 80, 123, 443, 445, 1883, 5555, 8080, 8443, 31337)
    port_count: int = Field(default=1, ge=1, le=1000)
    port_step: int = breadth.number(1, 1, 997)
    period_s: float = Field(default=10.0, ge=0.0005, le=14_400.0)
    jitter: float = breadth.one_of(0.1, 0.0, 0.02, 0.3, 1.0)
    count: int = Field(default=100, ge=1, le=20_000)
    is_parallel: bool = False
    speaks: Literal["messages", "http", "lines", "nothing"] = "messages"
    turns: int = breadth.number(1, 1, 8)
    gap_s: float = breadth.number(0.2, 0.005, 20.0)
    sent_bytes: int = breadth.number(60, 1, 3_000)
    answer_bytes: int = breadth.number(60, 1, 3_000)
    spread: float = breadth.one_of(0.05, 0.0, 0.3, 1.0)
    think_ms: int = breadth.number(20, 1, 3_000)
    patience_s: float = breadth.number(3.0, 0.3, 20.0)
    ending: Ending = "close"
    own_port: int = breadth.rarely(0, 1_024, 60_000, likely=0.15)

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port that is contacted."""
        numbers = (self.port + self.port_step * number for number in range(self.port_count))
        return tuple((number - 1) % _LAST_PORT + 1 for number in numbers)


class BeaconSettings(InventedSettings):
    """Regular contact with one host, or with a few."""

    targets: tuple[str, ...] = (CONTROL,)
    port_count: int = breadth.number(1, 1, 6)
    period_s: float = breadth.number(30.0, 2.0, 3_600.0)
    count: int = breadth.number(1_000, 3, 2_000)


class SweepSettings(InventedSettings):
    """Many hosts, a port or a few, hardly a word."""

    hosts: int = breadth.number(300, 8, 3_000)
    port_count: int = breadth.number(1, 1, 3)
    period_s: float = breadth.number(0.02, 0.002, 10.0)
    jitter: float = breadth.one_of(1.0, 0.0, 0.1)
    count: int = breadth.number(400, 8, 3_000)
    is_parallel: bool = True
    speaks: Literal["messages", "http", "lines", "nothing"] = "nothing"
    patience_s: float = breadth.number(2.0, 0.3, 8.0)
    gap_s: float = breadth.number(0.1, 0.005, 3.0)


class PortSearchSettings(InventedSettings):
    """Many ports of one host, or of a few."""

    hosts: int = breadth.number(1, 1, 4)
    port: int = breadth.port(1, 1, 20, 80, 1_000, 5_000)
    port_count: int = breadth.number(200, 8, 1_000)
    period_s: float = breadth.number(0.02, 0.002, 5.0)
    jitter: float = breadth.one_of(1.0, 0.0, 0.1)
    count: int = breadth.number(400, 8, 2_000)
    is_parallel: bool = True
    speaks: Literal["messages", "http", "lines", "nothing"] = "nothing"
    patience_s: float = breadth.number(2.0, 0.3, 8.0)


class SiegeSettings(InventedSettings):
    """The same short dialogue over and over."""

    hosts: int = breadth.number(1, 1, 3)
    transport: Literal["tcp"] = "tcp"
    period_s: float = breadth.number(1.0, 0.05, 20.0)
    jitter: float = breadth.one_of(0.3, 0.0, 1.0)
    count: int = breadth.number(60, 4, 300)
    speaks: Literal["http", "lines"] = "lines"
    turns: int = breadth.number(3, 1, 8)


class SurgeSettings(InventedSettings):
    """More contacts than anything needs."""

    port_count: int = breadth.number(1, 1, 500)
    period_s: float = breadth.number(0.005, 0.0006, 0.05)
    jitter: float = breadth.one_of(1.0, 0.0, 0.1)
    count: int = breadth.number(1_500, 40, 6_000)
    is_parallel: bool = True
    speaks: Literal["http", "lines", "nothing"] = "nothing"
    patience_s: float = breadth.number(2.0, 0.3, 8.0)


class UploadSettings(InventedSettings):
    """Much goes out."""

    targets: tuple[str, ...] = (STRANGER,)
    transport: Literal["tcp"] = "tcp"
    period_s: float = breadth.number(20.0, 1.0, 300.0)
    count: int = breadth.number(4, 1, 30)
    speaks: Literal["messages", "http"] = "messages"
    sent_bytes: int = breadth.number(800_000, 60_000, 6_000_000)
    spread: float = breadth.one_of(0.05, 0.0, 0.3)
    patience_s: float = breadth.number(30.0, 10.0, 120.0)


async def contact(world: World, settings: InventedSettings) -> None:
    """Contact the hosts until the bound."""
    rng = world.rng
    hosts = list(draw_addresses(settings.targets, rng, settings.hosts)) or list(settings.targets)
    ports = list(settings.ports)
    if not settings.takes_turns:
        rng.shuffle(ports)
    in_turn = cycle((host, port) for port in ports for host in hosts)
    rhythm = Rhythm(world, settings.period_s, lasts_s=settings.lasts_s, count=settings.count, jitter=settings.jitter)
    crowd = Crowd(world)
    while await rhythm.beat():
        address, port = next(in_turn) if settings.takes_turns else (rng.choice(hosts), rng.choice(ports))
        once = partial(_meet, address=address, port=port, settings=settings)
        if settings.is_parallel:
            crowd.start(once)
        else:
            with contextlib.suppress(OSError):
                await once(world)
    await crowd.wait(min(rhythm.left_s, settings.patience_s))


async def _meet(world: World, *, address: str, port: int, settings: InventedSettings) -> None:
    if settings.transport == "udp":
        await _exchange(world, address, port, settings)
        return
    stream = await world.connect(address, port, source_port=settings.own_port, timeout_s=settings.patience_s)
    try:
        await _talk(world, stream, settings)
    except OSError:
        await stream.close()
        return
    await leave(world, stream, settings.ending, min(20.0, settings.patience_s))


async def _exchange(world: World, address: str, port: int, settings: InventedSettings) -> None:
    socket = await world.open_datagrams(is_v6=":" in address)
    try:
        for number in range(settings.turns):
            if number:
                await world.sleep(settings.gap_s)
            sent_bytes = varied(world, settings.sent_bytes, settings.spread)
            wish = session.encode_wish(sent_bytes, settings.answer_bytes, 1, settings.think_ms)
            await session.ask_datagrams(socket, address, port, wish, settings.patience_s)
    finally:
        socket.close()


async def _talk(world: World, stream: Stream, settings: InventedSettings) -> None:
    if settings.speaks == "nothing":
        await world.sleep(settings.gap_s)
        return
    source = Buffered(stream)
    for number in range(settings.turns):
        if number:
            await world.sleep(settings.gap_s * world.rng.uniform(0.5, 1.5))
        sent_bytes = varied(world, settings.sent_bytes, settings.spread)
        answer_bytes = varied(world, settings.answer_bytes, settings.spread)
        if settings.speaks == "lines":
            await stream.send(http.filler(sent_bytes).replace(b"\n", b" ") + b"\r\n")
            await source.exactly(len(await source.peek(settings.patience_s)))
        elif settings.speaks == "http":
            ask = http.Ask(body_bytes=sent_bytes, answer_bytes=answer_bytes, think_ms=settings.think_ms)
            keep = number + 1 < settings.turns
            await http.send_request(stream, stream.peer[0], ask, _MANNERS, keep=keep)
            await http.read_answer(source, settings.patience_s)
        else:
            counted_bytes = max(0, sent_bytes - _HEAD_BYTES)
            turn = session.Turn(sent_bytes=counted_bytes, answer_bytes=answer_bytes, think_ms=settings.think_ms)
            await session.take_turn(stream, turn, settings.patience_s)


_MANNERS: Final = http.Manners(agent="-", header_bytes=1)


def _aims(settings: InventedSettings) -> tuple[Aim, ...]:
    ports = settings.ports if settings.port_count <= _NAMED_PORTS else ()
    return tuple(Aim(peer=target, proto=_PROTO[settings.transport], ports=ports) for target in settings.targets)


def _kind(about: str, settings: type[InventedSettings], attack_class: AttackClass, technique: str) -> ActKind[Any]:
    return ActKind(
        about=about, settings=settings, run=contact, aims=_aims, attack_class=attack_class, technique=technique
    )


INVENTED: Final[dict[str, ActKind[Any]]] = {
    "invented_beacon": _kind("Drawn contact with a control host.", BeaconSettings, AttackClass.C2, "T1095"),
    "invented_sweep": _kind("Drawn contact with many hosts.", SweepSettings, AttackClass.SCAN, "T1046"),
    "invented_search": _kind("Drawn contact with many ports.", PortSearchSettings, AttackClass.SCAN, "T1046"),
    "invented_siege": _kind("A drawn short dialogue, over and over.", SiegeSettings, AttackClass.BRUTE_FORCE, "T1110"),
    "invented_surge": _kind("Drawn contacts, more than anything needs.", SurgeSettings, AttackClass.DOS, "T1499"),
    "invented_upload": _kind("Much goes out, somehow.", UploadSettings, AttackClass.EXFILTRATION, "T1048"),
}
