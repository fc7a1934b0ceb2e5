"""What harmless hosts do now and then, and what a detector must bear: updates, backups, calls, an owner's own scan.

In: services of the internet, or the whole LAN. Out: bursts, bulk and sweeps that no attacker is behind.
Must never: be labelled as anything but benign, or go on after ``lasts_s``.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final, Literal

from thingwarden.lab.behaviour.act import ActKind, ActSettings
from thingwarden.lab.behaviour.attacks import breadth
from thingwarden.lab.behaviour.attacks.pacing import LONGEST_PROGRAM_S, Rhythm
from thingwarden.lab.behaviour.protocol import call, discovery, http, ntp
from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.protocol.dns import resolve
from thingwarden.lab.behaviour.reach import Ending, door_of, leave, neighbours
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.prefix import LAN
from thingwarden.lab.timeline import Aim
from thingwarden.lab.tool import PortScan
from thingwarden.lab.world import Stream, World

TCP: Final = 6
UDP: Final = 17
ANY_PROTO: Final = 0
_NAME_OF_ADDRESS: Final = {
    address: service.name for service in SERVICES.values() for address in (service.address, service.address6)
}
_GROUPS: Final = (discovery.MDNS_GROUP, discovery.SSDP_GROUP, "255.255.255.255")
_PRINT_SERVICES: Final = (
    "_ipp._tcp", "_ipps._tcp", "_pdl-datastream._tcp", "_printer._tcp", "_http._tcp", "_scanner._tcp", "_uscan._tcp",
)  # fmt: skip
_SNMP_PORT: Final = 161
_SNMP_ASKS_NAME: Final = bytes.fromhex(
    "302902010004067075626c6963a01c02040a0b0c0d020100020100300e300c06082b060102010105000500"
)
"""A GET of sysName in the community ``public``."""
_SEARCH_S: Final = 2.0


class ServerSettings(ActSettings):
    """How a server is reached.

    Attributes:
        port: over TLS where ``is_tls``.
        ending: how connections are left.
        patience_s: waited for a connection.
    """

    port: int = breadth.known_port(443, 8443)
    is_tls: bool = True
    ending: Ending = "close"
    patience_s: float = breadth.number(5.0, 2.0, 20.0)


class FirmwareSettings(ServerSettings):
    """A device fetches its new firmware.

    Attributes:
        image_bytes: all of it; asked for in parts of ``part_bytes``, each over its own connection unless kept.
        is_kept: one connection for all parts.
        pause_s: between two parts.
    """

    targets: tuple[str, ...] = (SERVICES["vendor.example"].address,)
    image_bytes: int = breadth.number(4_000_000, 200_000, 20_000_000)
    part_bytes: int = breadth.number(4_000_000, 50_000, 20_000_000)
    is_kept: bool = breadth.flag(True)
    pause_s: float = breadth.number(0.2, 0.02, 5.0)


async def fetch_firmware(world: World, settings: FirmwareSettings) -> None:
    """Ask for the version, then for the image part by part."""
    parts = _parts_bytes(settings.image_bytes, settings.part_bytes)
    asks = [http.Ask(path="/firmware"), *(http.Ask(path="/image", answer_bytes=part_bytes) for part_bytes in parts)]
    await _converse(world, settings, asks, is_kept=settings.is_kept, gap_s=settings.pause_s)


def _parts_bytes(total_bytes: int, part_bytes: int) -> list[int]:
    return [min(part_bytes, left_bytes) for left_bytes in range(total_bytes, 0, -part_bytes)]


class BackupSettings(ServerSettings):
    """A host sends what it holds to a safe place.

    Attributes:
        total_bytes: all of it; ``part_bytes`` by one request, ``pause_s`` apart.
    """

    targets: tuple[str, ...] = (SERVICES["backup.example"].address,)
    total_bytes: int = breadth.number(12_000_000, 500_000, 60_000_000)
    part_bytes: int = breadth.number(2_000_000, 64_000, 20_000_000)
    is_kept: bool = breadth.flag(True)
    pause_s: float = breadth.number(0.3, 0.01, 5.0)


async def back_up(world: World, settings: BackupSettings) -> None:
    """Upload part by part."""
    parts = _parts_bytes(settings.total_bytes, settings.part_bytes)
    asks = [http.Ask(path="/backup", body_bytes=part_bytes, answer_bytes=30) for part_bytes in parts]
    await _converse(world, settings, asks, is_kept=settings.is_kept, gap_s=settings.pause_s)


class CallSettings(ActSettings):
    """A person calls by video over a relay.

    Attributes:
        packets_per_s, payload_bytes: of the picture; ``voice_packets_per_s`` of the voice, in packets of 160 bytes.
    """

    targets: tuple[str, ...] = (SERVICES["call.example"].address,)
    packets_per_s: float = breadth.number(80.0, 15.0, 400.0)
    payload_bytes: int = breadth.number(900, 200, 1200)
    voice_packets_per_s: float = breadth.number(50.0, 20.0, 100.0)


async def call_by_video(world: World, settings: CallSettings) -> None:
    """Picture and voice at the same time, each by its own socket."""
    voice = call.Media(packets_per_s=settings.voice_packets_per_s)
    picture = call.Media(packets_per_s=settings.packets_per_s, payload_bytes=settings.payload_bytes)
    address = settings.targets[0]
    await _look_up(world, address)

    async def speak(own: World) -> None:
        await call.call(own, address, call.STUN_PORT, voice, settings.lasts_s)

    world.spawn(speak, f"voice-{world.rng.getrandbits(32):x}")
    with contextlib.suppress(OSError):
        await call.call(world, address, call.STUN_PORT, picture, settings.lasts_s)


class OwnScanSettings(ActSettings):
    """The owner looks what is in the network, from a machine that the policy allows it to.

    Attributes:
        technique, ports, top_ports, packets_per_s: as nmap takes them.
    """

    targets: tuple[str, ...] = (str(LAN),)
    technique: Literal["syn", "connect", "ping", "version"] = "syn"
    ports: str = ""
    top_ports: int = breadth.number(100, 5, 1000)
    packets_per_s: float = breadth.number(100.0, 5.0, 500.0)


async def scan_own_network(world: World, settings: OwnScanSettings) -> None:
    """nmap, as an attacker would, and yet allowed."""
    await world.use(
        PortScan(
            targets=settings.targets,
            technique=settings.technique,
            ports=settings.ports,
            top_ports=settings.top_ports,
            packets_per_s=settings.packets_per_s,
            lasts_s=min(LONGEST_PROGRAM_S, settings.lasts_s),
        )
    )


class DeadServerSettings(ServerSettings):
    """A device whose maker has gone out of business.

    Attributes:
        period_s: from one try to the next; ``jitter`` as a part of it.
        tries: in quick succession each time, ``retry_s`` apart.
        asks_name: whether the resolver is asked each time.
    """

    targets: tuple[str, ...] = (SERVICES["gone.example"].address,)
    port: int = breadth.port(443, 80, 8883, 1883, 5222, 8443)
    period_s: float = breadth.number(12.0, 2.0, 3600.0)
    jitter: float = breadth.share(0.1, 0.0, 0.5)
    tries: int = breadth.number(1, 1, 5)
    retry_s: float = breadth.number(1.0, 0.2, 20.0)
    asks_name: bool = breadth.flag(True)
    is_tls: bool = False


async def call_dead_server(world: World, settings: DeadServerSettings) -> None:
    """Try to reach it, again and again; nobody answers."""
    rhythm = Rhythm(world, settings.period_s, lasts_s=settings.lasts_s, count=50_000, jitter=settings.jitter)
    while await rhythm.beat():
        for attempt in range(settings.tries):
            if attempt:
                await rhythm.pause(settings.retry_s)
            if settings.asks_name:
                await _look_up(world, settings.targets[0])
            with contextlib.suppress(OSError):
                await leave(world, await _open(world, settings), settings.ending)


class PortalSettings(ActSettings):
    """A guest's network wants a click before it lets anybody out.

    Attributes:
        period_s: between two looks whether it does by now.
        looks: before somebody clicks.
        page_bytes: of the portal's page.
    """

    targets: tuple[str, ...] = (SERVICES["portal.example"].address,)
    period_s: float = breadth.number(3.0, 0.5, 60.0)
    looks: int = breadth.number(5, 1, 40)
    page_bytes: int = breadth.number(30_000, 500, 400_000)


async def meet_portal(world: World, settings: PortalSettings) -> None:
    """Look for the internet, get the portal's page instead, click, look again."""
    server = ServerSettings(targets=settings.targets, port=80, is_tls=False, lasts_s=settings.lasts_s)
    rhythm = Rhythm(world, settings.period_s, lasts_s=settings.lasts_s, count=settings.looks, jitter=0.2)
    while await rhythm.beat():
        await _converse(world, server, [http.Ask(path="/hotspot", answer_bytes=300)])
    page = http.Ask(path="/login", answer_bytes=settings.page_bytes)
    click = http.Ask(path="/accept", body_bytes=180, answer_bytes=120)
    await _converse(world, server, [page, click, http.Ask(path="/generate_204")], is_kept=True, gap_s=1.5)


