"""What an operator may set: one frozen class per stage, read from one TOML file.

In: a TOML file, or none. Out: ``Settings`` with the origin of every value.
Must never: read a file or the environment at import; replace a bad value by a default.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from thingwarden.detect.correlate import CorrelationSettings
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.errors import ConfigError
from thingwarden.enforce_section import EnforceSettings
from thingwarden.policy_file import load_policy
from thingwarden.respond.playbook import Playbook, load_playbook, parse_playbook
from thingwarden.respond.rules import PolicySettings
from thingwarden.setting import (
    NETWORKS_ALLOWED,
    FilePath,
    FilePaths,
    Networks,
    Problem,
    Section,
    member_of,
    read_toml,
    setting,
)

CONFIG_VARIABLE: Final = "THINGWARDEN_CONFIG"
"""Environment variable that names the file when ``--config`` does not."""

PACKAGED_MODEL: Final = Path(__file__).resolve().parent / "data" / "model" / "nano"
"""The model that ships with the package."""

PLAN_SCHEMA: Final = PACKAGED_MODEL.parents[1] / "plan.schema.json"
"""JSON Schema of the plan language."""

PACKAGED_SAMPLE: Final = PACKAGED_MODEL.parents[1] / "sample" / "sample.pcap.gz"
"""The capture that the demo judges, made by the project's own lab."""

PACKAGED_TRUTH: Final = PACKAGED_SAMPLE.with_name("truth.json")
"""What is true of that capture."""

PACKAGED_TIMING: Final = PACKAGED_SAMPLE.with_name("timing.json")
"""When each act in it really took place."""

_HINT: Final = "see: thingwarden config default"


class NetworkSettings(Section):
    """What is known about the network under watch."""

    local_prefixes: Networks = setting(
        [],
        "Further networks whose hosts are devices; private and link-local ones, and a watched interface's own, are.",
        NETWORKS_ALLOWED,
    )


class ModelSettings(Section):
    """Which model judges, and how much of the machine it may use."""

    path: FilePath | None = setting(
        None, "Folder of the model artifact; unset means the one that ships with the package.", "path of a folder"
    )
    threads_count: int = setting(1, "Processor threads that the model may use.", "whole number, 1 to 64", ge=1, le=64)


class DetectSettings(Section):
    """How readily detections become incidents."""

    alarm_level_ratio: float = setting(
        1.0,
        "Multiplies the evidence that opens an incident; 1 is what was calibrated on benign devices, "
        "less finds more and accuses more.",
        "number, 0.25 to 4",
        ge=0.25,
        le=4.0,
    )
    idle_s: float = setting(
        900.0, "An incident ends after this long without evidence.", "seconds, 60 to 86400", ge=60.0, le=86_400.0
    )
    resume_s: float = setting(
        86_400.0,
        "Evidence within this long continues the ended incident instead of opening another.",
        "seconds, 60 to 604800, not below detect.idle_s",
        ge=60.0,
        le=604_800.0,
    )

    @model_validator(mode="after")
    def _resume_is_not_below_idle(self) -> Self:
        if self.resume_s < self.idle_s:
            raise ValueError(f"resume_s = {self.resume_s} is below idle_s = {self.idle_s}")
        return self


class SightingSettings(Section):
    """What others know about the traffic, as evidence beside the model."""

    alerts: FilePaths = setting(
        [], "Logs of Suricata (eve.json) about the same traffic; --alerts replaces them.", "list of paths"
    )
    indicators: FilePaths = setting(
        [], "Lists of what is known to be bad, plain or STIX 2.1; --indicators replaces them.", "list of paths"
    )
    unstated_confidence: int = setting(
        70,
        "Confidence of entries whose list states none; from 70 an outbound contact alone opens an incident, "
        "from 30 only with the model's evidence or another sighting.",
        "whole number, 1 to 100",
        ge=1,
        le=100,
    )


class Proposer(Enum):
    """Who chooses among the acts that policy allows; the value is the setting's."""

    PLAYBOOK = "playbook"
    PLANNER = "planner"


class PolicySection(Section):
    """What may be ordered without asking a person, and by whom acts are chosen."""

    file: FilePath | None = setting(
        None, "The policy; unset means the one that ships with the package.", "path of a TOML file"
    )
    playbook: FilePath | None = setting(
        None, "The playbook; unset means the one that ships with the package.", "path of a TOML file"
    )
    proposer: Annotated[Proposer, member_of(Proposer)] = setting(
        "playbook",
        "Who chooses acts: the playbook, a table; or the planner, which weighs harm stopped against harmless traffic.",
        "one of playbook, planner",
    )


