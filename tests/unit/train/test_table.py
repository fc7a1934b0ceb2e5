"""TON_IoT's rows: distinct words, how often each is drawn, and nothing of who sent them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flow_builder import VOCABULARY
from thingwarden.domain.flow import FlowBatch, Labels
from thingwarden.testing import FlowSpec, build_flows
from thingwarden.train.table import COUNT_EXPONENT, TypedRows, collect_typed_rows


def _table(specs: list[FlowSpec], types: list[int]) -> FlowBatch:
    count = len(specs)
    labels = Labels(
        malicious=np.array([kind > 0 for kind in types], dtype=np.int8),
        attack_class=np.array(types, dtype=np.int8),
        ton_class=np.array(types, dtype=np.int8),
        detail=np.full(count, b"x", dtype="S48"),
    )
    return replace(build_flows(specs), labels=labels, is_timed=False)


def _collect(specs: list[FlowSpec], types: list[int]) -> TypedRows:
    rows = collect_typed_rows(_table(specs, types), VOCABULARY)
    assert rows is not None
    return rows


def test_equal_words_of_equal_type_are_one_row() -> None:
    rows = _collect([FlowSpec(resp_port=80)] * 8 + [FlowSpec(resp_port=443)] + [FlowSpec(resp_port=80)], [0] * 9 + [1])
    assert rows.fields.shape[:2] == (3, 2)
    assert sorted(rows.ton_class.tolist()) == [0, 0, 1]
    weights = np.array([8.0, 1.0, 1.0]) ** COUNT_EXPONENT
    np.testing.assert_allclose(sorted(rows.share), sorted(weights / weights.sum()))


def test_an_address_makes_no_row_of_its_own() -> None:
    rows = _collect([FlowSpec(orig=f"192.168.1.{host}", resp=f"203.0.113.{host}") for host in range(1, 30)], [2] * 29)
    assert len(rows.share) == 1


def test_rows_are_drawn_by_their_share() -> None:
    rows = _collect([FlowSpec(resp_port=80)] * 32 + [FlowSpec(resp_port=443)], [0] * 33)
    drawn = rows.draw(np.random.default_rng(0), 4000)
    np.testing.assert_allclose(np.bincount(drawn, minlength=2) / 4000, rows.share, atol=0.03)


def test_no_labelled_rows_give_no_table() -> None:
    assert collect_typed_rows(FlowBatch.empty(), VOCABULARY) is None
    assert collect_typed_rows(build_flows([FlowSpec()]), VOCABULARY) is None
