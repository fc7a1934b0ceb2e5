"""Polling a cloud and holding a session with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from play_builder import contacts, play
from thingwarden.lab.behaviour.cloud import Size, holding, polling, varied
from thingwarden.lab.behaviour.kind import Site
from thingwarden.lab.behaviour.reach import Reach
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import World

SITE = Site(services=("vendor.example",), port=443, is_tls=True)


def test_poll_repeats_at_its_period_with_its_sizes() -> None:
    async def device(world: World) -> None:
        me = replace(world.me, traits=Traits(seed="1"))
        size = Size(usual=5000, low=1, high=10_000)
        await polling(me, "cloud", Reach(me, "cloud", SITE), "/p", (30.0, 1.0, 100.0), size, size).live(world)

    flows = play(3600.0, device=device)
    web = flows.take(np.flatnonzero(flows.resp_port == 443))
    assert 110 <= len(web) <= 125
    assert 4000 < np.median(web.resp_bytes) < 9000
    assert 4000 < np.median(web.orig_bytes) < 9000


def test_held_session_lives_long_by_keep_alives_and_begins_anew() -> None:
    async def device(world: World) -> None:
        me = replace(world.me, traits=Traits(seed="1"))
        await holding(me, "cloud", SITE, lasts_s=600.0, push_s=30.0, beat_s=20.0).live(world)

    flows = play(3600.0, device=device)
    sessions = flows.take(np.flatnonzero(flows.resp_port == 443))
    assert 4 <= len(sessions) <= 13
    assert sessions.duration_s.max() > 500.0
    assert {contact[2] for contact in contacts(sessions)} <= {"SF", "S1"}
    assert sessions.orig_packets.max() > 30


def test_sizes_vary_around_the_usual_one_or_not_at_all() -> None:
    seen: list[int] = []

    async def device(world: World) -> None:
        seen.extend(varied(world, 1000, 0.3) for _ in range(400))
        seen.append(varied(world, 1000, 0.0))

    play(device=device)
    assert seen[-1] == 1000
    assert 900 < np.median(seen) < 1100
    assert np.quantile(seen, 0.95) > 1400


def test_makers_sizes_span_decades() -> None:
    async def device(world: World) -> None:
        size = Size(usual=100, low=10, high=100_000)
        drawn = [size.drawn(replace(world.me, traits=Traits(seed=str(s), breadth=1.0)), "x") for s in range(100)]
        spans.append(max(drawn) / min(drawn))

    spans: list[float] = []
    play(device=device)
    assert spans[0] > 1000
