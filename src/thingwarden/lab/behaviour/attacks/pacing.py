"""When an attack does its next thing, and when it has done enough: rhythm with jitter, bounded in time and count.

In: a host's world and an act's settings. Out: coroutines that let the right time pass.
Must never: go on beyond the bound in time or in count.
"""

from __future__ import annotations

from typing import Final

from thingwarden.lab.world import Behaviour, World

LONGEST_PROGRAM_S: Final = 600.0
"""No packaged program is let run for longer."""

_LOOK_S: Final = 0.1
_SHORTEST_S: Final = 0.0005


class Rhythm:
    """Beats with a period and jitter until a bound is reached; ``while await rhythm.beat():`` is its use.

    Args:
        world: whose clock and randomness.
        period_s: from one beat to the next.
        lasts_s, count: no beat comes after so long or so many.
        jitter: standard deviation of the period, as a part of it; 1 or more draws exponential gaps.
        sleeps: hours of the day, from and until, in which no beat comes; equal hours never.
    """

    def __init__(
        self,
        world: World,
        period_s: float,
        *,
        lasts_s: float,
        count: int,
        jitter: float = 0.0,
        sleeps: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self._world = world
        self._period_s = period_s
        self._jitter = jitter
        self._sleeps = sleeps
        self._left_count = count
        self._ends_at_s = world.now_s() + lasts_s
        self._due_at_s = world.now_s()

    @property
    def left_s(self) -> float:
        """Seconds until the bound in time, not below 0."""
        return max(0.0, self._ends_at_s - self._world.now_s())

    @property
    def due_in_s(self) -> float:
        """Seconds until the next beat or the bound in time, not below 0."""
        return min(self.left_s, max(0.0, self._due_at_s - self._world.now_s()))

    async def beat(self) -> bool:
        """Wait for the next beat; false, at once or at the bound, where none is left."""
        # A dialogue that outlasts its period delays the beat and does not make the next ones hurry.
        self._due_at_s = max(self._due_at_s, self._world.now_s())
        self._due_at_s += self._night_s()
        if self._left_count == 0 or self._due_at_s >= self._ends_at_s:
            return False
        self._left_count -= 1
        await self._world.sleep(max(0.0, self._due_at_s - self._world.now_s()))
        self._due_at_s += self._gap_s()
        return True

    async def pause(self, span_s: float) -> None:
        """Sleep for ``span_s``, or until the bound in time if that is sooner."""
        await self._world.sleep(min(span_s, self.left_s))

    def _gap_s(self) -> float:
        rng = self._world.rng
        if self._jitter >= 1.0:
            return rng.expovariate(1.0 / self._period_s)
        return max(_SHORTEST_S, self._period_s * max(0.02, 1.0 + self._jitter * rng.gauss(0.0, 1.0)))

    def _night_s(self) -> float:
        begins, ends = self._sleeps
        if begins == ends:
            return 0.0
        hour = (self._world.hour_of_day() + (self._due_at_s - self._world.now_s()) / 3600.0) % 24.0
        is_night = begins <= hour < ends if begins < ends else hour >= begins or hour < ends
        return ((ends - hour) % 24.0) * 3600.0 if is_night else 0.0


class Crowd:
    """Tasks beside the current one, told apart by number; one that fails with OSError is over.

    Args:
        world: of the task that starts them.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        # Drawn, so that names are unique on this host and the same in every run of a seed.
        self._name = f"{world.rng.getrandbits(48):x}"
        self._started_count = 0
        self._open_count = 0

    def start(self, job: Behaviour) -> None:
        """Run ``job`` in a task of its own."""

        async def run(own: World) -> None:
            try:
                await job(own)
            except OSError:
                pass
            finally:
                self._open_count -= 1

        self._open_count += 1
        self._started_count += 1
        self._world.spawn(run, f"{self._name}-{self._started_count}")

    async def wait(self, most_s: float) -> None:
        """Until all are over, or ``most_s`` have passed."""
        ends_at_s = self._world.now_s() + most_s
        while self._open_count > 0 and self._world.now_s() < ends_at_s:
            await self._world.sleep(_LOOK_S)
