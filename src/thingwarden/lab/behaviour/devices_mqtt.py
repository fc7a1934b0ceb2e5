"""Things that report over MQTT, to the hub's broker or to a vendor's: sensors, doors, thermostats.

In: an identity. Out: their ``DeviceKind``.
Must never: publish to a broker that is not on the LAN or in the directory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from thingwarden.lab.behaviour import housekeeping
from thingwarden.lab.behaviour.doors import DOORS
from thingwarden.lab.behaviour.kind import DeviceKind, Habit, Site, draw_habit
from thingwarden.lab.behaviour.protocol import http, mqtt
from thingwarden.lab.behaviour.reach import Place, Reach, visits
from thingwarden.lab.behaviour.services import serve_streams
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Handler, Identity, World

BROKER: Final = Site(
    services=("mqtt-cloud.example", "vendor.example", "plug-cloud.example"),
    port=mqtt.MQTT_TLS_PORT, others=(443, 8886, 8884, 1884, 1885), is_tls=True, plain_port=mqtt.MQTT_PORT,
)  # fmt: skip
_WEATHER: Final = Site(services=("weather.example", "vendor.example"), port=80, others=(8080,))


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttManners:
    """How a maker's MQTT client behaves.

    Attributes:
        broker: on the LAN or in the cloud.
        report_s: between two messages of a session.
        payload_bytes: of each.
        pushes: topics subscribed to; in the cloud they ask for messages.
        is_one_shot: a connection for each message.
    """

    broker: Place
    client_id: str
    report_s: float
    payload_bytes: int
    pushes: tuple[str, ...]
    keep_alive_s: int
    qos: int
    is_clean: bool
    is_one_shot: bool
    password: str

    @classmethod
    def drawn(cls, me: Identity, *, report_s: float = 6.0, is_one_shot: float = 0.1) -> MqttManners:
        """As the maker of ``me`` chose.

        Args:
            me: the device.
            report_s: usual seconds between two messages.
            is_one_shot: share of makers that connect for each message.
        """
        traits = me.traits
        hubs = visits(me, "broker", "hub")
        uses_cloud = not hubs or traits.chance("uses_cloud_broker", 0.35)
        return cls(
            broker=Reach(me, "broker", BROKER) if uses_cloud else hubs[0],
            client_id=traits.choice("client_id", me.name, (f"{me.name}-{me.mac}", f"mqtt-{me.mac}")),
            report_s=traits.number("report_s", report_s, 1.0, 3600.0),
            payload_bytes=traits.count("payload_bytes", 60, 2, 8000),
            pushes=_pushes(me, traits, uses_cloud=uses_cloud),
            keep_alive_s=traits.count("keep_alive_s", 60, 10, 1200),
            qos=traits.choice("qos", 0, (1,)),
            is_clean=traits.chance("is_clean", 0.7),
            is_one_shot=traits.chance("is_one_shot", is_one_shot),
            password=traits.choice("password", "", ("token" * 4, "x" * 120)),
        )


def _pushes(me: Identity, traits: Traits, *, uses_cloud: bool) -> tuple[str, ...]:
    if not traits.chance("subscribes", 0.6):
        return ()
    if not uses_cloud:
        return (f"home/{me.name}/set",)
    every_s = traits.count("push_s", 120, 5, 7200)
    return (f"push/{every_s}/{traits.count('push_bytes', 80, 2, 4000)}/{me.name}",)


async def log_in(world: World, manners: MqttManners) -> mqtt.Session:
    """A session with the maker's broker.

    Raises:
        OSError: not reached, or refused.
    """
    stream = await manners.broker.open(world)
    session = mqtt.Session(stream, manners.keep_alive_s)
    try:
        await session.log_in(manners.client_id, is_clean=manners.is_clean, password=manners.password)
        if manners.pushes:
            await session.subscribe(manners.pushes)
    except OSError:
        await stream.close()
        raise
    return session


def reporting(me: Identity, manners: MqttManners, name: str = "report") -> Habit:
    """The habit of reporting: in one long session, or in a connection for each message."""
    act = _report_once if manners.is_one_shot else _report_steadily

    async def report(world: World) -> None:
        await act(world, manners)

    pause_s = manners.report_s if manners.is_one_shot else 3.0
    return draw_habit(me, name, report, pause_s, pause_s * 0.7, pause_s * 1.4)


async def _report_steadily(world: World, manners: MqttManners) -> None:
    session = await log_in(world, manners)
    try:
        while True:
            payload_bytes = max(1, int(manners.payload_bytes * world.rng.uniform(0.9, 1.1)))
            await session.publish(f"home/{world.me.name}/state", http.filler(payload_bytes), qos=manners.qos)
            await mqtt.rest(world, session, manners.report_s * world.rng.uniform(0.7, 1.3) / world.me.pace)
    except OSError:
        await session.stream.close()
        raise


async def _report_once(world: World, manners: MqttManners) -> None:
    session = await log_in(world, manners)
    try:
        await session.publish(f"home/{world.me.name}/event", http.filler(manners.payload_bytes), qos=manners.qos)
        if manners.qos:
            await session.await_acknowledgement()
    finally:
        await session.log_out()


def _sensor_habits(me: Identity) -> list[Habit]:
    return [reporting(me, MqttManners.drawn(me)), *housekeeping.draw_housekeeping(me, announces=False)]


def _door_habits(me: Identity) -> list[Habit]:
    manners = MqttManners.drawn(me, is_one_shot=1.0)

    async def report(world: World) -> None:
        await _report_once(world, manners)

    opened = draw_habit(me, "opened", report, 25.0, 5.0, 7200.0, is_by_day=True)
    alive = draw_habit(me, "alive", report, 300.0, 60.0, 14_400.0)
    return [opened, alive, *housekeeping.draw_housekeeping(me, announces=False)]


def _thermostat_habits(me: Identity) -> list[Habit]:
    weather = Reach(me, "weather", _WEATHER)
    manners = http.Manners.drawn(me.traits, "weather")
    answer_bytes = me.traits.count("weather_bytes", 900, 100, 60_000)

    async def read(world: World) -> None:
        await http.visit(world, weather, [http.Ask(path="/weather", answer_bytes=answer_bytes)], manners)

    forecast = draw_habit(me, "forecast", read, 60.0, 15.0, 7200.0)
    return [reporting(me, MqttManners.drawn(me)), forecast, *housekeeping.draw_housekeeping(me)]


def _web(me: Identity) -> Mapping[str, Handler]:
    del me
    return {"web": serve_streams}


_LAN: Final = ("hub, tcp/1883, MQTT",)

SENSOR: Final = DeviceKind(
    about="Climate sensor: reports over MQTT to the hub or to a vendor's broker, plain or over TLS.",
    habits=_sensor_habits,
    sites={"broker": BROKER, **housekeeping.SITES},
    lan=_LAN,
)
DOOR: Final = DeviceKind(
    about="Door contact on a battery: wakes, connects, publishes, sleeps.",
    habits=_door_habits,
    sites={"broker": BROKER, **housekeeping.SITES},
    lan=_LAN,
)
THERMOSTAT: Final = DeviceKind(
    about="Thermostat: MQTT like a sensor, the weather over HTTP, set from hub and phone.",
    habits=_thermostat_habits,
    handlers=_web,
    sites={"broker": BROKER, "weather": _WEATHER, **housekeeping.SITES},
    doors=DOORS["thermostat"],
    lan=_LAN,
)
