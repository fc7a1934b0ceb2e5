"""A link delays, loses and reorders as its condition says, and keeps order otherwise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from thingwarden.lab.condition import Link
from thingwarden.lab.simulated.link import LOST, Channel, Noise


def noise() -> Noise:
    """The same random numbers for each test."""
    return Noise(np.random.default_rng(1))


def test_a_plain_link_takes_only_the_kernels_time() -> None:
    channel = Channel(Link(), noise())
    spans_s = [channel.cross(float(at), 100) - at for at in range(200)]
    assert min(spans_s) > 0.0
    assert max(spans_s) < 5e-5


def test_delay_and_jitter_are_those_of_the_condition() -> None:
    channel = Channel(Link(delay_ms=20.0, jitter_ms=4.0), noise())
    spans_ms = np.array([channel.cross(float(at), 100) - at for at in range(4000)]) * 1e3
    assert np.mean(spans_ms) == pytest.approx(20.0, abs=0.5)
    assert np.std(spans_ms) == pytest.approx(4.0, abs=0.4)


def test_order_is_kept_despite_jitter() -> None:
    channel = Channel(Link(delay_ms=10.0, jitter_ms=8.0), noise())
    out_s = [channel.cross(number * 1e-4, 100) for number in range(2000)]
    assert all(late > early for early, late in pairwise(out_s))


def test_a_link_that_reorders_lets_some_overtake() -> None:
    channel = Channel(Link(delay_ms=10.0, reorder_ratio=0.2), noise())
    out_s = [channel.cross(number * 1e-4, 100) for number in range(2000)]
    overtaking = sum(late < early for early, late in pairwise(out_s))
    assert 100 < overtaking < 700


@pytest.mark.parametrize("is_many", [False, True])
def test_the_share_of_lost_packets_is_that_of_the_condition(is_many: bool) -> None:
    channel = Channel(Link(loss_ratio=0.1), noise())
    at_s = np.arange(5000) * 0.01
    if is_many:
        out_s = channel.cross_many(at_s, np.full(5000, 100), np.random.default_rng(1))
    else:
        out_s = np.array([channel.cross(float(at), 100) for at in at_s])
    assert np.mean(out_s == LOST) == pytest.approx(0.1, abs=0.015)


def test_a_slow_link_takes_longer_for_larger_packets() -> None:
    channel = Channel(Link(rate_mbps=1.0), noise())
    assert channel.cross(0.0, 1500) - channel.cross(10.0, 60) + 10.0 == pytest.approx(0.01152, abs=1e-4)


def test_nothing_passes_a_cut_link() -> None:
    channel = Channel(None, noise())
    channel.is_cut = True
    assert channel.cross(1.0, 60) == LOST
    assert (channel.cross_many(np.zeros(3), np.full(3, 60), np.random.default_rng(1)) == LOST).all()


def test_many_packets_keep_their_order() -> None:
    channel = Channel(Link(delay_ms=10.0, jitter_ms=8.0), noise())
    out_s = channel.cross_many(np.arange(2000) * 1e-4, np.full(2000, 100), np.random.default_rng(1))
    assert (np.diff(out_s) >= 0).all()


def test_a_packet_sent_again_later_holds_up_nobody() -> None:
    channel = Channel(Link(delay_ms=10.0), noise())
    channel.cross_alone(5.0, 100)
    assert channel.cross(1.0, 100) < 1.02
