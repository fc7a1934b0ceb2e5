"""A host's view of a network of real sockets: asyncio in a process of its own, inside a namespace.

In: who the host is, and when the scenario began. Out: ``RealWorld``, an implementation of ``world.World``.
Must never: reach an address that the guard refuses, or let the failure of one connection end the host.
"""

# ruff: noqa: S311  random numbers here shape traffic and guard nothing

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
import ssl
import subprocess
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Final

from thingwarden.lab.prefix import GATEWAY, LAN, require_inside
from thingwarden.lab.real.datagrams import LAN_INTERFACE, RealDatagrams
from thingwarden.lab.real.layout import INTERNET_NAME
from thingwarden.lab.real.stream import PlainStream, TlsStream
from thingwarden.lab.real.tools import run_tool
from thingwarden.lab.tool import Tool
from thingwarden.lab.world import Behaviour, Handler, Identity, Stream

_BACKLOG: Final = 128
_HANDSHAKE_S: Final = 10.0
_DHCP_CLIENT_PORT: Final = 68
_DHCP_COOKIE: Final = b"\x63\x82\x53\x63"
_DHCP_HEADER_BYTES: Final = 240
_DHCP_ACKNOWLEDGED: Final = b"\x35\x01\x05"


@dataclass(kw_only=True)
class Surroundings:
    """What all tasks of a host share.

    Attributes:
        me: the host.
        seed: of the scenario, text.
        began_at_s: Unix seconds at which the scenario began; ``starts_at_hour`` is the local time it has then.
        certificate: PEM, what servers show and clients trust; ``key`` is its private key.
        scratch: folder for what tools need to read.
        guard: refuses addresses.
    """

    me: Identity
    seed: str
    began_at_s: float
    starts_at_hour: float
    scratch: Path
    certificate: Path
    key: Path
    guard: Callable[[str], None] = require_inside
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    @cached_property
    def client_context(self) -> ssl.SSLContext:
        """Trusts the lab's certificate and no other."""
        return ssl.create_default_context(cafile=str(self.certificate))

    @cached_property
    def server_context(self) -> ssl.SSLContext:
        """Shows the lab's certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(self.certificate), str(self.key))
        return context

    def run(self, name: str, work: Awaitable[None]) -> asyncio.Task[None]:
        """Do ``work`` as a task; an OSError ends it silently, any other error is told on stderr.

        Raises:
            ValueError: a task of that name runs already.
        """
        if name in self.tasks:
            raise ValueError(f"{self.me.name} runs {name} already")
        task = asyncio.get_running_loop().create_task(_survive(f"{self.me.name}: {name}", work), name=name)
        self.tasks[name] = task
        task.add_done_callback(lambda _: self.tasks.pop(name, None))
        return task


async def _survive(what: str, work: Awaitable[None]) -> None:
    try:
        await work
    except OSError:
        return
    except Exception:
        sys.stderr.write(f"{what} failed\n{traceback.format_exc()}")


class RealWorld:
    """One task's view of its host.

    Args:
        surroundings: of the host.
        task: the task's name, which its random stream is drawn from.
    """

    def __init__(self, surroundings: Surroundings, task: str = "main") -> None:
        self._of = surroundings
        self._rng = random.Random(f"{surroundings.seed}:{surroundings.me.name}:{task}")

    @property
    def me(self) -> Identity:
        """Who this host is."""
        return self._of.me

    @property
    def rng(self) -> random.Random:
        """This task's random stream."""
        return self._rng

    def now_s(self) -> float:
        """Seconds since the scenario began."""
        return time.time() - self._of.began_at_s

    def hour_of_day(self) -> float:
        """Local time as hours since midnight."""
        return (self._of.starts_at_hour + self.now_s() / 3600.0) % 24.0

    async def sleep(self, span_s: float) -> None:
        """Let ``span_s`` seconds pass."""
        await asyncio.sleep(max(span_s, 0.0))

    def spawn(self, behaviour: Behaviour, name: str) -> None:
        """Run ``behaviour`` beside this task."""
        self._of.run(name, behaviour(RealWorld(self._of, name)))

    async def connect(
        self, address: str, port: int, *, tls_name: str = "", source_port: int = 0, timeout_s: float = 4.0
    ) -> Stream:
        """Open a TCP connection.

        Raises:
            RequestError: the address is outside the lab.
            OSError: refused, unreachable, timed out, or TLS failed.
        """
        self._of.guard(address)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s):
            client = await self._dial(address, port, source_port)
            _, plain = await loop.create_connection(PlainStream, sock=client)
            return await _over_tls(plain, self._of.client_context, tls_name) if tls_name else plain

    async def listen(self, port: int, handler: Handler, *, is_tls: bool = False) -> None:
        """Serve connections to ``port``.

        Raises:
            OSError: the port is taken.
        """
        context = self._of.server_context if is_tls else None
        numbers = itertools.count()

        def greet(plain: PlainStream) -> None:
            name = f"{port}/{next(numbers)}"
            self._of.run(name, _serve(RealWorld(self._of, name), plain, handler, context))

        loop = asyncio.get_running_loop()
        everywhere = ["0.0.0.0", "::"] if self.me.address6 else ["0.0.0.0"]  # noqa: S104  a namespace of our own
        for address in everywhere:
            server = await loop.create_server(lambda: PlainStream(greet), address, port, backlog=_BACKLOG)
            self._of.run(f"listen {address} {port}", server.serve_forever())

    async def open_datagrams(
        self, port: int = 0, groups: tuple[str, ...] = (), *, is_v6: bool = False
    ) -> RealDatagrams:
        """Open a UDP socket.

        Raises:
            OSError: the port is taken.
        """
        is_dhcp = port == _DHCP_CLIENT_PORT and not is_v6
        made = RealDatagrams(
            self._of.guard,
            port,
            groups,
            is_v6=is_v6,
            has_many_addresses=self.me.kind == INTERNET_NAME,
            on_received=_take_lease if is_dhcp else lambda _: None,
        )
        if is_dhcp:
            made.bind_to_lan()
            if self.me.is_booting:
                _set_lan_address("flush")  # who asks for an address has none
        return made

    async def use(self, tool: Tool) -> None:
        """Run a program to its end, or to its bound in time.

        Raises:
            RequestError: a target is outside the lab, or a count or rate beyond its bound.
        """
        await run_tool(tool, self._of.scratch, self._rng)

    @staticmethod
    async def _dial(address: str, port: int, source_port: int) -> socket.socket:
        is_v6 = ip_address(address).version == 6
        client = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_STREAM)
        try:
            client.setblocking(False)
            if source_port:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                client.bind(("::" if is_v6 else "", source_port))
            await asyncio.get_running_loop().sock_connect(client, (address, port))
        except BaseException:
            client.close()
            raise
        return client


