"""Things that are switched, lit or sent about: smart plugs, bulbs, vacuums.

In: an identity. Out: their ``DeviceKind``.
Must never: end a habit because a cloud does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from thingwarden.lab.behaviour import housekeeping
from thingwarden.lab.behaviour.cloud import Size, holding, polling
from thingwarden.lab.behaviour.devices_mqtt import BROKER, MqttManners, reporting
from thingwarden.lab.behaviour.doors import DOORS
from thingwarden.lab.behaviour.kind import DeviceKind, Habit, Site, draw_habit
from thingwarden.lab.behaviour.protocol import http, session
from thingwarden.lab.behaviour.protocol.login import ssh_server
from thingwarden.lab.behaviour.reach import Reach
from thingwarden.lab.behaviour.services import serve_streams
from thingwarden.lab.world import Handler, Identity, World

CLOUD: Final = Site(
    services=("plug-cloud.example", "vendor.example"),
    port=443,
    others=(8443, 8883, 50443, 6668, 8080, 8000),
    is_tls=True,
    plain_port=80,
)
_MAP_STORE: Final = Site(
    services=("vendor.example", "backup.example"), port=443, others=(8443, 8080), is_tls=True, plain_port=80
)
_BROADCAST: Final = "255.255.255.255"
_BROADCAST_PORTS: Final = (6666, 6667, 20002, 56700)


def datagram_door(me: Identity, kind: str, role: str = "datagram") -> list[Habit]:
    """Answering on the door for datagrams, where this device has one."""
    port = DOORS[kind][role].drawn(role, me.traits)

    async def answer(world: World) -> None:
        socket = await world.open_datagrams(port)
        await session.serve_wishes(world, socket)

    return [draw_habit(me, f"door-{role}", answer, 1.0, 0.5, 2.0)] if port else []


def _broadcasting(me: Identity) -> list[Habit]:
    if not me.traits.chance("broadcasts", 0.3):
        return []
    port = me.traits.choice("broadcast_port", _BROADCAST_PORTS[0], _BROADCAST_PORTS)
    size_bytes = me.traits.count("broadcast_bytes", 150, 20, 600)

    async def tell(world: World) -> None:
        socket = await world.open_datagrams()
        try:
            await socket.send(_BROADCAST, port, http.filler(size_bytes))
        finally:
            socket.close()

    return [draw_habit(me, "broadcast", tell, 10.0, 2.0, 600.0)]


def _with_cloud(me: Identity, ways: tuple[str, ...]) -> list[Habit]:
    way = me.traits.choice("cloud_way", ways[0], ways[1:])
    if way == "mqtt":
        return [reporting(me, MqttManners.drawn(me, report_s=20.0))]
    if way == "poll":
        return [polling(me, "cloud", Reach(me, "cloud", CLOUD), "/poll", (12.0, 2.0, 3600.0))]
    return [holding(me, "cloud", CLOUD)]


def _plug_habits(me: Identity) -> list[Habit]:
    return [
        *_with_cloud(me, ("poll", "hold", "mqtt")),
        *datagram_door(me, "plug"),
        *_broadcasting(me),
        *housekeeping.draw_housekeeping(me, announces=False),
    ]


def _bulb_habits(me: Identity) -> list[Habit]:
    return [
        *_with_cloud(me, ("hold", "mqtt", "poll")),
        *datagram_door(me, "bulb"),
        *_broadcasting(me),
        *housekeeping.draw_housekeeping(me, "_hap._tcp"),
    ]


def _vacuum_habits(me: Identity) -> list[Habit]:
    upload = polling(
        me, "map", Reach(me, "map", _MAP_STORE), "/map", (180.0, 20.0, 14_400.0),
        Size(usual=120_000, low=5_000, high=8_000_000), Size(usual=60, low=1, high=2_000), is_by_day=True,
    )  # fmt: skip
    return [
        *_with_cloud(me, ("mqtt", "hold")),
        upload,
        *datagram_door(me, "vacuum"),
        *housekeeping.draw_housekeeping(me, "_miio._udp"),
    ]


def _plug_handlers(me: Identity) -> Mapping[str, Handler]:
    del me
    return {"control": serve_streams}


def _bulb_handlers(me: Identity) -> Mapping[str, Handler]:
    del me
    return {"web": serve_streams}


def _vacuum_handlers(me: Identity) -> Mapping[str, Handler]:
    del me
    return {"ssh": ssh_server()}


_SITES: Final = {"cloud": CLOUD, "broker": BROKER, **housekeeping.SITES}

PLUG: Final = DeviceKind(
    about="Smart plug: polls its cloud over TLS or holds a session with it, is switched over the LAN.",
    habits=_plug_habits,
    handlers=_plug_handlers,
    sites=_SITES,
    doors=DOORS["plug"],
    lan=("hub, tcp/1883, MQTT",),
)
BULB: Final = DeviceKind(
    about="Bulb: holds a session with its cloud, is switched by datagrams or HTTP from hub and phone.",
    habits=_bulb_habits,
    handlers=_bulb_handlers,
    sites=_SITES,
    doors=DOORS["bulb"],
    lan=("hub, tcp/1883, MQTT",),
)
VACUUM: Final = DeviceKind(
    about="Robot vacuum: reports to its cloud, uploads a map after cleaning, is steered by datagrams.",
    habits=_vacuum_habits,
    handlers=_vacuum_handlers,
    sites={"map": _MAP_STORE, **_SITES},
    doors=DOORS["vacuum"],
    lan=("hub, tcp/1883, MQTT",),
)
