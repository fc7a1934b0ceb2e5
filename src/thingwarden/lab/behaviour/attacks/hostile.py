"""What listens at the attackers' hosts: control, drop, tunnel and whoever takes what is carried out.

In: connections and datagrams from infected devices. Out: answers of the size and delay that the asking side wishes for.
Must never: send anything but filler, or keep what comes.
Source: RFC 2812, RFC 959, RFC 1350, RFC 1035, each as far as a bot uses it.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterable
from functools import partial
from typing import Final

from thingwarden.lab.behaviour.attacks.download import TFTP_BLOCK_BYTES, TFTP_PORT
from thingwarden.lab.behaviour.protocol import http, mqtt, session
from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.protocol.dns import DNS_PORT
from thingwarden.lab.behaviour.services import (
    DatagramListener,
    Listener,
    Offered,
    serve,
    serve_datagrams,
    serve_streams,
)
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.timeline import Perform, Planned
from thingwarden.lab.world import Datagrams, Stream, World

_UDP: Final = 17
_ADDRESSES: Final = frozenset(
    text for service in SERVICES.values() if service.is_hostile for text in (service.address, service.address6)
)
_PATIENCE_S: Final = 60.0
_IDLE_S: Final = 7200.0
_HTTP_STARTS: Final = (b"GET ", b"POST ", b"HEAD ", b"PUT ")
_IRC_STARTS: Final = (b"NICK ", b"USER ", b"PASS ")
_SIZE_IN_NAME: Final = re.compile(rb"-(\d{1,9})")
_SIZE_IN_LABEL: Final = re.compile(rb"n(\d{1,4})\x01t\x07")
_MOST_DATAGRAM_BYTES: Final = 1400
_DNS_HEAD: Final = struct.Struct(">HHHHHH")
_ANSWERED_ONCE: Final = 0x8580
_GROWTH: Final = 12
"""How many times as large as a question a reflector's answer is, within one datagram."""

FTP_PORT: Final = 21
_FTP_DATA_PORT: Final = 50_021
_FTP_STEPS: Final = tuple(1000 * 4**step for step in range(7))
"""Sizes of the files that the FTP server has; each comes from a port of its own, so that no state is shared."""
_FTP_ANSWERS: Final = {b"USER": b"331 ?", b"PASS": b"230 in", b"QUIT": b"221 bye", b"RETR": b"150 opening"}
_FTP_TRANSFER_S: Final = 0.3
_TFTP_READ: Final = b"\0\1"
_TFTP_DATA: Final = b"\0\3"
_TFTP_ACKNOWLEDGED: Final = b"\0\4"
_TFTP_MOST_BYTES: Final = TFTP_BLOCK_BYTES * 65_000
"""The number of a block has 16 bits."""


async def serve_bots(world: World, stream: Stream) -> None:
    """Answer whatever a bot speaks first: HTTP, MQTT, IRC, counted messages; anything else comes back as it is."""
    source = Buffered(stream)
    head = await source.peek(_PATIENCE_S)
    if head.startswith(_HTTP_STARTS):
        await http.answer_requests(world, source)
    elif head[0] >> 4 == mqtt.CONNECT and b"MQTT" in head[:12]:
        await mqtt.serve_cloud_broker(world, source)
    elif head.startswith(_IRC_STARTS):
        await _chat(world, source)
    elif head[0] == session.FRAME_MARK:
        await session.serve_turns(world, source)
    else:
        await _return_all(world, source)


async def _chat(world: World, source: Buffered) -> None:
    while line := await source.until(b"\n", timeout_s=_IDLE_S):
        await world.sleep(world.rng.uniform(0.02, 0.08))
        await source.stream.send(b"PONG :k\r\n" if line.startswith(b"PING") else b":irc 001 bot :wait\r\n")


async def _return_all(world: World, source: Buffered) -> None:
    while data := await source.peek(_IDLE_S):
        await source.exactly(len(data))
        await world.sleep(world.rng.uniform(0.001, 0.02))
        await source.stream.send(data)


async def serve_ftp(world: World, stream: Stream) -> None:
    """Let everybody in; SIZE before PASV decides which file comes."""
    source = Buffered(stream)
    step = 0
    await stream.send(b"220 ready\r\n")
    while line := await source.until(b"\n", timeout_s=_PATIENCE_S):
        await world.sleep(world.rng.uniform(0.002, 0.03))
        verb = line[:4].upper()
        if verb == b"SIZE":
            wished = _wished_bytes(line)
            step = sum(step_bytes < wished for step_bytes in _FTP_STEPS[:-1])
            await stream.send(f"213 {_FTP_STEPS[step]}\r\n".encode())
        elif verb == b"PASV":
            high, low = divmod(_FTP_DATA_PORT + step, 256)
            await stream.send(f"227 Entering Passive Mode (0,0,0,0,{high},{low})\r\n".encode())
        else:
            await stream.send(_FTP_ANSWERS.get(verb, b"200 ok") + b"\r\n")
        if verb == b"RETR":
            await world.sleep(_FTP_TRANSFER_S)
            await stream.send(b"226 done\r\n")
        if verb == b"QUIT":
            return


async def _send_file(world: World, stream: Stream, *, size_bytes: int) -> None:
    await world.sleep(0.01)
    await http.send_filler(stream, size_bytes)


