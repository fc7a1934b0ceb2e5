"""A device that nobody sells: two to eight habits out of a palette, every figure of them drawn from wide ranges.

In: an identity. Out: its ``DeviceKind``.
Must never: resemble one product; it carries the breadth that no list of real devices has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from thingwarden.lab.behaviour import housekeeping
from thingwarden.lab.behaviour.cloud import Size, draw_spread, holding, polling, varied
from thingwarden.lab.behaviour.devices_home import datagram_door
from thingwarden.lab.behaviour.devices_hub import turn_visit, visiting
from thingwarden.lab.behaviour.devices_media import ask_by_datagram
from thingwarden.lab.behaviour.doors import DOORS
from thingwarden.lab.behaviour.kind import DeviceKind, Habit, Site, draw_habit
from thingwarden.lab.behaviour.protocol import http, session
from thingwarden.lab.behaviour.protocol.dns import resolve
from thingwarden.lab.behaviour.reach import Place, Reach, Visit, leave
from thingwarden.lab.behaviour.services import serve_streams
from thingwarden.lab.world import Behaviour, Handler, Identity, World

_Draw: TypeAlias = Callable[[Identity, int], list[Habit]]

MOST_HABITS: Final = 8
_SERVICES: Final = (
    "vendor.example", "plug-cloud.example", "weather.example", "mqtt-cloud.example", "voice.example", "push.example",
    "video.example", "cdn.example", "news.example", "backup.example", "shop.example", "office.example",
)  # fmt: skip
_TCP: Final = Site(
    services=_SERVICES, port=443, is_tls=True, plain_port=80,
    others=(80, 81, 1883, 1884, 4443, 5228, 5671, 6379, 8000, 8080, 8081, 8443, 8883, 9000, 9443, 10443, 21, 25, 6667),
)  # fmt: skip
_UDP: Final = Site(
    services=_SERVICES, port=10001, transport="udp",
    others=(443, 500, 1194, 1900, 3478, 4500, 5060, 5683, 8053, 8125, 10240, 32100, 49152, 51820),
)  # fmt: skip
SITES: Final = {
    **{f"any-{number}": _TCP for number in range(MOST_HABITS)},
    **{f"datagrams-{number}": _UDP for number in range(MOST_HABITS)},
}
_EVERY: Final = (60.0, 1.0, 7200.0)
_LARGE: Final = Size(usual=200_000, low=5_000, high=20_000_000)
_SMALL: Final = Size(usual=200, low=1, high=40_000)
_SYSLOG_PORT: Final = 514
_SNMP_PORT: Final = 161
_MOST_LARGE_EVERY: Final = (600.0, 30.0, 14_400.0)


def _reach(me: Identity, number: int) -> Reach:
    return Reach(me, f"any-{number}", _TCP)


def _poll(me: Identity, number: int) -> list[Habit]:
    is_by_day = me.traits.chance(f"is_by_day_{number}", 0.3)
    name = f"poll-{number}"
    return [polling(me, name, _reach(me, number), "/p", _EVERY, _SMALL, _SMALL, most_requests=40, is_by_day=is_by_day)]


def _hold(me: Identity, number: int) -> list[Habit]:
    return [holding(me, f"any-{number}", _TCP, lasts_s=900.0)]


def _download(me: Identity, number: int) -> list[Habit]:
    place = _reach(me, number)
    return [polling(me, f"download-{number}", place, "/d", _MOST_LARGE_EVERY, Size(usual=1, low=1, high=2000), _LARGE)]


def _upload(me: Identity, number: int) -> list[Habit]:
    place = _reach(me, number)
    return [polling(me, f"upload-{number}", place, "/u", _MOST_LARGE_EVERY, _LARGE, _SMALL)]


def _datagrams(me: Identity, number: int) -> list[Habit]:
    name = f"datagrams-{number}"
    traits = me.traits
    server = Reach(me, name, _UDP)
    sent_bytes = traits.count(f"{name}_sent_bytes", 60, 11, 1400)
    answer_bytes = traits.count(f"{name}_answer_bytes", 60, 1, 1400)
    answered_share = traits.choice(f"{name}_answered", 1.0, (0.0, 0.1, 0.5, 0.95))
    keeps_s = traits.number(f"{name}_keeps_socket_s", 5.0, 0.01, 3600.0)
    every_s = traits.number(f"{name}_period_s", 60.0, 1.0, 7200.0)

    async def beat(world: World) -> None:
        address = await server.locate(world)
        socket = await world.open_datagrams(is_v6=":" in address)
        ends_at_s = world.now_s() + keeps_s
        try:
            while True:
                answers = int(world.rng.random() < answered_share)
                wish = session.encode_wish(sent_bytes, answer_bytes, answers, 10, b"\x11")
                await session.ask_datagrams(socket, address, server.endpoint.port, wish)
                if world.now_s() + every_s > ends_at_s:
                    return
                await world.sleep(every_s)
        finally:
            socket.close()

    return [draw_habit(me, name, beat, every_s, every_s, every_s * 1.01)]


def _stream_datagrams(me: Identity, number: int) -> list[Habit]:
    name = f"datagrams-{number}"
    server = Reach(me, name, _UDP)
    answer_bytes = me.traits.count(f"{name}_answer_bytes", 40_000, 2_000, 2_000_000)

    async def fetch(world: World) -> None:
        await ask_by_datagram(world, server, varied(world, answer_bytes, 0.5))

    return [draw_habit(me, name, fetch, *_MOST_LARGE_EVERY)]


def _neighbours(me: Identity, number: int) -> list[Habit]:
    kinds = tuple(sorted(set(me.kinds.values())))
    habits = visiting(me, _EVERY, kinds)
    most = me.traits.count(f"neighbours_{number}", 4, 1, 12)
    first = me.traits.count(f"first_neighbour_{number}", 1, 1, 30) % max(1, len(habits))
    return (habits + habits)[first : first + min(most, len(habits))]


def _closed_neighbour(me: Identity, number: int) -> list[Habit]:
    """A neighbour that once listened there and does no longer."""
    if not me.peers:
        return []
    peer = sorted(me.peers)[me.traits.count(f"closed_{number}", 1, 1, 1000) % len(me.peers)]
    visit = Visit(me, peer, me.traits.port(f"closed_port_{number}", 8080, (80, 443, 1883, 5000)), f"closed-{number}")
    return [turn_visit(me, visit, f"closed-{number}", _EVERY)]


def _dead(me: Identity, number: int) -> list[Habit]:
    """A cloud that answers no more, or whose port is closed."""
    traits = me.traits
    service = traits.choice(f"dead_service_{number}", "gone.example", ("vendor.example",))
    port = traits.port(f"dead_port_{number}", 443, (80, 8883, 1883, 8080))
    site = Site(services=(service,), port=port, is_fixed=True)
    reach = Reach(me, f"dead-{number}", site)
    addresses = traits.count(f"dead_tries_{number}", 1, 1, 5)

    async def try_it(world: World) -> None:
        for attempt in range(addresses):
            try:
                await leave(world, await reach.open(world), "close")
            except OSError:
                if attempt + 1 == addresses:
                    raise

    return [draw_habit(me, f"dead-{number}", try_it, 120.0, 2.0, 1800.0)]


def _many(me: Identity, number: int) -> list[Habit]:
    """Several services in turn, as things do that follow redirects or ask a pool."""
    role = f"any-{number}"
    site = me.traits.count(f"{role}_places", 4, 2, len(_SERVICES))
    port = 443 if me.traits.chance(f"{role}_uses_tls", 0.7) else 80
    places = [
        Reach(me, f"{role}-{service}", Site(services=(service,), port=port, is_tls=port == 443, is_fixed=True))
        for service in _SERVICES[:site]
    ]
    manners = http.Manners.drawn(me.traits, role)
    answer_bytes = me.traits.count(f"{role}_answer_bytes", 900, 1, 100_000)
    per_round = me.traits.count(f"{role}_per_round", 1, 1, site)

    async def go_round(world: World) -> None:
        for place in world.rng.sample(places, min(per_round, len(places))):
            await http.visit(
                world, place, [http.Ask(path="/m", answer_bytes=varied(world, answer_bytes, 0.5))], manners
            )

    return [draw_habit(me, role, go_round, *_EVERY)]


def _burst(me: Identity, number: int) -> list[Habit]:
    """Many connections at once, then silence."""
    role = f"any-{number}"
    place = _reach(me, number)
    manners = http.Manners.drawn(me.traits, role)
    answer_bytes = me.traits.count(f"{role}_answer_bytes", 2000, 1, 200_000)
    most = me.traits.count(f"{role}_at_once", 6, 2, 60)
    stagger_s = me.traits.number(f"{role}_stagger_s", 0.05, 0.001, 2.0)

    async def burst(world: World) -> None:
        began = f"{role} {world.now_s():.3f}"
        for at in range(world.rng.randint(1, most)):
            world.spawn(_one(place, varied(world, answer_bytes, 0.5), manners), f"{began} {at}")
            await world.sleep(stagger_s * world.rng.expovariate(1.0))

    return [draw_habit(me, role, burst, 300.0, 10.0, 7200.0)]


def _one(place: Place, answer_bytes: int, manners: http.Manners) -> Behaviour:
    async def visit(world: World) -> None:
        await http.visit(world, place, [http.Ask(path="/b", answer_bytes=answer_bytes)], manners)

    return visit


def _turns(me: Identity, number: int) -> list[Habit]:
    """A protocol of its maker: turns of sizes and pauses of its own, who speaks more differs."""
    role = f"any-{number}"
    place = _reach(me, number)
    traits = me.traits
    pattern = [
        (
            traits.count(f"{role}_sent_{at}", 60, 1, 20_000),
            traits.count(f"{role}_answer_{at}", 60, 1, 60_000) if traits.chance(f"{role}_is_answered_{at}", 0.8) else 0,
            traits.number(f"{role}_gap_{at}_s", 0.1, 0.001, 30.0),
        )
        for at in range(traits.count(f"{role}_turns", 3, 1, 20))
    ]
    ending = traits.choice(f"{role}_server_ends", "", ("ends", "resets"))
    spread = draw_spread(me, role)

    async def talk(world: World) -> None:
        stream = await place.open(world)
        try:
            for at, (sent_bytes, answer_bytes, gap_s) in enumerate(pattern):
                is_last = at + 1 == len(pattern)
                turn = session.Turn(
                    sent_bytes=varied(world, sent_bytes, spread),
                    answer_bytes=varied(world, answer_bytes, spread),
                    ends=is_last and ending == "ends",
                    resets=is_last and ending == "resets",
                )
                await session.take_turn(stream, turn)
                await world.sleep(gap_s * world.rng.uniform(0.8, 1.2))
        except OSError:
            await stream.close()
            raise
        await place.leave(world, stream)

    return [draw_habit(me, role, talk, *_EVERY)]


def _log_out(me: Identity, number: int) -> list[Habit]:
    """Syslog or SNMP traps: datagrams that nobody answers."""
    name = f"log-{number}"
    traits = me.traits
    server = Reach(me, name, Site(services=_SERVICES[:3], port=_SYSLOG_PORT, transport="udp", is_fixed=True))
    is_local = bool(me.peers) and traits.chance(f"{name}_is_local", 0.6)
    peer = sorted(me.peers)[traits.count(f"{name}_peer", 1, 1, 1000) % len(me.peers)] if is_local else ""
    port = traits.choice(f"{name}_port", _SYSLOG_PORT, (162, 5140, 2055, 8125, 12201, 69))
    size_bytes = traits.count(f"{name}_bytes", 120, 20, 1400)
    lines = traits.count(f"{name}_lines", 2, 1, 50)

    async def tell(world: World) -> None:
        address = world.me.peers[peer] if peer else await server.locate(world)
        socket = await world.open_datagrams(is_v6=":" in address)
        try:
            for _ in range(lines):
                await socket.send(address, port, b"<13>" + http.filler(varied(world, size_bytes, 0.1)))
                await world.sleep(world.rng.expovariate(20.0))
        finally:
            socket.close()

    return [draw_habit(me, name, tell, *_EVERY)]


def _query(me: Identity, number: int) -> list[Habit]:
    """SNMP or the like: neighbours are asked by datagram whether they answer or not."""
    name = f"query-{number}"
    traits = me.traits
    most = traits.count(f"{name}_peers", 3, 1, 20)
    peers = sorted(me.peers)[:most]
    port = traits.port(f"{name}_port", _SNMP_PORT, (5683, 1900, 137, 3702, 30303))
    size_bytes = traits.count(f"{name}_bytes", 50, 11, 400)
    wait_s = traits.number(f"{name}_wait_s", 1.0, 0.05, 5.0)

    async def ask(world: World) -> None:
        for peer in peers:
            socket = await world.open_datagrams()
            wish = session.encode_wish(size_bytes, 100, 1, 1, b"\x30")
            try:
                await session.ask_datagrams(socket, world.me.peers[peer], port, wish, wait_s)
            except OSError:
                continue
            finally:
                socket.close()

    return [draw_habit(me, name, ask, 120.0, 5.0, 7200.0)] if peers else []


def _names(me: Identity, number: int) -> list[Habit]:
    """Names asked for without need, some of which do not exist."""
    name = f"names-{number}"
    most = me.traits.count(f"{name}_count", 2, 1, 12)
    missing_share = me.traits.choice(f"{name}_missing", 0.0, (0.2, 0.5, 1.0))
    wants_v6 = me.traits.chance(f"{name}_wants_v6", 0.4)

    async def ask(world: World) -> None:
        for at in range(most):
            asked = world.rng.choice(_SERVICES)
            is_missing = world.rng.random() < missing_share
            try:
                await resolve(world, f"r{at}.{asked}" if is_missing else asked, wants_v6=wants_v6)
            except TimeoutError:
                raise
            except OSError:
                continue

    return [draw_habit(me, name, ask, *_EVERY)]


_PALETTE: Final[tuple[_Draw, ...]] = (
    _poll, _poll, _hold, _hold, _datagrams, _datagrams, _download, _upload, _stream_datagrams, _neighbours, _neighbours,
    _closed_neighbour, _dead, _many, _burst, _turns, _turns, _log_out, _query, _names,
)  # fmt: skip


def _habits(me: Identity) -> list[Habit]:
    traits = me.traits
    drawn = [
        habit
        for number in range(traits.count("habits", 3, 2, MOST_HABITS))
        for habit in traits.choice(f"habit_{number}", _PALETTE[number], _PALETTE)(me, number)
    ]
    doors = datagram_door(me, "invented")
    by_name = {habit.name: habit for habit in (*drawn, *doors, *housekeeping.draw_housekeeping(me, announces=False))}
    return list(by_name.values())


def _handlers(me: Identity) -> Mapping[str, Handler]:
    del me
    return {"first": serve_streams, "second": serve_streams}


INVENTED: Final = DeviceKind(
    about="A device that nobody sells: habits, ports, periods and sizes drawn from wide ranges.",
    habits=_habits,
    handlers=_handlers,
    sites={**SITES, **housekeeping.SITES},
    doors=DOORS["invented"],
    lan=("neighbours on any port",),
)
