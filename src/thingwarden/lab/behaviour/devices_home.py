"""Things that are switched and lit: smart plugs and bulbs.

In: an identity. Out: their ``DeviceKind``.
Must never: end a habit because a cloud does not answer.
"""

from __future__ import annotations

from typing import Final

from thingwarden.lab.behaviour.doors import DOORS
from thingwarden.lab.behaviour.kind import DeviceKind, Habit, Site, draw_habit
from thingwarden.lab.behaviour.protocol import http
from thingwarden.lab.behaviour.reach import Reach
from thingwarden.lab.world import Identity, World

_PLUG_CLOUD: Final = Site(
    services=("plug-cloud.example", "vendor.example"), port=443, others=(8443, 8883, 50443), is_tls=True, plain_port=80
)


def _plug_habits(me: Identity) -> list[Habit]:
    cloud = Reach(me, "cloud", _PLUG_CLOUD)
    manners = http.Manners.drawn(me.traits, "cloud")
    body_bytes = me.traits.count("state_bytes", 160, 20, 8000)
    answer_bytes = me.traits.count("answer_bytes", 60, 0, 20_000)

    async def poll(world: World) -> None:
        ask = http.Ask(path="/poll", body_bytes=body_bytes, answer_bytes=answer_bytes)
        await http.visit(world, cloud, [ask], manners)

    return [draw_habit(me, "poll", poll, 12.0, 2.0, 3600.0)]


PLUG: Final = DeviceKind(
    about="Smart plug: polls its cloud over TLS, is switched over the LAN.",
    habits=_plug_habits,
    sites={"cloud": _PLUG_CLOUD},
    doors=DOORS["plug"],
)
