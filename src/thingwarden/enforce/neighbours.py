"""The addresses by which a MAC is reached, as the kernel's neighbour table has them.

In: a MAC. Out: its IPv4 and IPv6 addresses.
Must never: fail; what cannot be read is not known.
Source: rtnetlink(7), linux/neighbour.h.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from thingwarden.domain.address import IpAddress

_ROUTE: Final = 0
_GET_NEIGHBOURS: Final = 30
_NEW_NEIGHBOUR: Final = 28
_DONE, _ERROR = 3, 2
_REQUEST_DUMP: Final = 0x301
_ADDRESS, _LINK_ADDRESS = 1, 2
_ANSWER_WITHIN_S: Final = 0.5
_MAX_ADDRESSES: Final = 16


def addresses_of(mac: str) -> list[IpAddress]:
    """The addresses of a MAC such as ``aa:bb:cc:dd:ee:ff``, at most 16."""
    wanted = bytes.fromhex(mac.replace(":", ""))
    found: list[IpAddress] = []
    with suppress(OSError, struct.error):
        for address, link_address in _neighbours():
            if link_address == wanted and len(found) < _MAX_ADDRESSES:
                found.append(address)
    return found


def _neighbours() -> Iterator[tuple[IpAddress, bytes]]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _ROUTE) as connection:
        connection.settimeout(_ANSWER_WITHIN_S)
        connection.send(struct.pack("=IHHII12x", 28, _GET_NEIGHBOURS, _REQUEST_DUMP, 1, 0))
        while True:
            data, at = connection.recv(1 << 16), 0
            while at + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, at)
                if kind in (_DONE, _ERROR) or not 16 <= length <= len(data) - at:
                    return
                if kind == _NEW_NEIGHBOUR:
                    yield from _neighbour(data[at + 28 : at + length])
                at += (length + 3) & ~3


def _neighbour(attributes: bytes) -> Iterator[tuple[IpAddress, bytes]]:
    values, at = {}, 0
    while at + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, at)
        if length < 4:
            return
        values[kind] = attributes[at + 4 : at + length]
        at += (length + 3) & ~3
    address, link_address = values.get(_ADDRESS, b""), values.get(_LINK_ADDRESS, b"")
    if len(address) in (4, 16) and link_address:
        yield ipaddress.ip_address(address), link_address
