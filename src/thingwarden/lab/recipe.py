"""What a scenario consists of, and the schedule that a seed draws from it.

In: a TOML recipe. Out: ``Recipe``, and ``Schedule``: the same for the same recipe, seed and duration.
Must never: look at a clock.
"""

# ruff: noqa: S311  random numbers here shape traffic and guard nothing

from __future__ import annotations

import hashlib
import ipaddress
import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from thingwarden.domain.errors import ConfigError
from thingwarden.lab.network import LAN, Host
from thingwarden.lab.wire import SERVERS

AttackKind = Literal["scan", "guess", "download", "beacon", "flood"]
MishapKind = Literal["reboot", "dns_outage"]
Ratio = Annotated[float, Field(ge=0.0, le=1.0)]

GATEWAY_NAME = "gateway"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeviceRecipe(_Part):
    """A device: ``host`` is the last byte of its address, ``pace`` how busy it is (1 is usual)."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,15}$")
    kind: Literal["sensor", "door", "thermostat", "camera", "plug", "hub", "phone", "tv"]
    host: int = Field(ge=2, le=99)
    pace: float = Field(default=1.0, gt=0.1, le=10.0)


class AttackRecipe(_Part):
    """An attack by one device; ``begins_ratio`` is where it may begin, as parts of the duration.

    ``count`` is ports for a scan, packets for a flood; ``lasts_ratio`` bounds all kinds.
    """

    kind: AttackKind
    by: str
    on: tuple[str, ...] = Field(min_length=1)
    begins_ratio: tuple[Ratio, Ratio]
    lasts_ratio: Ratio
    port: int | None = Field(default=None, ge=1, le=65535)
    count: int = Field(default=0, ge=0)
    packets_per_s: int = Field(default=100, ge=1)


class MishapRecipe(_Part):
    """Something harmless that looks odd: ``of`` names the device, or the gateway for its DNS."""

    kind: MishapKind
    of: str
    begins_ratio: tuple[Ratio, Ratio]
    lasts_s: float = Field(gt=0.0, le=120.0)


class Recipe(_Part):
    """A whole scenario.

    Attributes:
        duration_s: how long it runs, unless the caller says otherwise.
        snap_bytes: how much of each packet is kept; IP's own lengths stay whole.
        exclude_from_training: whether the manifest forbids to train on the outcome.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")
    duration_s: float = Field(gt=5.0, le=86_400.0)
    seed: int
    snap_bytes: int = Field(default=192, ge=64, le=65_535)
    exclude_from_training: bool
    devices: tuple[DeviceRecipe, ...]
    attacks: tuple[AttackRecipe, ...] = ()
    mishaps: tuple[MishapRecipe, ...] = ()

    @model_validator(mode="after")
    def _check_names(self) -> Recipe:
        names = {device.name for device in self.devices}
        if len(names) < len(self.devices) or len({device.host for device in self.devices}) < len(self.devices):
            raise ValueError("two devices share a name or a host number")
        if names & {"gateway", "internet"}:
            raise ValueError("gateway and internet are not devices")
        for attack in self.attacks:
            known = names | SERVERS.keys() | {GATEWAY_NAME}
            unknown = ({attack.by} - names) | (set(attack.on) - known)
            if unknown:
                raise ValueError(f"attack {attack.kind} names unknown hosts: {', '.join(sorted(unknown))}")
        for mishap in self.mishaps:
            if mishap.of not in (names if mishap.kind == "reboot" else {GATEWAY_NAME}):
                raise ValueError(f"mishap {mishap.kind} cannot happen to {mishap.of}")
        return self


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
        raise ConfigError(f"recipe {path}, {key}", first["msg"]) from error


def recipe_sha256(path: Path) -> str:
    """The recipe's hash, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackEvent:
    """An attack with its moment drawn: seconds from the scenario's beginning, addresses in place of names."""

    name: str
    kind: AttackKind
    by: str
    on: tuple[ipaddress.IPv4Address, ...]
    begins_s: float
    lasts_s: float
    port: int | None
    count: int
    packets_per_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MishapEvent:
    """A mishap with its moment drawn."""

    name: str
    kind: MishapKind
    of: str
    begins_s: float
    lasts_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """All that a run will do, before it is run."""

    seed: int
    duration_s: float
    hosts: tuple[Host, ...]
    attacks: tuple[AttackEvent, ...]
    mishaps: tuple[MishapEvent, ...]


def draw_schedule(recipe: Recipe, *, seed: int, duration_s: float) -> Schedule:
    """Draw the moments of a run; mishaps are shortened where the run is short."""
    rng = random.Random(f"{recipe.name}:{seed}")
    hosts = tuple(_host(device, seed) for device in recipe.devices)
    attacks = tuple(
        AttackEvent(
            name=f"{attack.kind}-{number}",
            kind=attack.kind,
            by=attack.by,
            on=tuple(_address(name, hosts) for name in attack.on),
            begins_s=_draw(rng, attack.begins_ratio, duration_s),
            lasts_s=round(attack.lasts_ratio * duration_s, 3),
            port=attack.port,
            count=attack.count,
            packets_per_s=attack.packets_per_s,
        )
        for number, attack in enumerate(recipe.attacks, start=1)
    )
    mishaps = tuple(
        MishapEvent(
            name=f"{mishap.kind}-{number}",
            kind=mishap.kind,
            of=mishap.of,
            begins_s=_draw(rng, mishap.begins_ratio, duration_s),
            lasts_s=min(mishap.lasts_s, duration_s / 10),
        )
        for number, mishap in enumerate(recipe.mishaps, start=1)
    )
    return Schedule(seed=seed, duration_s=duration_s, hosts=hosts, attacks=attacks, mishaps=mishaps)


def _draw(rng: random.Random, between_ratio: tuple[float, float], duration_s: float) -> float:
    return round(rng.uniform(*between_ratio) * duration_s, 3)


def _host(device: DeviceRecipe, seed: int) -> Host:
    tail = random.Random(f"{seed}:{device.name}:mac").randbytes(3)
    mac = ":".join(f"{byte:02x}" for byte in (0x02, 0x77, *tail, device.host))
    return Host(name=device.name, address=LAN.network_address + device.host, mac=mac)


def _address(name: str, hosts: Sequence[Host]) -> ipaddress.IPv4Address:
    if name == GATEWAY_NAME:
        return LAN.network_address + 1
    for host in hosts:
        if host.name == name:
            return host.address
    return ipaddress.IPv4Address(SERVERS[name])
