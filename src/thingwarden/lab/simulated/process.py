"""A process of a host: what it holds, and what is left of it when it is killed or its host loses power.

In: tasks, connections, sockets and listening ports as they come. Out: their end, all together.
Must never: let anything of a process outlive it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from thingwarden.lab.simulated.clock import Task
from thingwarden.lab.simulated.network import Host, Network
from thingwarden.lab.simulated.tcp import Side
from thingwarden.lab.simulated.udp import DatagramPlane, SimulatedDatagrams
from thingwarden.lab.tool import Tool
from thingwarden.lab.world import Identity

if TYPE_CHECKING:
    from thingwarden.lab.simulated.world import SimulatedWorld

_NEVER_LABELLED: Final = 0
_SWEEP_COUNT: Final = 256
_TLS_OBJECT_S: Final = 2.5e-4
_AUTHORITY_S: Final = (0.004, 0.011)

LabelTo = Callable[[str, int, int], int]
UseTool = Callable[["SimulatedWorld", Tool], Coroutine[Any, Any, None]]


def label_nothing(address: str, proto: int, port: int) -> int:
    """Daily life is benign."""
    return _NEVER_LABELLED


@dataclass(eq=False, slots=True, kw_only=True)
class Process:
    """Tasks of one host that live and die together: its daily life, a daemon, or an act.

    Attributes:
        host, me: where it runs.
        seed: of the scenario; each task's random stream is drawn from it.
        starts_at_hour: local time of second 0.
        use_tool: runs a packaged program.
        label_to: what packets to an address, protocol and port are labelled with.
        tasks: by name; the others are what it opened and has not closed.
        is_native: whether it is a packaged daemon, which loses no time on timers.
        has_authority: whether it has read whom it trusts, which takes a moment once.
    """

    network: Network
    plane: DatagramPlane
    host: Host
    me: Identity
    seed: str
    starts_at_hour: float
    use_tool: UseTool
    label_to: LabelTo = label_nothing
    tasks: dict[str, Task] = field(default_factory=dict)
    sides: dict[Side, None] = field(default_factory=dict)
    sockets: dict[SimulatedDatagrams, None] = field(default_factory=dict)
    ports: list[int] = field(default_factory=list)
    has_authority: bool = False
    is_native: bool = False

    def run(self, coroutine: Coroutine[Any, Any, None], name: str) -> Task:
        """Run a coroutine as a task of this process.

        Raises:
            ValueError: a task of that name runs already.
        """
        if name in self.tasks:
            coroutine.close()
            raise ValueError(f"{self.me.name} runs {name} already")
        task = self.network.clock.start(coroutine, name, self.me.name, self._forget)
        self.tasks[name] = task
        return task

    def prepare_tls_s(self) -> float:
        """Draw what this process takes before it greets a TLS server."""
        rng = self.network.rng
        span_s = rng.expovariate(1.0 / _TLS_OBJECT_S) + (0.0 if self.has_authority else rng.uniform(*_AUTHORITY_S))
        self.has_authority = True
        return span_s

    def hold(self, side: Side) -> None:
        """A connection is this process's own."""
        self.sides[side] = None
        if len(self.sides) % _SWEEP_COUNT == 0:
            for each in [each for each in self.sides if each.is_gone or each.is_closed]:
                del self.sides[each]

    def kill(self) -> None:
        """End it at once: the kernel resets what it had not closed."""
        self._end_tasks()
        for side in list(self.sides):
            if not side.is_closed:
                side.abort()
        self._release()

    def lose_power(self) -> None:
        """End it without a word; its host is down already."""
        for side in list(self.sides):
            side.vanish()
        self._end_tasks()
        self._release()

    def _end_tasks(self) -> None:
        for task in list(self.tasks.values()):
            task.cancel()
        self.tasks.clear()

    def _release(self) -> None:
        for socket in list(self.sockets):
            socket.close()
        for port in self.ports:
            self.host.listeners.pop(port, None)
        self.sides.clear()
        self.sockets.clear()
        self.ports.clear()

    def _forget(self, task: Task) -> None:
        self.tasks.pop(task.name, None)
