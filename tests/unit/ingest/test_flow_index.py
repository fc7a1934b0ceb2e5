"""The index finds every key that is in it and no other, whatever comes and goes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from thingwarden.ingest.flow_index import FlowIndex
from thingwarden.ingest.flow_key import FlowKeys


def keys_of(numbers: list[int]) -> FlowKeys:
    """Keys that differ in one place each; their digests are all alike, as an attacker would have them."""
    keys = FlowKeys.blank(len(numbers))
    column = np.array(numbers, dtype=np.uint64)
    keys.address[:, 1] = column >> np.uint64(1)
    keys.port[:, 0] = (column & np.uint64(1)).astype(np.uint16)
    return keys


def test_an_empty_index_finds_nothing() -> None:
    index = FlowIndex(FlowKeys.blank(4))
    assert index.find(keys_of([1, 2])).tolist() == [-1, -1]
    assert index.find(FlowKeys.empty()).tolist() == []


def test_keys_that_differ_in_the_port_alone_are_two() -> None:
    keys = keys_of([4, 5])
    index = FlowIndex(keys)
    index.add(np.array([1]))
    assert index.find(keys_of([4, 5])).tolist() == [-1, 1]


def test_a_key_is_asked_for_as_often_as_one_likes() -> None:
    index = FlowIndex(keys_of([7, 8]))
    index.add(np.array([0, 1]))
    assert index.find(keys_of([8, 7, 8, 9, 8])).tolist() == [1, 0, 1, -1, 1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 40), min_size=1, max_size=20)), max_size=60))
def test_it_agrees_with_a_dictionary(steps: list[tuple[bool, set[int]]]) -> None:
    row_count = 41
    keys, known = keys_of([0] * row_count), dict[int, int]()
    index, free = FlowIndex(keys), list(range(row_count))
    for is_coming, numbers in steps:
        if is_coming:
            new = sorted(numbers - set(known))
            rows = [free.pop() for _ in new]
            keys.put(np.array(rows, dtype=np.int64), keys_of(new))
            index.add(np.array(rows, dtype=np.int64))
            known.update(zip(new, rows, strict=True))
        else:
            gone = [known.pop(number) for number in sorted(numbers & set(known))]
            index.remove(np.array(gone, dtype=np.int64))
            free += gone
        asked = list(range(row_count))
        assert index.find(keys_of(asked)).tolist() == [known.get(number, -1) for number in asked]


def test_places_that_flows_left_are_used_again() -> None:
    keys = keys_of([0] * 8)
    index = FlowIndex(keys)
    for number in range(1000):
        keys.put(np.array([number % 8]), keys_of([number]))
        index.add(np.array([number % 8]))
        assert index.find(keys_of([number, number + 1])).tolist() == [number % 8, -1]
        index.remove(np.array([number % 8]))
