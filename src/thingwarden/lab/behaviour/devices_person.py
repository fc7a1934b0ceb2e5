"""What people hold and share: phones, printers, the home's server.

In: an identity. Out: their ``DeviceKind``.
Must never: administer a device whose doors are closed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from thingwarden.lab.behaviour import housekeeping
from thingwarden.lab.behaviour.cloud import Size, holding, polling
from thingwarden.lab.behaviour.devices_hub import visiting
from thingwarden.lab.behaviour.devices_media import QUIC, STREAM, ask_by_datagram, streaming
from thingwarden.lab.behaviour.devices_mqtt import BROKER, MqttManners, log_in
from thingwarden.lab.behaviour.doors import DOORS
from thingwarden.lab.behaviour.kind import DeviceKind, Habit, Site, draw_habit
from thingwarden.lab.behaviour.protocol import discovery, http, login, mqtt, rtsp
from thingwarden.lab.behaviour.reach import Place, Reach, Visit, visits
from thingwarden.lab.behaviour.services import serve_streams
from thingwarden.lab.world import Handler, Identity, Stream, World

_PAGES: Final = Site(services=("news.example", "shop.example", "office.example"), port=443, is_tls=True, is_fixed=True)
_PUSH: Final = Site(services=("push.example",), port=5228, others=(443,), is_tls=True)
_MAIL: Final = Site(services=("office.example",), port=993, others=(443,), is_tls=True)
_INK: Final = Site(services=("vendor.example", "shop.example"), port=443, others=(80,), is_tls=True, plain_port=80)
_BACKUP: Final = Site(services=("backup.example",), port=443, others=(6690,), is_tls=True)
_CONTROLLED: Final = ("plug", "bulb", "thermostat", "vacuum", "tv", "voice-assistant", "camera", "invented")


_Use: TypeAlias = Callable[[World, Stream, Place], Awaitable[None]]


def _browsing(me: Identity) -> Habit:
    places = [
        Reach(me, f"pages-{service}", Site(services=(service,), port=443, is_tls=True, is_fixed=True))
        for service in _PAGES.services
    ]
    quic = Reach(me, "pages-quic", QUIC)
    manners = http.Manners.drawn(me.traits, "pages")
    quic_share = me.traits.choice("quic_share", 0.2, (0.0, 0.5, 0.9))
    page_bytes = me.traits.count("page_bytes", 24_000, 4_000, 400_000)

    async def browse(world: World) -> None:
        for _ in range(world.rng.randint(1, 4)):
            answer_bytes = int(page_bytes * world.rng.lognormvariate(0.0, 0.8))
            if world.rng.random() < quic_share:
                await ask_by_datagram(world, quic, answer_bytes)
            else:
                asks = [http.Ask(path="/page", answer_bytes=answer_bytes)] * world.rng.randint(1, 5)
                await http.visit(world, world.rng.choice(places), asks, manners)
            await world.sleep(world.rng.expovariate(0.5))

    return draw_habit(me, "pages", browse, 20.0, 5.0, 1800.0, is_by_day=True)


def _watching_topics(me: Identity) -> list[Habit]:
    hubs = visits(me, "broker", "hub")
    if not hubs:
        return []
    manners = MqttManners.drawn(me)
    things = [f"home/{name}/set" for name in sorted(me.peers)]

    async def watch(world: World) -> None:
        session = await log_in(world, manners)
        try:
            await session.subscribe(("home/#",))
            while True:
                await mqtt.rest(world, session, world.rng.expovariate(1 / 40.0) / world.me.pace)
                await session.publish(world.rng.choice(things), b'{"state":"ON"}')
        except OSError:
            await session.stream.close()
            raise

    return [draw_habit(me, "topics", watch, 5.0, 2.0, 60.0)]


def _viewing(me: Identity) -> list[Habit]:
    cameras = visits(me, "rtsp")
    span_s = me.traits.number("view_s", 8.0, 2.0, 120.0)

    async def view(world: World, stream: Stream, camera: Place) -> None:
        await rtsp.view(world, stream, camera.name, span_s * world.rng.uniform(0.3, 2.0))

    return _errands(me, "view", cameras, view, (90.0, 20.0, 7200.0))


def _administering(me: Identity) -> list[Habit]:
    async def type_telnet(world: World, stream: Stream, device: Place) -> None:
        del device
        await login.administer(world, stream, world.rng.randint(1, 6))

    async def type_ssh(world: World, stream: Stream, device: Place) -> None:
        del device
        await login.use_ssh(world, stream, world.rng.randint(1, 20))

    owner = me.traits.chance("administers", 0.5)
    if not owner:
        return []
    every_s = (400.0, 60.0, 86_400.0)
    return [
        *_errands(me, "telnet", visits(me, "telnet"), type_telnet, every_s),
        *_errands(me, "ssh", visits(me, "ssh"), type_ssh, every_s),
    ]


def _errands(
    me: Identity, role: str, places: list[Visit], use: _Use, every_s: tuple[float, float, float]
) -> list[Habit]:
    async def run(world: World) -> None:
        place = world.rng.choice(places)
        stream = await place.open(world)
        try:
            await use(world, stream, place)
        finally:
            await place.leave(world, stream)

    return [draw_habit(me, role, run, *every_s, is_by_day=True)] if places else []


def _phone_habits(me: Identity) -> list[Habit]:
    async def search(world: World) -> None:
        await discovery.search(world)

    clip = Size(usual=150_000, low=40_000, high=1_500_000)
    return [
        _browsing(me),
        holding(me, "push", _PUSH, push_s=60.0, beat_s=120.0),
        polling(me, "mail", Reach(me, "mail", _MAIL), "/mail", (90.0, 20.0, 3600.0)),
        *_watching_topics(me),
        *visiting(me, (60.0, 10.0, 14_400.0), _CONTROLLED),
        *_viewing(me),
        *_administering(me),
        streaming(me, "clips", (90.0, 20.0, 7200.0), clip, (4, 1, 60)),
        draw_habit(me, "search", search, 120.0, 20.0, 7200.0, is_by_day=True),
        *housekeeping.draw_housekeeping(me, "_apple-mobdev2._tcp"),
    ]


def _printer_habits(me: Identity) -> list[Habit]:
    ink = polling(me, "ink", Reach(me, "ink", _INK), "/ink", (240.0, 30.0, 14_400.0))
    return [ink, *housekeeping.draw_housekeeping(me, "_ipp._tcp")]


def _printer_handlers(me: Identity) -> Mapping[str, Handler]:
    del me
    return {"web": serve_streams, "raw": serve_streams}


def _server_habits(me: Identity) -> list[Habit]:
    backup = polling(
        me, "backup", Reach(me, "backup", _BACKUP), "/backup", (600.0, 120.0, 86_400.0),
        Size(usual=2_000_000, low=50_000, high=30_000_000), Size(usual=200, low=1, high=4000), most_requests=3,
    )  # fmt: skip
    return [backup, *housekeeping.draw_housekeeping(me, "_smb._tcp")]


def _server_handlers(me: Identity) -> Mapping[str, Handler]:
    del me
    return {"backup": serve_streams, "web": serve_streams, "ssh": login.ssh_server()}


PHONE: Final = DeviceKind(
    about="Phone: browses, streams, controls and watches the home, administers its devices; busiest in the evening.",
    habits=_phone_habits,
    sites={
        "pages": _PAGES, "pages-quic": QUIC, "push": _PUSH, "mail": _MAIL, "clips": STREAM, "clips-quic": QUIC,
        "broker": BROKER, **housekeeping.SITES,
    },
    lan=("hub, tcp/1883, MQTT", "devices on their control ports", "cameras, RTSP and HTTP", "owner's telnet and SSH"),
)  # fmt: skip
PRINTER: Final = DeviceKind(
    about="Printer: announces itself, asks for ink, is printed to.",
    habits=_printer_habits,
    handlers=_printer_handlers,
    sites={"ink": _INK, **housekeeping.SITES},
    doors=DOORS["printer"],
    lan=("the LAN by mDNS",),
)
SERVER: Final = DeviceKind(
    about="Home server: keeps backups and sends them on.",
    habits=_server_habits,
    handlers=_server_handlers,
    sites={"backup": _BACKUP, **housekeeping.SITES},
    doors=DOORS["server"],
    lan=("the LAN by mDNS",),
)
