"""Reads the alerts of Suricata's EVE log, one JSON object per line.

In: the path of an untrusted file, plain or compressed. Out: ``AlertBatch``.
Must never: let a rule's text through unbounded or with a control character; pass over a broken line in silence.
Source: "Eve JSON Format" in the manual of Suricata 7.0; versions 5 to 8 agree in what is read here.
"""

from __future__ import annotations

import ipaddress
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from thingwarden.domain.alert import ALERT_COLUMNS, UNKNOWN_SIDE, AlertBatch
from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import words_from_address
from thingwarden.ingest.compression import display_name, open_stream
from thingwarden.ingest.lines import LineReader
from thingwarden.ingest.recognise import BYTE_ORDER_MARK
from thingwarden.ingest.vendor_text import plain_text

MAX_ALERTS: Final = 500_000
"""Some 600 MB while they are read; a log with more is cut by hand, or its rules are."""

_MAX_ADDRESS_CHARACTERS: Final = 64
_GRAVEST_SEVERITY: Final = 1
_MILDEST_SEVERITY: Final = 255
_MAX_SIGNATURE_ID: Final = 2**32 - 1
_CONFIDENCE: Final = {"low": 1, "medium": 2, "high": 3}
_PROTO_BY_NAME: Final = {
    "tcp": 6, "udp": 17, "icmp": 1, "ipv6-icmp": 58, "icmpv6": 58, "sctp": 132, "igmp": 2, "gre": 47, "esp": 50,
    "ah": 51, "ipv6": 41,
}  # fmt: skip
"""Suricata writes the names of /etc/protocols; the rest stays unknown."""

_HINT: Final = "give Suricata's eve.json; where it is still being written, leave out the last line"

Ends = tuple[int, int, int, int, int, int]
"""High and low half of both addresses, and both ports: of the originator, then of the responder."""


def read_alerts(path: Path, progress: Callable[[int], None] | None = None) -> AlertBatch:
    """Read every alert of a log.

    Args:
        path: of an ``eve.json``, plain, gzip, xz or zstd; ``-`` is standard input.
        progress: called now and then with the number of lines read so far.

    Returns:
        The alerts in the log's order. Events of other types, and alerts without addresses (Suricata has such for
        broken packets), are counted in ``passed_over``.

    Raises:
        InputError: a line is no event, or an alert lacks what alerts have; names file, line and expectation.
        RequestError: the path cannot be opened.
    """
    rows: list[dict[str, Any]] = []
    passed_over: Counter[str] = Counter()
    for place, event in read_events(path, progress):
        kind = event.text("event_type")
        if kind != "alert":
            passed_over[plain_text(kind, 24)] += 1
        elif not event.has("src_ip"):
            passed_over["alert_without_address"] += 1
        elif len(rows) == MAX_ALERTS:
            raise InputError(place, f"has more than {MAX_ALERTS:,} alerts", "cut the log, or switch noisy rules off")
        else:
            rows.append(_alert_row(event))
    return _batch(rows, passed_over)


