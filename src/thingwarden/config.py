"""What an operator may set: one frozen class per stage, read from one TOML file.

In: a TOML file, or none. Out: ``Settings`` with the origin of every value.
Must never: read a file or the environment at import; replace a bad value by a default.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from thingwarden.domain.errors import ConfigError
from thingwarden.domain.flow import IpAddress

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

CONFIG_VARIABLE: Final = "THINGWARDEN_CONFIG"
"""Environment variable that names the file when ``--config`` does not."""

MAX_CONFIG_BYTES: Final = 1 << 20
"""A configuration has some fifty lines; a file beyond 1 MiB is something else."""


def _network(value: object) -> object:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError("a network is written as text")
    return ipaddress.ip_network(value)


def _address(value: object) -> object:
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return value
    if not isinstance(value, str):
        raise ValueError("an address is written as text")
    return ipaddress.ip_address(value)


def _path(value: object) -> object:
    return Path(value).expanduser() if isinstance(value, str) and value else value


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Network = Annotated[IpNetwork, BeforeValidator(_network)]
Address = Annotated[IpAddress, BeforeValidator(_address)]
FilePath = Annotated[Path, BeforeValidator(_path)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_tuple)]
Addresses = Annotated[tuple[Address, ...], BeforeValidator(_tuple)]

_NETWORKS_ALLOWED: Final = 'list of networks such as "192.168.1.0/24" or "fd00::/8", or of single addresses'
_ADDRESSES_ALLOWED: Final = 'list of addresses such as "192.168.1.1" or "fd00::1"'


def _setting(default: Any, description: str, allowed: str, **bounds: Any) -> Any:
    """A field whose meaning and range are said in words, for errors and for the written default."""
    return Field(
        default, description=description, json_schema_extra={"allowed": allowed}, validate_default=True, **bounds
    )


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class NetworkSettings(_Section):
    """What is known about the network under watch."""

    local_prefixes: Networks = _setting(
        ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"],
        "Networks whose hosts count as devices.",
        _NETWORKS_ALLOWED,
        min_length=1,
    )
    gateways: Addresses = _setting([], "Routers of the network; never the target of an act.", _ADDRESSES_ALLOWED)
    resolvers: Addresses = _setting([], "DNS servers of the network; never the target of an act.", _ADDRESSES_ALLOWED)
    operator_hosts: Addresses = _setting(
        [], "Machines from which people administer the network; never the target of an act.", _ADDRESSES_ALLOWED
    )
    allow_list: Networks = _setting(
        [], "Devices and destinations that no act may touch; what they do is still reported.", _NETWORKS_ALLOWED
    )


class ModelSettings(_Section):
    """Which model judges, and how much of the machine it may use."""

    path: FilePath | None = _setting(
        None, "Folder of the model artifact; unset means the one that ships with the package.", "path of a folder"
    )


class DetectSettings(_Section):
    """How readily detections become incidents."""

    false_incidents_per_device_week: float = _setting(
        0.5,
        "How many false incidents per device and week are acceptable; the one number that sets sensitivity.",
        "number from 0.01 to 100",
        ge=0.01,
        le=100.0,
    )


class JournalSettings(_Section):
    """Where incidents and decisions are kept."""

    path: FilePath | None = _setting(
        None,
        "SQLite file; unset means thingwarden/journal.sqlite in $XDG_STATE_HOME or ~/.local/state.",
        "path of a file whose folder can be written",
    )


class Settings(_Section):
    """Everything that can be set; one attribute per stage."""

    network: NetworkSettings = NetworkSettings()
    model: ModelSettings = ModelSettings()
    detect: DetectSettings = DetectSettings()
    journal: JournalSettings = JournalSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a configuration file.

    Attributes:
        key: the setting's full name, such as ``detect.false_incidents_per_device_week``.
        value: what the file says, as text; empty where nothing can be shown.
        why: what is wrong with it.
        allowed: what would be right; empty where unknown.
    """

    key: str
    value: str
    why: str
    allowed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSettings:
    """Settings and where they came from.

    Attributes:
        settings: the validated settings.
        file: the file that was read; None where there was none.
        origin: for each setting's full name, ``default`` or the file.
    """

    settings: Settings
    file: Path | None
    origin: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """One setting as people see it.

    Attributes:
        key: full name, section and field.
        value: the value as plain data (text, number, list, None).
        description: what it does.
        allowed: which values are accepted.
    """

    key: str
    value: Any
    description: str
    allowed: str


