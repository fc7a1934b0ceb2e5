"""What an enforcer's process is told when it starts, as JSON on its command line.

In: ``ProcessSettings``, or text that claims to hold them. Out: the text, or the values.
Must never: hold a secret, which the command line would show; accept an unknown key; import beyond the standard library.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from thingwarden.domain.address import IpNetwork
from thingwarden.domain.errors import ConfigError
from thingwarden.enforce.guard import Bounds, GuardSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """What one enforcer's process is told.

    Attributes:
        kind: what it enforces with, a key of ``backend.BACKENDS``.
        socket: where it listens.
        state: folder of its own.
        leases: folder that it shares with the reaper.
        key: file of the key that it shares with policy.
        core_uid, core_gid: user who gives orders, and a group that may connect; None for the process's own.
        releases_on_stop: whether everything in force ends when the process is told to stop.
        protected_networks, protected_macs: hosts that no act may touch.
        automatic, approved: bounds of the guard.
        options: of the backend; names and numbers.
    """

    kind: str
    socket: Path
    state: Path
    leases: Path
    key: Path
    core_uid: int | None = None
    core_gid: int | None = None
    releases_on_stop: bool = False
    protected_networks: tuple[IpNetwork, ...] = ()
    protected_macs: tuple[str, ...] = ()
    automatic: Bounds = GuardSettings().automatic
    approved: Bounds = GuardSettings().approved
    options: Mapping[str, Any] = field(default_factory=dict)

    def guard_settings(self) -> GuardSettings:
        """The part that the guard is told."""
        return GuardSettings(
            protected_networks=self.protected_networks,
            protected_macs=frozenset(self.protected_macs),
            automatic=self.automatic,
            approved=self.approved,
        )


def encode_settings(settings: ProcessSettings) -> str:
    """The settings as JSON."""
    values = {item.name: getattr(settings, item.name) for item in fields(settings)}
    for name in ("automatic", "approved"):
        values[name] = {item.name: getattr(values[name], item.name) for item in fields(Bounds)}
    return json.dumps(values, default=_plain, sort_keys=True)


def read_settings(text: str) -> ProcessSettings:
    """The settings that the text holds.

    Raises:
        ConfigError: no JSON, a key is missing or unknown, a value is of another kind; names the key.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise _error("", f"no JSON: {error}") from error
    if not isinstance(data, dict):
        raise _error("", "expected an object")
    for name in ("kind", "socket", "state", "leases", "key"):
        if name not in data:
            raise _error(name, "missing")
    values = {}
    for name, value in data.items():
        if name not in _READERS:
            raise _error(name, "unknown")
        try:
            values[name] = _READERS[name](value)
        except (TypeError, ValueError, AttributeError) as error:
            raise _error(name, f"{value!r}: {error}") from error
    return ProcessSettings(**values)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else str(value)


def _error(name: str, why: str) -> ConfigError:
    return ConfigError(f"the process's settings{f', {name}' if name else ''}", why, "start it by: thingwarden enforcer")


def _of(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"expected {kind.__name__}")
        return value

    return read


def _or_none(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


def _list_of(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: tuple(read(item) for item in _of(list)(value))


def _read_bounds(value: Any) -> Bounds:
    bounds = Bounds(**_of(dict)(value))
    for item in fields(Bounds):
        if _of(int)(getattr(bounds, item.name)) < 0:
            raise ValueError("a bound is 0 or more")
    return bounds


_text: Final = _of(str)
_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "kind": _text,
    "socket": lambda value: Path(_text(value)),
    "state": lambda value: Path(_text(value)),
    "leases": lambda value: Path(_text(value)),
    "key": lambda value: Path(_text(value)),
    "core_uid": _or_none(_of(int)),
    "core_gid": _or_none(_of(int)),
    "releases_on_stop": _of(bool),
    "protected_networks": _list_of(lambda value: ipaddress.ip_network(_text(value))),
    "protected_macs": _list_of(_text),
    "automatic": _read_bounds,
    "approved": _read_bounds,
    "options": _of(dict),
}
