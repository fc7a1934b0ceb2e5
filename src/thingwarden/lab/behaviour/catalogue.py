"""Everything that a host of the lab can be, and everything that it can be told to do.

In: nothing. Out: ``DEVICES`` and ``ACTS`` by name, and ``live``, a host's life from its first second.
Must never: list an attack without the class that its flows belong to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from thingwarden.lab.behaviour import (
    devices_camera,
    devices_home,
    devices_hub,
    devices_industry,
    devices_media,
    devices_mqtt,
    devices_person,
    invented,
    services,
)
from thingwarden.lab.behaviour.act import ActKind
from thingwarden.lab.behaviour.attacks import ATTACKS
from thingwarden.lab.behaviour.attacks.hostile import open_doors
from thingwarden.lab.behaviour.chores import CHORES
from thingwarden.lab.behaviour.kind import DeviceKind, Endpoint
from thingwarden.lab.behaviour.protocol.dhcp import request_lease
from thingwarden.lab.world import Identity, World

DEVICES: Final[dict[str, DeviceKind]] = {
    "sensor": devices_mqtt.SENSOR,
    "door": devices_mqtt.DOOR,
    "thermostat": devices_mqtt.THERMOSTAT,
    "plug": devices_home.PLUG,
    "bulb": devices_home.BULB,
    "vacuum": devices_home.VACUUM,
    "camera": devices_camera.CAMERA,
    "doorbell": devices_camera.DOORBELL,
    "hub": devices_hub.HUB,
    "tv": devices_media.TELEVISION,
    "voice-assistant": devices_media.VOICE_ASSISTANT,
    "phone": devices_person.PHONE,
    "printer": devices_person.PRINTER,
    "server": devices_person.SERVER,
    "coap-sensor": devices_industry.COAP_SENSOR,
    "plc": devices_industry.PLC,
    "hmi": devices_industry.HMI,
    "historian": devices_industry.HISTORIAN,
    "monitor": devices_industry.MONITOR,
    "ward-server": devices_industry.WARD_SERVER,
    "invented": invented.INVENTED,
    "gateway": DeviceKind(about="Gateway: routes, resolves names and leases addresses; nothing beyond its daemons."),
    "internet": DeviceKind(about="The internet: every service of the directory, on one host."),
}
"""By the name that recipes use."""

ACTS: Final[dict[str, ActKind[Any]]] = {**ATTACKS, **CHORES}
"""Attacks and harmless oddities by the name that recipes use."""


INTERNET_KIND: Final = "internet"
_PATIENCE_S: Final = (5.0, 40.0)


async def live(world: World) -> None:
    """Start what a host of this kind does until it is switched off; returns soon, unless nobody leases an address."""
    kind = DEVICES[world.me.kind]
    if world.me.kind == INTERNET_KIND:
        await services.serve(world, services.listeners(world.me.name, _endpoints(world.me)))
        await open_doors(world)
    if world.me.is_booting:
        await _lease(world)
    for role, handler in kind.handlers(world.me).items():
        port = kind.doors[role].drawn(role, world.me.traits)
        if port:
            with contextlib.suppress(OSError):
                await world.listen(port, handler)
    for habit in kind.habits(world.me):
        world.spawn(habit.live, habit.name)


async def _lease(world: World) -> None:
    tells_name = world.me.traits.chance("dhcp_tells_name", 0.7)
    while True:
        try:
            await request_lease(world, host_name=world.me.name if tells_name else "")
            return
        except OSError:
            await world.sleep(world.rng.uniform(*_PATIENCE_S))


def _endpoints(internet: Identity) -> Iterator[Endpoint]:
    for name, kind in sorted(internet.kinds.items()):
        traits = internet.peer_traits.get(name)
        if traits is not None and kind in DEVICES:
            yield from (site.drawn(role, traits) for role, site in DEVICES[kind].sites.items())
