"""The emulator's arithmetic: delay, order, loss, rate and a bounded queue."""

from __future__ import annotations

import itertools

import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.lab.condition import Link
from thingwarden.lab.real.relay import QUEUE_LIMIT_COUNT, Direction, LinkEnds, from_json, main, to_json

JITTERY = Link(delay_ms=20.0, jitter_ms=8.0)


def _dues(link: Link, *, count: int = 2000, seed: str = "1", frame_bytes: int = 100) -> list[float | None]:
    direction = Direction(link, seed)
    dues = []
    for number in range(count):
        dues.append(direction.admit(number / 1000, frame_bytes))
        if dues[-1] is not None:
            direction.note_left()
    return dues


def test_jitter_never_overtakes() -> None:
    dues = [due for due in _dues(JITTERY) if due is not None]
    assert len(dues) == 2000
    assert all(earlier <= later for earlier, later in itertools.pairwise(dues))


def test_the_delay_is_about_what_was_asked() -> None:
    direction = Direction(JITTERY, "1")
    # Far apart, so that keeping the order moves nothing.
    delays_ms = [((direction.admit(float(second), 100) or 0.0) - second) * 1000 for second in range(900)]
    assert 19.0 < sum(delays_ms) / len(delays_ms) < 21.0
    assert min(delays_ms) >= 0.0


def test_some_overtake_where_it_is_asked_for() -> None:
    dues = [due for due in _dues(Link(delay_ms=20.0, reorder_ratio=0.1)) if due is not None]
    overtakers = sum(later < earlier for earlier, later in itertools.pairwise(dues))
    assert 100 < overtakers < 300


def test_the_share_lost_is_about_what_was_asked_and_equal_for_equal_seeds() -> None:
    dues = _dues(Link(loss_ratio=0.1))
    assert 140 < dues.count(None) < 260
    assert dues == _dues(Link(loss_ratio=0.1))
    assert dues != _dues(Link(loss_ratio=0.1), seed="2")


def test_a_rate_spaces_frames_by_their_length() -> None:
    direction = Direction(Link(rate_mbps=1.0), "1")
    assert [direction.admit(0.0, 1250), direction.admit(0.0, 125), direction.admit(1.0, 125)] == pytest.approx(
        [0.010, 0.011, 1.001]
    )


def test_a_full_queue_drops_and_counts_and_takes_again_once_one_has_left() -> None:
    direction = Direction(Link(delay_ms=1000.0), "1")
    dues = [direction.admit(0.0, 100) for _ in range(QUEUE_LIMIT_COUNT + 5)]
    assert dues.count(None) == direction.overflowed_count == 5
    direction.note_left()
    assert direction.admit(0.0, 100) is not None
    assert direction.passed_count == 1


def test_what_the_program_is_given_comes_back_as_it_was() -> None:
    links = [LinkEnds(name="camera", far="port0-far", near="port0-near", link=JITTERY)]
    assert from_json(to_json(links, "7")) == (links, "7")


def test_it_refuses_to_run_outside_a_lab() -> None:
    with pytest.raises(RequestError, match="outside"):
        main()
