"""Elements of nftables sets, spoken to the kernel directly: added, removed and listed in batches that hold as a whole.

In: table, set, key, lifetime. Out: acknowledgement, or the elements that the kernel holds with counters and time left.
Must never: touch another table than the one named; trust a length that the kernel's answer gives without checking it.
Source: linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h, netlink(7).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

FAMILIES: Final = {"inet": 1, "bridge": 7}
"""Families of tables by nft's names."""

_NETFILTER: Final = 12
_SUBSYSTEM: Final = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_GET_SET, _NEW_ELEMENT, _GET_ELEMENT, _DELETE_ELEMENT = 10, 12, 13, 14
_REQUEST, _ACK, _DUMP, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
_ERROR, _DONE = 2, 3
_NESTED: Final = 0x8000
_LIST_ELEMENT: Final = 1
_COMMENT: Final = 0
_LIMIT_INVERTED: Final = 1
_ANSWER_WITHIN_S: Final = 1.0
_READ_BYTES: Final = 1 << 16
_MAX_ELEMENT_BYTES: Final = 1 << 14

Attributes = dict[int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One element of a set.

    Attributes:
        set_name: of the set.
        key: its field, or its fields, each padded to whole four bytes.
        comment: whom it belongs to.
        lifetime_ms: until the kernel removes it; when listed, what is left of it.
        packets_per_s: only packets beyond so many match; None for every packet.
        burst: packets that may exceed the rate at once, at least 1.
        packet_count, byte_count: what it has matched so far.
    """

    set_name: str
    key: bytes
    comment: str
    lifetime_ms: int
    packets_per_s: int | None = None
    burst: int = 5
    packet_count: int = 0
    byte_count: int = 0


def change_elements(family: str, table: str, removed: Sequence[Element], added: Sequence[Element]) -> None:
    """Remove and add elements in one step: all of it happens or nothing does.

    Raises:
        OSError: the kernel refuses: ENOENT no such table, set or element, EEXIST an element has that key, ENFILE the
            set is full, EPERM no right; ETIMEDOUT no answer.
    """
    bodies = [(_DELETE_ELEMENT, 0, _elements(table, item, is_new=False)) for item in removed]
    bodies += [(_NEW_ELEMENT, _CREATE | _EXCLUSIVE, _elements(table, item, is_new=True)) for item in added]
    if not bodies:
        return
    parts = [_message(_BATCH_BEGIN, _REQUEST, 0, struct.pack(">BBH", 0, 0, _SUBSYSTEM))]
    for number, (verb, flags, body) in enumerate(bodies, 1):
        header = struct.pack(">BBH", FAMILIES[family], 0, 0)
        parts.append(_message(_SUBSYSTEM << 8 | verb, _REQUEST | _ACK | flags, number, header + body))
    parts.append(_message(_BATCH_END, _REQUEST, len(bodies) + 1, struct.pack(">BBH", 0, 0, _SUBSYSTEM)))
    with _connect() as connection:
        connection.send(b"".join(parts))
        _await_all(connection, len(bodies))


def list_sets(family: str, table: str) -> list[str]:
    """Names of the table's sets; none where there is no such table.

    Raises:
        OSError: the kernel refuses or does not answer.
    """
    body = _attribute(1, table.encode() + b"\0")
    return [_text(item.get(2, b"")) for item in _dump(family, _GET_SET, body) if _text(item.get(1, b"")) == table]


def list_elements(family: str, table: str, set_name: str) -> list[Element]:
    """What a set holds; nothing where it does not exist.

    Raises:
        OSError: the kernel refuses or does not answer.
    """
    body = _attribute(1, table.encode() + b"\0") + _attribute(2, set_name.encode() + b"\0")
    found = []
    for answer in _dump(family, _GET_ELEMENT, body):
        for kind, nested in _each(answer.get(3, b"")):
            if kind == _LIST_ELEMENT:
                found.append(_read_element(set_name, dict(_each(nested))))
    return found


def find_element(family: str, table: str, wanted: Element) -> Element | None:
    """The element with that set and key as the kernel holds it now; None where it does not.

    Raises:
        OSError: the kernel refuses or does not answer.
    """
    header = struct.pack(">BBH", FAMILIES[family], 0, 0)
    body = _elements(table, wanted, is_new=False)
    with _connect() as connection:
        connection.send(_message(_SUBSYSTEM << 8 | _GET_ELEMENT, _REQUEST, 1, header + body))
        for kind, _, payload in _messages(connection):
            if kind == _ERROR:
                code = _error(payload)
                if code == errno.ENOENT:
                    return None
                raise OSError(code, os.strerror(code))
            for nested_kind, nested in _each(dict(_each(payload[4:])).get(3, b"")):
                if nested_kind == _LIST_ELEMENT:
                    return _read_element(wanted.set_name, dict(_each(nested)))
    return None


def _elements(table: str, element: Element, is_new: bool) -> bytes:
    inner = _attribute(1, _attribute(1, element.key), is_nested=True)
    if is_new:
        comment = element.comment.encode() + b"\0"
        inner += _attribute(4, struct.pack(">Q", max(1, element.lifetime_ms)))
        inner += _attribute(6, bytes([_COMMENT, len(comment)]) + comment)
        inner += _expressions(element)
    listed = _attribute(_LIST_ELEMENT, inner, is_nested=True)
    names = _attribute(1, table.encode() + b"\0") + _attribute(2, element.set_name.encode() + b"\0")
    return names + _attribute(3, listed, is_nested=True)


def _expressions(element: Element) -> bytes:
    """The rate first: a packet within it ends the rule, so that only what is dropped is counted."""
    counter = _expression("counter", _attribute(1, bytes(8)) + _attribute(2, bytes(8)))
    if element.packets_per_s is None:
        return _attribute(7, counter, is_nested=True)
    limit = _attribute(1, struct.pack(">Q", element.packets_per_s)) + _attribute(2, struct.pack(">Q", 1))
    limit += _attribute(3, struct.pack(">I", element.burst)) + _attribute(4, bytes(4))
    limit += _attribute(5, struct.pack(">I", _LIMIT_INVERTED))
    both = (_expression("limit", limit), counter)
    return _attribute(11, b"".join(_attribute(_LIST_ELEMENT, item, is_nested=True) for item in both), is_nested=True)


def _expression(name: str, data: bytes) -> bytes:
    return _attribute(1, name.encode() + b"\0") + _attribute(2, data, is_nested=True)


def _read_element(set_name: str, attributes: Attributes) -> Element:
    key = dict(_each(attributes.get(1, b""))).get(1, b"")
    comment = attributes.get(6, b"")
    said = _text(comment[2 : 2 + comment[1]]) if len(comment) > 2 and comment[0] == _COMMENT else ""
    several = [nested for kind, nested in _each(attributes.get(11, b"")) if kind == _LIST_ELEMENT]
    counts = (0, 0)
    for expression in several or [attributes.get(7, b"")]:
        parts = dict(_each(expression))
        if _text(parts.get(1, b"")) == "counter":
            values = dict(_each(parts.get(2, b"")))
            counts = (_number(values.get(2, b"")), _number(values.get(1, b"")))
    left = attributes.get(5, attributes.get(4, b""))
    return Element(
        set_name=set_name,
        key=key,
        comment=said,
        lifetime_ms=_number(left),
        packet_count=counts[0],
        byte_count=counts[1],
    )


def _dump(family: str, verb: int, body: bytes) -> Iterator[Attributes]:
    header = struct.pack(">BBH", FAMILIES[family], 0, 0)
    with _connect() as connection:
        connection.send(_message(_SUBSYSTEM << 8 | verb, _REQUEST | _DUMP, 1, header + body))
        while True:
            for kind, _, payload in _messages(connection):
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    code = _error(payload)
                    if code == errno.ENOENT:
                        return
                    raise OSError(code, os.strerror(code))
                yield dict(_each(payload[4:]))


def _await_all(connection: socket.socket, count: int) -> None:
    """Every change is acknowledged or refused; where the batch itself is refused, nothing else comes."""
    first_refusal, answered = 0, 0
    while answered < count:
        for kind, number, payload in _messages(connection):
            code = _error(payload) if kind == _ERROR else 0
            first_refusal = first_refusal or code
            answered += 1
            if code and number == 0:
                answered = count
    if first_refusal:
        raise OSError(first_refusal, os.strerror(first_refusal))


def _connect() -> socket.socket:
    connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
    connection.settimeout(_ANSWER_WITHIN_S)
    return connection


def _messages(connection: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """Type, number and payload of each message of the next datagram.

    Raises:
        OSError: nothing came in time.
    """
    try:
        data = connection.recv(_READ_BYTES)
    except TimeoutError as error:
        raise OSError(errno.ETIMEDOUT, "the kernel does not answer") from error
    at = 0
    while at + 16 <= len(data):
        length, kind, _, number, _ = struct.unpack_from("=IHHII", data, at)
        if not 16 <= length <= len(data) - at:
            raise OSError(errno.EBADMSG, "the kernel's answer is cut off")
        yield kind, number, data[at + 16 : at + length]
        at += (length + 3) & ~3


def _message(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), kind, flags, number, 0) + payload


def _attribute(kind: int, value: bytes, is_nested: bool = False) -> bytes:
    if len(value) > _MAX_ELEMENT_BYTES:
        raise ValueError(f"an attribute of {len(value)} bytes")
    padding = bytes(-len(value) % 4)
    return struct.pack("=HH", 4 + len(value), kind | (_NESTED if is_nested else 0)) + value + padding


def _each(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute; what is cut off is left out."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if not 4 <= length <= len(data) - at:
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3


def _error(payload: bytes) -> int:
    return -int(struct.unpack_from("=i", payload)[0]) if len(payload) >= 4 else errno.EBADMSG


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("ascii", "replace")
