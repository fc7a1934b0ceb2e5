"""Looking for what answers: sweeps over hosts and over ports, fast and slow, by nmap and by plain sockets.

In: targets inside the lab, a rate. Out: probes, most of them unanswered or refused.
Must never: send more than ``count`` probes, or go on after ``lasts_s``.
Source: nmap's techniques; Mirai's published scanner for the random order and its two telnet ports.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import product
from typing import Any, Final, Literal

from thingwarden.domain.packet import PROTO_ICMP, PROTO_ICMP6
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.act import ActKind, ActSettings
from thingwarden.lab.behaviour.attacks import breadth
from thingwarden.lab.behaviour.attacks.address import draw_addresses
from thingwarden.lab.behaviour.attacks.pacing import LONGEST_PROGRAM_S, Crowd, Rhythm
from thingwarden.lab.timeline import Aim
from thingwarden.lab.tool import PortScan
from thingwarden.lab.world import World

_PING_PORTS: Final = (80, 443)
TCP: Final = 6
UDP: Final = 17

_BEHIND_PORTS: Final = (21, 22, 23, 53, 80, 81, 443, 445, 502, 554, 1883, 1900, 5353, 5683, 8080, 8443, 8883, 9999)
"""What devices of the lab may have open, so that a slow search finds something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One connection that only asks whether somebody is there.

    Attributes:
        patience_s: waited for an answer; the kernel repeats its SYN meanwhile.
        lingers_s: waited for a banner once connected; 0 leaves at once.
        question: sent after that, empty for nothing.
        is_abrupt: ended by a reset.
    """

    address: str
    port: int
    patience_s: float
    lingers_s: float = 0.0
    question: bytes = b""
    is_abrupt: bool = False

    async def run(self, world: World) -> None:
        """Ask; whatever goes wrong is an answer as well."""
        with contextlib.suppress(OSError):
            stream = await world.connect(self.address, self.port, timeout_s=self.patience_s)
            if self.lingers_s > 0.0:
                with contextlib.suppress(OSError):
                    await stream.receive(self.lingers_s)
            if self.question:
                with contextlib.suppress(OSError):
                    await stream.send(self.question)
                    await stream.receive(self.patience_s)
            if self.is_abrupt:
                stream.abort()
            else:
                await stream.close()


class SweepSettings(ActSettings):
    """One port of many hosts.

    Attributes:
        port: asked everywhere.
        technique: half open, whole connections, or a bare FIN.
        count: hosts at most.
        probes_per_s: at most.
        is_ordered: ascending addresses instead of random ones.
    """

    port: int = breadth.port(23, 22, 80, 81, 443, 445, 554, 1883, 2323, 5555, 7547, 8080, 8443, 37215, 52869)
    technique: Literal["syn", "connect", "fin"] = "syn"
    count: int = breadth.number(200, 8, 4000)
    probes_per_s: float = breadth.number(60.0, 0.5, 500.0)
    is_ordered: bool = breadth.flag(False)


async def scan_horizontal(world: World, settings: SweepSettings) -> None:
    """nmap over hosts."""
    addresses = draw_addresses(settings.targets, world.rng, settings.count, is_ordered=settings.is_ordered)
    await world.use(
        PortScan(
            targets=tuple(addresses),
            technique=settings.technique,
            ports=str(settings.port),
            packets_per_s=settings.probes_per_s,
            is_ordered=settings.is_ordered,
            lasts_s=min(LONGEST_PROGRAM_S, settings.lasts_s),
        )
    )


class RandomScanSettings(ActSettings):
    """One or two ports of random hosts, by whole connections.

    Attributes:
        port: asked mostly; ``second_port`` in a share ``second_share``.
        count: probes at most.
        probes_per_s: on average, exponential gaps.
        patience_s, lingers_s, is_abrupt: see ``Probe``.
    """

    port: int = breadth.port(23, 2323, 80, 81, 5555, 7547, 8080, 37215, 52869)
    second_port: int = breadth.port(2323, 23, 26, 80, 8080)
    second_share: float = breadth.share(0.1, 0.0, 0.5)
    count: int = breadth.number(400, 8, 4000)
    probes_per_s: float = breadth.number(40.0, 0.5, 500.0)
    patience_s: float = breadth.number(2.5, 0.3, 8.0)
    lingers_s: float = breadth.number(0.2, 0.01, 10.0)
    is_abrupt: bool = breadth.flag(True)


async def scan_random(world: World, settings: RandomScanSettings) -> None:
    """A bot's search for its next victims."""
    rng = world.rng
    rhythm = Rhythm(world, 1 / settings.probes_per_s, lasts_s=settings.lasts_s, count=settings.count, jitter=1.0)
    crowd = Crowd(world)
    for address in draw_addresses(settings.targets, rng, settings.count):
        if not await rhythm.beat():
            break
        probe = Probe(
            address=address,
            port=settings.second_port if rng.random() < settings.second_share else settings.port,
            patience_s=settings.patience_s,
            lingers_s=settings.lingers_s,
            is_abrupt=settings.is_abrupt,
        )
        crowd.start(probe.run)
    await crowd.wait(min(rhythm.left_s, settings.patience_s + settings.lingers_s))


