"""Finding each other on the LAN: mDNS and SSDP, questions, announcements and answers.

In: names and kinds of service. Out: datagrams to the two groups and back to who asked.
Must never: answer an answer.
Source: RFC 6762, RFC 6763, UPnP Device Architecture 2.0.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from thingwarden.lab.behaviour.protocol.dns import encode_name
from thingwarden.lab.world import Datagrams, World

MDNS_GROUP: Final = "224.0.0.251"
MDNS_GROUP6: Final = "ff02::fb"
MDNS_PORT: Final = 5353
SSDP_GROUP: Final = "239.255.255.250"
SSDP_PORT: Final = 1900
_PTR: Final = 12
_TXT: Final = 16
_TTL_S: Final = 4500
_IS_ANSWER: Final = 0x80
_REPEATS_S: Final = 1.0
_AFTER_ERROR_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertised:
    """What a device tells about itself.

    Attributes:
        name: of the device.
        service: such as ``_http._tcp``.
        text_bytes: of its TXT record.
        wanted: services that it looks for itself.
        every_s: between two announcements, or questions; more than 0.
        answers: whether it answers questions of others.
        is_over_v6: over IPv6 instead of IPv4.
        burst: announcements in a row, as after booting.
    """

    name: str
    service: str = "_http._tcp"
    text_bytes: int = 40
    wanted: tuple[str, ...] = ()
    every_s: float = 120.0
    answers: bool = True
    is_over_v6: bool = False
    burst: int = 2


def encode_question(services: Sequence[str]) -> bytes:
    """An mDNS question for pointers to all of ``services``."""
    questions = b"".join(encode_name(f"{service}.local") + struct.pack(">HH", _PTR, 1) for service in services)
    return struct.pack(">HHHHHH", 0, 0, len(services), 0, 0, 0) + questions


def encode_announcement(advertised: Advertised) -> bytes:
    """An unasked mDNS answer: pointer and text of one service."""
    kind = encode_name(f"{advertised.service}.local")
    instance = encode_name(f"{advertised.name}.{advertised.service}.local")
    text = b"".join(
        bytes((min(255, left),)) + b"x" * min(255, left) for left in range(advertised.text_bytes, 0, -255)
    ) or bytes(1)  # fmt: skip
    return (
        struct.pack(">HHHHHH", 0, 0x8400, 0, 2, 0, 0)
        + kind + struct.pack(">HHIH", _PTR, 1, _TTL_S, len(instance)) + instance
        + instance + struct.pack(">HHIH", _TXT, 0x8001, _TTL_S, len(text)) + text
    )  # fmt: skip


async def take_part_in_mdns(world: World, advertised: Advertised) -> None:
    """Announce, ask and answer until the host stops.

    Raises:
        OSError: the port is taken, or the network is gone.
    """
    group = MDNS_GROUP6 if advertised.is_over_v6 else MDNS_GROUP
    socket = await world.open_datagrams(MDNS_PORT, (group,), is_v6=advertised.is_over_v6)
    announcement = encode_announcement(advertised)
    try:
        await _announce(world, socket, group, advertised, announcement)
        next_at_s = _next_at_s(world, advertised)
        while True:
            try:
                _, _, message = await socket.receive(max(0.001, next_at_s - world.now_s()))
            except TimeoutError:
                await _speak(world, socket, group, advertised, announcement)
                next_at_s = _next_at_s(world, advertised)
                continue
            if advertised.answers and _asks_for(message, advertised.service):
                await world.sleep(world.rng.uniform(0.02, 0.12))
                await socket.send(group, MDNS_PORT, announcement)
    finally:
        socket.close()


async def _announce(world: World, socket: Datagrams, group: str, advertised: Advertised, announcement: bytes) -> None:
    for number in range(advertised.burst):
        if number:
            await world.sleep(_REPEATS_S * 2.0 ** (number - 1))
        await socket.send(group, MDNS_PORT, announcement)


async def _speak(world: World, socket: Datagrams, group: str, advertised: Advertised, announcement: bytes) -> None:
    if advertised.wanted:
        await socket.send(group, MDNS_PORT, encode_question(advertised.wanted))
    else:
        await _announce(world, socket, group, advertised, announcement)


def _next_at_s(world: World, advertised: Advertised) -> float:
    return world.now_s() + advertised.every_s * world.rng.uniform(0.8, 1.2) / world.me.pace


def _asks_for(message: bytes, service: str) -> bool:
    return len(message) > 12 and not message[2] & _IS_ANSWER and encode_name(service)[:-1] in message


async def search(world: World, target: str = "ssdp:all", *, tries: int = 2, wait_s: float = 3.0) -> list[str]:
    """Ask by SSDP who is there; addresses of those that answered, in order of their answers.

    Raises:
        OSError: the network is gone.
    """
    socket = await world.open_datagrams()
    head = f"M-SEARCH * HTTP/1.1\r\nHOST: {SSDP_GROUP}:{SSDP_PORT}\r\n"
    question = f'{head}MAN: "ssdp:discover"\r\nMX: 2\r\nST: {target}\r\n\r\n'
    found: dict[str, None] = {}
    try:
        for _ in range(tries):
            await socket.send(SSDP_GROUP, SSDP_PORT, question.encode())
            ends_at_s = world.now_s() + wait_s
            while (left_s := ends_at_s - world.now_s()) > 0.0:
                try:
                    address, _, _ = await socket.receive(left_s)
                except TimeoutError:
                    break
                found[address] = None
    finally:
        socket.close()
    return list(found)


async def notify(world: World, name: str, kinds: Sequence[str], *, repeats: int = 2) -> None:
    """Tell the LAN by SSDP of what this device is, each of its ``kinds`` in a datagram of its own.

    Raises:
        OSError: the network is gone.
    """
    socket = await world.open_datagrams()
    try:
        for _ in range(repeats):
            for kind in kinds:
                await socket.send(SSDP_GROUP, SSDP_PORT, _description(f"NOTIFY * HTTP/1.1\r\nNT: {kind}", name, kind))
                await world.sleep(world.rng.uniform(0.005, 0.1))
    finally:
        socket.close()


async def answer_searches(world: World, name: str, kind: str) -> None:
    """Answer M-SEARCH to its sender's own port until the host stops.

    Raises:
        OSError: the port is taken.
    """
    socket = await world.open_datagrams(SSDP_PORT, (SSDP_GROUP,))
    while True:
        try:
            address, port, message = await socket.receive()
            if message.startswith(b"M-SEARCH ") and (b"ssdp:all" in message or kind.encode() in message):
                await world.sleep(world.rng.uniform(0.05, 1.5))
                await socket.send(address, port, _description("HTTP/1.1 200 OK\r\nST: " + kind, name, kind))
        except OSError:
            await world.sleep(_AFTER_ERROR_S)


def _description(first: str, name: str, kind: str) -> bytes:
    return (
        f"{first}\r\nHOST: {SSDP_GROUP}:{SSDP_PORT}\r\nCACHE-CONTROL: max-age=1800\r\nSERVER: Linux UPnP/1.0\r\n"
        f"LOCATION: http://{name}.lan/description.xml\r\nNTS: ssdp:alive\r\nUSN: uuid:{name}::{kind}\r\n\r\n"
    ).encode()