class PrinterSettings(ActSettings):
    """Somebody opens a print dialogue, and the computer asks everybody in every way it knows.

    Attributes:
        rounds: of asking, ``period_s`` apart.
        questions: by mDNS in each round.
        asks_snmp: whether the broadcast address is asked by SNMP as well.
    """

    rounds: int = breadth.number(4, 1, 30)
    period_s: float = breadth.number(1.0, 0.2, 10.0)
    questions: int = breadth.number(6, 1, 20)
    asks_snmp: bool = breadth.flag(True)


async def look_for_printers(world: World, settings: PrinterSettings) -> None:
    """Ask by mDNS, SSDP and SNMP, then visit every printer that the LAN has."""
    rhythm = Rhythm(world, settings.period_s, lasts_s=settings.lasts_s, count=settings.rounds, jitter=0.1)
    while await rhythm.beat():
        with contextlib.suppress(OSError):
            await _ask_everybody(world, settings)
    for name in neighbours(world.me, "printer"):
        await _visit_printer(world, name)


async def _visit_printer(world: World, name: str) -> None:
    address = world.me.peers[name]
    if port := door_of(world.me, name, "web"):
        page = ServerSettings(targets=(address,), port=port, is_tls=False)
        await _converse(world, page, [http.Ask(path="/ipp/print", body_bytes=300, answer_bytes=4000)])
    if port := door_of(world.me, name, "raw"):
        with contextlib.suppress(OSError):
            await leave(world, await world.connect(address, port), "close")


