"""Cold-path values as plain JSON data: one shape for the journal, the command line and exports.

In: frozen dataclasses of ``domain``. Out: dictionaries of text, numbers, lists and None; and the values again.
Must never: lose a value silently; a type that has no shape here is refused. Read a ``Decision`` back: only
``domain/order.py`` does, if its signature holds.
"""

from __future__ import annotations

import ipaddress
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from thingwarden.domain.device import Device
from thingwarden.domain.errors import RequestError
from thingwarden.domain.incident import Incident
from thingwarden.domain.response import Decision, Target

_DECIMALS: Final = 6

Value = TypeVar("Value")


def plain_from_value(value: object) -> Any:
    """The value as JSON data: instants as ISO 8601 in UTC, addresses as text, enums by wire name.

    Raises:
        TypeError: a type that has no shape here.
    """
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, float):
        return round(value, _DECIMALS)
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, str) else value.name.lower()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return str(value)
    if isinstance(value, tuple | list):
        return [plain_from_value(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain_from_value(item) for key, item in value.items()}
    if is_dataclass(value):
        return {item.name: plain_from_value(getattr(value, item.name)) for item in fields(value)} | _derived(value)
    raise TypeError(f"{type(value).__name__} has no JSON shape")


def _derived(value: object) -> dict[str, Any]:
    """What people look for first, though it follows from the rest."""
    if isinstance(value, Incident):
        return {
            "class_counts": {attack_class.value: count for attack_class, count in value.class_counts},
            "severity": plain_from_value(value.severity),
            "techniques": list(value.techniques),
        }
    if isinstance(value, Target):
        return {"text": str(value)}
    return {"name": value.name} if isinstance(value, Device) else {}


def value_from_plain(kind: type[Value], data: object, what: str) -> Value:
    """The value whose shape ``plain_from_value`` gave; what follows from the rest is passed over.

    Args:
        kind: a frozen dataclass of ``domain`` other than ``Decision``.
        data: JSON data.
        what: what to call it where it is refused.

    Raises:
        RequestError: a field is missing or unknown, or has another type; names it.
        TypeError: the kind has no shape here.
    """
    value: Value = _read(kind, data, what)
    return value


def _read(kind: Any, data: object, what: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _read_union(get_args(kind), data, what)
    if origin is tuple:
        return _read_tuple(get_args(kind), data, what)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _read_enum(kind, data, what)
    if kind is not Decision and is_dataclass(kind):
        return _read_dataclass(kind, data, what)
    if kind not in _SIMPLE:
        raise TypeError(f"{kind} has no JSON shape")
    try:
        return _SIMPLE[kind](data)
    except ValueError as error:
        raise RequestError(what, f"expected {kind.__name__}") from error


def _read_union(kinds: tuple[Any, ...], data: object, what: str) -> Any:
    if data is None and types.NoneType in kinds:
        return None
    given = [kind for kind in kinds if kind is not types.NoneType]
    for kind in given[:-1]:
        try:
            return _read(kind, data, what)
        except RequestError:
            continue
    return _read(given[-1], data, what)


def _read_tuple(kinds: tuple[Any, ...], data: object, what: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise RequestError(what, "expected a list")
    if kinds[1:] == (Ellipsis,):
        return tuple(_read(kinds[0], item, what) for item in data)
    if len(data) != len(kinds):
        raise RequestError(what, f"expected a list of {len(kinds)}")
    return tuple(_read(kind, item, what) for kind, item in zip(kinds, data, strict=True))


def _read_enum(kind: type[Enum], data: object, what: str) -> Enum:
    for member in kind:
        if plain_from_value(member) == data:
            return member
    raise RequestError(what, f"expected one of {', '.join(str(plain_from_value(member)) for member in kind)}")


def _read_dataclass(kind: Any, data: object, what: str) -> Any:
    if not isinstance(data, dict):
        raise RequestError(what, "expected an object")
    data = _unfold(data) if kind is Incident else data
    hints, known = _hints(kind), {item.name: item for item in fields(kind)}
    missing = [name for name, item in known.items() if item.default is MISSING and name not in data]
    unknown = set(data) - set(known) - _DERIVED.get(kind, frozenset())
    if missing or unknown:
        raise RequestError(f"{what}: {min((*missing, *unknown))}", "missing" if missing else "unknown")
    return kind(**{name: _read(hints[name], data[name], f"{what}: {name}") for name in known if name in data})


def _unfold(incident: dict[str, Any]) -> dict[str, Any]:
    """An incident's data with its counts as pairs, most frequent first, as the value holds them."""
    counts = incident.get("class_counts")
    if not isinstance(counts, dict):
        return incident
    pairs = sorted(counts.items(), key=lambda pair: (-pair[1] if isinstance(pair[1], int) else 0, pair[0]))
    return {**incident, "class_counts": [list(pair) for pair in pairs]}


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _simple(kind: type) -> Callable[[object], Any]:
    def read(data: object) -> Any:
        if type(data) is not kind:
            raise ValueError
        return data

    return read


def _read_float(data: object) -> float:
    if isinstance(data, bool) or not isinstance(data, int | float) or not math.isfinite(data):
        raise ValueError
    return float(data)


def _read_instant(data: object) -> datetime:
    at = datetime.fromisoformat(_simple(str)(data))
    if at.tzinfo is None:
        raise ValueError
    return at.astimezone(UTC)


_SIMPLE: Final[dict[Any, Callable[[object], Any]]] = {
    bool: _simple(bool),
    int: _simple(int),
    str: _simple(str),
    float: _read_float,
    datetime: _read_instant,
    ipaddress.IPv4Address: lambda data: ipaddress.IPv4Address(_simple(str)(data)),
    ipaddress.IPv6Address: lambda data: ipaddress.IPv6Address(_simple(str)(data)),
}
_DERIVED: Final[dict[Any, frozenset[str]]] = {
    Incident: frozenset({"severity", "techniques"}),
    Target: frozenset({"text"}),
    Device: frozenset({"name"}),
}
