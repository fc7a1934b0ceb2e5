"""The plan language on the wire: a decision as JSON, read back strictly.

In: a ``Decision``, or bytes that claim to be one. Out: canonical JSON, or the plain values of a decision.
Must never: accept an unknown key, a value out of range, or an act without end; import beyond the standard library.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from thingwarden.domain.address import IpAddress
from thingwarden.domain.device import Device
from thingwarden.domain.errors import RequestError
from thingwarden.domain.response import TARGET_FIELDS, Access, Act, Cost, Decision, Target

PLAN_VERSION: Final = 1
MAX_PLAN_BYTES: Final = 16_384
MAX_REASON_LENGTH: Final = 500
MAX_NAME_LENGTH: Final = 128
MAX_TOPIC_LENGTH: Final = 1024
MAX_TTL_S: Final = 604_800.0
"""No decision lasts longer than a week, whoever ordered it."""

MAX_PACKETS_PER_S: Final = 1_000_000
PORTED: Final = ("tcp", "udp")
PROTOCOL_NUMBERS: Final = {"tcp": 6, "udp": 17, "icmp": 1, "icmp6": 58}
PROTOCOLS: Final = tuple(PROTOCOL_NUMBERS)

_ID: Final = re.compile(r"[0-9a-f]{12}")
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PRINTABLE: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")


def encode_decision(decision: Decision) -> dict[str, Any]:
    """The decision as JSON data; fields without a value are left out."""
    values = {
        "plan_version": PLAN_VERSION,
        "decision_id": decision.decision_id,
        "incident_id": decision.incident_id,
        "act": decision.act.value,
        "target": _encode_target(decision.target),
        "reason": decision.reason,
        "proposer": decision.proposer,
        "decided_at": _encode_instant(decision.decided_at),
        "expires_at": _encode_instant(decision.expires_at),
        "approved_by": decision.approved_by,
        "replaces": decision.replaces,
        "cost": None if decision.cost is None else _encode_cost(decision.cost),
    }
    return _given(values)


def canonical_json(data: Mapping[str, Any]) -> bytes:
    """The one spelling of JSON data that is signed: sorted keys, no spaces, ASCII."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def decision_values(data: object) -> dict[str, Any]:
    """The arguments of a ``Decision``, read strictly from JSON data.

    Raises:
        RequestError: a key is missing or unknown, a value has another type or is out of range; names the key.
    """
    values = _read("plan", data, _DECISION, _DECISION_OPTIONAL)
    version = values.pop("plan_version")
    if version != PLAN_VERSION:
        raise RequestError("plan: plan_version", f"found {version}, this program reads {PLAN_VERSION}")
    lifetime_s = (values["expires_at"] - values["decided_at"]).total_seconds()
    if not 0 < lifetime_s <= MAX_TTL_S:
        raise RequestError("plan: expires_at", f"lasts {lifetime_s:g} s, allowed is above 0 and up to {MAX_TTL_S:g}")
    for name in TARGET_FIELDS[values["act"]]:
        if getattr(values["target"], name) is None:
            raise RequestError(f"plan: target.{name}", f"missing, {values['act'].value} needs it")
    return values


def parse_json(text: bytes, what: str) -> object:
    """JSON of bounded length.

    Raises:
        RequestError: too long, or no JSON.
    """
    if len(text) > MAX_PLAN_BYTES:
        raise RequestError(what, f"{len(text)} bytes, allowed are {MAX_PLAN_BYTES}")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(what, f"no JSON: {error}") from error


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _encode_instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _encode_target(target: Target) -> dict[str, Any]:
    device = target.device
    values = {
        "device": None if device is None else _given(
            {"index": device.index, "mac": device.mac, "address": _text_or_none(device.address)}
        ),
        "peer": _text_or_none(target.peer),
        "proto": target.proto,
        "port": target.port,
        "is_inbound": target.is_inbound or None,
        "packets_per_s": target.packets_per_s,
        "domain": target.domain,
        "username": target.username,
        "topic_filter": target.topic_filter,
        "access": None if target.access is None else target.access.value,
    }  # fmt: skip
    return _given(values)


def _text_or_none(value: IpAddress | None) -> str | None:
    return None if value is None else str(value)


def _encode_cost(cost: Cost) -> dict[str, Any]:
    return {
        "over_s": cost.over_s,
        "harmful_flow_count": cost.harmful_flow_count,
        "harmless_flow_count": cost.harmless_flow_count,
        "others_flow_count": cost.others_flow_count,
        "services": list(cost.services),
    }


_Reader = Callable[[str, object], Any]