async def _ask_everybody(world: World, settings: PrinterSettings) -> None:
    socket = await world.open_datagrams()
    try:
        for _ in range(settings.questions):
            wanted = world.rng.sample(_PRINT_SERVICES, world.rng.randint(1, len(_PRINT_SERVICES)))
            await socket.send(discovery.MDNS_GROUP, discovery.MDNS_PORT, discovery.encode_question(wanted))
            await world.sleep(world.rng.uniform(0.005, 0.08))
        if settings.asks_snmp:
            await socket.send("255.255.255.255", _SNMP_PORT, _SNMP_ASKS_NAME)
    finally:
        socket.close()
    await discovery.search(world, "urn:schemas-upnp-org:device:Printer:1", tries=1, wait_s=_SEARCH_S)


class ClockSettings(ServerSettings):
    """The clock jumps: the device asks what time it is, and does at once what it would have done meanwhile.

    Attributes:
        questions: to the time server, ``gap_s`` apart.
        jobs: that are due by the new time.
        job_bytes: sent by each.
    """

    targets: tuple[str, ...] = (SERVICES["vendor.example"].address,)
    time_server: str = SERVICES["time.example"].address
    questions: int = breadth.number(6, 1, 20)
    gap_s: float = breadth.number(1.0, 0.05, 4.0)
    jobs: int = breadth.number(4, 1, 20)
    job_bytes: int = breadth.number(400, 20, 20_000)


async def catch_up_with_clock(world: World, settings: ClockSettings) -> None:
    """Ask for the time, several times, and do all that is due."""
    await _look_up(world, settings.time_server)
    rhythm = Rhythm(world, settings.gap_s, lasts_s=settings.lasts_s, count=settings.questions, jitter=0.1)
    while await rhythm.beat():
        with contextlib.suppress(OSError):
            await ntp.ask_time(world, settings.time_server)
    for _ in range(settings.jobs):
        await _converse(world, settings, [http.Ask(path="/job", body_bytes=settings.job_bytes)])


