"""hydra's password guessing as dialogues over modelled connections, several at a time.

In: a ``LoginGuess``. Out: connections to the target's own login service.
Must never: try more passwords, or for longer, than the tool was told.
Source: hydra 9.4, watched in namespaces.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from thingwarden.lab.behaviour.protocol.http import filler
from thingwarden.lab.tool import LoginGuess
from thingwarden.lab.world import Behaviour, Stream, World

if TYPE_CHECKING:
    from thingwarden.lab.simulated.world import SimulatedWorld

_STARTS_S: Final = (0.2, 0.35)
_OPTIONS: Final = (b"\xff\xfb\x22", b"\xff\xfc\x01", b"\xff\xfc\x1f", b"\xff\xfe\x01", b"\xff\xfe\x03")
_OPTIONS_AFTER_S: Final = 0.1
_PROMPT_S: Final = 6.03
_ANSWER_S: Final = 30.0
_KEY_EXCHANGE_BYTES: Final = 1064
_SSH_ATTEMPTS: Final = 3
_USER: Final = "root"


class _Words:
    """The word list that all workers share."""

    def __init__(self, count: int) -> None:
        self._left = [f"admin{number}" for number in range(count)]

    def take(self) -> str:
        """The next password; empty when there is none."""
        return self._left.pop(0) if self._left else ""


_Dialogue: TypeAlias = Callable[[World, Stream, str, _Words], Coroutine[Any, Any, None]]
"""Given the first password to try; further ones come from the list."""


async def guess_logins(world: SimulatedWorld, tool: LoginGuess) -> None:
    """Guess until the words or the time run out."""
    words = _Words(tool.tries)
    ends_s = world.now_s() + tool.lasts_s
    await world.sleep(world.process.network.rng.uniform(*_STARTS_S))
    running = dict.fromkeys(range(tool.parallel), True)
    for number in running:
        world.spawn(_worker(tool, words, running, number), f"guess {tool.target} {tool.port} {number}")
    while any(running.values()) and world.now_s() < ends_s:
        await world.sleep(min(0.1, ends_s - world.now_s()))
    for number in running:
        running[number] = False


def _worker(tool: LoginGuess, words: _Words, running: dict[int, bool], number: int) -> Behaviour:
    async def work(world: World) -> None:
        try:
            for _ in range(_SSH_ATTEMPTS if tool.service == "ssh" else tool.tries):
                password = words.take()
                if not (running[number] and password):
                    return
                stream = await world.connect(tool.target, tool.port, timeout_s=_ANSWER_S)
                try:
                    await _DIALOGUES[tool.service](world, stream, password, words)
                finally:
                    await stream.close()
        finally:
            running[number] = False

    return work


async def _telnet(world: World, stream: Stream, password: str, words: _Words) -> None:
    """Options, a pause for a prompt that does not come again, user and password as often as the server asks."""
    greeting = await stream.receive(_PROMPT_S)
    await world.sleep(_OPTIONS_AFTER_S)
    if b"\xff" in greeting:
        for option in _OPTIONS:
            await stream.send(option)
    while password:
        await world.sleep(_PROMPT_S)
        await stream.send(_USER.encode() + b"\r\0")
        await stream.receive(_ANSWER_S)
        await stream.send(password.encode() + b"\r\0")
        if not await stream.receive(_ANSWER_S):
            return
        password = words.take()


async def _ftp(world: World, stream: Stream, password: str, words: _Words) -> None:
    """USER and PASS on one connection."""
    await stream.receive(_ANSWER_S)
    while password:
        await stream.send(f"USER {_USER}\r\n".encode())
        await stream.receive(_ANSWER_S)
        await stream.send(f"PASS {password}\r\n".encode())
        if not await stream.receive(_ANSWER_S):
            return
        password = words.take()


async def _http(world: World, stream: Stream, password: str, words: _Words) -> None:
    """Basic authentication, one connection for each password."""
    token = base64.b64encode(f"{_USER}:{password}".encode()).decode()
    await stream.send(
        f"GET / HTTP/1.1\r\nHost: {stream.peer[0]}\r\nConnection: close\r\nAuthorization: Basic {token}\r\n"
        "User-Agent: Mozilla/4.0 (Hydra)\r\n\r\n".encode()
    )
    while await stream.receive(_ANSWER_S):
        pass


async def _ssh(world: World, stream: Stream, password: str, words: _Words) -> None:
    """Versions and a key exchange, which the lab's servers do not complete."""
    await stream.send(b"SSH-2.0-libssh_0.10.6\r\n")
    await stream.receive(_ANSWER_S)
    await stream.send(filler(_KEY_EXCHANGE_BYTES))
    await stream.receive(_ANSWER_S)


_DIALOGUES: Final[dict[str, _Dialogue]] = {"telnet": _telnet, "ftp": _ftp, "http": _http, "ssh": _ssh}
