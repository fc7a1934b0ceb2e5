"""Ways in which things keep in touch with a cloud: polling, a session held open, uploads, downloads, datagrams.

In: an identity, a role and a ``Site``. Out: habits, every parameter drawn from the device's traits.
Must never: hold a broken session; an OSError ends it and the habit begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from thingwarden.lab.behaviour.kind import Habit, Site, draw_habit
from thingwarden.lab.behaviour.protocol import http, session
from thingwarden.lab.behaviour.reach import Place, Reach
from thingwarden.lab.world import Identity, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Bytes of one message: the usual number, and the range that makers differ in."""

    usual: int
    low: int
    high: int

    def drawn(self, me: Identity, name: str) -> int:
        """What the maker of ``me`` chose."""
        return me.traits.count(name, self.usual, self.low, self.high)


STATE: Final = Size(usual=160, low=10, high=8000)
ANSWER: Final = Size(usual=120, low=1, high=30_000)


def polling(
    me: Identity, role: str, place: Place, path: str, every_s: tuple[float, float, float],
    sent: Size = STATE, answer: Size = ANSWER, *, most_requests: int = 6, is_by_day: bool = False,
) -> Habit:  # fmt: skip
    """Ask again and again over HTTP.

    Args:
        me: the device.
        role: names the habit and its traits.
        place: what is asked.
        path: of each request.
        every_s: usual, shortest and longest pause.
        sent: of the request's body; some makers send none.
        answer: of the answer's body.
        most_requests: in a row.
        is_by_day: whether people cause it.
    """
    traits = me.traits
    manners = http.Manners.drawn(traits, role)
    body_bytes = sent.drawn(me, f"{role}_sent_bytes") if traits.chance(f"{role}_posts", 0.6) else -1
    answer_bytes = answer.drawn(me, f"{role}_answer_bytes")
    think_ms = traits.count(f"{role}_think_ms", 30, 1, 3000)
    requests = traits.count(f"{role}_requests", 1, 1, most_requests)
    spread = draw_spread(me, role)
    varies = traits.breadth > 0.0 and traits.chance(f"{role}_varies", 0.6)

    async def poll(world: World) -> None:
        asks = [
            http.Ask(
                path=path,
                body_bytes=varied(world, body_bytes, spread) if body_bytes >= 0 else -1,
                answer_bytes=varied(world, answer_bytes, spread),
                think_ms=think_ms,
            )
            for _ in range(world.rng.randint(1, requests) if varies else requests)
        ]
        await http.visit(world, place, asks, manners)

    return draw_habit(me, role, poll, *every_s, is_by_day=is_by_day)


def holding(
    me: Identity, role: str, site: Site, *, lasts_s: float = 3600.0, push_s: float = 90.0, beat_s: float = 45.0
) -> Habit:
    """A session held open: keep-alives from here, pushes from there, now and then a new one.

    Args:
        me: the device.
        role: names the habit and its traits.
        site: the service.
        lasts_s: usual seconds until the maker begins a new session.
        push_s: usual seconds between two messages of the server.
        beat_s: usual seconds between two keep-alives.
    """
    traits = me.traits
    reach = Reach(me, role, site)
    lasts_s = traits.number(f"{role}_lasts_s", lasts_s, 20.0, 86_400.0)
    beat_s = traits.number(f"{role}_beat_s", beat_s, 8.0, 1800.0)
    first = session.Turn(
        sent_bytes=traits.count(f"{role}_login_bytes", 400, 20, 6000),
        answer_bytes=traits.count(f"{role}_welcome_bytes", 300, 1, 20_000),
        think_ms=traits.count(f"{role}_think_ms", 30, 1, 2000),
        push_every_ms=int(1000 * traits.number(f"{role}_push_s", push_s, 8.0, 7200.0)),
        push_bytes=traits.count(f"{role}_push_bytes", 120, 1, 6000),
    )
    spread = draw_spread(me, role, 0.0)
    beat_bytes = traits.count(f"{role}_beat_bytes", 40, 1, 1200)
    beat = session.Turn(
        sent_bytes=beat_bytes,
        answer_bytes=traits.choice(f"{role}_beat_answer_bytes", beat_bytes, (0, 1, 20, beat_bytes)),
        push_every_ms=first.push_every_ms,
        push_bytes=first.push_bytes,
    )

    async def hold(world: World) -> None:
        stream = await reach.open(world)
        ends_at_s = world.now_s() + lasts_s * world.rng.uniform(0.5, 1.2) / world.me.pace
        try:
            await session.take_turn(stream, first)
            while world.now_s() < ends_at_s:
                await session.idle(world, stream, beat_s * world.rng.uniform(0.9, 1.1))
                await session.send_turn(stream, replace(beat, sent_bytes=varied(world, beat_bytes, spread)))
        except OSError:
            await stream.close()
            raise
        await reach.leave(world, stream)

    return draw_habit(me, role, hold, 3.0, 0.5, 120.0)


def draw_spread(me: Identity, role: str, usual: float = 0.1) -> float:
    """How much this device's messages of one kind differ in size, see ``varied``."""
    return me.traits.choice(f"{role}_spread", usual, (0.0, 0.1, 0.3, 0.6, 1.0, 1.5))


def varied(world: World, usual_bytes: int, spread: float) -> int:
    """A size around the usual one; ``spread`` is the standard deviation of its logarithm."""
    return int(usual_bytes * world.rng.lognormvariate(0.0, spread)) if spread else usual_bytes
