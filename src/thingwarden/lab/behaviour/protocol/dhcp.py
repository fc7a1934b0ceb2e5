"""DHCP as a client that has just got its power: discover, offer, request, acknowledgement.

In: the host's MAC address. Out: the address leased.
Must never: read beyond what came.
Source: RFC 2131, RFC 2132.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final

from thingwarden.lab.world import Datagrams, World

CLIENT_PORT: Final = 68
SERVER_PORT: Final = 67
DISCOVER: Final = 1
OFFER: Final = 2
REQUEST: Final = 3
ACKNOWLEDGEMENT: Final = 5
_COOKIE: Final = b"\x63\x82\x53\x63"
_BROADCAST: Final = "255.255.255.255"
_ANSWERS_BROADCAST: Final = 0x8000
_TYPE: Final = 53
_SERVER: Final = 54
_OPTIONS_AT: Final = 240
_WANTED: Final = b"\x37\x04\x01\x03\x06\x0f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a server answered.

    Attributes:
        address: offered or leased.
        kind: message type.
        server: its identifier, zeros if it gives none.
    """

    address: ipaddress.IPv4Address
    kind: int
    server: ipaddress.IPv4Address


async def request_lease(world: World, *, host_name: str = "", tries: int = 4, wait_s: float = 3.0) -> str:
    """Get an address from the network's server.

    Args:
        world: of the host.
        host_name: told to the server; empty tells nothing.
        tries: how often it begins anew; the wait doubles each time.
        wait_s: for the first answer.

    Raises:
        OSError: no server answered.
    """
    number = world.rng.getrandbits(32)
    name = b"\x0c" + bytes((len(host_name),)) + host_name.encode() if host_name else b""
    socket = await world.open_datagrams(CLIENT_PORT)
    try:
        for attempt in range(tries):
            try:
                return await _round(world, socket, number, name, wait_s * 2.0**attempt)
            except TimeoutError:
                continue
    finally:
        socket.close()
    raise TimeoutError("no DHCP server answered")


async def _round(world: World, socket: Datagrams, number: int, name: bytes, wait_s: float) -> str:
    mac = world.me.mac
    await socket.send(_BROADCAST, SERVER_PORT, encode(number, mac, DISCOVER, name))
    offer = await _answer(world, socket, number, OFFER, wait_s)
    wish = b"\x32\x04" + offer.address.packed + b"\x36\x04" + offer.server.packed
    await socket.send(_BROADCAST, SERVER_PORT, encode(number, mac, REQUEST, wish + name))
    return str((await _answer(world, socket, number, ACKNOWLEDGEMENT, wait_s)).address)


async def _answer(world: World, socket: Datagrams, number: int, kind: int, wait_s: float) -> Offer:
    ends_at_s = world.now_s() + wait_s
    while (left_s := ends_at_s - world.now_s()) > 0:
        _, _, message = await socket.receive(left_s)
        offer = decode(message, number)
        if offer is not None and offer.kind == kind:
            return offer
    raise TimeoutError("the DHCP server fell silent")


def encode(number: int, mac: str, kind: int, options: bytes = b"") -> bytes:
    """A client's message of ``kind`` in transaction ``number``, answers wished by broadcast."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    head = struct.pack(">BBBBIHH16s16s", 1, 1, 6, 0, number, 0, _ANSWERS_BROADCAST, b"", hardware)
    rest = bytes((_TYPE, 1, kind)) + options + _WANTED + b"\xff"
    return head + b"\0" * 192 + _COOKIE + rest


def decode(message: bytes, number: int) -> Offer | None:
    """A server's message in transaction ``number``; None if it is none."""
    if len(message) < _OPTIONS_AT or message[:1] != b"\x02" or struct.unpack_from(">I", message, 4)[0] != number:
        return None
    options = _options(message)
    kind, server = options.get(_TYPE, b"\0"), options.get(_SERVER, b"")
    return Offer(
        address=ipaddress.IPv4Address(message[16:20]),
        kind=kind[0] if kind else 0,
        server=ipaddress.IPv4Address(server if len(server) == 4 else b"\0\0\0\0"),
    )


def _options(message: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = _OPTIONS_AT
    while at + 1 < len(message) and message[at] != 0xFF:
        if message[at] == 0:
            at += 1
            continue
        length = message[at + 1]
        found[message[at]] = message[at + 2 : at + 2 + length]
        at += 2 + length
    return found
