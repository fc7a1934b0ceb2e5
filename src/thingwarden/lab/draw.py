"""Draws whole random networks: devices, lines, attacks and harmless oddities, each from its whole range.

In: ``CorpusRecipe``, a seed, a purpose, the number of the network. Out: ``timeline.Schedule``, drawn without running.
Must never: let one network's draw depend on another's, or give networks to train on and to count on a seed in common.
"""

# ruff: noqa: S311  random numbers here shape traffic and guard nothing

from __future__ import annotations

import hashlib
import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from thingwarden.domain.errors import ConfigError
from thingwarden.lab.behaviour.catalogue import DEVICES
from thingwarden.lab.cast import cast_attack, cast_oddity, log_uniform
from thingwarden.lab.condition import CONDITIONS, Condition, Link
from thingwarden.lab.prefix import LAN, LAN6
from thingwarden.lab.timeline import Host, Planned, PowerOn, Schedule
from thingwarden.lab.traits import Traits

Purpose: TypeAlias = Literal["train", "count"]

Ratio = Annotated[float, Field(ge=0.0, le=1.0)]
Span = tuple[Annotated[float, Field(gt=0.0)], Annotated[float, Field(gt=0.0)]]
Counts = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]

WEEK_S: Final = 7 * 86_400.0
INVENTED: Final = "invented"
HUB: Final = "hub"
"""Kinds that are drawn apart: makers that nobody has seen, and the one that other devices of a home speak to."""

_FLOWS_PER_DEVICE_S: Final = 0.35
"""What a device of the catalogue makes at pace 1, on average over kinds and traits, as measured."""
_SLOWEST: Final = 0.003
_FASTEST: Final = 4.0
_FIRST_HOST: Final = 2
_LAST_HOST: Final = 249


class CorpusRecipe(BaseModel):
    """What networks may look like; pairs are ranges, drawn uniformly in the logarithm unless said otherwise.

    Attributes:
        name: part of every seed.
        devices: per network, uniformly.
        invented_share: of the devices, those of no kind in the catalogue's list of real ones.
        hub_share: of the networks, those with a hub at least.
        breadth: of each device's traits, uniformly; see ``Traits``.
        flows: of a network to train on, about; its devices are so busy that they make so many while it lasts.
        spread: how much busier or quieter than that each device is.
        ip6_share: of the networks, those with IPv6.
        preset_share: of the networks, those whose lines are one of ``condition.CONDITIONS``.
        duration_s: of a network to train on; one to count on lasts a week.
        flows_most: a network to train on ends where it has so many, as under a flood.
        quiet_share: of the networks to train on, those without an attack.
        attacks, oddities: how many per network that has attacks, and how many harmless oddities, uniformly.
        oddities_per_week: the same in a network to count on.
        count_flows_per_device: of a device of such a network, in its week, about.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")
    devices: Counts = (2, 14)
    invented_share: Ratio = 0.5
    hub_share: Ratio = 0.6
    breadth: tuple[Ratio, Ratio] = (0.0, 1.0)
    spread: Span = (0.3, 3.0)
    ip6_share: Ratio = 0.4
    preset_share: Ratio = 0.25
    duration_s: Span = (1200.0, 172_800.0)
    flows: Span = (30.0, 800.0)
    flows_most: Annotated[int, Field(ge=100)] = 4000
    quiet_share: Ratio = 0.3
    attacks: Counts = (1, 4)
    oddities: Counts = (0, 3)
    oddities_per_week: Counts = (3, 12)
    count_flows_per_device: Span = (1000.0, 20_000.0)

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{name} is {list(value)}: the smaller one comes first")
        if not 1 <= self.devices[0] <= self.devices[1] <= _LAST_HOST - _FIRST_HOST:
            raise ValueError(f"devices is {list(self.devices)}: a LAN has room for 1 to {_LAST_HOST - _FIRST_HOST}")
        return self

    @property
    def sha256(self) -> str:
        """Of all that it says, defaults included."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def load_corpus_recipe(path: Path) -> CorpusRecipe:
    """Read a recipe.

    Raises:
        ConfigError: no such file, not TOML, or not a recipe; the message names the key.
    """
    try:
        return CorpusRecipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}, {key or 'recipe'}", f"{first['msg']}, found {first['input']!r}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(str(path), f"not a readable recipe: {error}", "see recipes/lab-corpus.toml") from error


def draw_network(recipe: CorpusRecipe, *, seed: int, number: int, purpose: Purpose = "train") -> Schedule:
    """Draw one network and what happens in it.

    Args:
        recipe: the ranges.
        seed: of the corpus.
        number: of the network, from 0.
        purpose: networks to train on and to count on share no draw.
    """
    name = f"{recipe.name}:{purpose}:{seed}:{number}"
    draw = _Draw(recipe, purpose, name, random.Random(name))
    duration_s = WEEK_S if purpose == "count" else round(log_uniform(draw.rng, *recipe.duration_s), 1)
    condition = draw_condition(random.Random(f"{name}:condition"), recipe.preset_share)
    hosts = draw.hosts(duration_s)
    return Schedule(
        scenario=f"net-{number:05d}",
        seed=int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big"),
        duration_s=duration_s,
        starts_at_hour=round(draw.rng.uniform(0.0, 24.0), 2),
        condition=condition,
        hosts=hosts,
        planned=draw.planned(hosts, duration_s),
    )


