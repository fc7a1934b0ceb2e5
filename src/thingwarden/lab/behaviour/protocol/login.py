"""Logins over telnet and SSH's greeting, as cheap devices serve them and as their owner uses them.

In: connections from inside the lab. Out: a BusyBox-like dialogue that knows one password.
Must never: run anything that a client sent.
Source: RFC 854; RFC 4253, section 4.2.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.protocol.credential import FACTORY_LOGIN
from thingwarden.lab.behaviour.protocol.http import filler
from thingwarden.lab.world import Handler, Stream, World

TELNET_PORT: Final = 23
SSH_PORT: Final = 22
Dialogue: TypeAlias = Literal["options", "plain"]
"""``options`` negotiates first, as BusyBox does; ``plain`` sends text only and closes after one wrong password."""
DIALOGUES: Final[tuple[Dialogue, ...]] = ("options", "plain")

_NEGOTIATION: Final = b"\xff\xfd\x01\xff\xfd\x1f\xff\xfb\x01\xff\xfb\x03"
_BANNER: Final = b"\r\n\r\nBusyBox v1.19.4 (2015-03-02) built-in shell (ash)\r\n\r\n# "
_GUESSES: Final = 3
_IDLE_S: Final = 60.0
_LONGEST_LINE: Final = 512
_SSH_VERSION: Final = b"SSH-2.0-dropbear_2017.75\r\n"
_KEY_EXCHANGE_BYTES: Final = (500, 1100)


def telnet_server(name: str, dialogue: Dialogue = "options") -> Handler:
    """A login prompt that knows ``FACTORY_LOGIN`` only."""
    greeting = (_NEGOTIATION if dialogue == "options" else b"") + name.encode() + b" login: "
    guesses = _GUESSES if dialogue == "options" else 1

    async def serve(world: World, stream: Stream) -> None:
        source = Buffered(stream)
        await stream.send(greeting)
        for number in range(guesses):
            user = await read_line(source)
            await stream.send(user + b"\r\nPassword: ")
            password = await read_line(source)
            await world.sleep(world.rng.uniform(0.3, 0.8))
            if (user.decode("utf-8", "replace"), password.decode("utf-8", "replace")) == FACTORY_LOGIN:
                await _shell(source)
                return
            again = name.encode() + b" login: " if number + 1 < guesses else b""
            await stream.send(b"\r\nLogin incorrect\r\n" + again)

    return serve


async def _shell(source: Buffered) -> None:
    await source.stream.send(_BANNER)
    while await read_line(source) not in (b"", b"exit"):
        await source.stream.send(b"ash: not found\r\n# ")


async def read_line(source: Buffered) -> bytes:
    """A line without the telnet options in front of it.

    Raises:
        OSError: the client left or sends no end of line.
    """
    line = await source.until(b"\n", _LONGEST_LINE, _IDLE_S)
    while line[:1] == b"\xff":
        line = line[3:]
    return line.strip(b"\r\n\0 ")


async def administer(world: World, stream: Stream, commands: int) -> None:
    """The owner logs in over telnet, types some commands and leaves.

    Raises:
        OSError: the device closed the connection.
    """
    source = Buffered(stream)
    for prompt, line in ((b"login: ", FACTORY_LOGIN[0]), (b"Password: ", FACTORY_LOGIN[1])):
        await source.until(prompt)
        await world.sleep(world.rng.uniform(0.5, 4.0))
        await stream.send(line.encode() + b"\r\n")
    for number in range(commands + 1):
        await source.until(b"# ")
        await world.sleep(world.rng.uniform(0.5, 8.0))
        await stream.send(b"exit\r\n" if number == commands else b"ps\r\n")


def ssh_server(accepts: bool = True) -> Handler:
    """SSH's versions and key exchange by size; then what the owner types, if it is let in."""

    async def serve(world: World, stream: Stream) -> None:
        source = Buffered(stream)
        await stream.send(_SSH_VERSION)
        if not (await source.until(b"\n", _LONGEST_LINE, _IDLE_S)).startswith(b"SSH-"):
            return
        await stream.send(filler(_KEY_EXCHANGE_BYTES[0]))
        while await stream.receive(_IDLE_S):
            await world.sleep(world.rng.uniform(0.002, 0.05))
            await stream.send(filler(world.rng.randrange(40, 400)))
            if not accepts:
                return

    return serve


async def use_ssh(world: World, stream: Stream, commands: int) -> None:
    """The owner's session over SSH: key exchange, login, some commands.

    Raises:
        OSError: the device closed the connection.
    """
    source = Buffered(stream)
    await stream.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    await source.until(b"\n")
    for size_bytes in (_KEY_EXCHANGE_BYTES[1], 48, 44, 68, 420):
        await stream.send(filler(size_bytes))
        await stream.receive(_IDLE_S)
    for _ in range(commands):
        await world.sleep(world.rng.expovariate(0.4))
        await stream.send(filler(world.rng.randrange(36, 120)))
        await stream.receive(_IDLE_S)
