"""The gateway's resolver, standing in for dnsmasq: the lab's names and nothing else.

In: questions to port 53. Out: answers of the size that dnsmasq's have.
Must never: trust a length in a question, or ask anybody else.
Source: RFC 1035, RFC 3596.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping
from typing import Final

from thingwarden.lab.behaviour.protocol.dns import DNS_PORT, TYPE_A, TYPE_AAAA
from thingwarden.lab.world import Behaviour, World

_TTL_S: Final = 60
_HEAD_BYTES: Final = 12
_POINTER_TO_QUESTION: Final = b"\xc0\x0c"
_FOUND: Final = 0x8580
_NO_SUCH_NAME: Final = 0x8583
_NO_FAULT: Final = 0
_MOST_LABELS: Final = 64
_WORKS_S: Final = (1e-6, 40e-6)
_VERSIONS: Final = {TYPE_A: 4, TYPE_AAAA: 6}

Names = Mapping[str, tuple[str, ...]]


async def serve_names(world: World, names: Names) -> None:
    """Answer questions over IPv4 and IPv6 until the host stops.

    Args:
        world: of the gateway.
        names: addresses by name; looked at anew for each question.
    """
    for is_v6 in (False, True):
        world.spawn(_serving(names, is_v6=is_v6), f"names {6 if is_v6 else 4}")


def _serving(names: Names, *, is_v6: bool) -> Behaviour:
    async def serve(world: World) -> None:
        socket = await world.open_datagrams(DNS_PORT, is_v6=is_v6)
        while True:
            try:
                address, port, question = await socket.receive()
                answer = answer_question(question, names)
                if answer:
                    await world.sleep(world.rng.uniform(*_WORKS_S))
                    await socket.send(address, port, answer)
            except OSError:
                continue

    return serve


def answer_question(question: bytes, names: Names) -> bytes:
    """The answer to a message; empty where it is no question."""
    parsed = _parse(question)
    if parsed is None:
        return b""
    name, kind, end = parsed
    addresses = names.get(name.lower())
    flags = _NO_SUCH_NAME if addresses is None else _FOUND
    records = b"".join(
        _POINTER_TO_QUESTION + struct.pack(">HHIH", kind, 1, _TTL_S, len(packed)) + packed
        for packed in (ipaddress.ip_address(address).packed for address in addresses or ())
        if len(packed) == (4 if _VERSIONS.get(kind) == 4 else 16) and kind in _VERSIONS
    )
    recursion = struct.unpack_from(">H", question, 2)[0] & 0x0100
    head = struct.pack(
        ">HHHHHH",
        struct.unpack_from(">H", question)[0],
        flags & ~0x0100 | recursion,
        1,
        1 if records else _NO_FAULT,
        0,
        0,
    )
    return head + question[_HEAD_BYTES:end] + records


def _parse(question: bytes) -> tuple[str, int, int] | None:
    """Name, type and end of the first question of a query."""
    if len(question) < _HEAD_BYTES or question[2] & 0x80 or question[4:6] != b"\0\1":
        return None
    labels: list[bytes] = []
    at = _HEAD_BYTES
    while at < len(question) and question[at] and len(labels) < _MOST_LABELS:
        length = question[at]
        if length > 63:
            return None
        labels.append(question[at + 1 : at + 1 + length])
        at += 1 + length
    if at + 5 > len(question) or question[at]:
        return None
    name = b".".join(labels).decode("ascii", "replace")
    return name, int.from_bytes(question[at + 1 : at + 3], "big"), at + 5
