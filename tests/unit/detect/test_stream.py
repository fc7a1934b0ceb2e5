"""Words of evidence keep their order when they are merged, grouped and cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from thingwarden.detect.attribution import WINDOW_WORDS
from thingwarden.detect.stream import (
    Stream,
    group_by_track,
    join,
    merge_streams,
    page_sums,
    pick,
    running_sums,
    within_reach,
    without,
)
from thingwarden.detect.tally import NO_SIGHTING, EvidenceColumns
from thingwarden.domain.sighting import NO_FLOW


def columns(number: list[int], sighting: int = NO_SIGHTING) -> EvidenceColumns:
    count = len(number)
    return EvidenceColumns(
        flow=np.arange(count),
        is_orig=np.ones(count, dtype=np.bool_),
        is_close=np.ones(count, dtype=np.bool_),
        is_probe=np.zeros(count, dtype=np.bool_),
        known_at_s=np.arange(count, dtype=np.float64),
        log_odds=np.zeros(count),
        attack_class=np.ones(count, dtype=np.int8),
        is_first=np.zeros(count, dtype=np.bool_),
        gain=np.ones(count, dtype=np.int64),
        strange=np.zeros(count, dtype=np.int64),
        calm=np.zeros(count, dtype=np.int64),
        number=np.array(number, dtype=np.int64),
        sighting=np.full(count, sighting),
    )


def stream(position: list[int], number: list[int], sighting: int = NO_SIGHTING) -> Stream:
    count = len(position)
    device, role = np.ones(count, dtype=np.int32), np.ones(count, dtype=np.int8)
    return Stream(device, role, np.array(position), columns(number, sighting))


def test_sightings_stand_between_words() -> None:
    merged = merge_streams(stream([1, 3, 5], [1, 2, 3]), stream([2, 2, 6], [1, 1, 3], sighting=7))
    assert merged.position.tolist() == [1, 2, 2, 3, 5, 6]
    assert merged.columns.sighting.tolist() == [-1, 7, 7, -1, -1, 7]
    assert merged.columns.number.tolist() == [1, 1, 1, 2, 3, 3]


def test_words_are_grouped_by_device_and_role_in_order_of_the_first() -> None:
    device, role = np.array([2, 1, 2, 1], dtype=np.int32), np.array([1, 2, 1, 1], dtype=np.int8)
    groups = [(key, members.tolist()) for key, members in group_by_track(device, role)]
    assert groups == [((2, 1), [0, 2]), ((1, 2), [1]), ((1, 1), [3])]
    assert list(group_by_track(device[:0], role[:0])) == []


def test_pages_sum_falls_to_nothing_and_gains_afterwards() -> None:
    rng = np.random.default_rng(3)
    falls, gains = rng.integers(0, 40, 500), rng.integers(0, 30, 500)
    sums, one_by_one = 25, []
    for fall, gain in zip(falls.tolist(), gains.tolist(), strict=True):
        sums = max(0, sums - fall) + gain
        one_by_one.append(sums)
    assert page_sums(25, falls, gains).tolist() == one_by_one
    assert 0 in [total - gain for total, gain in zip(one_by_one, gains.tolist(), strict=True)], "it does reach nothing"
    assert page_sums(25, falls[:0], gains[:0]).tolist() == []


def test_what_is_joined_can_be_picked_again() -> None:
    joined = join([columns([1, 2]), columns([3])])
    assert pick(joined, slice(1, 3)).number.tolist() == [2, 3]
    assert pick(joined, joined.number != 2).number.tolist() == [1, 3]


def test_only_the_models_own_words_within_reach_can_be_asked_about() -> None:
    old, edge = columns([1, 2, 3]), columns([4, WINDOW_WORDS + 3])
    assert [part.number.tolist() for part in within_reach([old, edge])] == [[4, WINDOW_WORDS + 3]]
    assert within_reach([columns([9], sighting=0)]) == []
    assert [part.number.tolist() for part in within_reach([old, columns([9], sighting=0)])] == [[1, 2, 3]]


def test_sums_run_on_from_chunk_to_chunk() -> None:
    rng = np.random.default_rng(3)
    key, amount = rng.integers(0, 7, 200), rng.integers(0, 50, 200)
    expected = [int(amount[: at + 1][key[: at + 1] == key[at]].sum()) for at in range(200)]
    totals, found = np.zeros(0, dtype=np.int64), []
    for part in np.split(np.arange(200), [1, 2, 90]):
        totals, running = running_sums(totals, key[part], amount[part])
        found += running.tolist()
    assert found == expected
    assert totals[:7].tolist() == [int(amount[key == one].sum()) for one in range(7)]


def test_words_of_flows_that_are_gone_are_left_out_and_those_of_no_flow_stay() -> None:
    of_none = replace(columns([9]), flow=np.array([NO_FLOW]))
    is_gone = np.array([True, False, True, False])  # by row; the last stands for no flow
    kept = without([columns([1, 2, 3]), columns([4]), of_none], is_gone)
    assert [part.number.tolist() for part in kept] == [[2], [9]]
