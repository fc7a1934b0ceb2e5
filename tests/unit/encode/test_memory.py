"""Bounded tables: rows are fresh, the oldest go first, and what went is counted."""

from __future__ import annotations

import numpy as np

from thingwarden.encode.memory import EVICTED_SHARE, SPARE_ROWS, SlotTable


def _keys(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def _table(limit: int) -> SlotTable:
    return SlotTable({"last_at_s": np.float64(0.0), "seen": np.int64(-2), "pair": np.zeros(2)}, limit)


def test_a_key_keeps_its_slot() -> None:
    table = _table(10)
    first = table.slots(_keys(7, 3, 7))
    assert first[0] == first[2] != first[1]
    assert table.slots(_keys(3)).tolist() == [first[1]]
    assert (table.find(_keys(7, 8)).tolist(), len(table)) == ([first[0], -1], 2)


def test_slots_are_given_in_the_order_in_which_keys_come() -> None:
    whole, split = _table(10), _table(10)
    assert whole.slots(_keys(9, 1, 9, 5)).tolist() == [0, 1, 0, 2]
    assert [split.slots(_keys(key)).tolist() for key in (9, 1, 9, 5)] == [[0], [1], [0], [2]]


def test_a_full_table_forgets_the_oldest_and_counts_them() -> None:
    table, limit = _table(8), 8
    slots = table.slots(np.arange(1, 11, dtype=np.uint64))
    table["last_at_s"][slots] = [5, 1, 9, 2, 8, 3, 7, 4, 6, 10]
    table.evict()
    assert table.evicted_count == 10 - limit + limit // EVICTED_SHARE == 4
    assert (np.flatnonzero(table.find(_keys(*range(1, 11))) < 0) + 1).tolist() == [2, 4, 6, 8]
    assert len(table) == 6


def test_a_table_within_its_limit_forgets_nothing() -> None:
    table = _table(8)
    table.slots(np.arange(8, dtype=np.uint64))
    table.evict()
    assert (len(table), table.evicted_count) == (8, 0)


def test_a_reused_row_is_fresh() -> None:
    table = _table(1)
    slots = table.slots(_keys(1, 2))
    table["seen"][slots], table["pair"][slots], table["last_at_s"][slots] = 40, 1.0, [1.0, 2.0]
    table.evict()
    assert table.slots(_keys(3)).tolist() == [slots[0]]
    assert table["seen"][slots].tolist() == [-2, 40]
    assert table["pair"][slots].tolist() == [[0.0, 0.0], [1.0, 1.0]]


def test_growth_keeps_what_is_known() -> None:
    table = _table(10_000)
    first = table.slots(_keys(1))
    table["seen"][first] = 4
    table.slots(np.arange(2, 2000, dtype=np.uint64))
    assert table["seen"][first].tolist() == [4]
    assert len(table) == 1999


def test_a_key_keeps_its_slot_whether_settled_or_not() -> None:
    table, draw = _table(400), np.random.default_rng(0)
    expected: dict[int, int] = {}
    for turn in range(40):
        keys = draw.integers(0, 300, 50).astype(np.uint64)
        for key, slot in zip(keys.tolist(), table.slots(keys).tolist(), strict=True):
            assert expected.setdefault(key, slot) == slot
        if turn % 3 == 0:
            table.evict()
    assert sorted(expected.values()) == list(range(len(table)))


def test_more_rows_than_foreseen_are_made() -> None:
    table = _table(1)
    slots = table.slots(np.arange(1, SPARE_ROWS + 100, dtype=np.uint64))
    assert len(set(slots.tolist())) == SPARE_ROWS + 99
    assert (table["seen"][slots] == -2).all()
