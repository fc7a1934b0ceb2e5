"""SNTP: a device asks for the time, a server tells it.

In: an address. Out: seconds as the server says.
Must never: read a wall clock; the lab's time begins at a fixed moment.
Source: RFC 4330, RFC 5905.
"""

from __future__ import annotations

import struct
from typing import Final

from thingwarden.lab.world import World

NTP_PORT: Final = 123
MESSAGE_BYTES: Final = 48
CLIENT_HEADS: Final = (b"\x23\0\0\0", b"\x1b\0\0\0", b"\xe3\0\x06\xec", b"\x23\x02\x0a\xe9", b"\xdb\0\x11\xe9")
"""First bytes of requests: version 4 and 3, with the leap and poll fields that common clients fill in."""
_BEGINS_AT_S: Final = 3_976_214_400
_SERVER_HEAD: Final = b"\x24\x02\x06\xec"


def encode_request(stamp: int, head: bytes = CLIENT_HEADS[0]) -> bytes:
    """A client's message with ``stamp`` (64 bits) in the transmit field."""
    return head + b"\0" * 36 + struct.pack(">Q", stamp)


def encode_answer(request: bytes, now_s: float) -> bytes:
    """A stratum-2 server's answer at ``now_s`` of the lab's time to ``request`` of at least 48 bytes."""
    stamp = struct.pack(">II", _BEGINS_AT_S + int(now_s), int((now_s % 1) * 2**32))
    return _SERVER_HEAD + b"\0\0\x0a\x1f\0\0\x04\xb1\xc0\0\x02\x14" + stamp + request[40:48] + stamp + stamp


async def ask_time(
    world: World, address: str, *, head: bytes = CLIENT_HEADS[0], is_from_123: bool = False, timeout_s: float = 5.0
) -> float:
    """One exchange; seconds since 1900 as the server says.

    Args:
        world: of the asking host.
        address: of the server, IPv4 or IPv6.
        head: one of ``CLIENT_HEADS``.
        is_from_123: from the protocol's own port, as daemons do.
        timeout_s: waited for the answer.

    Raises:
        OSError: no answer, or none that is one.
    """
    socket = await world.open_datagrams(NTP_PORT if is_from_123 else 0, is_v6=":" in address)
    try:
        await socket.send(address, NTP_PORT, encode_request(world.rng.getrandbits(64), head))
        _, _, answer = await socket.receive(timeout_s)
    finally:
        socket.close()
    if len(answer) < MESSAGE_BYTES:
        raise OSError("the time server's answer is too short")
    return float(struct.unpack_from(">I", answer, 40)[0])
