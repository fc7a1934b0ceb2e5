"""MQTT 3.1.1: a device's session with a broker, and the broker of a vendor's cloud.

In: topics and sizes. Out: CONNECT, SUBSCRIBE, PUBLISH, PINGREQ and DISCONNECT over a stream.
Must never: accept a packet longer than ``MOST_BYTES``.
Source: MQTT 3.1.1, OASIS standard, 29 October 2014.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Sequence
from typing import Final

from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.protocol.http import filler
from thingwarden.lab.world import Stream, World

MQTT_PORT: Final = 1883
MQTT_TLS_PORT: Final = 8883
MOST_BYTES: Final = 1_000_000
CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
SUBSCRIBE: Final = 8
SUBACK: Final = 9
UNSUBSCRIBE: Final = 10
UNSUBACK: Final = 11
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14
_FLAGS: Final = {SUBSCRIBE: 2, UNSUBSCRIBE: 2}
_CLEAN_SESSION: Final = 0x02
_PUSH: Final = re.compile(rb"push/(\d{1,6})/(\d{1,6})")
_PATIENCE_S: Final = 20.0
_NO_KEEP_ALIVE_S: Final = 7200.0


def encode_packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    """Fixed header and body; ``flags`` are the low four bits."""
    return bytes((kind << 4 | (flags or _FLAGS.get(kind, 0)),)) + encode_length(len(body)) + body


def encode_length(length: int) -> bytes:
    """The remaining length, seven bits a byte, low ones first."""
    digits = bytearray()
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | 0x80 if length else digit)
        if not length:
            return bytes(digits)


def encode_text(text: str) -> bytes:
    """UTF-8 with its length in front."""
    raw = text.encode()
    return struct.pack(">H", len(raw)) + raw


def encode_connect(client_id: str, keep_alive_s: int, *, is_clean: bool = True, password: str = "") -> bytes:
    """A CONNECT without a will; with a user name and password where a password is given."""
    flags = (_CLEAN_SESSION if is_clean else 0) | (0xC0 if password else 0)
    body = encode_text("MQTT") + struct.pack(">BBH", 4, flags, keep_alive_s) + encode_text(client_id)
    return encode_packet(CONNECT, body + (encode_text(client_id) + encode_text(password) if password else b""))


def encode_publish(topic: str, payload: bytes, *, number: int = 0) -> bytes:
    """A PUBLISH, with QoS 1 where a packet ``number`` is given, else with QoS 0."""
    middle = struct.pack(">H", number) if number else b""
    return encode_packet(PUBLISH, encode_text(topic) + middle + payload, 2 if number else 0)


def encode_subscribe(number: int, topics: Sequence[str], qos: int = 0) -> bytes:
    """A SUBSCRIBE to all of ``topics``."""
    return encode_packet(
        SUBSCRIBE, struct.pack(">H", number) + b"".join(encode_text(t) + bytes((qos,)) for t in topics)
    )


async def read_packet(source: Buffered, timeout_s: float | None) -> tuple[int, int, bytes]:
    """Kind, flags and body of the next packet.

    Raises:
        TimeoutError: none began within ``timeout_s``.
        OSError: the other side left or sent nonsense.
    """
    await source.peek(timeout_s)
    first = (await source.exactly(1))[0]
    length, shift = 0, 0
    while True:
        digit = (await source.exactly(1))[0]
        length |= (digit & 0x7F) << shift
        if digit < 0x80:
            break
        shift += 7
        if shift > 21:
            raise ConnectionAbortedError("no MQTT length")
    if length > MOST_BYTES:
        raise ConnectionAbortedError("an MQTT packet that long is none")
    return first >> 4, first & 0x0F, await source.exactly(length)


class Session:
    """A client's connection to a broker.

    Attributes:
        keep_alive_s: longest silence that the client promises; 0 promises nothing.
    """

    def __init__(self, stream: Stream, keep_alive_s: int) -> None:
        self.stream = stream
        self.keep_alive_s = keep_alive_s
        self._source = Buffered(stream)
        self._number = 0
        self._acknowledged = 0

    async def log_in(self, client_id: str, *, is_clean: bool = True, password: str = "") -> None:
        """CONNECT and wait for the broker's consent.

        Raises:
            OSError: refused, or no answer.
        """
        await self.stream.send(encode_connect(client_id, self.keep_alive_s, is_clean=is_clean, password=password))
        kind, _, body = await read_packet(self._source, _PATIENCE_S)
        if kind != CONNACK or body[1:2] != b"\0":
            raise ConnectionRefusedError("the broker refused")

    async def subscribe(self, topics: Sequence[str], qos: int = 0) -> None:
        """SUBSCRIBE; the answer is read with whatever else comes.

        Raises:
            OSError: the connection is gone.
        """
        await self.stream.send(encode_subscribe(self._next_number(), topics, qos))

    async def publish(self, topic: str, payload: bytes, *, qos: int = 0) -> None:
        """PUBLISH; with QoS 1 only the sending, see ``await_acknowledgement``.

        Raises:
            OSError: the connection is gone.
        """
        await self.stream.send(encode_publish(topic, payload, number=self._next_number() if qos else 0))

    async def await_acknowledgement(self, timeout_s: float = _PATIENCE_S) -> None:
        """Wait until the last QoS-1 message is acknowledged, answering what else comes.

        Raises:
            OSError: it was not.
        """
        while self._acknowledged != self._number:
            await self.handle_next(timeout_s)

    async def ping(self) -> None:
        """PINGREQ.

        Raises:
            OSError: the connection is gone.
        """
        await self.stream.send(encode_packet(PINGREQ, b""))

    async def handle_next(self, timeout_s: float) -> int:
        """Read one packet and acknowledge it where the protocol asks for that; its kind.

        Raises:
            TimeoutError: none came within ``timeout_s``.
            OSError: the connection is gone.
        """
        kind, flags, body = await read_packet(self._source, timeout_s)
        if kind == PUBLISH and flags & 0x06:
            await self.stream.send(encode_packet(PUBACK, _packet_number(body)))
        elif kind in (PUBACK, SUBACK) and len(body) >= 2:
            self._acknowledged = int.from_bytes(body[:2], "big")
        return kind

    async def log_out(self) -> None:
        """DISCONNECT and close; never raises."""
        with contextlib.suppress(OSError):
            await self.stream.send(encode_packet(DISCONNECT, b""))
        await self.stream.close()

    def _next_number(self) -> int:
        self._number = self._number % 65535 + 1
        return self._number


async def rest(world: World, session: Session, span_s: float) -> None:
    """Hold a session for ``span_s`` seconds: answer what comes, ping when the keep-alive asks for it.

    Raises:
        OSError: the broker is gone or answers no ping.
    """
    ends_at_s = world.now_s() + span_s
    quiet_s = session.keep_alive_s * 0.9 if session.keep_alive_s else _NO_KEEP_ALIVE_S
    pings_at_s = world.now_s() + quiet_s
    unanswered = 0
    while (now_s := world.now_s()) < ends_at_s:
        try:
            kind = await session.handle_next(max(0.001, min(ends_at_s, pings_at_s) - now_s))
            unanswered = 0 if kind == PINGRESP else unanswered
        except TimeoutError:
            if world.now_s() < pings_at_s:
                continue
            if unanswered:
                raise
            unanswered += 1
            await session.ping()
            pings_at_s = world.now_s() + quiet_s


async def serve_cloud_broker(world: World, source: Buffered) -> None:
    """A vendor's broker: acknowledges everything, keeps the session alive, pushes what the subscription asks for.

    A topic ``push/<every s>/<bytes>/...`` asks for a message of that size about that often.

    Raises:
        OSError: the device left.
    """
    kind, _, body = await read_packet(source, _PATIENCE_S)
    if kind != CONNECT or len(body) < 10:
        return
    quiet_s = 1.5 * struct.unpack_from(">H", body, 8)[0] or _NO_KEEP_ALIVE_S
    await source.stream.send(encode_packet(CONNACK, b"\0\0"))
    every_s, push = 0.0, b""
    pushes_at_s, leaves_at_s = float("inf"), world.now_s() + quiet_s
    while (now_s := world.now_s()) < leaves_at_s:
        try:
            kind, flags, body = await read_packet(source, max(0.001, min(pushes_at_s, leaves_at_s) - now_s))
        except TimeoutError:
            if world.now_s() >= pushes_at_s:
                await source.stream.send(push)
                pushes_at_s = world.now_s() + every_s * world.rng.expovariate(1.0)
            continue
        if kind == DISCONNECT:
            return
        leaves_at_s = world.now_s() + quiet_s
        if kind == SUBSCRIBE and (wish := _PUSH.search(body)):
            every_s, push = int(wish[1]), encode_publish("push", filler(min(int(wish[2]), 65536)))
            pushes_at_s = world.now_s() + every_s * world.rng.expovariate(1.0) if every_s else float("inf")
        await _acknowledge(source.stream, kind, flags, body)


async def _acknowledge(stream: Stream, kind: int, flags: int, body: bytes) -> None:
    if kind == PUBLISH and flags & 0x06:
        await stream.send(encode_packet(PUBACK, _packet_number(body)))
    elif kind == SUBSCRIBE:
        await stream.send(encode_packet(SUBACK, body[:2] + b"\0"))
    elif kind == UNSUBSCRIBE:
        await stream.send(encode_packet(UNSUBACK, body[:2]))
    elif kind == PINGREQ:
        await stream.send(encode_packet(PINGRESP, b""))


def _packet_number(publish: bytes) -> bytes:
    at = 2 + int.from_bytes(publish[:2], "big")
    return publish[at : at + 2]
