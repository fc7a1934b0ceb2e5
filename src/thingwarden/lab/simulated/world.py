"""The simulated world: what a host's coroutines may do, in virtual time over a modelled network.

In: a host of the modelled network. Out: ``SimulatedWorld``, which implements ``lab.world.World``.
Must never: wait for anything but the clock, or give two tasks one random stream.
"""

# ruff: noqa: S311  random numbers here shape traffic and guard nothing

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from thingwarden.domain.packet import PROTO_TCP
from thingwarden.lab.prefix import require_inside
from thingwarden.lab.simulated.capture import BENIGN_LABEL
from thingwarden.lab.simulated.clock import Task
from thingwarden.lab.simulated.network import Host, Network
from thingwarden.lab.simulated.tcp import Call, Listener, Side, open_connection
from thingwarden.lab.simulated.tls import greet_client, greet_server
from thingwarden.lab.simulated.udp import DatagramPlane, LabelTo, SimulatedDatagrams
from thingwarden.lab.tool import Tool
from thingwarden.lab.world import Behaviour, Handler, Identity, Stream

_HANDSHAKE_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all tasks of one host share.

    Attributes:
        seed: of the scenario.
        starts_at_hour: local time of second 0.
    """

    network: Network
    plane: DatagramPlane
    host: Host
    me: Identity
    seed: str
    starts_at_hour: float
    use_tool: Callable[[SimulatedWorld, Tool], Awaitable[None]]


def label_nothing(address: str, proto: int, port: int) -> int:
    """Daily life is benign."""
    return BENIGN_LABEL


class SimulatedWorld:
    """One task's view of its host.

    Args:
        of: the host.
        task: the task's name, which its random stream is drawn from.
        label_to: what packets to an address and port are labelled with.
        family: the tasks that an act has started, to be ended with it; None for daily life.
    """

    __slots__ = ("_family", "_label_to", "_of", "_rng", "_task")

    def __init__(
        self, of: Surroundings, task: str, label_to: LabelTo = label_nothing, family: dict[Task, None] | None = None
    ) -> None:
        self._of = of
        self._task = task
        self._label_to = label_to
        self._family = family
        self._rng: random.Random | None = None

    @property
    def me(self) -> Identity:
        """Who this host is."""
        return self._of.me

    @property
    def rng(self) -> random.Random:
        """This task's random stream."""
        if self._rng is None:
            self._rng = random.Random(f"{self._of.seed}:{self._of.me.name}:{self._task}")
        return self._rng

    def now_s(self) -> float:
        """Seconds since the scenario began."""
        return self._of.network.clock.now_s

    def hour_of_day(self) -> float:
        """Local time as hours since midnight."""
        return (self._of.starts_at_hour + self._of.network.clock.now_s / 3600.0) % 24.0

    async def sleep(self, span_s: float) -> None:
        """Let ``span_s`` seconds pass."""
        await self._of.network.clock.sleep(span_s)

    def spawn(self, behaviour: Behaviour, name: str) -> None:
        """Run ``behaviour`` beside this task."""
        start_task(self._of, behaviour, name, self._label_to, self._family)

    async def connect(
        self, address: str, port: int, *, tls_name: str = "", source_port: int = 0, timeout_s: float = 4.0
    ) -> Stream:
        """Open a TCP connection.

        Raises:
            RequestError: the address is outside the lab.
            OSError: refused, unreachable, timed out, or TLS failed.
        """
        require_known(address)
        network = self._of.network
        gives_up_s = network.clock.now_s + timeout_s
        call = Call(
            caller=self._of.host,
            address=address,
            port=port,
            source_port=source_port,
            label=self._label_to(address, PROTO_TCP, port),
            timeout_s=timeout_s,
        )
        side = await open_connection(network, call)
        await network.clock.sleep(network.lag_s())
        if not tls_name:
            return side
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
        if port in self._of.host.listeners:
            raise OSError(f"port {port} is taken")
        numbers = itertools.count()

        def accept(side: Side) -> None:
            name = f"{port}/{next(numbers)}"
            serving = SimulatedWorld(self._of, name)
            start_task(self._of, lambda _: _serve(serving, side, handler, is_tls=is_tls), name)

        self._of.host.listeners[port] = Listener(accept)

    async def open_datagrams(
        self, port: int = 0, groups: tuple[str, ...] = (), *, is_v6: bool = False
    ) -> SimulatedDatagrams:
        """Open a UDP socket.

        Raises:
            OSError: the port is taken.
        """
        return self._of.plane.open(self._of.host, port, 6 if is_v6 else 4, groups, self._guarded_label)

    async def use(self, tool: Tool) -> None:
        """Run a program to its end, or to its bound in time.

        Raises:
            RequestError: a target is outside the lab, or a count or rate beyond its bound.
        """
        await self._of.use_tool(self, tool)

    def _guarded_label(self, address: str, proto: int, port: int) -> int:
        require_known(address)
        return self._label_to(address, proto, port)


def start_task(
    of: Surroundings,
    behaviour: Behaviour,
    name: str,
    label_to: LabelTo = label_nothing,
    family: dict[Task, None] | None = None,
) -> Task:
    """Run a behaviour as a task of a host.

    Raises:
        ValueError: a task of that name runs already.
    """
    tasks = of.host.tasks
    if name in tasks:
        raise ValueError(f"{of.me.name} runs {name} already")

    def forget(task: Task) -> None:
        tasks.pop(name, None)
        if family is not None:
            family.pop(task, None)

    task = of.network.clock.start(behaviour(SimulatedWorld(of, name, label_to, family)), name, of.me.name, forget)
    tasks[name] = task
    if family is not None:
        family[task] = None
    return task


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