class VerticalScanSettings(ActSettings):
    """Many ports of one host, or of a few.

    Attributes:
        technique: see ``PortScan``.
        ports: what nmap's -p takes; empty takes the ``top_ports`` most common.
    """

    technique: Literal["syn", "connect", "fin"] = "syn"
    ports: str = ""
    top_ports: int = breadth.number(100, 8, 1000)
    probes_per_s: float = breadth.number(100.0, 0.5, 1000.0)
    is_ordered: bool = breadth.flag(False)


async def scan_vertical(world: World, settings: VerticalScanSettings) -> None:
    """nmap over ports."""
    await _use_nmap(world, settings, settings.technique)


async def scan_version(world: World, settings: VerticalScanSettings) -> None:
    """nmap over ports, and a talk with whatever is open."""
    await _use_nmap(world, settings, "version")


class DatagramScanSettings(VerticalScanSettings):
    """Many UDP ports; slower, as hosts limit their answers."""

    top_ports: int = breadth.number(30, 5, 300)
    probes_per_s: float = breadth.number(30.0, 0.5, 300.0)


async def scan_udp(world: World, settings: DatagramScanSettings) -> None:
    """nmap over UDP ports."""
    await _use_nmap(world, settings, "udp")


class PingSettings(ActSettings):
    """Who is there at all."""

    count: int = breadth.number(254, 4, 2000)
    probes_per_s: float = breadth.number(50.0, 0.5, 500.0)
    is_ordered: bool = breadth.flag(False)


async def scan_ping(world: World, settings: PingSettings) -> None:
    """nmap's host discovery."""
    addresses = draw_addresses(settings.targets, world.rng, settings.count, is_ordered=settings.is_ordered)
    await world.use(
        PortScan(
            targets=tuple(addresses),
            technique="ping",
            packets_per_s=settings.probes_per_s,
            is_ordered=settings.is_ordered,
            lasts_s=min(LONGEST_PROGRAM_S, settings.lasts_s),
        )
    )


async def _use_nmap(
    world: World, settings: VerticalScanSettings, technique: Literal["syn", "connect", "fin", "udp", "version"]
) -> None:
    await world.use(
        PortScan(
            targets=settings.targets,
            technique=technique,
            ports=settings.ports,
            top_ports=settings.top_ports,
            packets_per_s=settings.probes_per_s,
            is_ordered=settings.is_ordered,
            lasts_s=min(LONGEST_PROGRAM_S, settings.lasts_s),
        )
    )


