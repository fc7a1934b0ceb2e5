"""HTTP/1.1 as devices write it: a few requests over one connection or each over its own, and a server by path.

In: paths, sizes and a maker's manners. Out: requests and answers; an answer's size and delay are asked for in the path.
Must never: send more than ``MOST_BYTES`` at one request, or keep bodies.
Source: RFC 9112; RFC 7617 for passwords.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.protocol.credential import FACTORY_LOGIN, basic_authorization
from thingwarden.lab.behaviour.reach import Place
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Stream, World

MOST_BYTES: Final = 50_000_000
CHUNK_BYTES: Final = 65536
_FILLER: Final = bytes(range(256)) * (CHUNK_BYTES // 256)
_PATH_BYTES: Final = {
    "/firmware": 3_000,
    "/weather": 900,
    "/page": 24_000,
    "/segment": 60_000,
    "/snapshot": 9_000,
    "/generate_204": 0,
}
_DEFAULT_BYTES: Final = 60
_WANTED: Final = re.compile(rb"[?&]n=(\d{1,9})")
_DELAY: Final = re.compile(rb"[?&]t=(\d{1,6})")
_LENGTH: Final = re.compile(rb"\ncontent-length: *(\d{1,9})", re.IGNORECASE)
_LONGEST_DELAY_MS: Final = 20_000
_REFUSAL: Final = b'401 Unauthorized\r\nWWW-Authenticate: Basic realm="login"'
_REFUSAL_BYTES: Final = 130
_LOGIN_LINE: Final = b"\n" + basic_authorization(*FACTORY_LOGIN) + b"\r"
_IDLE_S: Final = 75.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request.

    Attributes:
        path: without the wishes.
        body_bytes: sent by POST; negative asks by GET.
        answer_bytes: wished for; negative leaves it to the server, as ``think_ms`` before the answer.
    """

    path: str = "/"
    body_bytes: int = -1
    answer_bytes: int = -1
    think_ms: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """What a maker's HTTP client is like.

    Attributes:
        agent: its User-Agent.
        header_bytes: of further headers, cookies and tokens.
        is_keep_alive: several requests share a connection.
        gap_s: between two of them.
    """

    agent: str = "thing/1.0"
    header_bytes: int = 40
    is_keep_alive: bool = False
    gap_s: float = 0.2

    @classmethod
    def drawn(cls, traits: Traits, role: str) -> Manners:
        """As the maker of the device with these traits chose."""
        return cls(
            agent=traits.choice("agent", "thing/1.0", ("okhttp/4.9.1", "ESP8266HTTPClient", "curl/7.58.0", "lwIP/1.4")),
            header_bytes=traits.count(f"{role}_header_bytes", 40, 5, 3000),
            is_keep_alive=traits.chance(f"{role}_is_keep_alive", 0.6),
            gap_s=traits.number(f"{role}_gap_s", 0.2, 0.01, 20.0),
        )


async def visit(world: World, place: Place, asks: Sequence[Ask], manners: Manners) -> None:
    """Send the requests one after the other and read the answers.

    Raises:
        OSError: the service was not reached, or broke off.
    """
    shared = manners.is_keep_alive and len(asks) > 1
    groups = [asks] if shared else [[ask] for ask in asks]
    for number, group in enumerate(groups):
        if number:
            await world.sleep(manners.gap_s * world.rng.uniform(0.5, 1.5))
        stream = await place.open(world)
        await converse(world, stream, place.name, group, manners)
        await place.leave(world, stream)


async def converse(world: World, stream: Stream, host: str, asks: Sequence[Ask], manners: Manners) -> None:
    """Requests over an open connection, each after the answer to the one before; the stream stays open.

    Raises:
        OSError: the server broke off; the stream is closed then.
    """
    source = Buffered(stream)
    keep = manners.is_keep_alive
    try:
        for number, ask in enumerate(asks):
            if number:
                await world.sleep(manners.gap_s * world.rng.uniform(0.5, 1.5))
            await send_request(stream, host, ask, manners, keep=keep and number + 1 < len(asks))
            await read_answer(source)
    except OSError:
        await stream.close()
        raise


