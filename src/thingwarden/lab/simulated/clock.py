"""Virtual time: coroutines and callbacks run at their instants, in order, without waiting.

In: coroutines that wait only by this clock. Out: time that passes as fast as the work is done.
Must never: read a real clock, or let two runs of equal input differ in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, Final, TypeAlias

Callback: TypeAlias = Callable[[Any], None]

FOREVER: Final = math.inf


class _Suspension:
    """Hands control back to the clock until the current task is resumed."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield


_SUSPEND: Final = _Suspension()


class Task:
    """A coroutine under way.

    Args:
        clock: that drives it.
        coroutine: awaits this clock only.
        name, owner: for the note on an error.
        on_end: called with the task once it is over.
    """

    __slots__ = ("clock", "coroutine", "is_over", "name", "on_end", "owner", "turn")

    def __init__(
        self, clock: Clock, coroutine: Coroutine[Any, Any, None], name: str, owner: str, on_end: Callback | None
    ) -> None:
        self.clock = clock
        self.coroutine = coroutine
        self.name = name
        self.owner = owner
        self.on_end = on_end
        self.turn = 0
        self.is_over = False

    def resume(self, turn: int) -> None:
        """Go on, unless something else has resumed the task since it was at ``turn``."""
        if turn != self.turn:
            return
        self.turn = turn + 1
        clock = self.clock
        before, clock.current = clock.current, self
        try:
            self.coroutine.send(None)
        except (StopIteration, OSError):
            self._end()
        except Exception as error:
            error.add_note(f"in task {self.name} of {self.owner} at {clock.now_s:.6f} s")
            self._end()
            raise
        finally:
            clock.current = before

    def cancel(self) -> None:
        """End here and now; what the coroutine still does on its way out must not wait."""
        if self.is_over:
            return
        self.turn += 1
        clock = self.clock
        before, clock.current = clock.current, self
        try:
            self.coroutine.close()
        except OSError:
            pass  # a goodbye over a connection that is gone
        finally:
            clock.current = before
            self._end()

    def _end(self) -> None:
        if self.is_over:
            return
        self.is_over = True
        self.turn += 1
        if self.on_end is not None:
            self.on_end(self)


@dataclass(slots=True)
class Waiter:
    """Who waits for something to happen: a task at one of its turns."""

    task: Task
    turn: int

    def wake(self) -> None:
        """Resume the task, unless it has gone on already; where another task runs, once that one waits."""
        task = self.task
        if task.clock.current is None:
            task.resume(self.turn)
        else:
            task.clock.call_at(task.clock.now_s, task.resume, self.turn)


class Clock:
    """The agenda of a simulation.

    Attributes:
        now_s: seconds since the beginning.
        current: the task that runs, None between tasks.
    """

    __slots__ = ("_agenda", "_order", "current", "now_s")

    def __init__(self) -> None:
        self.now_s = 0.0
        self.current: Task | None = None
        self._agenda: list[tuple[float, int, Callback, Any]] = []
        self._order = 0

    def call_at(self, at_s: float, call: Callback, argument: Any = None) -> None:
        """Call ``call(argument)`` at ``at_s``; calls at one instant keep the order in which they were asked for."""
        self._order += 1
        heappush(self._agenda, (at_s, self._order, call, argument))

    def start(
        self, coroutine: Coroutine[Any, Any, None], name: str, owner: str = "", on_end: Callback | None = None
    ) -> Task:
        """Run a coroutine from now on; its first step comes after the current one's."""
        task = Task(self, coroutine, name, owner, on_end)
        self.call_at(self.now_s, task.resume, 0)
        return task

    def run_until(self, until_s: float) -> None:
        """Let time pass to ``until_s``; what is due then is left for the next call.

        Raises:
            Exception: any but an OSError that a task raised, with a note of whose it was.
        """
        agenda = self._agenda
        while agenda and agenda[0][0] < until_s:
            at_s, _, call, argument = heappop(agenda)
            self.now_s = at_s
            call(argument)
        self.now_s = until_s

    async def sleep(self, span_s: float) -> None:
        """Let ``span_s`` seconds pass for the current task."""
        task = self._waiting()
        self._order += 1
        heappush(self._agenda, (self.now_s + max(span_s, 0.0), self._order, task.resume, task.turn))
        await _SUSPEND

    async def wait_until(self, at_s: float) -> None:
        """Suspend the current task until somebody wakes the waiter that ``waiter`` gave, at most until ``at_s``."""
        task = self._waiting()
        if at_s != FOREVER:
            self._order += 1
            heappush(self._agenda, (at_s, self._order, task.resume, task.turn))
        await _SUSPEND

    def waiter(self) -> Waiter:
        """A handle to wake the current task, good for its next suspension only."""
        task = self._waiting()
        return Waiter(task, task.turn)

    def _waiting(self) -> Task:
        if self.current is None:
            raise RuntimeError("waiting outside a task of this clock")
        return self.current