async def _over_tls(plain: PlainStream, context: ssl.SSLContext, server_name: str | None) -> TlsStream:
    stream = TlsStream(plain, context, server_name)
    try:
        await stream.shake_hands()
    except BaseException:
        plain.say_goodbye()
        raise
    return stream


async def _serve(world: RealWorld, plain: PlainStream, handler: Handler, context: ssl.SSLContext | None) -> None:
    stream: Stream = plain
    try:
        if context is not None:
            async with asyncio.timeout(_HANDSHAKE_S):
                stream = await _over_tls(plain, context, None)
        await handler(world, stream)
    finally:
        await stream.close()


def _take_lease(datagram: bytes) -> None:
    """What a DHCP client does beside talking: put the address it was given on its interface."""
    options = datagram[_DHCP_HEADER_BYTES:]
    is_lease = datagram[_DHCP_HEADER_BYTES - 4 : _DHCP_HEADER_BYTES] == _DHCP_COOKIE and _DHCP_ACKNOWLEDGED in options
    address = IPv4Address(datagram[16:20]) if is_lease else None
    if address is not None and address in LAN:
        _set_lan_address("replace", f"{address}/{LAN.prefixlen}", "broadcast", str(LAN.broadcast_address))
        _run_ip("route", "replace", "default", "via", str(GATEWAY))


def _set_lan_address(act: str, *what: str) -> None:
    _run_ip("-4", "addr", act, *what, "dev", LAN_INTERFACE)


def _run_ip(*argv: str) -> None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["ip", *argv], capture_output=True, check=False, timeout=10)  # noqa: S603, S607
