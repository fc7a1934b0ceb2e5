"""Draws from a recipe and a seed all that a run will do.

In: ``Recipe``, seed, duration, condition. Out: ``timeline.Schedule``, the same for the same arguments.
Must never: look at a clock, or let one event's draw depend on another event.
"""

# ruff: noqa: S311  random numbers here shape traffic and guard nothing

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

from thingwarden.lab.condition import Condition, find_condition
from thingwarden.lab.events import Occasion, expand
from thingwarden.lab.prefix import LAN, LAN6
from thingwarden.lab.recipe import DeviceRecipe, EventRecipe, Recipe
from thingwarden.lab.timeline import Host, Planned, Schedule
from thingwarden.lab.traits import Traits


def draw_schedule(
    recipe: Recipe,
    *,
    seed: int | None = None,
    duration_s: float | None = None,
    condition: Condition | None = None,
) -> Schedule:
    """Draw a run.

    Args:
        recipe: what may happen, its moments as parts of the duration.
        seed: the recipe's own by default.
        duration_s: seconds; the recipe's own by default.
        condition: of the network; the recipe's own by default.

    Raises:
        ConfigError: an event's kind or settings are wrong.
    """
    seed = recipe.seed if seed is None else seed
    duration_s = recipe.duration_s if duration_s is None else duration_s
    hosts = {device.name: _host(device, recipe, seed) for device in recipe.devices}
    planned = _draw_events(recipe, hosts, seed, duration_s)
    return Schedule(
        scenario=recipe.name,
        seed=seed,
        duration_s=duration_s,
        starts_at_hour=recipe.starts_at_hour,
        condition=condition or find_condition(recipe.condition),
        hosts=tuple(hosts.values()),
        planned=tuple(sorted(planned, key=lambda item: item.at_s)),
    )


def _host(device: DeviceRecipe, recipe: Recipe, seed: int) -> Host:
    tail = random.Random(f"{seed}:{device.name}:mac").randbytes(3)
    return Host(
        name=device.name,
        kind=device.kind,
        address=str(LAN.network_address + device.host),
        address6=str(LAN6.network_address + device.host) if 6 in recipe.ip_versions else "",
        mac=":".join(f"{byte:02x}" for byte in (0x02, 0x77, *tail, device.host)),
        pace=device.pace,
        traits=Traits(seed=f"{seed}:{device.name}", breadth=recipe.breadth),
        joins=device.joins,
    )


def _draw_events(recipe: Recipe, hosts: Mapping[str, Host], seed: int, duration_s: float) -> list[Planned]:
    numbers: Counter[str] = Counter()
    planned = []
    for place, event in enumerate(recipe.events):
        for _ in range(event.count):
            numbers[event.kind] += 1
            name = f"{event.kind}-{numbers[event.kind]}"
            rng = random.Random(f"{recipe.name}:{seed}:{name}")
            begins_s = round(rng.uniform(*event.begins_ratio) * duration_s, 3)
            occasion = Occasion(
                name=name,
                by=event.by,
                on=event.on,
                ip_version=event.ip_version,
                begins_s=begins_s,
                lasts_s=_length(event, begins_s, duration_s),
                settings=event.settings,
                varies=event.varies,
                hosts=hosts,
                rng=rng,
                place=f"scenario {recipe.name}, events.{place} ({event.kind})",
            )
            planned += expand(event.kind, occasion)
    return planned


def _length(event: EventRecipe, begins_s: float, duration_s: float) -> float:
    """Seconds; a run that is too short shortens it, to at most what is left."""
    wanted_s = event.lasts_s if event.lasts_ratio is None else event.lasts_ratio * duration_s
    return round(max(0.001, min(wanted_s or 0.001, duration_s - begins_s)), 3)
