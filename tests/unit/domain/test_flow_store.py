"""Rows are used again only after they were told, in that order, those that somebody needs last."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.domain.flow_store import FORGOTTEN, FlowProgress, FlowStore

NOBODY = np.zeros(0, dtype=np.int64)


def test_rows_are_given_in_order_and_the_first_never() -> None:
    store = FlowStore(6)
    assert store.open(2).tolist() == [1, 2]
    assert store.open(3).tolist() == [3, 4, 5]
    assert FORGOTTEN == 0
    assert store.free_count == 0


def test_more_rows_than_there_are_cannot_be_had() -> None:
    with pytest.raises(ValueError, match="4 rows asked for, 3 are free"):
        FlowStore(4).open(4)


def test_what_was_told_first_is_forgotten_first() -> None:
    store = FlowStore(8)
    store.open(7)
    store.tell(np.array([5, 2]))
    store.tell(np.array([7]))
    assert store.told_count == 3
    assert store.forget(2, NOBODY).tolist() == [5, 2]
    assert store.open(2).tolist() == [5, 2]
    assert store.forget(2, NOBODY).tolist() == [7]
    assert store.told_count == 0


def test_spared_rows_go_only_where_others_do_not_suffice() -> None:
    store = FlowStore(8)
    store.open(7)
    store.tell(np.array([1, 2, 3, 4]))
    assert store.forget(2, np.array([1, 2])).tolist() == [3, 4]
    assert store.forget(1, np.array([1, 2])).tolist() == [1]


def test_nothing_is_known_of_the_forgotten_row() -> None:
    flows = FlowStore(2).flows
    assert flows.started_at_s[FORGOTTEN] == 0
    assert np.isnan(flows.duration_s[FORGOTTEN])
    assert flows.orig_packets[FORGOTTEN] == -1


def test_no_progress_names_no_flow() -> None:
    none = FlowProgress.none()
    assert [len(part) for part in (none.opened, none.reached, none.touched, none.ended)] == [0, 0, 0, 0]