async def serve_files(world: World, socket: Datagrams) -> None:
    """TFTP: a file of every size, ``<name>-<bytes>``, from the port that was asked, as NAT wants it."""
    sizes: dict[tuple[str, int], int] = {}
    while True:
        try:
            address, port, datagram = await socket.receive()
            if datagram[:2] == _TFTP_READ:
                sizes[address, port] = _wished_bytes(datagram)
                await _send_block(socket, address, port, 0, sizes[address, port])
            elif datagram[:2] == _TFTP_ACKNOWLEDGED and (address, port) in sizes:
                number = int.from_bytes(datagram[2:4], "big")
                if number * TFTP_BLOCK_BYTES > sizes[address, port]:
                    del sizes[address, port]
                else:
                    await _send_block(socket, address, port, number, sizes[address, port])
        except OSError:
            continue


async def _send_block(socket: Datagrams, address: str, port: int, before: int, size_bytes: int) -> None:
    """Send the block after ``before`` blocks; the last one is short, if need be empty."""
    block = http.filler(max(0, min(TFTP_BLOCK_BYTES, size_bytes - before * TFTP_BLOCK_BYTES)))
    await socket.send(address, port, _TFTP_DATA + (before + 1).to_bytes(2, "big") + block)


async def serve_names(world: World, socket: Datagrams) -> None:
    """The tunnel's name server; what is no query gets an answer many times its size, as from an open reflector."""
    while True:
        try:
            address, port, datagram = await socket.receive()
            await world.sleep(world.rng.uniform(0.001, 0.01))
            await socket.send(address, port, answer_query(datagram) or _grown(datagram))
        except OSError:
            continue


def answer_query(query: bytes) -> bytes:
    """The answer that a query under the tunnel's domain wishes for; empty if it is none."""
    wish = _SIZE_IN_LABEL.search(query, _DNS_HEAD.size)
    if wish is None or len(query) < _DNS_HEAD.size + 5:
        return b""
    size_bytes = min(int(wish[1]), _MOST_DATAGRAM_BYTES - len(query))
    question = query[_DNS_HEAD.size :]
    head = _DNS_HEAD.pack(int.from_bytes(query[:2], "big"), _ANSWERED_ONCE, 1, 1, 0, 0)
    record = b"\xc0\x0c" + question[-4:] + struct.pack(">IH", 0, size_bytes)
    return head + question + record + http.filler(size_bytes)


def _grown(datagram: bytes) -> bytes:
    wish = session.decode_wish(datagram)
    size_bytes = wish[0] if wish else _GROWTH * len(datagram)
    return http.filler(max(1, min(size_bytes, _MOST_DATAGRAM_BYTES)))


def _wished_bytes(line: bytes) -> int:
    wish = _SIZE_IN_NAME.search(line)
    return min(int(wish[1]), _TFTP_MOST_BYTES) if wish else _FTP_STEPS[0]


_BOT_PORTS: Final = (6667, 23, 4545, 48101)
_WEB_PORTS: Final = (80, 8080, 1883)
_TLS_PORTS: Final = (443, 8443)
_REFLECTOR_PORTS: Final = (389, 1900, 11211)
_OFFERED: Final[tuple[Offered, ...]] = (
    *(Listener(port=port, handler=serve_bots) for port in _BOT_PORTS),
    # In real runs these are shared with the services of the internet, so they mean the same here.
    *(Listener(port=port, handler=serve_streams) for port in _WEB_PORTS),
    *(Listener(port=port, handler=serve_streams, is_tls=True) for port in _TLS_PORTS),
    Listener(port=FTP_PORT, handler=serve_ftp),
    *(
        Listener(port=_FTP_DATA_PORT + step, handler=partial(_send_file, size_bytes=size_bytes))
        for step, size_bytes in enumerate(_FTP_STEPS)
    ),
    DatagramListener(port=DNS_PORT, server=serve_names),
    DatagramListener(port=TFTP_PORT, server=serve_files),
)
_REFLECTING: Final[tuple[Offered, ...]] = tuple(
    DatagramListener(port=port, server=serve_names) for port in (DNS_PORT, *_REFLECTOR_PORTS)
)
REFLECTOR: Final = "reflector.invalid"


def expected_ports(planned: Iterable[Planned]) -> tuple[str, ...]:
    """Where the attacks of a schedule want an answer from attackers' hosts, in the form of ``Identity.expects``.

    Args:
        planned: of the schedule; ports that acts' aims name on attackers' hosts count.
    """
    found: dict[str, None] = {}
    for action in (item.action for item in planned):
        if isinstance(action, Perform):
            way = "tls" if action.act == "c2_tls" or action.settings.get("way") == "tls" else "tcp"
            for aim in action.aims:
                if aim.peer in _ADDRESSES:
                    found.update(dict.fromkeys(f"{'udp' if aim.proto == _UDP else way}/{port}" for port in aim.ports))
    return tuple(found)


async def open_doors(world: World) -> None:
    """Listen as an attacker's host, or as all of them where all share one; ports that are taken already stay so."""
    service = SERVICES.get(world.me.name)
    offered: list[Offered] = []
    if service is None or service.is_hostile:
        offered += [*_OFFERED, *(_expected(text) for text in world.me.expects)]
    if service is None or service.name == REFLECTOR:
        offered += _REFLECTING
    for one in offered:
        with contextlib.suppress(OSError):
            await serve(world, (one,))


def _expected(text: str) -> Offered:
    way, _, port = text.partition("/")
    if way == "udp":
        return DatagramListener(port=int(port), server=serve_datagrams)
    return Listener(port=int(port), handler=serve_bots, is_tls=way == "tls")
