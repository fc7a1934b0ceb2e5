"""Things that film: cameras and doorbells.

In: an identity. Out: their ``DeviceKind``.
Must never: film longer than a clip's or a viewer's bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from thingwarden.lab.behaviour import housekeeping
from thingwarden.lab.behaviour.cloud import STATE, Size, holding, polling
from thingwarden.lab.behaviour.doors import DOORS
from thingwarden.lab.behaviour.kind import DeviceKind, Habit, Site, draw_habit
from thingwarden.lab.behaviour.protocol import call, rtsp
from thingwarden.lab.behaviour.protocol.login import DIALOGUES, Dialogue, ssh_server, telnet_server
from thingwarden.lab.behaviour.reach import Reach
from thingwarden.lab.behaviour.services import serve_streams
from thingwarden.lab.world import Handler, Identity, World

_RECORDER: Final = Site(services=("video.example", "vendor.example"), port=554, others=(8554, 1935, 10554))
_STORE: Final = Site(
    services=("video.example", "backup.example", "vendor.example"), port=443, others=(8443, 8080, 8888), is_tls=True,
    plain_port=8080,
)  # fmt: skip
_REPORT: Final = Site(services=("vendor.example", "plug-cloud.example"), port=80, others=(8080, 8000, 8888, 7442))
_PUSH: Final = Site(services=("push.example", "vendor.example"), port=5228, others=(443, 8883), is_tls=True)
_RELAY: Final = Site(services=("call.example",), port=call.STUN_PORT, others=(19302, 5349), transport="udp")
_LONGEST_VIEW_S: Final = 600.0
_CLIP: Final = Size(usual=400_000, low=20_000, high=20_000_000)


def _video(me: Identity) -> rtsp.Video:
    return rtsp.Video(
        frames_per_s=me.traits.number("frames_per_s", 8.0, 2.0, 15.0),
        frame_bytes=me.traits.count("frame_bytes", 900, 200, 12_000),
    )


def _clips(me: Identity) -> Habit:
    if not me.traits.chance("streams_clips", 0.6):
        return polling(
            me,
            "store",
            Reach(me, "store", _STORE),
            "/clip",
            (45.0, 8.0, 3600.0),
            _CLIP,
            most_requests=3,
            is_by_day=True,
        )
    recorder = Reach(me, "recorder", _RECORDER)
    video = _video(me)
    span_s = me.traits.number("clip_s", 8.0, 3.0, 60.0)

    async def film(world: World) -> None:
        stream = await recorder.open(world)
        try:
            await rtsp.upload(world, stream, recorder.name, video, span_s * world.rng.uniform(0.6, 1.8) / world.me.pace)
        except OSError:
            await stream.close()
            raise
        await recorder.leave(world, stream)

    return draw_habit(me, "recorder", film, 25.0, 8.0, 3600.0, is_by_day=True)


def _camera_habits(me: Identity) -> list[Habit]:
    report = polling(me, "report", Reach(me, "report", _REPORT), "/heartbeat", (25.0, 5.0, 3600.0), STATE)
    push = [holding(me, "push", _PUSH)] if me.traits.chance("holds_push", 0.4) else []
    return [_clips(me), report, *push, *housekeeping.draw_housekeeping(me, "_rtsp._tcp")]


def _camera_handlers(me: Identity) -> Mapping[str, Handler]:
    dialogue: Dialogue = me.traits.choice("telnet_dialogue", "options", DIALOGUES)
    return {
        "web": serve_streams,
        "rtsp": rtsp.camera_server(_video(me), _LONGEST_VIEW_S),
        "telnet": telnet_server(me.name, dialogue),
        "ssh": ssh_server(),
    }


def _doorbell_habits(me: Identity) -> list[Habit]:
    relay = Reach(me, "relay", _RELAY)
    traits = me.traits
    span_s = traits.number("talk_s", 12.0, 4.0, 120.0)
    media = call.Media(
        packets_per_s=traits.number("talk_packets_per_s", 30.0, 10.0, 60.0),
        payload_bytes=traits.count("talk_packet_bytes", 400, 80, 1200),
    )

    async def ring(world: World) -> None:
        address = await relay.locate(world)
        span = span_s * world.rng.uniform(0.3, 2.0) / world.me.pace
        await call.call(world, address, relay.endpoint.port, media, span)

    ringing = draw_habit(me, "ring", ring, 150.0, 40.0, 14_400.0, is_by_day=True)
    snapshot = polling(
        me, "store", Reach(me, "store", _STORE), "/snapshot", (60.0, 10.0, 3600.0),
        Size(usual=30_000, low=2_000, high=400_000), is_by_day=True,
    )  # fmt: skip
    return [holding(me, "push", _PUSH), ringing, snapshot, *housekeeping.draw_housekeeping(me)]


def _doorbell_handlers(me: Identity) -> Mapping[str, Handler]:
    return {"rtsp": rtsp.camera_server(_video(me), _LONGEST_VIEW_S)}


CAMERA: Final = DeviceKind(
    about="Camera: uploads clips by RTSP or HTTPS, reports by HTTP, is watched and administered on the LAN.",
    habits=_camera_habits,
    handlers=_camera_handlers,
    sites={"recorder": _RECORDER, "store": _STORE, "report": _REPORT, "push": _PUSH, **housekeeping.SITES},
    doors=DOORS["camera"],
)
DOORBELL: Final = DeviceKind(
    about="Doorbell: waits for a push, uploads pictures, talks through a relay when somebody rings.",
    habits=_doorbell_habits,
    handlers=_doorbell_handlers,
    sites={"relay": _RELAY, "store": _STORE, "push": _PUSH, **housekeeping.SITES},
    doors=DOORS["doorbell"],
)
