"""The simulated world: what a host's coroutines may do, in virtual time over a modelled network.

In: a process on a host of the modelled network. Out: ``SimulatedWorld``, which implements ``lab.world.World``.
Must never: wait for anything but the clock, or give two tasks one random stream.
"""

# ruff: noqa: S311  random numbers here shape traffic and guard nothing

from __future__ import annotations

import itertools
import random
from functools import lru_cache
from typing import Final

from thingwarden.domain.packet import PROTO_TCP
from thingwarden.lab.prefix import require_inside
from thingwarden.lab.simulated.handshake import Call, open_connection
from thingwarden.lab.simulated.process import Process
from thingwarden.lab.simulated.tcp import Side
from thingwarden.lab.simulated.tls import greet_client, greet_server
from thingwarden.lab.simulated.udp import SimulatedDatagrams
from thingwarden.lab.tool import Tool
from thingwarden.lab.world import Behaviour, Handler, Identity, Stream

_HANDSHAKE_S: Final = 10.0
_OVERSLEEP_LEAST_S: Final = 1.5e-4
_OVERSLEEP_SPREAD_S: Final = 1e-3
"""A kernel's poll counts in whole milliseconds and returns late."""
_DIALLED_S: Final = 2.5e-4
"""What a program does on average between getting a connection and having it."""


class SimulatedWorld:
    """One task's view of its host.

    Args:
        process: that the task belongs to.
        task: the task's name, which its random stream is drawn from.
    """

    __slots__ = ("_process", "_rng", "_task")

    def __init__(self, process: Process, task: str = "main") -> None:
        self._process = process
        self._task = task
        self._rng: random.Random | None = None

    @property
    def me(self) -> Identity:
        """Who this host is."""
        return self._process.me

    @property
    def rng(self) -> random.Random:
        """This task's random stream."""
        if self._rng is None:
            self._rng = random.Random(f"{self._process.seed}:{self._process.me.name}:{self._task}")
        return self._rng

    @property
    def process(self) -> Process:
        """What tools need to know of the host; behaviours do not see it."""
        return self._process

    def now_s(self) -> float:
        """Seconds since the scenario began."""
        return self._process.network.clock.now_s

    def hour_of_day(self) -> float:
        """Local time as hours since midnight."""
        return (self._process.starts_at_hour + self._process.network.clock.now_s / 3600.0) % 24.0

    async def sleep(self, span_s: float) -> None:
        """Let ``span_s`` seconds pass."""
        network = self._process.network
        if not self._process.is_native:
            span_s += _OVERSLEEP_LEAST_S + network.rng.random() * _OVERSLEEP_SPREAD_S
        await network.clock.sleep(span_s)

    def spawn(self, behaviour: Behaviour, name: str) -> None:
        """Run ``behaviour`` beside this task."""
        self._process.run(behaviour(SimulatedWorld(self._process, name)), name)

    async def connect(
        self, address: str, port: int, *, tls_name: str = "", source_port: int = 0, timeout_s: float = 4.0
    ) -> Stream:
        """Open a TCP connection.

        Raises:
            RequestError: the address is outside the lab.
            OSError: refused, unreachable, timed out, or TLS failed.
        """
        require_known(address)
        process = self._process
        network = process.network
        gives_up_s = network.clock.now_s + timeout_s
        call = Call(
            caller=process.host,
            address=address,
            port=port,
            source_port=source_port,
            label=process.label_to(address, PROTO_TCP, port),
            timeout_s=timeout_s,
        )
        side = await open_connection(network, call)
        process.hold(side)
        await network.clock.sleep(network.lag_s() + network.rng.expovariate(1.0 / _DIALLED_S))
        if not tls_name:
            return side
        await network.clock.sleep(process.prepare_tls_s())
        try:
            return await greet_server(side, gives_up_s - network.clock.now_s)
        except BaseException:
            side.say_goodbye()
            raise

    async def listen(self, port: int, handler: Handler, *, is_tls: bool = False) -> None:
        """Serve connections to ``port``.

        Raises:
            OSError: the port is taken.
        """
        process = self._process
        if port in process.host.listeners:
            raise OSError(f"port {port} is taken")
        numbers = itertools.count()

        def accept(side: Side) -> None:
            name = f"{port}/{next(numbers)}"
            process.hold(side)
            process.run(_serve(SimulatedWorld(process, name), side, handler, is_tls=is_tls), name)

        process.host.listeners[port] = accept
        process.ports.append(port)

    async def open_datagrams(
        self, port: int = 0, groups: tuple[str, ...] = (), *, is_v6: bool = False
    ) -> SimulatedDatagrams:
        """Open a UDP socket.

        Raises:
            OSError: the port is taken.
        """
        process = self._process
        socket = process.plane.open(process.host, port, 6 if is_v6 else 4, groups, self._guarded_label)
        process.sockets[socket] = None
        socket.on_close = process.sockets.pop
        return socket

    async def use(self, tool: Tool) -> None:
        """Run a program to its end, or to its bound in time.

        Raises:
            RequestError: a target is outside the lab, or a count or rate beyond its bound.
        """
        await self._process.use_tool(self, tool)

    def _guarded_label(self, address: str, proto: int, port: int) -> int:
        require_known(address)
        return self._process.label_to(address, proto, port)


async def _serve(world: SimulatedWorld, side: Side, handler: Handler, *, is_tls: bool) -> None:
    stream: Stream = side
    try:
        if is_tls:
            stream = await greet_client(side, _HANDSHAKE_S)
        await handler(world, stream)
    finally:
        await stream.close()


@lru_cache(maxsize=65536)
def require_known(address: str) -> None:
    """As ``require_inside``, remembering what passed.

    Raises:
        RequestError: the address is outside the lab.
    """
    require_inside(address)
