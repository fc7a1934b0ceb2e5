"""The hub: asks and switches its neighbours, lets itself be found, keeps in touch with a cloud.

In: an identity. Out: its ``DeviceKind``, and the habits of visiting neighbours that a phone shares.
Must never: serve MQTT itself; Mosquitto does, or its model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from thingwarden.lab.behaviour import housekeeping
from thingwarden.lab.behaviour.cloud import Size, holding, polling
from thingwarden.lab.behaviour.doors import DOORS
from thingwarden.lab.behaviour.kind import DeviceKind, Habit, Site, draw_habit
from thingwarden.lab.behaviour.protocol import coap, discovery, session
from thingwarden.lab.behaviour.protocol.login import ssh_server
from thingwarden.lab.behaviour.reach import Reach, Visit, visits
from thingwarden.lab.behaviour.services import serve_streams
from thingwarden.lab.world import Handler, Identity, World

_CLOUD: Final = Site(
    services=("vendor.example", "mqtt-cloud.example", "push.example"), port=443, others=(8443, 8883), is_tls=True
)
_REPORT: Final = Site(services=("vendor.example", "office.example"), port=443, others=(8443,), is_tls=True)
_SMALL: Final = Size(usual=90, low=5, high=3000)
_PAGE: Final = Size(usual=700, low=20, high=40_000)
_ASKED_KINDS: Final = ("thermostat", "plug", "bulb", "camera", "vacuum", "printer", "coap-sensor", "invented")


def datagram_visit(me: Identity, visit: Visit, name: str, every_s: tuple[float, float, float]) -> Habit:
    """Switching or asking a neighbour by a datagram, answered by another."""
    sent_bytes = me.traits.count(f"{name}_sent_bytes", 60, 12, 900)
    answer_bytes = me.traits.count(f"{name}_answer_bytes", 80, 1, 1200)
    turns = me.traits.count(f"{name}_turns", 1, 1, 8)

    async def ask(world: World) -> None:
        address = await visit.locate(world)
        socket = await world.open_datagrams()
        try:
            for _ in range(turns):
                wish = session.encode_wish(sent_bytes, answer_bytes, 1, 5, b"\x34")
                await session.ask_datagrams(socket, address, visit.port, wish)
        finally:
            socket.close()

    return draw_habit(me, name, ask, *every_s)


def turn_visit(me: Identity, visit: Visit, name: str, every_s: tuple[float, float, float]) -> Habit:
    """A short exchange with a neighbour in a protocol of its maker."""
    turn = session.Turn(
        sent_bytes=me.traits.count(f"{name}_sent_bytes", 80, 1, 3000),
        answer_bytes=me.traits.count(f"{name}_answer_bytes", 200, 1, 20_000),
        think_ms=me.traits.count(f"{name}_think_ms", 8, 1, 500),
    )
    turns = me.traits.count(f"{name}_turns", 2, 1, 12)

    async def ask(world: World) -> None:
        stream = await visit.open(world)
        try:
            for _ in range(turns):
                await session.take_turn(stream, turn)
        except OSError:
            await stream.close()
            raise
        await visit.leave(world, stream)

    return draw_habit(me, name, ask, *every_s)


def coap_visit(me: Identity, visit: Visit, name: str, every_s: tuple[float, float, float]) -> Habit:
    """Asking a neighbour over CoAP, or listening to what it observes."""
    is_confirmable = me.traits.chance("coap_confirms", 0.6)
    observe_s = me.traits.number(f"{name}_observe_s", 60.0, 10.0, 1200.0) if me.traits.chance("observes", 0.4) else 0.0

    async def ask(world: World) -> None:
        address = await visit.locate(world)
        socket = await world.open_datagrams()
        try:
            await coap.request(
                world, socket, address, visit.port, coap.GET, "sensors/temp", is_confirmable=is_confirmable,
                observes=observe_s > 0.0,
            )  # fmt: skip
            ends_at_s = world.now_s() + observe_s
            while (left_s := ends_at_s - world.now_s()) > 0.0:
                await socket.receive(left_s)
        except TimeoutError:
            return
        finally:
            socket.close()

    return draw_habit(me, name, ask, *every_s)


def visiting(me: Identity, every_s: tuple[float, float, float], kinds: tuple[str, ...] = _ASKED_KINDS) -> list[Habit]:
    """Habits of asking each neighbour of these kinds that opens a door."""
    habits = []
    for role in ("web", "control", "first", "second"):
        for visit in visits(me, role, *kinds):
            name = _errand(visit, role)
            if role == "web" or me.traits.chance(f"{name}_is_http", 0.4):
                habits.append(polling(me, name, visit, "/status", every_s, _SMALL, _PAGE, most_requests=3))
            else:
                habits.append(turn_visit(me, visit, name, every_s))
    for role, draw in (("datagram", datagram_visit), ("coap", coap_visit)):
        habits += [draw(me, visit, _errand(visit, role), every_s) for visit in visits(me, role, *kinds)]
    return habits


def _errand(visit: Visit, role: str) -> str:
    return f"ask-{visit.name.removesuffix('.lan')}-{role}"


def _searching(me: Identity) -> list[Habit]:
    target = me.traits.choice("ssdp_target", "ssdp:all", ("upnp:rootdevice", "urn:schemas-upnp-org:device:Basic:1"))

    async def search(world: World) -> None:
        await discovery.search(world, target)

    async def answer(world: World) -> None:
        await discovery.answer_searches(world, world.me.name, "upnp:rootdevice")

    async def tell(world: World) -> None:
        await discovery.notify(world, world.me.name, ("upnp:rootdevice", "urn:schemas-upnp-org:device:Basic:1"))

    return [
        draw_habit(me, "search", search, 60.0, 10.0, 3600.0),
        draw_habit(me, "door-discovery", answer, 1.0, 0.5, 2.0),
        draw_habit(me, "notify", tell, 40.0, 10.0, 1800.0),
    ]


def _hub_habits(me: Identity) -> list[Habit]:
    report = polling(me, "report", Reach(me, "report", _REPORT), "/report", (45.0, 10.0, 3600.0))
    return [
        holding(me, "cloud", _CLOUD),
        report,
        *visiting(me, (20.0, 1.0, 1800.0)),
        *_searching(me),
        *housekeeping.draw_housekeeping(me),
    ]


def _hub_handlers(me: Identity) -> Mapping[str, Handler]:
    del me
    return {"web": serve_streams, "ssh": ssh_server()}


HUB: Final = DeviceKind(
    about="Hub: runs the home's MQTT broker, asks and switches its neighbours, holds a session with a cloud.",
    habits=_hub_habits,
    handlers=_hub_handlers,
    sites={"cloud": _CLOUD, "report": _REPORT, **housekeeping.SITES},
    doors=DOORS["hub"],
    lan=("all neighbours on their local control ports", "the LAN by mDNS and SSDP"),
)
