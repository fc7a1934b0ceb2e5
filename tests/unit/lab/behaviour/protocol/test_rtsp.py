"""Uploads to a recorder, and a camera watched on the LAN."""

from __future__ import annotations

import pytest

from play_builder import address_of, play
from thingwarden.lab.behaviour.protocol import rtsp
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.world import World

VIDEO = rtsp.Video(frames_per_s=10.0, frame_bytes=1000)


def test_interleaved_packet_has_channel_length_and_rtp_header() -> None:
    packet = rtsp.interleaved(5, 20)
    assert packet[:4] == b"$\x00\x00\x20"
    assert packet[4:8] == bytes((0x80, 96, 0, 5))
    assert len(packet) == 4 + 12 + 20


def test_clip_goes_to_the_recorder_at_its_rate() -> None:
    done: list[float] = []

    async def camera(world: World) -> None:
        stream = await world.connect(SERVICES["video.example"].address, 554)
        began_at_s = world.now_s()
        await rtsp.upload(world, stream, "video.example", VIDEO, 10.0)
        done.append(world.now_s() - began_at_s)
        await stream.close()

    flows = play(camera=camera)
    assert 10.0 <= done[0] < 12.0
    assert 70_000 < flows.orig_bytes.max() < 250_000
    assert flows.resp_bytes.max() < 1000


@pytest.mark.parametrize("longest_s", [3.0, 60.0])
def test_viewer_sees_the_camera_until_one_of_them_ends_it(longest_s: float) -> None:
    async def camera(world: World) -> None:
        await world.listen(554, rtsp.camera_server(VIDEO, longest_s))

    async def phone(world: World) -> None:
        stream = await world.connect(address_of(0), 554)
        try:
            await rtsp.view(world, stream, "camera.lan", 8.0)
        finally:
            await stream.close()

    flows = play(camera=camera, phone=phone)
    watched = flows.take((flows.resp_port == 554).nonzero()[0])
    assert len(watched) == 1
    assert watched.resp_bytes[0] > 20_000 * min(longest_s, 8.0) / 3.0
    assert watched.duration_s[0] < min(longest_s, 8.0) + 4.0


def test_camera_refuses_what_is_not_rtsp() -> None:
    seen: list[bytes] = []

    async def camera(world: World) -> None:
        await world.listen(554, rtsp.camera_server(VIDEO, 5.0))

    async def scanner(world: World) -> None:
        stream = await world.connect(address_of(0), 554)
        await stream.send(b"\x03\x00\x00\x0b\r\n\r\n")
        seen.append(await stream.receive(5.0))

    play(camera=camera, scanner=scanner)
    assert seen[0].startswith(b"RTSP/1.0 400")