class SlowScanSettings(ActSettings):
    """One probe, a long pause, the next.

    Attributes:
        ports: asked at each target; pairs of target and port in random order.
        period_s: between two probes; ``jitter`` as a part of it.
        count: probes at most.
        patience_s, lingers_s, is_abrupt: see ``Probe``.
        is_asking: whether an HTTP request follows where something answers.
    """

    ports: tuple[int, ...] = _BEHIND_PORTS
    period_s: float = breadth.number(15.0, 1.0, 900.0)
    jitter: float = breadth.share(0.3, 0.0, 1.2)
    count: int = breadth.number(200, 4, 1000)
    patience_s: float = breadth.number(3.0, 0.3, 10.0)
    lingers_s: float = breadth.number(0.5, 0.01, 10.0)
    is_abrupt: bool = breadth.flag(False)
    is_asking: bool = breadth.flag(False)


async def scan_slow(world: World, settings: SlowScanSettings) -> None:
    """A search that stays under every rate."""
    pairs = list(product(draw_addresses(settings.targets, world.rng, settings.count), settings.ports))
    world.rng.shuffle(pairs)
    rhythm = Rhythm(world, settings.period_s, lasts_s=settings.lasts_s, count=settings.count, jitter=settings.jitter)
    for address, port in pairs:
        if not await rhythm.beat():
            return
        probe = Probe(
            address=address,
            port=port,
            patience_s=settings.patience_s,
            lingers_s=settings.lingers_s,
            question=b"GET / HTTP/1.0\r\n\r\n" if settings.is_asking else b"",
            is_abrupt=settings.is_abrupt,
        )
        await probe.run(world)


def _aims(settings: ActSettings, proto: int, *ports: int) -> tuple[Aim, ...]:
    return tuple(Aim(peer=target, proto=proto, ports=ports) for target in settings.targets)


def _ping_aims(settings: PingSettings) -> tuple[Aim, ...]:
    # Neighbours are asked by ARP or neighbour discovery, everybody else by echo, timestamp and two TCP ports.
    icmp = {target: PROTO_ICMP6 if ip_network(target).version == 6 else PROTO_ICMP for target in settings.targets}
    echoes = tuple(Aim(peer=target, proto=proto) for target, proto in icmp.items())
    return (*echoes, *_aims(settings, TCP, *_PING_PORTS))


SCANS: Final[dict[str, ActKind[Any]]] = {
    "scan_horizontal": ActKind(
        about="One port of many hosts, by nmap.",
        settings=SweepSettings,
        run=scan_horizontal,
        aims=lambda settings: _aims(settings, TCP, settings.port),
        attack_class=AttackClass.SCAN,
        technique="T1046",
    ),
    "scan_random": ActKind(
        about="Two ports of random hosts by whole connections, as a bot looks for victims.",
        settings=RandomScanSettings,
        run=scan_random,
        aims=lambda settings: _aims(settings, TCP, settings.port, settings.second_port),
        attack_class=AttackClass.SCAN,
        technique="T1595.001",
    ),
    "scan_vertical": ActKind(
        about="Many ports of a host, by nmap.",
        settings=VerticalScanSettings,
        run=scan_vertical,
        aims=lambda settings: _aims(settings, TCP),
        attack_class=AttackClass.SCAN,
        technique="T1046",
    ),
    "scan_version": ActKind(
        about="Many ports of a host and a talk with each open one, by nmap.",
        settings=VerticalScanSettings,
        run=scan_version,
        aims=lambda settings: _aims(settings, TCP),
        attack_class=AttackClass.SCAN,
        technique="T1046",
    ),
    "scan_udp": ActKind(
        about="Many UDP ports of a host, by nmap.",
        settings=DatagramScanSettings,
        run=scan_udp,
        aims=lambda settings: _aims(settings, UDP),
        attack_class=AttackClass.SCAN,
        technique="T1046",
    ),
    "scan_ping": ActKind(
        about="Which hosts are there, by nmap.",
        settings=PingSettings,
        run=scan_ping,
        aims=_ping_aims,
        attack_class=AttackClass.SCAN,
        technique="T1018",
    ),
    "scan_slow": ActKind(
        about="One probe every few seconds or minutes, ports and hosts in random order.",
        settings=SlowScanSettings,
        run=scan_slow,
        aims=lambda settings: _aims(settings, TCP, *settings.ports),
        attack_class=AttackClass.SCAN,
        technique="T1046",
    ),
}