class Event:
    """One object of the log, whose members are checked as they are read.

    Args:
        place: file and line, or that and the member, as errors name it.
        members: of the JSON object.
    """

    def __init__(self, place: str, members: Mapping[str, Any]) -> None:
        self._place, self._members = place, members

    def has(self, name: str) -> bool:
        """Whether the member is there and not null."""
        return self._members.get(name) is not None

    def text(self, name: str) -> str:
        """A text, as it is written.

        Raises:
            InputError: there is none.
        """
        value = self._members.get(name)
        if not isinstance(value, str):
            raise self._refusal(name, "a text")
        return value

    def whole(self, name: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number from ``least`` to ``most``; ``default`` where the member is missing.

        Raises:
            InputError: there is none, or it is out of range.
        """
        value = self._members.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self._refusal(name, f"a whole number from {least} to {most}")
        return value

    def address(self, name: str) -> tuple[int, int]:
        """An address as the halves that ``FlowBatch`` holds.

        Raises:
            InputError: it is none.
        """
        text = self.text(name)
        try:
            if len(text) <= _MAX_ADDRESS_CHARACTERS:
                return words_from_address(ipaddress.ip_address(text.partition("%")[0]))
        except ValueError:
            pass
        raise self._refusal(name, "an IPv4 or IPv6 address")

    def unix_s(self, name: str) -> float:
        """An instant in Unix seconds; UTC where it names no zone.

        Raises:
            InputError: it is none, or before 1970.
        """
        try:
            instant = datetime.fromisoformat(self.text(name))
            unix_s = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            unix_s = -1.0
        if unix_s < 0.0:
            raise self._refusal(name, "an instant in ISO 8601, such as 2026-01-02T03:04:05Z")
        return unix_s

    def inner(self, name: str) -> Event:
        """A member that is an object; empty where it is missing.

        Raises:
            InputError: it is something else.
        """
        value = self._members.get(name)
        if value is not None and not isinstance(value, dict):
            raise self._refusal(name, "an object")
        return Event(f"{self._place}, {name}", value or {})

    def inner_list(self, name: str, most: int) -> list[Event]:
        """The objects of a list, the first ``most`` of them; empty where it is missing.

        Raises:
            InputError: it is no list, or holds something else.
        """
        value = self._members.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value[:most]):
            raise self._refusal(name, "a list of objects")
        return [Event(f"{self._place}, {name}", item) for item in value[:most]]

    def first_text(self, name: str) -> str:
        """The first text of a list of texts, as rules' metadata has them; empty where there is none."""
        value = self._members.get(name)
        first = value[0] if isinstance(value, list) and value else ""
        return first if isinstance(first, str) else ""

    def _refusal(self, name: str, expected: str) -> InputError:
        found = plain_text(repr(self._members.get(name)), 48) if name in self._members else "nothing"
        return InputError(f"{self._place}, {name}", f"expected {expected}, found {found}", _HINT)


def read_events(path: Path, progress: Callable[[int], None] | None = None) -> Iterator[tuple[str, Event]]:
    """Yield every event of a log with its place, as errors name it; empty lines are no events.

    Raises:
        InputError: a line is no JSON object.
        RequestError: the path cannot be opened.
    """
    name = display_name(path)
    with open_stream(path) as stream:
        for block in LineReader(stream).blocks():
            if block.too_long_count:
                raise InputError(f"{name}, from line {block.first_line}", "a line exceeds 1 MiB", _HINT)
            content = block.content.removeprefix(BYTE_ORDER_MARK) if block.first_line == 1 else block.content
            lines = content.split(b"\n")
            for number, line in enumerate(lines, start=block.first_line):
                if line and not line.isspace():
                    place = f"{name}, line {number}"
                    yield place, Event(place, _members(line, place))
            if progress is not None:
                progress(block.first_line + len(lines) - 2)


def ends_of(event: Event) -> tuple[Ends, bool]:
    """Both ends of the flow that an event belongs to.

    Returns:
        The ends; whether the log says which of them began the flow (else the packet's sender goes first).
    """
    source, destination = event.address("src_ip"), event.address("dest_ip")
    source_port, destination_port = _ports(event)
    flow = event.inner("flow")
    is_oriented = flow.has("src_ip") or event.has("direction")
    is_swapped = False
    if flow.has("src_ip"):
        port = flow.whole("src_port", 0, 65_535, source_port)
        is_swapped = (flow.address("src_ip"), port) != (source, source_port)
    elif event.has("direction"):
        is_swapped = event.text("direction") == "to_client"
    if is_swapped:
        is_icmp = event.has("icmp_type")
        ports = (source_port, destination_port) if is_icmp else (destination_port, source_port)
        return (*destination, *source, *ports), is_oriented
    return (*source, *destination, source_port, destination_port), is_oriented


def proto_of(event: Event) -> int:
    """IANA number of an event's protocol; 0 where it is not told."""
    return _PROTO_BY_NAME.get(event.text("proto").lower(), 0) if event.has("proto") else 0


def _members(line: bytes, place: str) -> dict[str, Any]:
    try:
        members = json.loads(line)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise InputError(place, f"expected one JSON object, found {_excerpt(line)}", _HINT)
    return members


def _excerpt(line: bytes) -> str:
    return f'"{plain_text(line[:160].decode(errors="replace"), 40)}"'


def _ports(event: Event) -> tuple[int, int]:
    if event.has("icmp_type"):
        return event.whole("icmp_type", 0, 255), event.whole("icmp_code", 0, 255, 0)
    return event.whole("src_port", 0, 65_535, 0), event.whole("dest_port", 0, 65_535, 0)


def _alert_row(event: Event) -> dict[str, Any]:
    alert = event.inner("alert")
    ends, is_oriented = ends_of(event)
    flow, attacker = event.inner("flow"), alert.inner("source")
    attacker_is_orig = UNKNOWN_SIDE
    if attacker.has("ip"):
        attacker_is_orig = int(attacker.address("ip") == ends[:2])
    confidence = alert.inner("metadata").first_text("confidence").lower()
    return {
        "at_s": event.unix_s("timestamp"),
        "orig_address": ends[0:2],
        "resp_address": ends[2:4],
        "orig_port": ends[4],
        "resp_port": ends[5],
        "proto": proto_of(event),
        "is_oriented": is_oriented,
        "attacker_is_orig": attacker_is_orig,
        "flow_started_at_s": flow.unix_s("start") if flow.has("start") else np.nan,
        "signature_id": alert.whole("signature_id", 0, _MAX_SIGNATURE_ID),
        "severity": alert.whole("severity", _GRAVEST_SEVERITY, _MILDEST_SEVERITY),
        "confidence": _CONFIDENCE.get(confidence, 0),
        "signature": sys.intern(plain_text(alert.text("signature"))),
        "category": sys.intern(plain_text(alert.text("category"))) if alert.has("category") else "",
    }


def _batch(rows: list[dict[str, Any]], passed_over: Mapping[str, int]) -> AlertBatch:
    columns = {
        name: np.array([row[name] for row in rows], dtype=dtype).reshape(len(rows), *shape)
        for name, (dtype, shape) in ALERT_COLUMNS.items()
    }
    return AlertBatch(
        **columns,
        signature=tuple(row["signature"] for row in rows),
        category=tuple(row["category"] for row in rows),
        passed_over=dict(passed_over),
        flow_started_at_s=np.array([row["flow_started_at_s"] for row in rows], dtype=np.float64),
    )