async def _look_up(world: World, address: str) -> None:
    """Ask the resolver for the name behind ``address``, if it has one; what it says is known already."""
    with contextlib.suppress(OSError):
        if name := _NAME_OF_ADDRESS.get(address):
            await resolve(world, name, wants_v6=":" in address)


async def _open(world: World, settings: ServerSettings) -> Stream:
    address = settings.targets[0]
    name = _NAME_OF_ADDRESS.get(address, "") if settings.is_tls else ""
    return await world.connect(address, settings.port, tls_name=name, timeout_s=settings.patience_s)


async def _converse(
    world: World, settings: ServerSettings, asks: list[http.Ask], *, is_kept: bool = False, gap_s: float = 0.2
) -> None:
    """Send the requests over one connection or each over its own; a failure ends it, and so does the bound in time."""
    address = settings.targets[0]
    host = _NAME_OF_ADDRESS.get(address, address)
    manners = http.Manners.drawn(world.me.traits, "chore")
    ends_at_s = world.now_s() + settings.lasts_s
    await _look_up(world, address)
    source: Buffered | None = None
    with contextlib.suppress(OSError):
        for number, ask in enumerate(asks):
            if number:
                await world.sleep(gap_s * world.rng.uniform(0.5, 1.5))
            if world.now_s() > ends_at_s:
                break
            source = source or Buffered(await _open(world, settings))
            is_last = not is_kept or number + 1 == len(asks)
            await http.send_request(source.stream, host, ask, manners, keep=not is_last)
            await http.read_answer(source)
            if is_last:
                await leave(world, source.stream, settings.ending)
                source = None
    if source:
        await source.stream.close()


def _server_aims(settings: ServerSettings) -> tuple[Aim, ...]:
    return tuple(Aim(peer=target, ports=(settings.port,)) for target in settings.targets)


def _printer_aims(settings: PrinterSettings) -> tuple[Aim, ...]:
    asked = tuple(Aim(peer=group, proto=UDP) for group in _GROUPS)
    return asked + tuple(Aim(peer=target, ports=(80, 631, 9100)) for target in settings.targets)


def _clock_aims(settings: ClockSettings) -> tuple[Aim, ...]:
    return (Aim(peer=settings.time_server, proto=UDP, ports=(ntp.NTP_PORT,)), *_server_aims(settings))


CHORES: Final[dict[str, ActKind[Any]]] = {
    "backup": ActKind(
        about="A host uploads its backup, much and fast, to a service it is set up for.",
        settings=BackupSettings,
        run=back_up,
        aims=_server_aims,
    ),
    "call_by_video": ActKind(
        about="A person calls by video: UDP both ways over a relay.",
        settings=CallSettings,
        run=call_by_video,
        aims=lambda settings: tuple(
            Aim(peer=target, proto=UDP, ports=(call.STUN_PORT,)) for target in settings.targets
        ),
    ),
    "call_dead_server": ActKind(
        about="A device tries again and again to reach a maker that is gone.",
        settings=DeadServerSettings,
        run=call_dead_server,
        aims=_server_aims,
    ),
    "catch_up_with_clock": ActKind(
        about="The clock jumps: a burst of NTP, then everything that is due at once.",
        settings=ClockSettings,
        run=catch_up_with_clock,
        aims=_clock_aims,
    ),
    "fetch_firmware": ActKind(
        about="A device downloads its new firmware.",
        settings=FirmwareSettings,
        run=fetch_firmware,
        aims=_server_aims,
    ),
    "look_for_printers": ActKind(
        about="A computer asks the whole LAN for printers by mDNS, SSDP and SNMP, and visits them.",
        settings=PrinterSettings,
        run=look_for_printers,
        aims=_printer_aims,
    ),
    "meet_portal": ActKind(
        about="A device finds a captive portal where it expected the internet, until somebody clicks.",
        settings=PortalSettings,
        run=meet_portal,
        aims=lambda settings: tuple(Aim(peer=target, ports=(80,)) for target in settings.targets),
    ),
    "scan_own_network": ActKind(
        about="The owner runs nmap over the own network.",
        settings=OwnScanSettings,
        run=scan_own_network,
        aims=lambda settings: tuple(Aim(peer=target, proto=ANY_PROTO) for target in settings.targets),
    ),
}
"""Harmless acts by name."""
