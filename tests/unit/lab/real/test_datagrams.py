"""UDP sockets: taken ports, waiting for nothing, multicast where there is a LAN."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from lab_host_builder import lan_host
from thingwarden.lab.real.datagrams import RealDatagrams
from thingwarden.lab.real.network import Lab


def run(work: Coroutine[Any, Any, None]) -> None:
    """Do ``work`` within 10 s."""
    asyncio.run(asyncio.wait_for(work, 10.0))


def test_a_taken_port_is_told() -> None:
    async def talk() -> None:
        first = RealDatagrams(lambda _: None, 0, (), is_v6=False)
        with pytest.raises(OSError, match="in use"):
            RealDatagrams(lambda _: None, first.port, (), is_v6=False)
        first.close()
        first.close()

    run(talk())


def test_who_waits_learns_that_the_socket_is_closed() -> None:
    async def talk() -> None:
        made = RealDatagrams(lambda _: None, 0, (), is_v6=True)
        waiting = asyncio.create_task(made.receive())
        await asyncio.sleep(0.01)
        made.close()
        with pytest.raises(OSError, match="closed"):
            await waiting

    run(talk())


def test_every_datagram_is_told_before_it_is_handed_out() -> None:
    told: list[bytes] = []

    async def talk() -> None:
        made = RealDatagrams(lambda _: None, 0, (), is_v6=False, on_received=told.append)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"lease", ("127.0.0.1", made.port))
        assert (await made.receive(1.0))[2] == b"lease"
        made.close()

    run(talk())
    assert told == [b"lease"]


LISTEN = """
import asyncio, sys
from thingwarden.lab.prefix import require_inside
from thingwarden.lab.real.datagrams import RealDatagrams
async def main(is_v6, group):
    made = RealDatagrams(require_inside, 5353, (group,), is_v6=is_v6)
    if sys.argv[1] == "hear":
        print("up", flush=True)
        print((await made.receive(5))[2].decode(), flush=True)
    else:
        await made.send(group, 5353, b"hello neighbours")
asyncio.run(main(*((True, "ff02::fb") if sys.argv[2] == "6" else (False, "224.0.0.251"))))
"""


@pytest.mark.root
@pytest.mark.parametrize("version", ["4", "6"])
def test_a_group_is_heard_across_the_lan(version: str) -> None:
    with Lab([lan_host("hub", 2), lan_host("plug", 31)]) as lab:
        heard = lab.scratch / "heard"
        listener = lab.spawn("hub", [sys.executable, "-c", LISTEN, "hear", version], log=heard)
        deadline_s = time.monotonic() + 10
        while b"up" not in heard.read_bytes():
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        lab.run("plug", [sys.executable, "-c", LISTEN, "tell", version])
        listener.wait(10)
        assert "hello neighbours" in heard.read_text()
