"""Reading lines and counts from chunks."""

from __future__ import annotations

import pytest

from play_builder import address_of, play
from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.world import Stream, World


def test_lines_counts_and_gaps_are_read_whatever_the_chunks() -> None:
    seen: list[bytes] = []

    async def serve(world: World, stream: Stream) -> None:
        for chunk in (b"one\r", b"\ntwoth", b"ree", bytes(5000), b"!"):
            await stream.send(chunk)
            await world.sleep(0.1)

    async def server(world: World) -> None:
        await world.listen(7, serve)

    async def client(world: World) -> None:
        source = Buffered(await world.connect(address_of(0), 7))
        seen.append(await source.until(b"\r\n"))
        seen.append(await source.exactly(3))
        seen.append((await source.peek())[:2])
        seen.append(await source.exactly(5))
        await source.skip(5000)
        seen.append(await source.exactly(1))
        with pytest.raises(ConnectionResetError):
            await source.peek()
        seen.append(b"end")

    play(server=server, client=client)
    assert seen == [b"one\r\n", b"two", b"th", b"three", b"!", b"end"]


def test_endless_line_is_refused() -> None:
    ended: list[str] = []

    async def serve(world: World, stream: Stream) -> None:
        await stream.send(bytes(4000))
        await world.sleep(5.0)

    async def server(world: World) -> None:
        await world.listen(7, serve)

    async def client(world: World) -> None:
        source = Buffered(await world.connect(address_of(0), 7))
        with pytest.raises(ConnectionAbortedError):
            await source.until(b"\n", most_bytes=1000)
        ended.append("refused")

    play(server=server, client=client)
    assert ended == ["refused"]
