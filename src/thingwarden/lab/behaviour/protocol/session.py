"""A dialogue of counted messages over TCP or TLS, and over UDP: what makers invent when no standard is at hand.

In: sizes and pauses that the asking side wishes for. Out: messages of those sizes after those pauses.
Must never: answer with more than ``MOST_BYTES``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.protocol.http import CHUNK_BYTES, MOST_BYTES, filler, send_filler
from thingwarden.lab.world import Datagrams, Stream, World

FRAME_MARK: Final = 0x02
WISH_MARK: Final = b"tw?"
MAX_DATAGRAM_BYTES: Final = 1400
MAX_ANSWERS: Final = 4000
_FRAME: Final = struct.Struct(">BBIIHII")
_WISH: Final = struct.Struct(">3sHHH")
AFTER_ERROR_S: Final = 0.1
"""Waited by a server of datagrams after an error, so that a broken network does not keep it busy."""
_IDLE_S: Final = 7200.0
_ENDS: Final = 1
_RESETS: Final = 2
_SILENT: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message and what it asks the other side for.

    Attributes:
        sent_bytes: of the message, beyond its head of 20 bytes.
        answer_bytes: 0 wishes for none.
        think_ms: before the answer.
        push_every_ms, push_bytes: from now on the server sends this unasked, about that often; 0 never.
        ends, resets: the server closes, or resets, after its answer.
    """

    sent_bytes: int = 20
    answer_bytes: int = 20
    think_ms: int = 5
    push_every_ms: int = 0
    push_bytes: int = 0
    ends: bool = False
    resets: bool = False


def encode_turn(turn: Turn) -> bytes:
    """The head of the message."""
    flags = (_ENDS if turn.ends else 0) | (_RESETS if turn.resets else 0)
    think_ms = min(turn.think_ms, 65535)
    sent, answer = max(0, turn.sent_bytes), min(turn.answer_bytes, MOST_BYTES)
    return _FRAME.pack(FRAME_MARK, flags, sent, answer, think_ms, turn.push_every_ms, turn.push_bytes)


async def send_turn(stream: Stream, turn: Turn) -> None:
    """Send the message with its content.

    Raises:
        OSError: the connection is gone.
    """
    first = filler(min(turn.sent_bytes, CHUNK_BYTES))
    await stream.send(encode_turn(turn) + first)
    await send_filler(stream, turn.sent_bytes - len(first))


async def take_turn(stream: Stream, turn: Turn, timeout_s: float = 60.0) -> None:
    """Send the message and pass over its answer.

    Raises:
        OSError: the connection is gone, or the answer did not come whole.
    """
    await send_turn(stream, turn)
    await Buffered(stream).skip(turn.answer_bytes, timeout_s)


async def idle(world: World, stream: Stream, span_s: float) -> None:
    """Pass over what comes unasked for ``span_s`` seconds.

    Raises:
        OSError: the other side left.
    """
    ends_at_s = world.now_s() + span_s
    while (left_s := ends_at_s - world.now_s()) > 0:
        try:
            if not await stream.receive(left_s):
                raise ConnectionResetError("the other side finished")
        except TimeoutError:
            return


async def serve_turns(world: World, source: Buffered) -> None:
    """Answer messages as they wish, and push what they asked for, until the client leaves.

    Raises:
        OSError: it did.
    """
    push_every_s, push_bytes = 0.0, 0
    while True:
        wait_s = push_every_s * world.rng.uniform(0.7, 1.3) if push_every_s else _IDLE_S
        try:
            await source.peek(wait_s)
        except TimeoutError:
            if not push_every_s:
                return
            await send_filler(source.stream, push_bytes)
            continue
        mark, flags, sent, answer, think_ms, every_ms, push_bytes = _FRAME.unpack(await source.exactly(_FRAME.size))
        if mark != FRAME_MARK:
            return
        push_every_s, push_bytes = every_ms / 1000.0, min(push_bytes, MOST_BYTES)
        await source.skip(min(sent, MOST_BYTES))
        await world.sleep(think_ms / 1000.0 * world.rng.uniform(0.8, 1.3))
        await send_filler(source.stream, min(answer, MOST_BYTES))
        if flags & _RESETS:
            source.stream.abort()
        if flags & (_ENDS | _RESETS):
            return


def encode_wish(sent_bytes: int, answer_bytes: int, answers: int, think_ms: int, first: bytes = b"\xc0") -> bytes:
    """A datagram of ``sent_bytes``, at least 10, that asks for ``answers`` datagrams of ``answer_bytes`` each."""
    answer = min(answer_bytes, MAX_DATAGRAM_BYTES)
    head = first + _WISH.pack(WISH_MARK, answer, min(answers, MAX_ANSWERS), min(think_ms, 65535))
    return head + filler(max(0, min(sent_bytes, MAX_DATAGRAM_BYTES) - len(head)))


def decode_wish(datagram: bytes) -> tuple[int, int, float] | None:
    """Bytes of each answer, their number, and the pause before in seconds; None if the datagram is no wish."""
    if len(datagram) <= _WISH.size or datagram[1:4] != WISH_MARK:
        return None
    _, answer, answers, think_ms = _WISH.unpack_from(datagram, 1)
    return min(answer, MAX_DATAGRAM_BYTES), min(answers, MAX_ANSWERS), think_ms / 1000.0


async def ask_datagrams(
    socket: Datagrams, address: str, port: int, wish: bytes, timeout_s: float = 2.0, *, acknowledges: int = 0
) -> int:
    """Send a wish and count what comes until silence or the wished number.

    Args:
        socket: that sends.
        address: of the server.
        port: of the server.
        wish: by ``encode_wish``.
        timeout_s: of silence that end it.
        acknowledges: a small datagram goes back for every so many; 0 never.

    Raises:
        OSError: the server's port is closed.
    """
    await socket.send(address, port, wish)
    found = decode_wish(wish)
    wanted, came = found[1] if found else 0, 0
    try:
        while came < wanted:
            await socket.receive(timeout_s)
            came += 1
            if acknowledges and came % acknowledges == 0:
                await socket.send(address, port, b"\x40" + filler(30))
    except TimeoutError:
        pass
    return came


async def serve_wishes(world: World, socket: Datagrams) -> None:
    """Grant wishes one after the other until the host stops."""
    while True:
        try:
            address, port, datagram = await socket.receive()
            answer_bytes, answers, pause_s = decode_wish(datagram) or (0, 0, 0.0)
            await world.sleep(pause_s)
            for _ in range(answers):
                await socket.send(address, port, filler(answer_bytes))
        except OSError:
            await world.sleep(AFTER_ERROR_S)
