"""Running values within groups, against plain loops."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from thingwarden.encode.groups import Groups

SLOT_COUNT = 4
rows = st.lists(st.tuples(st.integers(0, SLOT_COUNT - 1), st.integers(-5, 5), st.booleans()), max_size=30)
carries = st.lists(st.integers(0, 9), min_size=SLOT_COUNT, max_size=SLOT_COUNT)
exact = settings(max_examples=60, deadline=None)


def _columns(drawn: list[tuple[int, int, bool]]) -> tuple[Groups, np.ndarray, np.ndarray]:
    slots = np.array([slot for slot, _, _ in drawn], dtype=np.int64)
    values = np.array([value for _, value, _ in drawn], dtype=np.int64)
    return Groups(slots), values, np.array([holds for _, _, holds in drawn], dtype=bool)


@exact
@given(drawn=rows, carry=carries)
def test_previous_is_the_groups_last_value_or_what_it_carried_in(
    drawn: list[tuple[int, int, bool]], carry: list[int]
) -> None:
    groups, values, _ = _columns(drawn)
    before, expected = list(carry), []
    for slot, value, _ in drawn:
        expected.append(before[slot])
        before[slot] = value
    assert groups.previous(values, np.array(carry)).tolist() == expected


@exact
@given(drawn=rows, carry=carries)
def test_sum_before_leaves_the_row_itself_out(drawn: list[tuple[int, int, bool]], carry: list[int]) -> None:
    groups, values, _ = _columns(drawn)
    total, expected = list(carry), []
    for slot, value, _ in drawn:
        expected.append(total[slot])
        total[slot] += value
    assert groups.sum_before(values, np.array(carry, dtype=np.int64)).tolist() == expected


@exact
@given(drawn=rows, carry=carries)
def test_columns_are_summed_side_by_side(drawn: list[tuple[int, int, bool]], carry: list[int]) -> None:
    groups, values, holds = _columns(drawn)
    carried = np.array(carry, dtype=np.int64)
    both = groups.sums_before([values, holds], [carried, 2 * carried])
    assert both[0].tolist() == groups.sum_before(values, carried).tolist()
    assert both[1].tolist() == groups.sum_before(holds, 2 * carried).tolist()


@exact
@given(drawn=rows, carry=carries)
def test_latest_passes_over_rows_that_are_not_known(drawn: list[tuple[int, int, bool]], carry: list[int]) -> None:
    groups, values, is_known = _columns(drawn)
    before, expected = list(carry), []
    for slot, value, known in drawn:
        expected.append(before[slot])
        before[slot] = value if known else before[slot]
    assert groups.latest(values, is_known, np.array(carry)).tolist() == expected


@exact
@given(drawn=rows, carry=carries)
def test_a_run_goes_on_until_it_is_broken(drawn: list[tuple[int, int, bool]], carry: list[int]) -> None:
    groups, _, holds = _columns(drawn)
    run, expected = list(carry), []
    for slot, _, is_held in drawn:
        run[slot] = run[slot] + 1 if is_held else 0
        expected.append(run[slot])
    assert groups.run_length(holds, np.array(carry, dtype=np.int64)).tolist() == expected


@exact
@given(drawn=rows)
def test_last_gives_each_group_once(drawn: list[tuple[int, int, bool]]) -> None:
    groups, values, _ = _columns(drawn)
    newest = {slot: value for slot, value, _ in drawn}
    slots, last = groups.last(values)
    assert dict(zip(slots.tolist(), last.tolist(), strict=True)) == newest
