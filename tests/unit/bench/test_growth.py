"""The growth of variety: patterns are counted once, words as the encoder makes them, and the goal is read off."""

from __future__ import annotations

import numpy as np
import pytest

from flow_builder import VOCABULARY, random_flows
from thingwarden.bench.growth import (
    GrowthCurve,
    draw_growth,
    measure_growth,
    pattern_keys,
    render_growth,
)
from thingwarden.bench.words import encode_words
from thingwarden.lab.corpus import count_words
from thingwarden.testing import FlowSpec, build_flows
from thingwarden.train.weighting import pattern_columns


def test_words_are_counted_as_the_encoder_makes_them() -> None:
    flows = random_flows(3, 400)
    assert count_words(flows) == len(encode_words(VOCABULARY, flows))


def test_keys_agree_exactly_where_patterns_do() -> None:
    flows = random_flows(4, 600)
    columns = [np.unique(column, return_inverse=True)[1] for column in pattern_columns(flows)]
    patterns = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].ravel()
    keys = np.unique(pattern_keys(flows), return_inverse=True)[1]
    pairs = {tuple(pair) for pair in np.stack([patterns, keys], axis=1).tolist()}
    assert len(pairs) == len(set(patterns.tolist())) == len(set(keys.tolist()))


@pytest.mark.parametrize("change", [{"resp_port": 23}, {"orig_bytes": 9000}, {"conn_state": "S0"}, {"service": "ssl"}])
def test_a_pattern_is_told_apart_by_each_of_its_parts(change: dict[str, object]) -> None:
    flows = build_flows([FlowSpec(), FlowSpec(**change)])  # type: ignore[arg-type]
    assert len(set(pattern_keys(flows).tolist())) == 2


def test_the_same_network_again_adds_words_and_no_pattern() -> None:
    flows = random_flows(5, 100)
    curve = measure_growth([flows, flows, random_flows(6, 100), random_flows(6, 0)])
    assert curve.words.tolist()[:2] == [count_words(flows), 2 * count_words(flows)]
    assert curve.patterns[0] == curve.patterns[1] < curve.patterns[2] == curve.patterns[3]


def test_patterns_are_read_between_networks_and_never_beyond_the_corpus() -> None:
    curve = GrowthCurve(words=np.array([100, 300]), patterns=np.array([10, 30]))
    assert curve.patterns_at(50) == 5
    assert curve.patterns_at(200) == 20
    assert curve.patterns_at(301) is None


def test_report_and_picture_name_every_source() -> None:
    curves = {"lab": GrowthCurve(words=np.array([10, 20_000]), patterns=np.array([5, 900]))}
    report = render_growth(curves, spans=(10_000, 1_000_000))
    assert "| lab | 20,000 | 900 | 452 | - |" in report
    assert draw_growth(curves).count("lab") == 1
    assert draw_growth(curves) == draw_growth(curves)


def test_the_report_says_whether_a_million_words_hold_enough() -> None:
    few = GrowthCurve(words=np.array([10, 2_000_000]), patterns=np.array([5, 20_000]))
    many = GrowthCurve(words=np.array([10, 2_000_000]), patterns=np.array([5, 200_000]))
    text = render_growth({"a few": few, "many": many})
    assert "**MISSED**: 10,002 distinct patterns in 1,000,000 words of a few" in text
    assert "**Met**: 100,002 distinct patterns in 1,000,000 words of many" in text
