"""Voice and video calls: STUN to find the way, then RTP both ways over a relay.

In: rates and spans. Out: datagrams between a device and the relay.
Must never: send media longer than asked for.
Source: RFC 8489, RFC 3550.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from thingwarden.lab.behaviour.protocol.http import filler
from thingwarden.lab.world import Datagrams, World

STUN_PORT: Final = 3478
STUN_COOKIE: Final = b"\x21\x12\xa4\x42"
_BINDING_REQUEST: Final = 0x0001
_BINDING_ANSWER: Final = 0x0101
_XOR_MAPPED_ADDRESS: Final = 0x0020
_WAIT_S: Final = 0.5
_TRIES: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One direction of a call.

    Attributes:
        packets_per_s: more than 0.
        payload_bytes: of each, at most 1400.
    """

    packets_per_s: float = 50.0
    payload_bytes: int = 160


def encode_binding(transaction: bytes) -> bytes:
    """A STUN binding request without attributes; ``transaction`` has 12 bytes."""
    return struct.pack(">HH", _BINDING_REQUEST, 0) + STUN_COOKIE + transaction


def answer_binding(request: bytes, port: int) -> bytes:
    """The server's answer, naming the sender's ``port`` and an address of documentation; empty to anything else."""
    if len(request) < 20 or request[4:8] != STUN_COOKIE or request[:2] != b"\0\x01":
        return b""
    mapped = struct.pack(">BBH", 0, 1, port ^ 0x2112) + bytes(
        a ^ b for a, b in zip(b"\xc0\0\2\1", STUN_COOKIE, strict=True)
    )
    attribute = struct.pack(">HH", _XOR_MAPPED_ADDRESS, len(mapped)) + mapped
    return struct.pack(">HH", _BINDING_ANSWER, len(attribute)) + request[4:20] + attribute


def encode_rtp(sequence: int, payload_bytes: int, kind: int = 0) -> bytes:
    """An RTP packet of payload type ``kind``."""
    header = struct.pack(">BBHII", 0x80, kind, sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, 0x1D0F00D5)
    return header + filler(payload_bytes)


async def find_way(world: World, socket: Datagrams, address: str, port: int = STUN_PORT) -> None:
    """Ask a STUN server until it answers.

    Raises:
        OSError: it does not.
    """
    request = encode_binding(world.rng.randbytes(12))
    wait_s = _WAIT_S
    for _ in range(_TRIES):
        await socket.send(address, port, request)
        try:
            await socket.receive(wait_s)
            return
        except TimeoutError:
            wait_s = min(8.0, wait_s * 2)
    raise TimeoutError("no STUN server answered")


async def call(world: World, address: str, port: int, media: Media, span_s: float) -> None:
    """Find the way, then exchange media with the relay, which sends back what it gets, for ``span_s`` seconds.

    Raises:
        OSError: no way was found.
    """
    socket = await world.open_datagrams(is_v6=":" in address)
    try:
        await find_way(world, socket, address, port)
        ends_at_s = world.now_s() + span_s
        sequence = world.rng.randrange(60000)
        while world.now_s() < ends_at_s:
            await socket.send(address, port, encode_rtp(sequence, media.payload_bytes))
            sequence += 1
            await world.sleep(world.rng.uniform(0.9, 1.1) / media.packets_per_s)
    finally:
        socket.close()
