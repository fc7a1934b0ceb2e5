"""The ring gives what passed, with the kernel's timestamps, and says clearly why it cannot be had."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from thingwarden.domain.errors import ConfigError, InputError, RequestError
from thingwarden.domain.packet import PacketBatch
from thingwarden.ingest.live import LiveSource, _packet_heads, interface_names

LOOPBACK = "127.0.0.1"


def _heard(source: LiveSource, port: int, count: int) -> list[PacketBatch]:
    """What comes in until so many datagrams to a port were heard, or two seconds have passed."""
    parts, until_s = [], time.monotonic() + 2.0
    while count > 0 and time.monotonic() < until_s:
        packets = source.read(0.05).packets
        mine = np.flatnonzero((packets.dst_port == port) & (packets.proto == 17))
        if len(mine):
            parts.append(packets.take(mine))
            count -= len(mine)
    return parts


@pytest.mark.root
def test_what_passes_is_read_once_with_the_instant_at_which_it_passed() -> None:
    with LiveSource("lo") as source, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind((LOOPBACK, 0))
        port = end.getsockname()[1]
        began_at_s = time.time()
        for number in range(20):
            end.sendto(bytes(number), (LOOPBACK, port))
        ended_at_s = time.time()
        parts = _heard(source, port, 20)
        dropped_count, counts = source.dropped_count, source.counts
    at_s = np.concatenate([part.at_s for part in parts])
    assert np.concatenate([part.payload_bytes for part in parts]).tolist() == list(range(20))
    assert ((at_s >= began_at_s - 1e-3) & (at_s <= ended_at_s + 1e-3)).all()
    assert dropped_count == 0
    assert counts["packets"] >= 20


@pytest.mark.root
def test_a_filter_keeps_the_rest_out() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wanted,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other,
    ):
        wanted.bind((LOOPBACK, 0))
        other.bind(("::1", 0))
        port, other_port = wanted.getsockname()[1], other.getsockname()[1]
        with LiveSource("lo", expression=f"udp port {port}") as source:
            for _ in range(5):
                other.sendto(b"x", ("::1", other_port))
                wanted.sendto(b"x", (LOOPBACK, port))
            parts = _heard(source, port, 5)
            counts = source.counts
    assert sum(map(len, parts)) == 5
    assert counts == {"frames": 5, "packets": 5}


@pytest.mark.root
def test_what_is_no_filter_is_refused() -> None:
    with pytest.raises(RequestError, match="filter 'port pizza'"):
        LiveSource("lo", expression="port pizza")


@pytest.mark.root
def test_silence_tells_how_late_it_is() -> None:
    with LiveSource("lo", clock=lambda: 1000.0) as source:
        read = source.read(0.001)
    assert len(read.packets) == 0 or read.upto_s > 1000.0
    assert len(read.packets) or 999.9 < read.upto_s < 1000.0


@pytest.mark.root
def test_an_interface_that_is_not_there_is_named_beside_those_that_are() -> None:
    with pytest.raises(RequestError, match="there is none of that name") as caught:
        LiveSource("no-such-if")
    assert "lo" in caught.value.hint
    assert "lo" in interface_names()


@pytest.mark.root
def test_an_interface_that_goes_away_is_waited_for() -> None:
    """In a namespace of its own; prints whether it was down, what was heard before and after."""
    script = """
import json, socket, subprocess, time
from thingwarden.ingest.live import LiveSource
def ip(*words): subprocess.run(["ip", *words], check=True)
def hear(source):
    sender, count, until_s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0, time.monotonic() + 4
    while not count and time.monotonic() < until_s:
        try:
            sender.sendto(b"x", ("10.9.0.2", 9))
        except OSError:
            pass
        count += len(source.read(0.05).packets)
    return count > 0
def make():
    ip("link", "add", "one0", "type", "veth", "peer", "name", "two0")
    ip("addr", "add", "10.9.0.1/24", "dev", "one0")
    ip("link", "set", "one0", "up"); ip("link", "set", "two0", "up")
    ip("neigh", "replace", "10.9.0.2", "lladdr", "02:00:00:00:00:02", "dev", "one0")
make()
source = LiveSource("two0")
said = [hear(source)]
ip("link", "del", "one0")
for _ in range(10):
    source.read(0.05)
said.append(source.is_down)
make()
said.append(hear(source))
said.append(source.is_down)
print(json.dumps(said))
"""
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert json.loads(done.stdout) == [True, True, True, False]


@pytest.mark.root
def test_without_the_right_to_listen_it_says_which_is_missing() -> None:
    said, saying = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            LiveSource("lo")
        except ConfigError as error:
            os.write(saying, json.dumps([error.what, error.why, error.hint]).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    what, why, hint = json.loads(os.read(said, 4096))
    assert what == "interface lo"
    assert "CAP_NET_RAW" in why
    assert "root" in hint


def _block(*steps: int) -> bytes:
    """A block whose packets' heads name these steps to the next, behind 48 bytes of its own head."""
    return bytes(48) + b"".join(struct.pack("=I", step) + bytes(max(step, 48) - 4) for step in steps)


def test_the_heads_of_a_block_are_found_by_their_chain() -> None:
    assert _packet_heads(_block(80, 64, 0), 3, 48, 1000) == [1048, 1128, 1192]


@pytest.mark.parametrize(
    ("block", "count", "first"), [(_block(1 << 20)[:200], 2, 48), (_block(0), 1, 4000), (b"", 1, 0)]
)
def test_a_chain_that_leaves_its_block_is_not_followed(block: bytes, count: int, first: int) -> None:
    with pytest.raises(InputError, match="the kernel's ring"):
        _packet_heads(block, count, first, 0)
