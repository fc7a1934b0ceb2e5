"""DNS as a stub resolver speaks it: one question to the gateway, some tries, the first address that comes.

In: a name. Out: an address as text, after an exchange on the LAN.
Must never: trust a length in an answer; what does not parse is no answer.
Source: RFC 1035, RFC 3596.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

from thingwarden.lab.prefix import GATEWAY, GATEWAY6
from thingwarden.lab.world import World

DNS_PORT: Final = 53
TYPE_A: Final = 1
TYPE_AAAA: Final = 28
_ADDRESS_BYTES: Final = {TYPE_A: 4, TYPE_AAAA: 16}
_POINTER: Final = 0xC0


async def resolve(
    world: World, name: str, *, wants_v6: bool = False, tries: int = 3, timeout_s: float = 2.0, is_over_v6: bool = False
) -> str:
    """Ask the gateway for an address of ``name``.

    Args:
        world: of the asking host.
        name: without a dot at its end.
        wants_v6: AAAA instead of A.
        tries: how often the question is sent before giving up, from a new port each.
        timeout_s: waited for each.
        is_over_v6: ask the gateway's IPv6 address.

    Raises:
        OSError: nobody answered, or there is no such address.
    """
    record = TYPE_AAAA if wants_v6 else TYPE_A
    query = encode_query(world.rng.randrange(65536), name, record)
    for _ in range(tries):
        socket = await world.open_datagrams(is_v6=is_over_v6)
        try:
            await socket.send(str(GATEWAY6 if is_over_v6 else GATEWAY), DNS_PORT, query)
            _, _, answer = await socket.receive(timeout_s)
        except TimeoutError:
            continue
        finally:
            socket.close()
        if answer[:2] == query[:2]:
            return _required(name, find_address(answer, record))
    raise TimeoutError(f"no answer about {name}")


def _required(name: str, address: str) -> str:
    if not address:
        raise OSError(f"no address for {name}")
    return address


def encode_query(number: int, name: str, record: int) -> bytes:
    """A question, recursion desired.

    Args:
        number: the query's own, 0 to 65535.
        name: labels of at most 63 bytes.
        record: the type asked for.
    """
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + encode_name(name) + struct.pack(">HH", record, 1)


def encode_name(name: str) -> bytes:
    """Labels with their lengths, closed by the root."""
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"


def find_address(answer: bytes, record: int) -> str:
    """The first address of type ``record`` in an answer; empty if there is none or the answer does not parse."""
    try:
        _, _, questions, answers = struct.unpack_from(">HHHH", answer)
        at = 12
        for _ in range(questions):
            at = _skip_name(answer, at) + 4
        for _ in range(answers):
            at = _skip_name(answer, at)
            kind, _, _, length = struct.unpack_from(">HHIH", answer, at)
            at += 10
            if kind == record and length == _ADDRESS_BYTES[record] and at + length <= len(answer):
                return str(ipaddress.ip_address(answer[at : at + length]))
            at += length
    except (struct.error, IndexError):
        return ""
    return ""


def _skip_name(message: bytes, at: int) -> int:
    while message[at]:
        if message[at] >= _POINTER:
            return at + 2
        at += 1 + message[at]
    return at + 1
