"""Weights: a flood of one pattern counts once per capture and label; what has no label counts nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from thingwarden.domain.errors import InputError
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.testing import FlowSpec, build_flows
from thingwarden.train.corpus import constant_labels, mask_labels
from thingwarden.train.weighting import log2_classes, port_classes, weigh_patterns


def test_equal_flows_share_one_weight() -> None:
    flows = build_flows([FlowSpec(at_s=n) for n in range(9)] + [FlowSpec(resp_port=23)])
    flows = replace(flows, labels=constant_labels(10, AttackClass.SCAN))
    weight = weigh_patterns(flows)
    assert weight[:9] == pytest.approx(1 / 9)
    assert weight[9] == 1.0


def test_captures_and_labels_do_not_share() -> None:
    flows = replace(build_flows([FlowSpec()] * 4), labels=constant_labels(4, AttackClass.SCAN))
    assert flows.labels is not None
    assert weigh_patterns(flows, np.array([0, 0, 1, 1])).tolist() == [0.5, 0.5, 0.5, 0.5]
    benign = replace(flows.labels, malicious=np.array([1, 0, 0, 0], dtype=np.int8))
    assert weigh_patterns(replace(flows, labels=benign)).tolist() == pytest.approx([1.0, 1 / 3, 1 / 3, 1 / 3])


def test_masked_rows_weigh_nothing() -> None:
    flows = replace(build_flows([FlowSpec()] * 2), labels=constant_labels(2, AttackClass.BENIGN))
    assert weigh_patterns(mask_labels(flows, np.array([True, False]))).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("change", ["orig_bytes", "resp_bytes", "conn_state", "service", "proto"])
def test_each_part_of_a_pattern_tells_flows_apart(change: str) -> None:
    other = {"orig_bytes": 5000, "resp_bytes": 5000, "conn_state": "S0", "service": "http", "proto": "udp"}[change]
    flows = build_flows([FlowSpec(), FlowSpec(**{change: other})])  # type: ignore[arg-type]
    flows = replace(flows, labels=constant_labels(2, AttackClass.BENIGN))
    assert weigh_patterns(flows).tolist() == [1.0, 1.0]


def test_addresses_and_times_do_not() -> None:
    flows = build_flows([FlowSpec(), FlowSpec(at_s=99, orig="192.168.7.7", resp="192.0.2.9", orig_port=5)])
    assert weigh_patterns(replace(flows, labels=constant_labels(2, AttackClass.BENIGN))).tolist() == [0.5, 0.5]


def test_port_and_count_classes() -> None:
    ports = port_classes(np.array([443, 23, 40_000, 40_001, 60_000], dtype=np.uint16))
    assert ports[0] != ports[1] and ports[2] == ports[3] != ports[4]
    assert log2_classes(np.array([-1, 0, 1, 2, 3, 4, 7, 8])).tolist() == [-1, 0, 1, 2, 2, 3, 3, 4]


def test_flows_without_labels_are_refused() -> None:
    with pytest.raises(InputError, match="carry none"):
        weigh_patterns(build_flows([FlowSpec()]))