async def send_request(stream: Stream, host: str, ask: Ask, manners: Manners, *, keep: bool = False) -> None:
    """One request with its body.

    Raises:
        OSError: the connection is gone.
    """
    wishes = [f"n={ask.answer_bytes}"] if ask.answer_bytes >= 0 else []
    wishes += [f"t={ask.think_ms}"] if ask.think_ms >= 0 else []
    query = "?" + "&".join(wishes) if wishes else ""
    length = f"Content-Length: {ask.body_bytes}\r\n" if ask.body_bytes >= 0 else ""
    head = (
        f"{'GET' if ask.body_bytes < 0 else 'POST'} {ask.path}{query} HTTP/1.1\r\nHost: {host}\r\n"
        f"User-Agent: {manners.agent}\r\nX-Token: {'t' * manners.header_bytes}\r\n{length}"
        f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    )
    first = filler(min(max(ask.body_bytes, 0), CHUNK_BYTES))
    await stream.send(head.encode() + first)
    await send_filler(stream, ask.body_bytes - len(first))


async def read_answer(source: Buffered, timeout_s: float = 30.0) -> bytes:
    """The answer's head; its body is passed over.

    Raises:
        OSError: the server broke off.
    """
    head = await source.until(b"\r\n\r\n", timeout_s=timeout_s)
    await source.skip(content_length(head), timeout_s)
    return head


async def answer_requests(world: World, source: Buffered) -> None:
    """Answer requests until the client has enough; sizes and delays by path, 401 to a wrong password.

    Raises:
        OSError: the client left.
    """
    while True:
        head = await source.until(b"\r\n\r\n", timeout_s=_IDLE_S)
        await source.skip(min(content_length(head), MOST_BYTES), _IDLE_S)
        await world.sleep(_delay_s(world, head))
        keep = b"keep-alive" in head
        status, length = (_REFUSAL, _REFUSAL_BYTES) if _is_wrong_login(head) else _granted(world, head)
        ending = b"keep-alive" if keep else b"close"
        answer = b"HTTP/1.1 %s\r\nServer: lab\r\nConnection: %s\r\nContent-Length: %d\r\n\r\n" % (
            status,
            ending,
            length,
        )
        first = filler(min(length, CHUNK_BYTES))
        await source.stream.send(answer + first)
        await send_filler(source.stream, length - len(first))
        if not keep:
            return


def content_length(head: bytes) -> int:
    """What the head says of the body's length in bytes; 0 where it does not."""
    found = _LENGTH.search(head)
    return int(found.group(1)) if found else 0


def filler(count: int) -> bytes:
    """``count`` bytes of no meaning, 0 to ``CHUNK_BYTES``."""
    return _FILLER[:count]


async def send_filler(stream: Stream, count: int) -> None:
    """Send ``count`` bytes of no meaning; none if it is not positive.

    Raises:
        OSError: the connection is gone.
    """
    while count > 0:
        await stream.send(_FILLER[:count])
        count -= CHUNK_BYTES


def _delay_s(world: World, head: bytes) -> float:
    wish = _DELAY.search(head, 0, 512)
    if wish is None:
        return world.rng.uniform(0.004, 0.06)
    return min(int(wish.group(1)), _LONGEST_DELAY_MS) / 1000.0 * world.rng.uniform(0.8, 1.3)


def _is_wrong_login(head: bytes) -> bool:
    # Pages are open; who presents a password all the same is told whether it is right.
    return b"\nAuthorization: Basic " in head and _LOGIN_LINE not in head


def _granted(world: World, head: bytes) -> tuple[bytes, int]:
    """Status and length of the body, bytes."""
    return b"204 No Content" if b"/generate_204" in head else b"200 OK", _answer_bytes(world, head)


def _answer_bytes(world: World, head: bytes) -> int:
    wish = _WANTED.search(head, 0, 512)
    if wish is not None:
        return min(int(wish.group(1)), MOST_BYTES)
    path = head.split(b" ", 2)[1].decode("ascii", "replace") if head.count(b" ") >= 2 else "/"
    for prefix, count in _PATH_BYTES.items():
        if path.startswith(prefix):
            return int(count * world.rng.uniform(0.5, 1.5))
    return _DEFAULT_BYTES