def find_config_file(chosen: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The file to read: the chosen one, the variable's, the user's or the system's; None where none exists.

    Raises:
        ConfigError: the chosen file, or the variable's, does not exist.
    """
    named = chosen or (Path(environment[CONFIG_VARIABLE]) if environment.get(CONFIG_VARIABLE) else None)
    if named is not None:
        if not named.is_file():
            raise ConfigError(f"configuration {named}", "no such file", "write one with: thingwarden config default")
        return named
    home = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "/")) / ".config")
    candidates = (home / "thingwarden" / "config.toml", Path("/etc/thingwarden/config.toml"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def load_settings(chosen: Path | None = None, environment: Mapping[str, str] | None = None) -> LoadedSettings:
    """Read and check the configuration.

    Args:
        chosen: the file named by the caller; None to look in the usual places.
        environment: environment variables; the process's own by default.

    Raises:
        ConfigError: unreadable, not TOML, or a setting is refused; names file, key, value and allowed range.
    """
    file = find_config_file(chosen, os.environ if environment is None else environment)
    if file is None:
        return LoadedSettings(settings=Settings(), file=None, origin=_origins({}, ""))
    data = _read_toml(file)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise _config_error(file, [_problem_from_detail(detail) for detail in error.errors()]) from error
    return LoadedSettings(settings=settings, file=file, origin=_origins(data, str(file)))


def find_problems(file: Path) -> list[Problem]:
    """Everything wrong with the settings in ``file``, in its order; empty when all is well.

    Raises:
        ConfigError: the file cannot be read or is not TOML.
    """
    try:
        Settings.model_validate(_read_toml(file))
    except ValidationError as error:
        return [_problem_from_detail(detail) for detail in error.errors()]
    return []


def setting_rows(settings: Settings) -> Iterator[SettingRow]:
    """Every setting with its value, in the order of the classes."""
    for section, name, field in _fields():
        yield SettingRow(
            key=f"{section}.{name}",
            value=_plain(getattr(getattr(settings, section), name)),
            description=field.description or "",
            allowed=_allowed(field),
        )


def write_toml(settings: Settings) -> str:
    """The settings as a commented TOML file that ``load_settings`` accepts."""
    lines = ["# Thingwarden's configuration. Every key may be left out; unknown keys are refused."]
    section = ""
    for row in setting_rows(settings):
        row_section, name = row.key.split(".", 1)
        if row_section != section:
            section = row_section
            lines += ["", f"[{section}]"]
        assignment = f"# {name} = " if row.value is None else f"{name} = {_toml_value(row.value)}"
        lines += [f"# {row.description}", f"# Allowed: {row.allowed}.", assignment.rstrip()]
    return "\n".join(lines) + "\n"


def journal_path(settings: JournalSettings, environment: Mapping[str, str] | None = None) -> Path:
    """The journal's file: the setting, else ``thingwarden/journal.sqlite`` in the user's state folder."""
    if settings.path is not None:
        return settings.path
    variables = os.environ if environment is None else environment
    state = variables.get("XDG_STATE_HOME") or Path(variables.get("HOME", "/")) / ".local" / "state"
    return Path(state) / "thingwarden" / "journal.sqlite"


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_CONFIG_BYTES + 1)
        if len(text) > MAX_CONFIG_BYTES:
            raise ConfigError(f"configuration {file}", f"larger than {MAX_CONFIG_BYTES} bytes", "is it the right file?")
        return tomllib.loads(text.decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"configuration {file}", error.strerror or str(error), "check path and permission") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"configuration {file}", f"not valid TOML: {error}", "see: thingwarden config default"
        ) from error


def _config_error(file: Path, problems: list[Problem]) -> ConfigError:
    first, *rest = problems
    shown = f" = {first.value}" if first.value else ""
    hint = f"allowed: {first.allowed}" if first.allowed else ""
    if rest:
        hint = f"{hint}; {len(rest)} more, see: thingwarden config check {file}".removeprefix("; ")
    return ConfigError(f"configuration {file}, {first.key}{shown}", first.why, hint)


def _problem_from_detail(detail: ErrorDetails) -> Problem:
    location = [str(part) for part in detail["loc"]]
    key = ".".join(location[:2]) or "(whole file)"
    field = next((field for section, name, field in _fields() if f"{section}.{name}" == key), None)
    allowed = _allowed(field) if field is not None else _known_names(location)
    if detail["type"] == "extra_forbidden":
        return Problem(key=key, value="", why="unknown setting", allowed=allowed)
    shown = "" if isinstance(detail["input"], dict | BaseModel) else repr(detail["input"])
    why = detail["msg"].removeprefix("Value error, ")
    return Problem(key=key, value=shown, why=why[:1].lower() + why[1:], allowed=allowed)


def _known_names(location: list[str]) -> str:
    section = Settings.model_fields.get(location[0]) if location else None
    if section is None or len(location) < 2:
        return f"sections {', '.join(Settings.model_fields)}"
    names = [name for candidate, name, _ in _fields() if candidate == location[0]]
    return f"in [{location[0]}]: {', '.join(names)}"


def _fields() -> Iterator[tuple[str, str, FieldInfo]]:
    for section, holder in Settings.model_fields.items():
        section_class = holder.annotation
        assert isinstance(section_class, type) and issubclass(section_class, _Section)
        for name, field in section_class.model_fields.items():
            yield section, name, field


def _allowed(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["allowed"])


def _origins(data: Mapping[str, Any], source: str) -> dict[str, str]:
    return {
        f"{section}.{name}": source if name in data.get(section, {}) else "default" for section, name, _ in _fields()
    }


def _plain(value: object) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)