def draw_condition(rng: random.Random, preset_share: float) -> Condition:
    """The lines of a network: a preset, or delay, jitter, loss and rate from their whole ranges."""
    if rng.random() < preset_share:
        return CONDITIONS[rng.choice(sorted(CONDITIONS))]
    uplink = _draw_link(rng, delay_ms=(1.0, 300.0), rate_mbps=(1.0, 500.0))
    wireless = _draw_link(rng, delay_ms=(0.3, 12.0), rate_mbps=(2.0, 100.0)) if rng.random() < 0.7 else Link()
    return Condition(name="drawn", uplink=uplink, wireless=wireless)


def describe_condition(condition: Condition) -> str:
    """A line in words: its preset's name, or its figures."""
    if condition.name in CONDITIONS:
        return condition.name
    lines = (("uplink", condition.uplink), ("wireless", condition.wireless))
    return "; ".join(
        f"{name} {link.delay_ms:.3g} ms +- {link.jitter_ms:.2g}, loss {link.loss_ratio:.2g}, "
        f"reordered {link.reorder_ratio:.2g}, {link.rate_mbps:.3g} Mbit/s"
        for name, link in lines
        if not link.is_plain
    )


def _draw_link(rng: random.Random, *, delay_ms: tuple[float, float], rate_mbps: tuple[float, float]) -> Link:
    delay = log_uniform(rng, *delay_ms)
    loss = log_uniform(rng, 1e-4, 0.05) if rng.random() < 0.6 else 0.0
    reorder = log_uniform(rng, 1e-4, 0.02) if rng.random() < 0.2 else 0.0
    return Link(
        delay_ms=round(delay, 3),
        jitter_ms=round(delay * log_uniform(rng, 0.02, 0.6), 3),
        loss_ratio=round(loss, 5),
        reorder_ratio=round(reorder, 5),
        rate_mbps=round(log_uniform(rng, *rate_mbps), 2),
    )


@dataclass(frozen=True, slots=True)
class _Draw:
    recipe: CorpusRecipe
    purpose: Purpose
    name: str
    rng: random.Random

    def hosts(self, duration_s: float) -> tuple[Host, ...]:
        """The LAN's machines, each with traits of its own."""
        rng, recipe = self.rng, self.recipe
        kinds = [self._kind() for _ in range(rng.randint(*recipe.devices))]
        if HUB not in kinds and rng.random() < recipe.hub_share:
            kinds[0] = HUB
        has_ip6 = rng.random() < recipe.ip6_share
        numbers = rng.sample(range(_FIRST_HOST, _LAST_HOST + 1), len(kinds))
        pace = self._pace(len(kinds), duration_s)
        return tuple(self._host(kind, number, has_ip6, pace) for kind, number in zip(kinds, numbers, strict=True))

    def planned(self, hosts: Sequence[Host], duration_s: float) -> tuple[Planned, ...]:
        """Attacks and harmless oddities at their moments."""
        rng, recipe = self.rng, self.recipe
        attack_count = rng.randint(*recipe.attacks)
        if self.purpose == "count" or rng.random() < recipe.quiet_share:
            attack_count = 0
        oddity_count = rng.randint(*(recipe.oddities_per_week if self.purpose == "count" else recipe.oddities))
        by_name = {host.name: host for host in hosts}
        planned: list[Planned] = []
        for place in range(attack_count):
            planned += cast_attack(self._stream("attack", place), by_name, duration_s, place + 1)
        for place in range(oddity_count):
            planned += cast_oddity(self._stream("oddity", place), by_name, duration_s, place + 1)
        return tuple(sorted((item for item in planned if item.at_s < duration_s), key=lambda item: item.at_s))

    def _stream(self, what: str, place: int) -> random.Random:
        return random.Random(f"{self.name}:{what}:{place}")

    def _kind(self) -> str:
        if self.rng.random() < self.recipe.invented_share:
            return INVENTED
        return self.rng.choice(REAL_KINDS)

    def _pace(self, device_count: int, duration_s: float) -> float:
        """How busy the devices are on average, so that the network gives about as many flows as the recipe wants."""
        recipe = self.recipe
        if self.purpose == "count":
            wanted = log_uniform(self.rng, *recipe.count_flows_per_device) * device_count
        else:
            wanted = log_uniform(self.rng, *recipe.flows)
        usual = _FLOWS_PER_DEVICE_S * device_count * duration_s
        return min(_FASTEST, max(_SLOWEST, wanted / usual))

    def _host(self, kind: str, number: int, has_ip6: bool, pace: float) -> Host:
        name = f"{kind[:11]}-{number}"
        rng = self._stream("host", number)
        return Host(
            name=name,
            kind=kind,
            address=str(LAN.network_address + number),
            address6=str(LAN6.network_address + number) if has_ip6 and rng.random() < 0.8 else "",
            mac=":".join(f"{byte:02x}" for byte in (0x02, *rng.randbytes(4), number)),
            pace=round(pace * log_uniform(rng, *self.recipe.spread), 4),
            traits=Traits(seed=f"{self.name}:{name}", breadth=round(rng.uniform(*self.recipe.breadth), 3)),
        )


REAL_KINDS: Final = tuple(sorted(set(DEVICES) - {INVENTED, "internet", "gateway"}))
"""Kinds of the catalogue that are somebody's product."""


def present_s(schedule: Schedule, ends_at_s: float) -> Mapping[str, float]:
    """Seconds that each host was there, from its joining on, when the run ended at ``ends_at_s``."""
    joins = {item.action.host: item.at_s for item in reversed(schedule.planned) if isinstance(item.action, PowerOn)}
    return {
        host.name: max(0.0, ends_at_s - (joins.get(host.name, ends_at_s) if host.joins else 0.0))
        for host in schedule.hosts
    }
