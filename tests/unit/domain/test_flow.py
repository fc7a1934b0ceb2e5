"""FlowBatch: columns agree in length and type, and survive taking and joining."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow_builder import random_flows, with_milestones
from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import (
    COLUMN_DTYPES,
    CONN_STATE_CODE,
    CONN_STATES,
    MILESTONE_DTYPES,
    UNKNOWN_COUNT,
    FlowBatch,
    Labels,
    Milestones,
    address_from_words,
    words_from_address,
)


def _labelled(count: int) -> FlowBatch:
    labels = Labels(
        malicious=np.arange(count, dtype=np.int8),
        attack_class=np.zeros(count, dtype=np.int8),
        ton_class=np.full(count, -1, dtype=np.int8),
        detail=np.array([f"row {row}" for row in range(count)], dtype="S48"),
    )
    return FlowBatch.unknown(count, started_at_s=np.arange(count, dtype=np.float64), labels=labels)


def test_unknown_says_that_nothing_is_known() -> None:
    batch = FlowBatch.unknown(2)
    assert len(batch) == 2
    assert np.isnan(batch.duration_s).all()
    assert (batch.orig_bytes == UNKNOWN_COUNT).all()
    assert (batch.resp_is_local == -1).all()
    assert (batch.conn_state == CONN_STATE_CODE["-"]).all()
    assert all(getattr(batch, name).dtype == dtype for name, dtype in COLUMN_DTYPES.items())


@pytest.mark.parametrize("column", [np.zeros(3, dtype=np.uint8), np.zeros(2, dtype=np.int64)])
def test_a_column_of_other_length_or_type_is_refused(column: np.ndarray) -> None:
    with pytest.raises(InputError, match="column proto"):
        FlowBatch.unknown(2, proto=column)


def test_take_keeps_rows_and_labels_together() -> None:
    taken = _labelled(4).take(np.array([3, 1]))
    assert taken.started_at_s.tolist() == [3.0, 1.0]
    assert taken.labels is not None
    assert taken.labels.detail.tolist() == [b"row 3", b"row 1"]
    assert _labelled(4).take(np.array([True, False, False, False])).started_at_s.tolist() == [0.0]


def test_concatenate_keeps_order_and_labels_only_where_all_have_them() -> None:
    joined = FlowBatch.concatenate([_labelled(2), _labelled(1)])
    assert joined.started_at_s.tolist() == [0.0, 1.0, 0.0]
    assert joined.labels is not None
    assert joined.labels.malicious.tolist() == [0, 1, 0]
    assert FlowBatch.concatenate([_labelled(2), FlowBatch.unknown(1)]).labels is None
    assert len(FlowBatch.concatenate([])) == 0


def test_time_means_something_only_where_every_part_has_it() -> None:
    untimed = FlowBatch.unknown(1, is_timed=False)
    assert not FlowBatch.concatenate([FlowBatch.unknown(1), untimed]).is_timed


def test_a_flow_of_unknown_duration_ends_when_it_starts() -> None:
    batch = FlowBatch.unknown(2, started_at_s=np.array([5.0, 6.0]), duration_s=np.array([2.0, np.nan]))
    assert batch.ended_at_s.tolist() == [7.0, 6.0]


def test_states_have_one_code_each() -> None:
    assert [CONN_STATE_CODE[name] for name in CONN_STATES] == list(range(len(CONN_STATES)))


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_addresses_survive_the_way_into_columns_and_back(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    back = address_from_words(*words_from_address(address))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    assert back == (mapped or address)


def _per_flow(batch: FlowBatch, row: int) -> list[tuple[object, ...]]:
    noted = batch.milestones
    assert noted is not None
    mine = noted.at(noted.flow == row)
    return [*zip(*(getattr(mine, name).tolist() for name in MILESTONE_DTYPES if name != "flow"), strict=True)]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), rows=st.lists(st.integers(-20, 19), max_size=30))
def test_milestones_are_taken_with_their_flows_even_twice(seed: int, rows: list[int]) -> None:
    batch = with_milestones(random_flows(seed, 20), seed)
    taken = batch.take(np.array(rows, dtype=np.int64))
    for place, row in enumerate(rows):
        assert _per_flow(taken, place) == _per_flow(batch, row % 20)
    assert taken.milestones is not None and (np.diff(taken.milestones.flow) >= 0).all()


def test_milestones_are_taken_by_mask_and_joined_in_order() -> None:
    batch, plain = with_milestones(random_flows(1, 20)), random_flows(2, 5)
    joined = FlowBatch.concatenate([plain, batch.take(np.arange(20) % 2 == 0), batch])
    assert all(_per_flow(joined, 5 + place) == _per_flow(batch, 2 * place) for place in range(10))
    assert all(_per_flow(joined, 15 + row) == _per_flow(batch, row) for row in range(20))
    assert FlowBatch.concatenate([plain, plain]).milestones is None


def test_milestone_columns_agree_in_length_and_type() -> None:
    noted = with_milestones(random_flows(1, 20)).milestones
    assert noted is not None
    columns = {name: getattr(noted, name) for name in MILESTONE_DTYPES}
    with pytest.raises(InputError, match=r"milestones\.elapsed_s"):
        Milestones(**{**columns, "elapsed_s": noted.elapsed_s[1:]})
    with pytest.raises(InputError, match=r"milestones\.conn_state"):
        Milestones(**{**columns, "conn_state": noted.conn_state.astype(np.int64)})
