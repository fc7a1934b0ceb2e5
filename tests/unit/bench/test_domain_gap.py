"""The gap between two worlds: found where there is one, not found where there is none, never by what was learned."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from thingwarden.bench.domain_gap import (
    WorldWords,
    even_weights,
    find_offences,
    find_uncovered,
    rename_runs,
    sample_words,
    tell_apart,
    weighted_auc,
)
from thingwarden.encode.vocabulary import FIELD_INDEX, FIELD_NAMES

DURATION, STATE = FIELD_INDEX["duration"], FIELD_INDEX["conn_state"]


def _world(seed: int, *, runs: int = 8, count: int = 1600, shift: int = 0, subject: bytes = b"camera") -> WorldWords:
    random = np.random.default_rng(seed)
    fields = np.zeros((count, len(FIELD_NAMES)), dtype=np.uint8)
    fields[:, STATE] = random.integers(0, 6, count)
    fields[:, DURATION] = random.integers(1, 8, count) + shift
    return WorldWords(
        fields=fields,
        run=np.arange(count) % runs,
        subject=np.full(count, subject, dtype="S48"),
        malicious=np.zeros(count, dtype=np.bool_),
    )


def test_equal_worlds_cannot_be_told_apart() -> None:
    gap = tell_apart(_world(1), _world(2))
    assert gap is not None
    assert abs(gap.auc - 0.5) < 0.05
    assert gap.auc_low <= gap.auc <= gap.auc_high


def test_the_field_that_differs_is_named_first() -> None:
    gap = tell_apart(_world(1), _world(2, shift=3))
    assert gap is not None
    assert gap.auc > 0.7
    assert next(iter(gap.gain_ratios)) == next(iter(gap.field_aucs)) == "duration"
    assert gap.field_aucs["conn_state"] < 0.56
    assert {telltale.is_second for telltale in gap.telltales} == {False, True}
    assert all(telltale.probability > 0.8 for telltale in gap.telltales)
    assert all((telltale.buckets[DURATION] > 7) == telltale.is_second for telltale in gap.telltales)


def test_what_tells_single_runs_apart_is_not_rewarded() -> None:
    """Each run has a mark of its own in either world, and nothing that holds for runs not seen."""
    first, second = _world(1), _world(2)
    first.fields[:, DURATION] = 1 + 2 * first.run.astype(np.uint8)
    second.fields[:, DURATION] = 2 + 2 * second.run.astype(np.uint8)
    gap = tell_apart(first, second)
    assert gap is not None
    assert gap.auc < 0.65


def test_a_flood_that_both_worlds_share_does_not_hide_the_rest() -> None:
    flood = [_world(seed, count=16_000, subject=b"flood") for seed in (3, 4)]
    gap = tell_apart(WorldWords.join([_world(1), flood[0]]), WorldWords.join([_world(2, shift=6), flood[1]]))
    assert gap is not None
    assert gap.even_auc > gap.auc + 0.1


def test_one_run_cannot_be_held_out() -> None:
    assert tell_apart(_world(1, runs=1), _world(2)) is None


def test_even_weights_give_each_subject_of_each_run_the_same() -> None:
    world = WorldWords.join([_world(1, runs=2, count=10), _world(2, runs=2, count=90, subject=b"flood")])
    is_second = np.arange(100) >= 98
    weight = even_weights(world, is_second)
    assert weight[is_second].sum() == pytest.approx(50.0)
    quiet = ~is_second & (world.run == 0)
    camera = weight[quiet & (world.subject == b"camera")].sum()
    assert camera == pytest.approx(weight[quiet & (world.subject == b"flood")].sum())


def test_offences_name_subject_field_and_bucket() -> None:
    first = WorldWords.join([_world(1), _world(5, subject=b"plug")])
    odd = _world(6, subject=b"plug")
    odd.fields[:, STATE] = 9
    offence = find_offences(first, WorldWords.join([_world(2), odd]))[0]
    assert (offence.subject, offence.field, offence.bucket) == ("plug", "conn_state", 9)
    assert (offence.first_ratio, offence.second_ratio) == (0.0, 1.0)


def test_a_rare_subject_is_passed_over() -> None:
    assert find_offences(_world(1, count=10), _world(2, count=10), least_words=20) == []


def test_uncovered_is_what_several_devices_show_and_the_lab_does_not() -> None:
    lab, public = _world(1), _world(2)
    public.fields[public.run < 3, STATE] = 11
    public.fields[public.run == 4, STATE] = 12
    found = find_uncovered(lab, public)
    assert [(item.field, item.bucket) for item in found] == [("conn_state", 11)]
    assert found[0].second_ratio == pytest.approx(3 / 8)


def test_sampling_bounds_each_run_and_keeps_order() -> None:
    world = _world(1, runs=3, count=300)
    kept = sample_words(rename_runs(world, 10), 20)
    assert np.bincount(kept.run).tolist() == [0] * 10 + [20, 20, 20]
    assert len(sample_words(world, 500)) == 300


def test_the_auc_is_the_usual_one_ties_and_weights_included() -> None:
    random = np.random.default_rng(3)
    is_second = random.random(400) < 0.4
    score = np.round(random.random(400) + 0.3 * is_second, 1)
    weight = random.random(400)
    expected = roc_auc_score(is_second, score, sample_weight=weight)
    assert weighted_auc(is_second, score, weight) == pytest.approx(expected)
