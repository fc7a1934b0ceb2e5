"""Draws who does what to whom: the cast of attacks and harmless oddities in a random network.

In: the hosts of a network, a random stream. Out: ``Planned`` actions, their settings from the whole ranges.
Must never: aim at what an act cannot work on, or draw from another happening's random stream.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.attacks.breadth import draw_settings
from thingwarden.lab.behaviour.catalogue import ACTS, DEVICES
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.events import Occasion, expand
from thingwarden.lab.timeline import Host, Planned

_SHORTEST_S: Final = 30.0

CLOUDS: Final = tuple(name for name, service in SERVICES.items() if not service.is_hostile and "example" in name)
HOSTILE: Final = tuple(name for name, service in SERVICES.items() if service.is_hostile)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One way to cast an act.

    Attributes:
        by: ``device``, ``devices`` (some that act together) or ``internet``.
        on: ``lan``, ``elsewhere``, ``gateway``, ``device``, ``devices``, ``cloud``, ``hostile``, ``resolver``,
            ``uplink``, empty for nobody; or ``door:`` and a role: devices that open such a door, its port going into
            the settings; or the name of a service.
        weight: how often this one is drawn among the act's parts.
    """

    by: str = "device"
    on: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class _Stage:
    """The hosts of a network and the random stream of one happening."""

    rng: random.Random
    hosts: Mapping[str, Host]

    def performers(self, by: str) -> tuple[str, ...]:
        names = list(self.hosts)
        if by == "device":
            return (self.rng.choice(names),)
        if by == "devices":
            return tuple(self.rng.sample(names, self.rng.randint(1, min(5, len(names)))))
        return (by,) if by else ()

    def targets(self, on: str, by: Sequence[str]) -> tuple[str, ...]:
        others = [name for name in self.hosts if name not in by]
        if on == "device":
            return (self.rng.choice(others),) if others else ()
        if on == "devices":
            return tuple(self.rng.sample(others, self.rng.randint(1, min(6, len(others))))) if others else ()
        if on in ("cloud", "hostile"):
            return (self.rng.choice(CLOUDS if on == "cloud" else HOSTILE),)
        return (on,) if on else ()

    def visitable(self, role: str, by: Sequence[str]) -> list[tuple[str, int]]:
        """Hosts that open a door of that role, with its port."""
        found = []
        for host in self.hosts.values():
            door = DEVICES[host.kind].doors.get(role)
            port = door.drawn(role, host.traits) if door is not None and host.name not in by else 0
            if port:
                found.append((host.name, port))
        return found


def cast_attack(rng: random.Random, hosts: Mapping[str, Host], duration_s: float, number: int) -> list[Planned]:
    """One attack: an act, who does it, to whom, when, how long and how.

    Args:
        rng: of this attack alone.
        hosts: of the LAN, by name.
        duration_s: of the run.
        number: of the attack in its network.

    Returns:
        nothing where the act that was drawn has nobody to work on in this network.
    """
    acts = sorted(act for act, kind in ACTS.items() if kind.attack_class is not AttackClass.BENIGN)
    attack_class = rng.choice(sorted({ACTS[act].attack_class.value for act in acts}))
    act = rng.choice([act for act in acts if ACTS[act].attack_class.value == attack_class])
    return _cast(act, ATTACK_PARTS, rng, hosts, duration_s, number)


def cast_oddity(rng: random.Random, hosts: Mapping[str, Host], duration_s: float, number: int) -> list[Planned]:
    """One harmless oddity, drawn as ``cast_attack`` draws an attack."""
    return _cast(rng.choice(sorted(ODDITY_PARTS)), ODDITY_PARTS, rng, hosts, duration_s, number)


def _cast(
    kind: str,
    parts: Mapping[str, Sequence[Part]],
    rng: random.Random,
    hosts: Mapping[str, Host],
    duration_s: float,
    number: int,
) -> list[Planned]:
    part = rng.choices(parts[kind], [part.weight for part in parts[kind]])[0]
    stage = _Stage(rng, hosts)
    by = stage.performers(part.by)
    settings = draw_settings(ACTS[kind].settings, rng) if kind in ACTS else {}
    if part.on.startswith("door:"):
        visited = stage.visitable(part.on.removeprefix("door:"), by)
        if not visited:
            return []
        target, port = rng.choice(visited)
        on: tuple[str, ...] = (target,)
        settings |= {"port": port} if "port" in ACTS[kind].settings.model_fields else {}
    else:
        on = stage.targets(part.on, by)
        if part.on and not on:
            return []
    begins_s = _log_uniform(rng, _SHORTEST_S, max(2.0 * _SHORTEST_S, 0.9 * duration_s))
    occasion = Occasion(
        name=f"{kind}-{number}",
        by=by,
        on=on,
        ip_version=4,
        begins_s=round(begins_s, 3),
        lasts_s=round(_log_uniform(rng, _SHORTEST_S, max(2.0 * _SHORTEST_S, duration_s - begins_s)), 3),
        settings=settings,
        hosts=hosts,
        rng=rng,
        place=f"{kind}-{number} of a random network",
    )
    return expand(kind, _in_family(occasion))


def _in_family(occasion: Occasion) -> Occasion:
    """By IPv6 now and then, where all who take part have it."""
    named = [occasion.hosts[name] for name in (*occasion.by, *occasion.on) if name in occasion.hosts]
    if named and all(host.address6 for host in named) and occasion.rng.random() < 0.3:
        return replace(occasion, ip_version=6)
    return occasion


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


_SWEEP: Final = (Part(on="lan"), Part(on="elsewhere", weight=2.0), Part(by="devices", on="elsewhere"))
_PROBE: Final = (Part(on="device"), Part(on="devices"), Part(on="gateway", weight=0.5), Part(on="cloud", weight=0.3))

ATTACK_PARTS: Final[dict[str, tuple[Part, ...]]] = {
    "scan_horizontal": _SWEEP,
    "scan_random": _SWEEP,
    "scan_ping": _SWEEP,
    "scan_slow": (*_SWEEP, *_PROBE),
    "scan_vertical": _PROBE,
    "scan_version": _PROBE,
    "scan_udp": _PROBE,
}
"""How each attack of the catalogue may be cast."""

ODDITY_PARTS: Final[dict[str, tuple[Part, ...]]] = {
    "outage": (
        Part(by="", on="uplink"),
        Part(by="", on="resolver"),
        Part(by="", on="cloud", weight=2.0),
        Part(by="", on="device"),
    ),
}
"""The same for harmless oddities, events and acts alike."""
