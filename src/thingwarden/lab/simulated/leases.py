"""The gateway's DHCP server, standing in for dnsmasq: a fixed address for each known MAC address.

In: messages to port 67. Out: offers and acknowledgements of dnsmasq's size.
Must never: lease an address to a stranger.
Source: RFC 2131, RFC 2132.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping
from typing import Final

from thingwarden.lab.behaviour.protocol.dhcp import (
    ACKNOWLEDGEMENT,
    CLIENT_PORT,
    DISCOVER,
    OFFER,
    REQUEST,
    SERVER_PORT,
)
from thingwarden.lab.prefix import GATEWAY, LAN
from thingwarden.lab.simulated.network import LIMITED_BROADCAST
from thingwarden.lab.world import World

_COOKIE: Final = b"\x63\x82\x53\x63"
_OPTIONS_AT: Final = 240
_LEAST_BYTES: Final = 300
"""dnsmasq pads to what BOOTP required."""
_LEASE_S: Final = 3600
_TYPE_OPTION: Final = b"\x35\x01"
_ANSWERS: Final = {DISCOVER: OFFER, REQUEST: ACKNOWLEDGEMENT}
_WORKS_S: Final = (100e-6, 400e-6)


async def serve_leases(world: World, leases: Mapping[str, str]) -> None:
    """Answer clients until the host stops.

    Args:
        world: of the gateway.
        leases: IPv4 address by MAC address, text; looked at anew for each message.
    """
    socket = await world.open_datagrams(SERVER_PORT)
    while True:
        try:
            _, _, message = await socket.receive()
            answer = answer_client(message, leases)
            if answer:
                await world.sleep(world.rng.uniform(*_WORKS_S))
                await socket.send(LIMITED_BROADCAST, CLIENT_PORT, answer)
        except OSError:
            continue


def answer_client(message: bytes, leases: Mapping[str, str]) -> bytes:
    """The answer to a DISCOVER or REQUEST of a known client; else empty."""
    at = message.find(_TYPE_OPTION, _OPTIONS_AT)
    if len(message) < _OPTIONS_AT or message[:1] != b"\x01" or at < 0 or at + 2 >= len(message):
        return b""
    kind = _ANSWERS.get(message[at + 2])
    address = leases.get(message[28:34].hex(":"))
    if kind is None or address is None:
        return b""
    gateway = GATEWAY.packed
    head = struct.pack(">BBBB", 2, 1, 6, 0) + message[4:12] + b"\0\0\0\0"
    head += ipaddress.IPv4Address(address).packed + gateway + b"\0\0\0\0" + message[28:44] + b"\0" * 192
    times = b"".join(
        struct.pack(">BBI", code, 4, span_s)
        for code, span_s in ((51, _LEASE_S), (58, _LEASE_S // 2), (59, _LEASE_S * 7 // 8))
    )
    options = _TYPE_OPTION + bytes((kind,)) + b"\x36\x04" + gateway + times
    options += b"\x01\x04" + LAN.netmask.packed + b"\x1c\x04" + LAN.broadcast_address.packed
    options += b"\x03\x04" + gateway + b"\x06\x04" + gateway + b"\xff"
    return (head + _COOKIE + options).ljust(_LEAST_BYTES, b"\0")
