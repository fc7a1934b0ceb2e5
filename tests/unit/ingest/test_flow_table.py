"""Open flows as columns: cut, joined and overwritten together."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from thingwarden.domain.flow import Milestones
from thingwarden.ingest.flow_key import FlowKeys
from thingwarden.ingest.flow_table import FlowTable


def table(count: int) -> FlowTable:
    keys = FlowKeys(
        address=np.zeros((count, 4), dtype=np.uint64),
        port=np.zeros((count, 2), dtype=np.uint16),
        kind=np.zeros(count, dtype=np.uint16),
        digest=np.arange(count, dtype=np.uint64),
    )
    flows = FlowTable.blank(keys)
    flows.packets[:, 0] = np.arange(count)
    return flows


def reached(flow: list[int], elapsed_s: list[float]) -> Milestones:
    count = len(flow)
    zeros = np.zeros(count, dtype=np.int64)
    return Milestones(
        flow=np.array(flow, dtype=np.int64),
        elapsed_s=np.array(elapsed_s),
        orig_bytes=zeros,
        resp_bytes=zeros,
        orig_packets=zeros + 4,
        resp_packets=zeros,
        conn_state=np.zeros(count, dtype=np.uint8),
        history_letters=np.ones(count, dtype=np.uint8),
        has_service=np.zeros(count, dtype=np.bool_),
    )


def test_all_columns_have_a_row_per_flow() -> None:
    lengths = {each.name: len(getattr(table(3), each.name)) for each in fields(FlowTable)}
    assert lengths.pop("milestones") == 0
    assert set(lengths.values()) == {3}
    assert len(FlowTable.empty()) == 0


def test_rows_are_taken_by_index_and_by_mask() -> None:
    assert table(4).take(np.array([2, 0])).packets[:, 0].tolist() == [2, 0]
    assert table(4).take(np.array([True, False, False, True])).keys.digest.tolist() == [0, 3]


def test_what_is_taken_is_a_copy() -> None:
    flows = table(2)
    flows.take(np.array([0])).packets[0, 0] = 99
    assert flows.packets[0, 0] == 0


def test_joining_keeps_the_order() -> None:
    assert table(2).join(table(3)).packets[:, 0].tolist() == [0, 1, 0, 1, 2]


def test_putting_overwrites_all_but_the_keys() -> None:
    flows = table(3)
    flows.put(np.array([0]), table(3).take(np.array([2])))
    assert flows.packets[:, 0].tolist() == [2, 1, 2]
    assert flows.keys.digest.tolist() == [0, 1, 2]


def test_milestones_go_where_their_flows_go() -> None:
    flows = table(3)
    flows.add_milestones(reached([0, 2], [0.1, 0.2]))
    flows.add_milestones(reached([0, 1], [1.1, 1.2]))
    assert flows.milestones.flow.tolist() == [0, 0, 1, 2]
    assert flows.milestones.elapsed_s.tolist() == [0.1, 1.1, 1.2, 0.2]
    taken = flows.take(np.array([2, 0]))
    assert taken.milestones.flow.tolist() == [0, 1, 1]
    assert taken.milestones.elapsed_s.tolist() == [0.2, 0.1, 1.1]
    assert flows.join(taken).milestones.flow.tolist() == [0, 0, 1, 2, 3, 4, 4]
    put = table(4)
    put.put(np.array([3, 1]), taken)
    assert put.milestones.flow.tolist() == [1, 1, 3]
    assert put.milestones.elapsed_s.tolist() == [0.1, 1.1, 0.2]
