"""RTSP with RTP interleaved in its connection: a camera's upload, and a camera's own server with its viewer.

In: bit rates and spans. Out: the dialogue and media of no content.
Must never: send media faster than its rate for longer than its span.
Source: RFC 2326, RFC 3550.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.protocol.http import filler
from thingwarden.lab.world import Handler, Stream, World

RTSP_PORT: Final = 554
_PACKET_BYTES: Final = 1200
_IDLE_S: Final = 60.0
_KEY_EVERY: Final = 16
_KEY_SIZE: Final = 5.0
_VERBS: Final = (b"OPTIONS ", b"ANNOUNCE", b"DESCRIBE", b"SETUP rt", b"RECORD r", b"PLAY rts", b"TEARDOWN", b"GET_PARA")
_DESCRIPTION: Final = b"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=cam\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """What a camera films.

    Attributes:
        frames_per_s: more than 0.
        frame_bytes: of a usual frame; every sixteenth is a key frame, five times as large.
    """

    frames_per_s: float = 8.0
    frame_bytes: int = 900


async def upload(world: World, stream: Stream, host: str, video: Video, span_s: float) -> None:
    """Announce a recording to a server, send media for ``span_s`` seconds, tear down.

    Raises:
        OSError: the server left or refused.
    """
    source = Buffered(stream)
    url = f"rtsp://{host}/in"
    for number, verb in enumerate(("OPTIONS", "ANNOUNCE", "SETUP", "RECORD"), start=1):
        await _ask(source, verb, url, number, _DESCRIPTION if verb == "ANNOUNCE" else b"")
    await send_media(world, stream, video, span_s)
    await _ask(source, "TEARDOWN", url, 5)


async def view(world: World, stream: Stream, host: str, span_s: float) -> None:
    """Play a camera's stream for ``span_s`` seconds, then tear down.

    Raises:
        OSError: the camera left or refused.
    """
    source = Buffered(stream)
    url = f"rtsp://{host}/live"
    for number, verb in enumerate(("OPTIONS", "DESCRIBE", "SETUP", "PLAY"), start=1):
        await _ask(source, verb, url, number)
    ends_at_s = world.now_s() + span_s
    while world.now_s() < ends_at_s:
        if not await stream.receive(_IDLE_S):
            return  # the camera has played as long as it likes
    await stream.send(_request("TEARDOWN", url, 5))


async def send_media(world: World, stream: Stream, video: Video, span_s: float) -> None:
    """Interleaved RTP at the video's rate for ``span_s`` seconds.

    Raises:
        OSError: the viewer is gone.
    """
    ends_at_s = world.now_s() + span_s
    sequence = world.rng.randrange(60000)
    while world.now_s() < ends_at_s:
        is_key = sequence % _KEY_EVERY == 0
        size_bytes = int(video.frame_bytes * (_KEY_SIZE if is_key else world.rng.uniform(0.5, 1.5)))
        packets = []
        while size_bytes > 0:
            packets.append(interleaved(sequence, min(size_bytes, _PACKET_BYTES)))
            size_bytes -= _PACKET_BYTES
        await stream.send(b"".join(packets))
        sequence += 1
        await world.sleep(world.rng.uniform(0.8, 1.2) / video.frames_per_s)


def interleaved(sequence: int, payload_bytes: int) -> bytes:
    """An RTP packet on channel 0 of an RTSP connection."""
    header = struct.pack(">BBHII", 0x80, 96, sequence & 0xFFFF, sequence * 11250 & 0xFFFFFFFF, 0x7A6B5C4D)
    return struct.pack(">cBH", b"$", 0, 12 + payload_bytes) + header + filler(payload_bytes)


async def serve_recorder(world: World, source: Buffered) -> None:
    """Say OK to each request and swallow the media until TEARDOWN.

    Raises:
        OSError: the camera left.
    """
    del world
    number = 0
    while True:
        if (await source.peek(_IDLE_S))[:1] == b"$":
            head = await source.exactly(4)
            await source.skip(int.from_bytes(head[2:], "big"))
            continue
        head = await source.until(b"\r\n\r\n")
        await source.skip(_body_bytes(head))
        number += 1
        await source.stream.send(_answer(number))
        if head.startswith(b"TEARDOWN"):
            return


def camera_server(video: Video, longest_s: float) -> Handler:
    """What a camera's own RTSP port does: answers, and plays ``video`` for at most ``longest_s`` seconds."""

    async def serve(world: World, stream: Stream) -> None:
        source = Buffered(stream)
        number = 0
        while True:
            head = await source.until(b"\r\n\r\n", timeout_s=_IDLE_S)
            number += 1
            if not head.startswith(_VERBS):
                await stream.send(b"RTSP/1.0 400 Bad Request\r\n\r\n")
                return
            await stream.send(_answer(number, _DESCRIPTION if head.startswith(b"DESCRIBE") else b""))
            if head.startswith(b"PLAY"):
                await _play(world, source, video, longest_s)
                return
            if head.startswith(b"TEARDOWN"):
                return

    return serve


async def _play(world: World, source: Buffered, video: Video, longest_s: float) -> None:
    ends_at_s = world.now_s() + longest_s
    while world.now_s() < ends_at_s:
        await send_media(world, source.stream, video, 1.0)
        try:
            await source.until(b"\r\n\r\n", timeout_s=0.001)
            return
        except TimeoutError:
            continue


async def _ask(source: Buffered, verb: str, url: str, number: int, body: bytes = b"") -> None:
    await source.stream.send(_request(verb, url, number, body))
    head = await source.until(b"\r\n\r\n")
    if b" 200 " not in head[:16]:
        raise ConnectionRefusedError("the RTSP server refused")
    await source.skip(_body_bytes(head))


def _request(verb: str, url: str, number: int, body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{verb} {url} RTSP/1.0\r\nCSeq: {number}\r\nUser-Agent: cam/2.1\r\n{length}\r\n".encode() + body


def _answer(number: int, body: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"RTSP/1.0 200 OK\r\nCSeq: %d\r\nSession: 12345678\r\n%s\r\n" % (number, length) + body


def _body_bytes(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length" and value.strip().isdigit():
            return min(int(value), 65536)
    return 0
