"""Everything that a host of the lab can be, and everything that it can be told to do.

In: nothing. Out: ``DEVICES`` and ``ACTS`` by name, and ``live``, a host's life from its first second.
Must never: list an attack without the class that its flows belong to.
"""

from __future__ import annotations

from typing import Any, Final

from thingwarden.lab.behaviour import devices_home
from thingwarden.lab.behaviour.act import ActKind
from thingwarden.lab.behaviour.attacks import ATTACKS
from thingwarden.lab.behaviour.chores import CHORES
from thingwarden.lab.behaviour.kind import DeviceKind
from thingwarden.lab.world import World

DEVICES: Final[dict[str, DeviceKind]] = {
    "plug": devices_home.PLUG,
}
"""By the name that recipes use; ``gateway`` does nothing beyond its daemons, ``internet`` serves."""

ACTS: Final[dict[str, ActKind[Any]]] = {**ATTACKS, **CHORES}
"""Attacks and harmless oddities by the name that recipes use."""


async def live(world: World) -> None:
    """Start what a host of this kind does until it is switched off: its doors, then its habits; returns soon."""
    kind = DEVICES[world.me.kind]
    for role, handler in kind.handlers(world.me).items():
        port = kind.doors[role].drawn(role, world.me.traits)
        if port:
            await world.listen(port, handler)
    for habit in kind.habits(world.me):
        world.spawn(habit.live, habit.name)
