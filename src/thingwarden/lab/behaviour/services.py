"""The servers of the lab's internet: what listens at which service, and how it answers.

In: connections and datagrams from inside the lab. Out: answers of the size and delay that the asking side wishes for.
Must never: let two services mean different things by the same port; all share one host in real runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from thingwarden.lab.behaviour.kind import Endpoint, Transport
from thingwarden.lab.behaviour.protocol import call, coap, http, mqtt, ntp, rtsp, session
from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.world import Behaviour, Datagrams, Handler, Stream, World

DatagramServer: TypeAlias = Callable[[World, Datagrams], Awaitable[None]]
"""Answers what comes to one UDP port until the host stops."""

_COAP_BYTES: Final = 90
_PACED_DATAGRAMS: Final = 16
_PACE_S: Final = 0.002
_PATIENCE_S: Final = 60.0
_RTSP_STARTS: Final = (b"OPTIONS rtsp", b"ANNOUNCE ", b"SETUP ", b"RECORD ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A TCP port of a service."""

    port: int
    handler: Handler
    is_tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DatagramListener:
    """A UDP port of a service."""

    port: int
    server: DatagramServer


Offered: TypeAlias = Listener | DatagramListener


async def serve_streams(world: World, stream: Stream) -> None:
    """Answer whatever a client speaks first: HTTP, MQTT, RTSP, or counted messages."""
    source = Buffered(stream)
    head = await source.peek(_PATIENCE_S)
    if head[0] >> 4 == mqtt.CONNECT:
        await mqtt.serve_cloud_broker(world, source)
    elif head.startswith(_RTSP_STARTS):
        await rtsp.serve_recorder(world, source)
    elif head[0] == session.FRAME_MARK:
        await session.serve_turns(world, source)
    else:
        await http.answer_requests(world, source)


async def serve_datagrams(world: World, socket: Datagrams) -> None:
    """Answer wishes, STUN, CoAP, NTP and RTP by what a datagram looks like; anything else stays unanswered."""
    count = 0
    while True:
        try:
            address, port, datagram = await socket.receive()
            wish = session.decode_wish(datagram)
            if wish is not None:
                count += 1
                world.spawn(_grant(socket, address, port, wish), f"answer {address} {port} at {socket.port} {count}")
            elif answer := _answer(world, datagram, port):
                await socket.send(address, port, answer)
        except OSError:
            await world.sleep(session.AFTER_ERROR_S)


def _answer(world: World, datagram: bytes, port: int) -> bytes:
    if answer := call.answer_binding(datagram, port):
        return answer
    kind = datagram[0] >> 6 if datagram else 0
    if len(datagram) >= ntp.MESSAGE_BYTES and datagram[0] & 7 == 3:
        return ntp.encode_answer(datagram, world.now_s())
    if kind == 1:
        return coap.answer_to(datagram, _COAP_BYTES)
    return datagram if kind == 2 else b""


def _grant(socket: Datagrams, address: str, port: int, wish: tuple[int, int, float]) -> Behaviour:
    size_bytes, answers, pause_s = wish

    async def answer(world: World) -> None:
        await world.sleep(pause_s * world.rng.uniform(0.8, 1.3))
        for number in range(answers):
            if number % _PACED_DATAGRAMS == _PACED_DATAGRAMS - 1:
                await world.sleep(_PACE_S)
            await socket.send(address, port, http.filler(size_bytes))

    return answer


def _streams(*ports: int, tls: tuple[int, ...] = ()) -> tuple[Offered, ...]:
    plain = tuple(Listener(port=port, handler=serve_streams) for port in ports)
    return (*plain, *(Listener(port=port, handler=serve_streams, is_tls=True) for port in tls))


def _datagrams(*ports: int) -> tuple[Offered, ...]:
    return tuple(DatagramListener(port=port, server=serve_datagrams) for port in ports)


_WEB: Final = (*_streams(80, 8080, tls=(443, 8443)), *_datagrams(443))
_CLOUD: Final = (*_WEB, *_streams(1883, tls=(8883,)), *_datagrams(10001, 32100))

OFFERED: Final[dict[str, tuple[Offered, ...]]] = {
    "vendor.example": _CLOUD,
    "plug-cloud.example": _CLOUD,
    "weather.example": _WEB,
    "mqtt-cloud.example": _CLOUD,
    "voice.example": (*_WEB, *_streams(tls=(4070,))),
    "push.example": (*_WEB, *_streams(tls=(5228,))),
    "coap-cloud.example": (*_WEB, *_datagrams(5683)),
    "time.example": _datagrams(123),
    "video.example": (*_WEB, *_streams(554, 1935)),
    "cdn.example": _WEB,
    "news.example": _WEB,
    "call.example": (*_WEB, *_datagrams(3478)),
    "backup.example": (*_WEB, *_streams(873, tls=(6690,))),
    "portal.example": _WEB,
    "gone.example": (),
    "shop.example": _WEB,
    "office.example": (*_WEB, *_streams(tls=(993,)), *_datagrams(1194, 51820)),
}
"""What listens at each service, by its name; a port means the same at every service that has it."""


def listeners(host: str, endpoints: Iterable[Endpoint] = ()) -> Iterator[Offered]:
    """What a host of the internet listens on, each port once: ``OFFERED``, then what devices need beyond it.

    Args:
        host: a service's name, which offers what is its own, or any other name, which is all services in one.
        endpoints: that devices use, on ports of their makers' own choice.
    """
    names = (host,) if host in SERVICES else tuple(OFFERED)
    wanted = (_wanted(endpoint) for endpoint in endpoints if endpoint.service in names and OFFERED[endpoint.service])
    taken: set[tuple[Transport, int]] = set()
    for offered in (*(one for name in names for one in OFFERED.get(name, ())), *wanted):
        key: tuple[Transport, int] = ("udp" if isinstance(offered, DatagramListener) else "tcp", offered.port)
        if key not in taken:
            taken.add(key)
            yield offered


def _wanted(endpoint: Endpoint) -> Offered:
    if endpoint.transport == "udp":
        return DatagramListener(port=endpoint.port, server=serve_datagrams)
    return Listener(port=endpoint.port, handler=serve_streams, is_tls=endpoint.is_tls)


async def serve(world: World, offered: Iterable[Offered]) -> None:
    """Listen to each port by IPv4 and IPv6; returns once all listen.

    Raises:
        OSError: a port is taken.
    """
    for one in offered:
        if isinstance(one, Listener):
            await world.listen(one.port, one.handler, is_tls=one.is_tls)
            continue
        for is_v6 in (False, True) if world.me.address6 else (False,):
            socket = await world.open_datagrams(one.port, is_v6=is_v6)
            world.spawn(_bound(one.server, socket), f"datagrams {one.port} {'v6' if is_v6 else 'v4'}")


def _bound(server: DatagramServer, socket: Datagrams) -> Behaviour:
    async def run(world: World) -> None:
        await server(world, socket)

    return run
