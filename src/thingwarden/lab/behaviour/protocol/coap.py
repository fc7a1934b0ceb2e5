"""CoAP: GET, PUT and observation, confirmable or not, and a server that answers them.

In: paths and sizes. Out: messages over UDP.
Must never: retransmit more often than RFC 7252 says.
Source: RFC 7252, RFC 7641.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from thingwarden.lab.behaviour.protocol.http import filler
from thingwarden.lab.world import Datagrams, World

COAP_PORT: Final = 5683
CONFIRMABLE: Final = 0
NON_CONFIRMABLE: Final = 1
ACKNOWLEDGEMENT: Final = 2
RESET: Final = 3
GET: Final = 0x01
POST: Final = 0x02
PUT: Final = 0x03
CHANGED: Final = 0x44
CONTENT: Final = 0x45
OBSERVE: Final = 6
URI_PATH: Final = 11
_ACK_TIMEOUT_S: Final = 2.0
_MAX_RETRANSMIT: Final = 4
_AFTER_ERROR_S: Final = 0.1
_PAYLOAD_MARK: Final = b"\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message.

    Attributes:
        kind: one of the four types.
        code: method or response code.
        number: message id, 0 to 65535.
        token: at most 8 bytes.
        options: number and value, ascending.
    """

    kind: int
    code: int
    number: int
    token: bytes = b""
    options: tuple[tuple[int, bytes], ...] = ()
    payload: bytes = b""


def encode(message: Message) -> bytes:
    """As it goes into a datagram."""
    head = struct.pack(">BBH", 0x40 | message.kind << 4 | len(message.token), message.code, message.number)
    parts, last = [head, message.token], 0
    for number, value in message.options:
        parts.append(_option_head(number - last, len(value)) + value)
        last = number
    return b"".join(parts) + (_PAYLOAD_MARK + message.payload if message.payload else b"")


def decode(datagram: bytes) -> Message | None:
    """What a datagram says; None if it is no CoAP."""
    if len(datagram) < 4 or datagram[0] >> 6 != 1 or datagram[0] & 0x0F > 8:
        return None
    at = 4 + (datagram[0] & 0x0F)
    options: list[tuple[int, bytes]] = []
    number = 0
    while at < len(datagram) and datagram[at] != 0xFF:
        try:
            delta, length, at = _option_lengths(datagram, at)
        except (IndexError, ValueError):
            return None
        number += delta
        options.append((number, datagram[at : at + length]))
        at += length
    return Message(
        kind=datagram[0] >> 4 & 3,
        code=datagram[1],
        number=struct.unpack_from(">H", datagram, 2)[0],
        token=datagram[4 : 4 + (datagram[0] & 0x0F)],
        options=tuple(options),
        payload=datagram[at + 1 :],
    )


async def request(
    world: World, socket: Datagrams, address: str, port: int, code: int, path: str, payload_bytes: int = 0,
    *, is_confirmable: bool = True, observes: bool = False,
) -> Message:  # fmt: skip
    """Ask and wait for the answer, repeating a confirmable question as the standard says.

    Args:
        world: of the asking host.
        socket: that sends.
        address: of the server.
        port: of the server.
        code: ``GET``, ``POST`` or ``PUT``.
        path: without a leading slash.
        payload_bytes: sent along.
        is_confirmable: an unconfirmed question is sent once.
        observes: registers for what comes later.

    Raises:
        OSError: no answer.
    """
    options = ((OBSERVE, b""),) if observes else ()
    question = Message(
        kind=CONFIRMABLE if is_confirmable else NON_CONFIRMABLE,
        code=code,
        number=world.rng.randrange(65536),
        token=world.rng.randbytes(world.rng.choice((2, 4, 8))),
        options=(*options, *((URI_PATH, part.encode()) for part in path.split("/"))),
        payload=filler(payload_bytes),
    )
    wait_s = _ACK_TIMEOUT_S * world.rng.uniform(1.0, 1.5)
    for _ in range(1 + _MAX_RETRANSMIT if is_confirmable else 1):
        await socket.send(address, port, encode(question))
        try:
            return await _answer(socket, question.token, wait_s)
        except TimeoutError:
            wait_s *= 2
    raise TimeoutError("no answer over CoAP")