def _read(what: str, data: object, required: Mapping[str, _Reader], optional: Mapping[str, _Reader]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise RequestError(what, "expected an object")
    for name in required:
        if name not in data:
            raise RequestError(f"{what}: {name}", "missing")
    known = {**required, **optional}
    for name in data:
        if name not in known:
            raise RequestError(what, f"unknown key {str(name)[:40]!r}")
    return {name: known[name](f"{what}: {name}", value) for name, value in data.items()}


def _text(pattern: re.Pattern[str], length: int, expected: str) -> _Reader:
    def read(what: str, value: object) -> str:
        if not isinstance(value, str) or len(value) > length or not pattern.fullmatch(value):
            raise RequestError(what, f"expected {expected}")
        return value

    return read


def _whole(least: int, most: int) -> _Reader:
    def read(what: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise RequestError(what, f"expected a whole number from {least} to {most}")
        return value

    return read


def _choice(kind: Callable[[Any], Any], expected: str) -> _Reader:
    def read(what: str, value: object) -> Any:
        try:
            return kind(value)
        except (ValueError, TypeError) as error:
            raise RequestError(what, f"expected {expected}") from error

    return read


def _read_address(what: str, value: object) -> IpAddress:
    if not isinstance(value, str):
        raise RequestError(what, "expected an address as text")
    try:
        return ipaddress.ip_address(value)
    except ValueError as error:
        raise RequestError(what, "expected an IPv4 or IPv6 address") from error


def _read_instant(what: str, value: object) -> datetime:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise RequestError(what, "expected an instant such as 2026-01-31T12:00:00.000000Z")
    return at.astimezone(UTC)


def _read_flag(what: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise RequestError(what, "expected true or false")
    return value


def _read_seconds(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise RequestError(what, "expected seconds, 0 or more")
    return float(value)


def _read_device(what: str, value: object) -> Device:
    known = {"index": _whole(0, 2**31 - 1)}
    optional = {"mac": _text(_MAC, 17, "a MAC in lower case"), "address": _read_address}
    device = Device(**{"mac": None, "address": None, **_read(what, value, known, optional)})
    if device.mac is None and device.address is None:
        raise RequestError(what, "expected a MAC or an address")
    return device


def _read_target(what: str, value: object) -> Target:
    target = Target(**_read(what, value, {}, _TARGET))
    if target.port is not None and target.proto not in PORTED:
        raise RequestError(f"{what}: port", "belongs to tcp or udp only")
    return target


def _read_services(what: str, value: object) -> tuple[str, ...]:
    read = _text(re.compile(r"[a-z0-9-]+(/[0-9]+)?"), 32, "a service such as udp/123")
    if not isinstance(value, list) or len(value) > 3:
        raise RequestError(what, "expected a list of at most 3 services")
    return tuple(read(what, item) for item in value)


def _read_cost(what: str, value: object) -> Cost:
    count = _whole(0, 2**53)
    counts = dict.fromkeys(("harmful_flow_count", "harmless_flow_count", "others_flow_count"), count)
    return Cost(**_read(what, value, {"over_s": _read_seconds, **counts}, {"services": _read_services}))


_name = _text(_PRINTABLE, MAX_NAME_LENGTH, f"text of at most {MAX_NAME_LENGTH} printable characters")
_topic = _text(_PRINTABLE, MAX_TOPIC_LENGTH, f"text of at most {MAX_TOPIC_LENGTH} printable characters")
_identifier = _text(_ID, 12, "12 hexadecimal digits")

_TARGET: Final[dict[str, _Reader]] = {
    "device": _read_device,
    "peer": _read_address,
    "proto": _choice(lambda value: PROTOCOLS[PROTOCOLS.index(value)], f"one of {', '.join(PROTOCOLS)}"),
    "port": _whole(0, 65_535),
    "is_inbound": _read_flag,
    "packets_per_s": _whole(1, MAX_PACKETS_PER_S),
    "domain": _text(re.compile(r"[a-z0-9_.-]+"), 253, "a domain name in lower case"),
    "username": _name,
    "topic_filter": _topic,
    "access": _choice(Access, f"one of {', '.join(item.value for item in Access)}"),
}
_DECISION: Final[dict[str, _Reader]] = {
    "plan_version": _whole(0, 2**31),
    "decision_id": _identifier,
    "incident_id": _identifier,
    "act": _choice(Act, f"one of {', '.join(act.value for act in Act)}"),
    "target": _read_target,
    "reason": _text(_PRINTABLE, MAX_REASON_LENGTH, f"text of at most {MAX_REASON_LENGTH} printable characters"),
    "proposer": _name,
    "decided_at": _read_instant,
    "expires_at": _read_instant,
}
_DECISION_OPTIONAL: Final[dict[str, _Reader]] = {
    "approved_by": _name,
    "replaces": _identifier,
    "cost": _read_cost,
}
