"""Things of factories and wards: controllers, operator panels, historians, CoAP sensors, patient monitors.

In: an identity. Out: their ``DeviceKind``.
Must never: write to a controller outside its own registers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from thingwarden.lab.behaviour import housekeeping
from thingwarden.lab.behaviour.cloud import Size, polling
from thingwarden.lab.behaviour.doors import DOORS
from thingwarden.lab.behaviour.kind import DeviceKind, Habit, Site, draw_habit
from thingwarden.lab.behaviour.protocol import coap, hl7, modbus
from thingwarden.lab.behaviour.reach import Reach, Visit, visits
from thingwarden.lab.behaviour.services import serve_streams
from thingwarden.lab.world import Handler, Identity, World

_HISTORIAN_CLOUD: Final = Site(
    services=("office.example", "backup.example"), port=443, others=(8443,), is_tls=True, plain_port=8080
)
_COAP_CLOUD: Final = Site(
    services=("coap-cloud.example", "vendor.example"), port=coap.COAP_PORT, others=(5684, 5685), transport="udp"
)


def _controller_habits(me: Identity) -> list[Habit]:
    return housekeeping.draw_housekeeping(me, announces=False)


def _controller_handlers(me: Identity) -> Mapping[str, Handler]:
    registers = {at: 100 + at for at in range(me.traits.count("registers", 64, 8, 500))}
    return {"modbus": modbus.modbus_server(registers), "web": serve_streams}


def _polling_controller(me: Identity, visit: Visit) -> Habit:
    traits = me.traits
    name = f"poll-{visit.name.removesuffix('.lan')}"
    every_s = traits.number(f"{name}_every_s", 1.0, 0.1, 60.0)
    function = traits.choice("modbus_function", modbus.READ_REGISTERS, (modbus.READ_COILS,))
    count = traits.count("modbus_count", 16, 1, modbus.MOST_REGISTERS)
    blocks = traits.count("modbus_blocks", 1, 1, 6)
    writes_share = traits.number("modbus_writes_share", 0.01, 0.001, 0.2)
    lasts_s = traits.number(f"{name}_lasts_s", 600.0, 0.5, 86_400.0)
    unit = traits.count("modbus_unit", 1, 1, 247)

    async def poll(world: World) -> None:
        stream = await visit.open(world)
        ends_at_s = world.now_s() + lasts_s
        number = 0
        try:
            while world.now_s() < ends_at_s or not number:
                for block in range(blocks):
                    number += 1
                    await modbus.transact(stream, number, unit, modbus.read_request(function, block * count, count))
                if world.rng.random() < writes_share:
                    number += 1
                    values = [world.rng.randrange(65536) for _ in range(world.rng.choice((1, 1, 4)))]
                    await modbus.transact(stream, number, unit, modbus.write_request(world.rng.randrange(8), values))
                await world.sleep(every_s * world.rng.uniform(0.95, 1.05) / world.me.pace)
        except OSError:
            await stream.close()
            raise
        await visit.leave(world, stream)

    return draw_habit(me, name, poll, every_s, every_s, every_s * 1.01)


def _panel_habits(me: Identity) -> list[Habit]:
    historian = [
        polling(
            me, f"archive-{visit.name}", visit, "/write", (15.0, 1.0, 900.0), Size(usual=2000, low=100, high=200_000)
        )
        for visit in visits(me, "web", "historian")
    ]
    controllers = [_polling_controller(me, visit) for visit in visits(me, "modbus", "plc")]
    return [*controllers, *historian, *housekeeping.draw_housekeeping(me, announces=False)]


def _historian_habits(me: Identity) -> list[Habit]:
    upload = polling(
        me, "upload", Reach(me, "upload", _HISTORIAN_CLOUD), "/batch", (60.0, 10.0, 14_400.0),
        Size(usual=60_000, low=2_000, high=5_000_000), Size(usual=100, low=1, high=2000),
    )  # fmt: skip
    return [upload, *housekeeping.draw_housekeeping(me, announces=False)]


def _web(me: Identity) -> Mapping[str, Handler]:
    del me
    return {"web": serve_streams}


def _coap_habits(me: Identity) -> list[Habit]:
    traits = me.traits
    cloud = Reach(me, "cloud", _COAP_CLOUD)
    port = DOORS["coap-sensor"]["coap"].drawn("coap", traits)
    answer_bytes = traits.count("reading_bytes", 40, 4, 900)
    sent_bytes = traits.count("report_bytes", 60, 4, 900)
    is_confirmable = traits.chance("coap_confirms", 0.6)
    notify_s = traits.number("notify_s", 15.0, 2.0, 1800.0)

    async def serve(world: World) -> None:
        socket = await world.open_datagrams(port)
        await coap.serve_coap(world, socket, answer_bytes, notify_every_s=notify_s)

    async def report(world: World) -> None:
        address = await cloud.locate(world)
        socket = await world.open_datagrams(is_v6=":" in address)
        try:
            code = world.rng.choice((coap.PUT, coap.POST))
            await coap.request(
                world, socket, address, cloud.endpoint.port, code, "rd/state", sent_bytes, is_confirmable=is_confirmable
            )
        finally:
            socket.close()

    return [
        draw_habit(me, "door-coap", serve, 1.0, 0.5, 2.0),
        draw_habit(me, "report", report, 20.0, 3.0, 7200.0),
        *housekeeping.draw_housekeeping(me, announces=False),
    ]


def _monitor_habits(me: Identity) -> list[Habit]:
    traits = me.traits
    every_s = traits.number("observation_s", 1.0, 0.2, 60.0)
    segments = traits.count("observation_segments", 6, 1, 60)
    is_one_shot = traits.chance("is_one_shot", 0.15)

    def reporting(visit: Visit) -> Habit:
        async def observe(world: World) -> None:
            stream = await visit.open(world)
            number = 0
            try:
                while not (number and is_one_shot):
                    number += 1
                    await hl7.report(stream, number, world.me.name, segments)
                    await world.sleep(0.0 if is_one_shot else every_s * world.rng.uniform(0.97, 1.03))
            except OSError:
                await stream.close()
                raise
            await visit.leave(world, stream)

        return draw_habit(me, f"observe-{visit.name}", observe, every_s, every_s, every_s * 1.01)

    servers = visits(me, "records", "ward-server")
    return [*(reporting(visit) for visit in servers), *housekeeping.draw_housekeeping(me, announces=False)]


def _ward_handlers(me: Identity) -> Mapping[str, Handler]:
    del me
    return {"records": hl7.serve_records}


def _ward_habits(me: Identity) -> list[Habit]:
    upload = polling(
        me, "upload", Reach(me, "upload", _HISTORIAN_CLOUD), "/records", (90.0, 20.0, 14_400.0),
        Size(usual=30_000, low=1_000, high=2_000_000), Size(usual=100, low=1, high=2000),
    )  # fmt: skip
    return [upload, *housekeeping.draw_housekeeping(me, announces=False)]


PLC: Final = DeviceKind(
    about="Controller: serves Modbus registers to the operator's panel.",
    habits=_controller_habits,
    handlers=_controller_handlers,
    sites=housekeeping.SITES,
    doors=DOORS["plc"],
)
HMI: Final = DeviceKind(
    about="Operator's panel: polls controllers over Modbus, sometimes writes a set point, archives.",
    habits=_panel_habits,
    sites=housekeeping.SITES,
    lan=("plc, tcp/502, Modbus", "historian, tcp/8086, HTTP"),
)
HISTORIAN: Final = DeviceKind(
    about="Historian: takes time series from panels and uploads them in batches.",
    habits=_historian_habits,
    handlers=_web,
    sites={"upload": _HISTORIAN_CLOUD, **housekeeping.SITES},
    doors=DOORS["historian"],
)
COAP_SENSOR: Final = DeviceKind(
    about="Meter or sensor with CoAP: answers and notifies on the LAN, reports to a cloud.",
    habits=_coap_habits,
    sites={"cloud": _COAP_CLOUD, **housekeeping.SITES},
    doors=DOORS["coap-sensor"],
)
MONITOR: Final = DeviceKind(
    about="Patient monitor: an observation every second to the ward's server over HL7, the time by NTP.",
    habits=_monitor_habits,
    sites=housekeeping.SITES,
    lan=("ward-server, tcp/2575, HL7 over MLLP",),
)
WARD_SERVER: Final = DeviceKind(
    about="Ward server: acknowledges observations, uploads records.",
    habits=_ward_habits,
    handlers=_ward_handlers,
    sites={"upload": _HISTORIAN_CLOUD, **housekeeping.SITES},
    doors=DOORS["ward-server"],
)
