"""Things that play and listen: televisions and voice assistants.

In: an identity. Out: their ``DeviceKind``.
Must never: stream by night as by day.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from thingwarden.lab.behaviour import housekeeping
from thingwarden.lab.behaviour.cloud import Size, holding, polling, varied
from thingwarden.lab.behaviour.doors import DOORS
from thingwarden.lab.behaviour.kind import DeviceKind, Habit, Site, draw_habit
from thingwarden.lab.behaviour.protocol import discovery, http, session
from thingwarden.lab.behaviour.reach import Reach
from thingwarden.lab.behaviour.services import serve_streams
from thingwarden.lab.world import Handler, Identity, World

STREAM: Final = Site(
    services=("cdn.example", "video.example", "news.example"), port=443, others=(8443,), is_tls=True, plain_port=80
)
QUIC: Final = Site(services=("cdn.example", "video.example", "shop.example"), port=443, transport="udp", is_fixed=True)
_ADS: Final = Site(
    services=("shop.example", "news.example", "vendor.example"), port=443, others=(80,), is_tls=True, plain_port=80
)
_PUSH: Final = Site(services=("push.example", "vendor.example"), port=443, others=(5228, 8883), is_tls=True)
_VOICE: Final = Site(services=("voice.example",), port=443, others=(4070, 8443), is_tls=True)
_ROOT: Final = "upnp:rootdevice"


def streaming(
    me: Identity, role: str, every_s: tuple[float, float, float], segment: Size, segments: tuple[int, int, int]
) -> Habit:
    """Adaptive streaming: segments over one connection, over one each, or by datagrams.

    Args:
        me: the device.
        role: names the habit and its traits.
        every_s: usual, shortest and longest pause between two sittings.
        segment: size of each.
        segments: usual, smallest and largest number in a sitting.
    """
    reach = Reach(me, role, STREAM)
    quic = Reach(me, f"{role}-quic", QUIC)
    traits = me.traits
    manners = http.Manners.drawn(traits, role)
    is_by_datagram = traits.chance(f"{role}_is_by_datagram", 0.25)
    count = traits.count(f"{role}_segments", *segments)
    segment_bytes = segment.drawn(me, f"{role}_segment_bytes")
    gap_s = traits.number(f"{role}_segment_gap_s", 2.0, 0.2, 10.0)

    async def watch(world: World) -> None:
        left = max(1, int(count * world.rng.uniform(0.3, 1.7)))
        while left > 0:
            burst = min(left, 3)
            if is_by_datagram:
                await ask_by_datagram(world, quic, varied(world, burst * segment_bytes, 0.2))
            else:
                asks = [http.Ask(path="/segment", answer_bytes=varied(world, segment_bytes, 0.2)) for _ in range(burst)]
                await http.visit(world, reach, asks, manners)
            left -= burst
            await world.sleep(gap_s * world.rng.uniform(0.5, 1.5))

    return draw_habit(me, role, watch, *every_s, is_by_day=True)


async def ask_by_datagram(world: World, reach: Reach, answer_bytes: int) -> None:
    """A page or a segment over UDP, as QUIC moves it: a padded beginning, many datagrams back, few acknowledgements.

    Raises:
        OSError: the service was not found.
    """
    address = await reach.locate(world)
    socket = await world.open_datagrams(is_v6=":" in address)
    try:
        answers = max(1, min(session.MAX_ANSWERS, answer_bytes // 1250))
        wish = session.encode_wish(1250, 1250, answers, 20)
        await session.ask_datagrams(socket, address, reach.endpoint.port, wish, acknowledges=8)
    finally:
        socket.close()


def _television_habits(me: Identity) -> list[Habit]:
    async def answer(world: World) -> None:
        await discovery.answer_searches(world, world.me.name, "urn:dial-multiscreen-org:service:dial:1")

    async def tell(world: World) -> None:
        await discovery.notify(world, world.me.name, (_ROOT, "urn:dial-multiscreen-org:service:dial:1"))

    film = Size(usual=60_000, low=20_000, high=3_000_000)
    return [
        streaming(me, "film", (15.0, 8.0, 3600.0), film, (4, 1, 200)),
        polling(me, "ads", Reach(me, "ads", _ADS), "/ad", (30.0, 5.0, 1800.0), is_by_day=True),
        holding(me, "push", _PUSH),
        draw_habit(me, "door-discovery", answer, 1.0, 0.5, 2.0),
        draw_habit(me, "notify", tell, 30.0, 10.0, 1800.0),
        *housekeeping.draw_housekeeping(me, "_airplay._tcp"),
    ]


def _speaking(me: Identity) -> Habit:
    voice = Reach(me, "question", _VOICE)
    asked = session.Turn(
        sent_bytes=me.traits.count("question_bytes", 40_000, 4_000, 400_000),
        answer_bytes=me.traits.count("reply_bytes", 30_000, 2_000, 600_000),
        think_ms=me.traits.count("question_think_ms", 300, 30, 3000),
    )

    async def speak(world: World) -> None:
        stream = await voice.open(world)
        try:
            for _ in range(world.rng.randint(1, 3)):
                await session.take_turn(stream, asked)
                await world.sleep(world.rng.uniform(0.5, 6.0))
        except OSError:
            await stream.close()
            raise
        await voice.leave(world, stream)

    return draw_habit(me, "question", speak, 60.0, 20.0, 7200.0, is_by_day=True)


def _assistant_habits(me: Identity) -> list[Habit]:
    song = Size(usual=90_000, low=30_000, high=600_000)
    return [
        holding(me, "voice", _VOICE, push_s=120.0, beat_s=30.0),
        _speaking(me),
        streaming(me, "music", (120.0, 30.0, 14_400.0), song, (8, 2, 150)),
        *housekeeping.draw_housekeeping(me, "_googlecast._tcp"),
    ]


def _control(me: Identity) -> Mapping[str, Handler]:
    del me
    return {"control": serve_streams}


TELEVISION: Final = DeviceKind(
    about="Television: streams in the evening, asks for advertisements, announces itself by SSDP and mDNS.",
    habits=_television_habits,
    handlers=_control,
    sites={"film": STREAM, "film-quic": QUIC, "ads": _ADS, "push": _PUSH, **housekeeping.SITES},
    doors=DOORS["tv"],
    lan=("the LAN by mDNS and SSDP",),
)
VOICE_ASSISTANT: Final = DeviceKind(
    about="Voice assistant: a session held for days, bursts when spoken to, music.",
    habits=_assistant_habits,
    handlers=_control,
    sites={"voice": _VOICE, "question": _VOICE, "music": STREAM, "music-quic": QUIC, **housekeeping.SITES},
    doors=DOORS["voice-assistant"],
    lan=("the LAN by mDNS",),
)
