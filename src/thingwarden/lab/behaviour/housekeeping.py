"""What every maker's firmware does beside its purpose: the time, updates, announcements, and its mistakes.

In: an identity. Out: habits, and the services they use.
Must never: be all that a device does.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from thingwarden.lab.behaviour.kind import Habit, Site, draw_habit
from thingwarden.lab.behaviour.protocol import http, ntp, session
from thingwarden.lab.behaviour.protocol.discovery import Advertised, take_part_in_mdns
from thingwarden.lab.behaviour.protocol.dns import resolve
from thingwarden.lab.behaviour.reach import Reach, leave
from thingwarden.lab.world import Identity, World

_VENDORS: Final = ("vendor.example", "plug-cloud.example", "cdn.example", "office.example")

SITES: Final = {
    "clock": Site(services=("time.example",), port=ntp.NTP_PORT, transport="udp", is_fixed=True),
    "firmware": Site(services=_VENDORS, port=443, others=(8443,), is_tls=True, plain_port=80),
    "reachability": Site(services=("portal.example", "vendor.example"), port=80, is_fixed=True),
    "gone": Site(services=("gone.example",), port=443, others=(80, 8883, 1883, 8080), is_tls=True, plain_port=80),
    "heartbeat": Site(services=_VENDORS[:2], port=10001, others=(32100, 8053, 10240, 20002, 50000), transport="udp"),
}
"""By role; part of every device kind's sites."""


def draw_housekeeping(me: Identity, service: str = "_http._tcp", *, announces: bool = True) -> list[Habit]:
    """The maker's choice of clock, update check, and of what goes wrong in its firmware.

    Args:
        me: the device.
        service: announced by mDNS.
        announces: whether devices of this kind speak mDNS; some makers differ.
    """
    chance = me.traits.chance
    habits = [_clock(me), _firmware(me)]
    optional = (
        (chance("announces", 0.85 if announces else 0.1), partial(_announcing, service=service)),
        (chance("tests_reachability", 0.25), _reachability),
        (chance("has_dead_cloud", 0.15), _dead_cloud),
        (chance("beats_by_datagram", 0.25), _heartbeat),
        (chance("asks_names_idly", 0.2), _idle_names),
    )
    return habits + [draw(me) for chosen, draw in optional if chosen]


def _clock(me: Identity) -> Habit:
    server = Reach(me, "clock", SITES["clock"])
    traits = me.traits
    head = traits.choice("ntp_head", ntp.CLIENT_HEADS[0], ntp.CLIENT_HEADS)
    is_from_123 = traits.chance("ntp_is_from_123", 0.4)
    burst = traits.count("ntp_burst", 1, 1, 8)

    async def ask(world: World) -> None:
        address = await server.locate(world)
        for _ in range(burst):
            await ntp.ask_time(world, address, head=head, is_from_123=is_from_123)
            await world.sleep(0.0 if burst == 1 else 2.0)

    return draw_habit(me, "clock", ask, 90.0, 16.0, 7200.0)


def _firmware(me: Identity) -> Habit:
    server = Reach(me, "firmware", SITES["firmware"])
    manners = http.Manners.drawn(me.traits, "firmware")
    answer_bytes = me.traits.count("firmware_bytes", 3000, 50, 200_000)

    async def check(world: World) -> None:
        await http.visit(world, server, [http.Ask(path="/firmware", answer_bytes=answer_bytes)], manners)

    return draw_habit(me, "firmware", check, 600.0, 120.0, 86_400.0)


def _announcing(me: Identity, service: str) -> Habit:
    traits = me.traits
    advertised = Advertised(
        name=me.name,
        service=traits.choice("mdns_service", service, ("_hap._tcp", "_matter._tcp", "_workstation._tcp")),
        text_bytes=traits.count("mdns_text_bytes", 60, 1, 800),
        wanted=traits.choice("mdns_wanted", (), (("_googlecast._tcp",), ("_mqtt._tcp", "_http._tcp"))),
        every_s=traits.number("mdns_every_s", 120.0, 10.0, 3600.0),
        answers=traits.chance("mdns_answers", 0.7),
        is_over_v6=bool(me.address6) and traits.chance("mdns_is_over_v6", 0.3),
        burst=traits.count("mdns_burst", 2, 1, 4),
    )

    async def announce(world: World) -> None:
        await take_part_in_mdns(world, advertised)

    return draw_habit(me, "announcing", announce, 10.0, 5.0, 20.0)


def _reachability(me: Identity) -> Habit:
    server = Reach(me, "reachability", SITES["reachability"])
    manners = http.Manners.drawn(me.traits, "reachability")

    async def test(world: World) -> None:
        await http.visit(world, server, [http.Ask(path="/generate_204")], manners)

    return draw_habit(me, "reachability", test, 120.0, 10.0, 3600.0)


def _dead_cloud(me: Identity) -> Habit:
    server = Reach(me, "gone", SITES["gone"])

    async def try_it(world: World) -> None:
        await leave(world, await server.open(world), "close")

    return draw_habit(me, "gone", try_it, 120.0, 3.0, 7200.0)


def _heartbeat(me: Identity) -> Habit:
    server = Reach(me, "heartbeat", SITES["heartbeat"])
    traits = me.traits
    sent_bytes = traits.count("heartbeat_bytes", 60, 12, 600)
    answered_share = traits.choice("heartbeat_answered_share", 1.0, (0.0, 0.0, 0.5))
    keeps_socket = traits.chance("heartbeat_keeps_socket", 0.5)
    every_s = traits.number("heartbeat_every_s", 30.0, 2.0, 1800.0)
    repeats = traits.count("heartbeat_repeats", 20, 1, 500) if keeps_socket else 1

    async def beat(world: World) -> None:
        address = await server.locate(world)
        socket = await world.open_datagrams(is_v6=":" in address)
        try:
            for number in range(repeats):
                if number:
                    await world.sleep(every_s * world.rng.uniform(0.95, 1.05) / world.me.pace)
                answers = int(world.rng.random() < answered_share)
                wish = session.encode_wish(sent_bytes, sent_bytes, answers, 5, b"\x11")
                await session.ask_datagrams(socket, address, server.endpoint.port, wish)
        finally:
            socket.close()

    return draw_habit(me, "heartbeat", beat, every_s, every_s, every_s * 1.01)


def _idle_names(me: Identity) -> Habit:
    names = _VENDORS[: me.traits.count("idle_names", 1, 1, len(_VENDORS))]

    async def ask(world: World) -> None:
        for name in names:
            await resolve(world, name)

    return draw_habit(me, "idle-names", ask, 60.0, 2.0, 3600.0)
