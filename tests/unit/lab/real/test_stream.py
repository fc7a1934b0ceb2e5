"""Streams under pressure: full buffers, endings on both sides, readers that wait for what never comes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

import pytest

from thingwarden.lab.real.stream import PlainStream


def run(work: Coroutine[Any, Any, None]) -> None:
    """Do ``work`` within 10 s."""
    asyncio.run(asyncio.wait_for(work, 10.0))


async def pair() -> tuple[PlainStream, PlainStream]:
    """Two ends of one connection."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    for end in (one, other):
        end.setblocking(False)
    return (await loop.create_connection(PlainStream, sock=one))[1], (
        await loop.create_connection(PlainStream, sock=other)
    )[1]


def test_sending_waits_for_a_reader_that_sleeps() -> None:
    async def talk() -> None:
        one, other = await pair()
        content = bytes(range(256)) * 65536
        sending = asyncio.create_task(one.send(content))
        await asyncio.sleep(0.2)
        assert not sending.done()
        heard = bytearray()
        while len(heard) < len(content):
            heard += await other.receive(2.0)
        await sending
        assert heard == content
        one.abort()

    run(talk())


def test_after_the_end_nothing_is_sent() -> None:
    async def talk() -> None:
        one, other = await pair()
        await one.finish()
        await one.finish()
        with pytest.raises(BrokenPipeError):
            await one.send(b"more")
        assert await other.receive(1.0) == b""
        await other.send(b"last words")
        assert await one.receive(1.0) == b"last words"
        await other.close()
        assert await one.receive(1.0) == b""
        await one.close()

    run(talk())


def test_who_waits_learns_that_the_connection_is_gone() -> None:
    async def talk() -> None:
        one, other = await pair()
        waiting = [asyncio.create_task(other.receive()) for _ in range(2)]
        await asyncio.sleep(0.05)
        one.abort()
        for reader in waiting:
            with pytest.raises(ConnectionResetError):
                await reader
        with pytest.raises(ConnectionResetError):
            await other.send(b"anybody?")

    run(talk())


def test_what_comes_after_close_is_let_pass() -> None:
    async def talk() -> None:
        one, other = await pair()
        await one.close()
        await other.send(b"x" * 1000)
        await asyncio.sleep(0.05)
        await other.send(b"x" * 1000)  # a reset would have come by now
        await other.close()

    run(talk())
