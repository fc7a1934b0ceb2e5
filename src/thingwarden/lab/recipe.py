"""What a scenario consists of, as its author writes it down.

In: a TOML recipe, one of the packaged ones or a file of the user's. Out: ``Recipe``, checked.
Must never: look at a clock, or draw anything; ``schedule.py`` does.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.lab.behaviour.catalogue import DEVICES
from thingwarden.lab.condition import CONDITIONS
from thingwarden.lab.directory import SERVICES

SCENARIOS: Final = Path(__file__).parent / "scenarios"
"""Where the packaged recipes are."""

GATEWAY_NAME: Final = "gateway"
INTERNET_NAME: Final = "internet"
LAN_NAME: Final = "lan"
ELSEWHERE_NAME: Final = "elsewhere"
"""The lab's ``SPOOFED`` prefix: addresses of the internet where nobody answers."""

Ratio = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeviceRecipe(_Part):
    """A device.

    Attributes:
        name: at most 16 letters.
        kind: a key of ``behaviour.catalogue.DEVICES``.
        host: the last byte of its address.
        pace: how busy it is; 1 is usual.
        joins: whether it is absent until an event brings it.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,15}$")
    kind: str
    host: int = Field(ge=2, le=249)
    pace: float = Field(default=1.0, gt=0.1, le=10.0)
    joins: bool = False


class EventRecipe(_Part):
    """Something beyond habits: an attack, or something harmless that looks odd.

    Attributes:
        kind: a key of ``events.EVENTS``, or an act of ``behaviour.catalogue.ACTS``.
        by: who does it: devices, or ``internet``; each of them at about the same moment.
        on: to whom: devices, ``gateway``, ``lan``, ``elsewhere``, ``uplink``, ``resolver``, services of the internet.
        ip_version: by which the ones in ``on`` are addressed.
        begins_ratio: between which parts of the duration it begins.
        lasts_ratio: its bound in time as a part of the duration, or ``lasts_s``: in seconds, shortened where the run
            ends before; one of the two is given.
        count: how often it happens, each at a moment of its own.
        varies: whether acts draw what ``settings`` leave open from their whole range instead of the usual value.
        settings: what the act is given; text that starts with ``@`` names a host or a service, to be made an address.
    """

    kind: str
    by: tuple[str, ...] = ()
    on: tuple[str, ...] = ()
    ip_version: Literal[4, 6] = 4
    begins_ratio: tuple[Ratio, Ratio]
    lasts_ratio: Ratio | None = None
    lasts_s: float | None = Field(default=None, gt=0.0, le=86_400.0)
    count: int = Field(default=1, ge=1, le=1000)
    varies: bool = False
    settings: dict[str, bool | int | float | str | tuple[bool | int | float | str, ...]] = {}

    @model_validator(mode="after")
    def _check_span(self) -> Self:
        if (self.lasts_ratio is None) == (self.lasts_s is None):
            raise ValueError("one of lasts_ratio and lasts_s is needed, not both")
        if self.begins_ratio[0] > self.begins_ratio[1]:
            raise ValueError(f"begins_ratio is {list(self.begins_ratio)}: the earlier moment comes first")
        return self


class Recipe(_Part):
    """A whole scenario.

    Attributes:
        about: one or two sentences for ``lab list`` and ``lab describe``.
        duration_s: how long it runs, unless the caller says otherwise.
        starts_at_hour: local time of the beginning, which day rhythms go by.
        condition: of the network, a key of ``condition.CONDITIONS``.
        ip_versions: which the LAN has.
        breadth: how much devices of a kind differ, see ``Traits``.
        snap_bytes: how much of each packet is kept; IP's own lengths stay whole.
        exclude_from_training: whether the manifest forbids to train on the outcome.
    """

    name: Name
    about: str = Field(min_length=10, max_length=300)
    duration_s: float = Field(gt=5.0, le=604_800.0)
    seed: int = Field(ge=0)
    starts_at_hour: float = Field(default=10.0, ge=0.0, lt=24.0)
    condition: str = "home"
    ip_versions: tuple[Literal[4, 6], ...] = (4,)
    breadth: Ratio = 0.0
    snap_bytes: int = Field(default=192, ge=64, le=65_535)
    exclude_from_training: bool
    devices: Annotated[tuple[DeviceRecipe, ...], Field(min_length=1)]
    events: tuple[EventRecipe, ...] = ()

    @model_validator(mode="after")
    def _check_devices(self) -> Self:
        for device in self.devices:
            if device.kind not in DEVICES or device.kind in (GATEWAY_NAME, INTERNET_NAME):
                known = ", ".join(sorted({*DEVICES} - {GATEWAY_NAME, INTERNET_NAME}))
                raise ValueError(f"{device.name}'s kind is {device.kind}: one of {known}")
        names = {device.name for device in self.devices}
        if len(names) < len(self.devices) or len({device.host for device in self.devices}) < len(self.devices):
            raise ValueError("two devices share a name or a host number")
        if reserved := names & {GATEWAY_NAME, INTERNET_NAME, LAN_NAME, ELSEWHERE_NAME, "uplink", "resolver"}:
            raise ValueError(f"{', '.join(sorted(reserved))} is no name for a device")
        return self

    @model_validator(mode="after")
    def _check_network(self) -> Self:
        if self.condition not in CONDITIONS:
            raise ValueError(f"condition {self.condition} is unknown: one of {', '.join(CONDITIONS)}")
        if self.ip_versions not in ((4,), (4, 6)):
            raise ValueError(f"ip_versions is {list(self.ip_versions)}: [4] or [4, 6], for every device has IPv4")
        return self

    @model_validator(mode="after")
    def _check_events(self) -> Self:
        devices = [device.name for device in self.devices]
        for number, event in enumerate(self.events):
            place = f"events.{number} ({event.kind})"
            _check_names(f"{place}, by", event.by, [*devices, INTERNET_NAME])
            targets = [*devices, GATEWAY_NAME, LAN_NAME, ELSEWHERE_NAME, "uplink", "resolver", *SERVICES]
            _check_names(f"{place}, on", event.on, targets)
            if event.ip_version not in self.ip_versions:
                raise ValueError(f"{place}, ip_version is {event.ip_version}: the scenario's ip_versions lack it")
        return self


def _check_names(place: str, names: Iterable[str], allowed: list[str]) -> None:
    for name in names:
        if name not in allowed:
            raise ValueError(f"{place} names {name}: one of {', '.join(allowed)}")


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        ConfigError: unreadable, not TOML, or a key that is unknown, missing or out of range.
    """
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"recipe {path}", str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "recipe"
        value = "" if isinstance(first["input"], dict) else f", found {first['input']!r}"
        raise ConfigError(f"recipe {path}, {key}", f"{first['msg']}{value}") from error


def find_recipe(name: str) -> Path:
    """The path of a packaged scenario by its name, or of a file that is named by its path.

    Raises:
        RequestError: there is neither.
    """
    packaged = SCENARIOS / f"{name}.toml"
    given = Path(name)
    for path in (packaged, given):
        if path.is_file():
            return path
    known = ", ".join(path.stem for path in _packaged_paths())
    raise RequestError(f"scenario {name}", "no packaged scenario and no file", f"one of {known}, or a recipe's path")


def list_scenarios() -> tuple[Recipe, ...]:
    """The packaged scenarios, by name."""
    return tuple(load_recipe(path) for path in _packaged_paths())


def _packaged_paths() -> list[Path]:
    return sorted(SCENARIOS.glob("*.toml"))


def recipe_sha256(path: Path) -> str:
    """The recipe's hash, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
