"""An MQTT broker standing in for Mosquitto: what it answers, forwards and closes shows on the wire as Mosquitto's does.

In: connections to ports 1883 and, over TLS, 8883. Out: CONNACK, SUBACK, PUBACK, PINGRESP and forwarded messages.
Must never: keep a message for a client that is not there; the lab's clients ask for none to be kept.
Source: MQTT 3.1.1, OASIS standard, 29 October 2014; Mosquitto 2.0 for what the standard leaves open.
"""

from __future__ import annotations

import contextlib
import struct
from typing import Final

from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.protocol.mqtt import (
    CONNACK,
    CONNECT,
    MQTT_PORT,
    MQTT_TLS_PORT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBLISH,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    encode_packet,
    encode_publish,
    read_packet,
)
from thingwarden.lab.world import Stream, World

_CONNECT_WAIT_S: Final = 20.0
_CONNECT_HEAD_BYTES: Final = 12
_SUBSCRIBE_FLAGS: Final = 2
_GRACE: Final = 1.5
"""The standard's: a client is given up after one and a half times its keep-alive."""
_WORKS_S: Final = (30e-6, 200e-6)


class _Client:
    """Who is connected, and what for."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.topics: dict[str, int] = {}
        self._number = 0

    async def forward(self, topic: str, payload: bytes, qos: int) -> None:
        """Pass on a message by the best of its subscriptions that match; a broken connection is its own concern."""
        granted = [most for wish, most in self.topics.items() if matches(wish, topic)]
        if not granted:
            return
        number = 0
        if min(qos, max(granted)):
            number = self._number = self._number % 65535 + 1
        with contextlib.suppress(OSError):
            await self.stream.send(encode_publish(topic, payload, number=number))


class _Broker:
    def __init__(self) -> None:
        self._clients: dict[bytes, _Client] = {}

    async def serve(self, world: World, stream: Stream) -> None:
        """Serve one client until it leaves, falls silent or talks nonsense."""
        source = Buffered(stream)
        kind, _, body = await read_packet(source, _CONNECT_WAIT_S)
        if kind != CONNECT or len(body) < _CONNECT_HEAD_BYTES:
            return
        keep_alive_s = struct.unpack_from(">H", body, 8)[0]
        length = struct.unpack_from(">H", body, 10)[0]
        name = body[12 : 12 + length] or f"auto-{world.rng.getrandbits(64):016x}".encode()
        before = self._clients.pop(name, None)
        if before is not None:
            await before.stream.close()
        client = self._clients[name] = _Client(stream)
        try:
            await world.sleep(world.rng.uniform(*_WORKS_S))
            await stream.send(encode_packet(CONNACK, b"\0\0"))
            await self._converse(world, client, source, _GRACE * keep_alive_s if keep_alive_s else None)
        finally:
            if self._clients.get(name) is client:
                del self._clients[name]

    async def _converse(self, world: World, client: _Client, source: Buffered, patience_s: float | None) -> None:
        while True:
            kind, flags, body = await read_packet(source, patience_s)
            await world.sleep(world.rng.uniform(*_WORKS_S))
            if kind == PUBLISH:
                await self._publish(client, flags, body)
            elif kind == SUBSCRIBE and flags == _SUBSCRIBE_FLAGS:
                wishes = parse_subscribe(body)
                client.topics.update(wishes)
                await client.stream.send(encode_packet(SUBACK, body[:2] + bytes(wishes.values())))
            elif kind == UNSUBSCRIBE and flags == _SUBSCRIBE_FLAGS:
                await client.stream.send(encode_packet(UNSUBACK, body[:2]))
            elif kind == PINGREQ:
                await client.stream.send(encode_packet(PINGRESP, b""))
            elif kind != PUBACK:
                return  # DISCONNECT, or against the standard

    async def _publish(self, client: _Client, flags: int, body: bytes) -> None:
        length = int.from_bytes(body[:2], "big")
        topic = body[2 : 2 + length].decode("utf-8", "replace")
        qos = flags >> 1 & 3
        payload = body[2 + length + (2 if qos else 0) :]
        for each in list(self._clients.values()):
            await each.forward(topic, payload, qos)
        if qos:
            await client.stream.send(encode_packet(PUBACK, body[2 + length : 4 + length]))


async def serve_mqtt(world: World) -> None:
    """Listen, plain and over TLS, open to everybody."""
    broker = _Broker()
    await world.listen(MQTT_PORT, broker.serve)
    await world.listen(MQTT_TLS_PORT, broker.serve, is_tls=True)


def matches(wish: str, topic: str) -> bool:
    """Whether a subscription, which may hold ``+`` and ``#``, includes a topic."""
    wished, given = wish.split("/"), topic.split("/")
    for place, level in enumerate(wished):
        if level == "#":
            return True
        if place >= len(given) or level not in ("+", given[place]):
            return False
    return len(wished) == len(given)


def parse_subscribe(body: bytes) -> dict[str, int]:
    """Topics and the best QoS wished for each; what does not parse is left out."""
    wishes: dict[str, int] = {}
    at = 2
    while at + 2 < len(body):
        length = int.from_bytes(body[at : at + 2], "big")
        end = at + 2 + length
        if end >= len(body):
            break
        wishes[body[at + 2 : end].decode("utf-8", "replace")] = min(body[end], 1)
        at = end + 1
    return wishes
