"""Cold-path values as plain JSON data: one shape for the journal, the command line and exports.

In: frozen dataclasses of ``domain``. Out: dictionaries of text, numbers, lists and None.
Must never: lose a value silently; a type that has no shape here is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from thingwarden.domain.device import Device
from thingwarden.domain.incident import Incident
from thingwarden.domain.response import Target

_DECIMALS = 6


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