async def _answer(socket: Datagrams, token: bytes, wait_s: float) -> Message:
    while True:
        address, port, datagram = await socket.receive(wait_s)
        message = decode(datagram)
        if message is None or message.token != token:
            continue
        if message.kind == CONFIRMABLE:
            await socket.send(address, port, encode(Message(kind=ACKNOWLEDGEMENT, code=0, number=message.number)))
        return message


def answer_to(datagram: bytes, answer_bytes: int) -> bytes:
    """A server's answer: piggybacked on the acknowledgement, or unconfirmed to what was; empty to anything else.

    Args:
        datagram: what came.
        answer_bytes: of the content returned by GET, at most 1024.
    """
    message = decode(datagram)
    if message is None or message.code not in (GET, POST, PUT):
        return b""
    observes = any(number == OBSERVE for number, _ in message.options)
    return encode(
        Message(
            kind=ACKNOWLEDGEMENT if message.kind == CONFIRMABLE else NON_CONFIRMABLE,
            code=CONTENT if message.code == GET else CHANGED,
            number=message.number,
            token=message.token,
            options=((OBSERVE, b"\x01"),) if observes else (),
            payload=filler(min(answer_bytes, 1024)) if message.code == GET else b"",
        )
    )


async def serve_coap(world: World, socket: Datagrams, answer_bytes: int, *, notify_every_s: float = 0.0) -> None:
    """Answer until the host stops; observers get a notification about every ``notify_every_s``, 0 never."""
    observers: dict[tuple[str, int], bytes] = {}
    count = 1
    while True:
        wait_s = notify_every_s * world.rng.uniform(0.8, 1.2) / world.me.pace if notify_every_s and observers else None
        try:
            address, port, datagram = await socket.receive(wait_s)
        except TimeoutError:
            count += 1
            for (address, port), token in list(observers.items()):
                await socket.send(address, port, _notification(world, token, count, answer_bytes))
            continue
        except OSError:
            observers.clear()
            await world.sleep(_AFTER_ERROR_S)
            continue
        message = decode(datagram)
        if message is not None and message.code == GET and any(number == OBSERVE for number, _ in message.options):
            observers = {(address, port): message.token, **dict(list(observers.items())[-3:])}
        if answer := answer_to(datagram, answer_bytes):
            await socket.send(address, port, answer)


def _notification(world: World, token: bytes, count: int, payload_bytes: int) -> bytes:
    options = ((OBSERVE, count.to_bytes(3, "big")),)
    number = world.rng.randrange(65536)
    payload = filler(min(payload_bytes, 1024))
    return encode(
        Message(kind=NON_CONFIRMABLE, code=CONTENT, number=number, token=token, options=options, payload=payload)
    )


def _option_head(delta: int, length: int) -> bytes:
    first, rest = [], b""
    for value in (delta, length):
        if value < 13:
            first.append(value)
        elif value < 269:
            first.append(13)
            rest += bytes((value - 13,))
        else:
            first.append(14)
            rest += struct.pack(">H", value - 269)
    return bytes((first[0] << 4 | first[1],)) + rest


def _option_lengths(datagram: bytes, at: int) -> tuple[int, int, int]:
    values = []
    nibbles = (datagram[at] >> 4, datagram[at] & 0x0F)
    at += 1
    for nibble in nibbles:
        if nibble == 15:
            raise ValueError("reserved")
        extra = {13: 1, 14: 2}.get(nibble, 0)
        base = {13: 13, 14: 269}.get(nibble, nibble)
        if at + extra > len(datagram):
            raise IndexError(at)
        values.append(base + int.from_bytes(datagram[at : at + extra], "big"))
        at += extra
    return values[0], values[1], at