class JournalSettings(Section):
    """Where incidents and decisions are kept."""

    path: FilePath | None = setting(
        None,
        "SQLite file; unset means thingwarden/journal.sqlite in $XDG_STATE_HOME or ~/.local/state.",
        "path of a file whose folder can be written",
    )


class Settings(Section):
    """Everything that can be set; one attribute per stage."""

    network: NetworkSettings = NetworkSettings()
    model: ModelSettings = ModelSettings()
    detect: DetectSettings = DetectSettings()
    sightings: SightingSettings = SightingSettings()
    policy: PolicySection = PolicySection()
    enforce: EnforceSettings = EnforceSettings()
    journal: JournalSettings = JournalSettings()


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
    data = read_toml(file, "configuration", _HINT)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise _config_error(file, [_problem_from_detail(detail) for detail in error.errors()]) from error
    return LoadedSettings(settings=settings, file=file, origin=_origins(data, str(file)))


def load_what_holds(
    chosen: Path | None = None, environment: Mapping[str, str] | None = None
) -> tuple[Settings, tuple[str, ...]]:
    """The settings of the sections that are sound, defaults for the rest, and what is wrong; for emergencies alone.

    Args:
        chosen, environment: as of ``load_settings``.
    """
    try:
        file = find_config_file(chosen, os.environ if environment is None else environment)
        data = {} if file is None else read_toml(file, "configuration", _HINT)
    except ConfigError as error:
        return Settings(), (str(error),)
    sound, problems = {}, []
    for section, values in data.items():
        try:
            Settings.model_validate({section: values})
            sound[section] = values
        except ValidationError as error:
            problems.append(str(_config_error(file or Path(), [_problem_from_detail(item) for item in error.errors()])))
    return Settings.model_validate(sound), tuple(problems)


def find_problems(file: Path) -> list[Problem]:
    """Everything wrong with the settings in ``file``, in its order; empty when all is well.

    Raises:
        ConfigError: the file cannot be read or is not TOML.
    """
    try:
        Settings.model_validate(read_toml(file, "configuration", _HINT))
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


def key_path(settings: Settings, environment: Mapping[str, str] | None = None) -> Path:
    """The key's file: the setting, else ``key`` beside the journal."""
    return settings.enforce.key or journal_path(settings.journal, environment).with_name("key")


def enforcer_socket(settings: EnforceSettings, kind: str) -> Path:
    """Where the process of that kind listens."""
    return settings.run_folder / f"{kind}.sock"


def lease_folder(settings: EnforceSettings) -> Path:
    """The leases that the reaper looks after."""
    return settings.state_folder / "leases"


def policy_settings(settings: Settings) -> PolicySettings:
    """What the operator allows, as ``respond`` reads it.

    Raises:
        ConfigError: the policy file is refused.
    """
    return load_policy(settings.policy.file)


def chosen_playbook(settings: PolicySection) -> Playbook:
    """The playbook that the settings name, else the packaged one.

    Raises:
        ConfigError: it cannot be read, or a rule is refused; names the file and the rule.
    """
    file = settings.playbook
    if file is None:
        return load_playbook()
    try:
        return parse_playbook(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"playbook {file}", str(error), "check path, permission and encoding") from error
    except ConfigError as error:
        raise ConfigError(f"{file}, {error.what}", error.why, error.hint) from error


def correlation_settings(settings: DetectSettings) -> CorrelationSettings:
    """How incidents begin and end, as ``detect`` reads it."""
    return CorrelationSettings(idle_s=settings.idle_s, resume_s=settings.resume_s)


def adjust_calibration(calibration: Calibration, settings: DetectSettings) -> Calibration:
    """The model's calibration with its alarm level as the operator wants it."""
    return replace(calibration, alarm_level_nats=calibration.alarm_level_nats * settings.alarm_level_ratio)


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
    is_conflict = detail["type"] == "value_error" and len(location) == 1
    allowed = "" if is_conflict else _allowed(field) if field is not None else _known_names(location)
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
        assert isinstance(section_class, type) and issubclass(section_class, Section)
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
    if isinstance(value, Enum):
        return value.value
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
