"""Figures against values worked out by hand."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from thingwarden.bench.metrics import (
    bootstrap_interval,
    device_days,
    evaluate_flows,
    has_right_role,
    judge_incident,
    macro_f1,
    poisson_upper_bound,
    score_classes,
    threshold_at,
)
from thingwarden.domain.detection import Detection, FlowVerdicts
from thingwarden.domain.flow import FlowBatch, Labels
from thingwarden.domain.incident import Role
from thingwarden.domain.taxonomy import CLASS_INDEX, TON_CLASSES, AttackClass
from thingwarden.testing import FlowSpec, build_device, build_flows, build_incident
from thingwarden.train.corpus import constant_labels

SCAN = CLASS_INDEX[AttackClass.SCAN]


def _labelled(malicious: list[int], **columns: list[int]) -> FlowBatch:
    count = len(malicious)
    flows = build_flows([FlowSpec(at_s=60.0 * n, resp_port=1000 + 1000 * n) for n in range(count)])
    labels = Labels(
        malicious=np.array(malicious, dtype=np.int8),
        attack_class=np.array([SCAN if value == 1 else value for value in malicious], dtype=np.int8),
        ton_class=np.array(columns.get("ton_class", [-1] * count), dtype=np.int8),
        detail=np.zeros(count, dtype="S48"),
    )
    return replace(flows, labels=labels)


def _verdicts(said: list[bool], ton: list[int] | None = None) -> FlowVerdicts:
    count = len(said)
    return FlowVerdicts(
        malicious_probability=np.array(said, dtype=np.float32),
        is_malicious=np.array(said),
        attack_class=np.array([SCAN if value else 0 for value in said], dtype=np.int8),
        ton_class=np.array(ton or [-1] * count, dtype=np.int8),
        device=np.ones(count, dtype=np.int32),
        role=np.zeros(count, dtype=np.int8),
        surprise_nats=np.zeros(count, dtype=np.float32),
    )


def _detection(flow: int) -> Detection:
    return Detection(
        flow=flow,
        started_at=datetime(2024, 1, 1, tzinfo=UTC),
        proto="tcp",
        is_outbound=True,
        peer=ipaddress.ip_address("203.0.113.5"),
        port=23,
        service=None,
        conn_state="S0",
        sent_bytes=0,
        received_bytes=0,
        probability=0.99,
        attack_class=AttackClass.SCAN,
    )


def test_the_object_has_the_keys_that_the_command_promises() -> None:
    report = evaluate_flows(_labelled([1, 0]), _verdicts([True, False]), ())
    assert set(report) == {"rows", "patterns", "by_row", "by_pattern", "incidents"}
    assert set(report["by_row"]) == set(report["by_pattern"]) == {"tpr", "fpr", "macro_f1", "per_class"}
    assert set(report["incidents"]) == {"true", "false", "device_days", "false_per_device_day"}


def test_rates_over_rows() -> None:
    report = evaluate_flows(_labelled([1, 1, 0, 0, 0, -1]), _verdicts([True, False, True, False, False, True]), ())
    assert report["rows"] == 5
    assert report["by_row"]["tpr"] == pytest.approx(1 / 2)
    assert report["by_row"]["fpr"] == pytest.approx(1 / 3)
    assert report["by_row"]["per_class"]["scan"]["f1"] == pytest.approx(2 * 1 / (2 + 2))


def test_patterns_count_once() -> None:
    flows = replace(
        build_flows([FlowSpec()] * 9 + [FlowSpec(resp_port=23)]), labels=constant_labels(10, AttackClass.SCAN)
    )
    report = evaluate_flows(flows, _verdicts([True] * 9 + [False]), ())
    assert report["patterns"] == 2
    assert report["by_row"]["tpr"] == pytest.approx(0.9)
    assert report["by_pattern"]["tpr"] == pytest.approx(0.5)


@pytest.mark.parametrize(("malicious", "absent"), [([1, 1], "fpr"), ([0, 0], "tpr")])
def test_a_rate_over_nothing_is_none(malicious: list[int], absent: str) -> None:
    report = evaluate_flows(_labelled(malicious), _verdicts([True, False]), ())
    assert report["by_row"][absent] is None
    assert report["by_row"]["fpr" if absent == "tpr" else "tpr"] == pytest.approx(0.5)


def test_ten_classes_speak_for_ton_iot() -> None:
    normal, ddos = TON_CLASSES.index("normal"), TON_CLASSES.index("ddos")
    flows = _labelled([0, 1, 1], ton_class=[normal, ddos, ddos])
    report = evaluate_flows(flows, _verdicts([False, False, False], ton=[normal, ddos, normal]), ())
    assert set(report["by_row"]["per_class"]) == {"normal", "ddos"}
    assert report["by_row"]["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_macro_f1_can_leave_a_class_out() -> None:
    table = score_classes(np.array([0, 1, 1]), np.array([0, 1, 0]), np.ones(3), ("a", "b"))
    assert macro_f1(table, without=("b",)) == pytest.approx(2 / 3)
    assert macro_f1({}) is None


@pytest.mark.parametrize(
    ("malicious", "flows", "verdict"),
    [([1, 1, 0], (0, 1), True), ([0, 0, 1], (0, 1), False), ([-1, -1, 1], (0, 1), None), ([1, 0, 0], (0, 1), True)],
)
def test_an_incident_is_judged_by_its_loudest_flows(
    malicious: list[int], flows: tuple[int, ...], verdict: bool | None
) -> None:
    incident = build_incident(detections=tuple(_detection(flow) for flow in flows))
    assert judge_incident(_labelled(malicious), incident) is verdict


@pytest.mark.parametrize(
    ("device", "role", "is_right"),
    [
        ("192.168.1.10", Role.OFFENDER, True),
        ("192.168.1.10", Role.TARGET, False),
        ("203.0.113.5", Role.TARGET, True),
        ("203.0.113.5", Role.OFFENDER, False),
    ],
)
def test_the_originator_of_malicious_flows_is_the_offender(device: str, role: Role, is_right: bool) -> None:
    incident = build_incident(device=build_device(1, device), role=role, detections=(_detection(0),))
    assert has_right_role(_labelled([1, 0]), incident) is is_right


def test_false_incidents_are_told_per_day_watched() -> None:
    flows = _labelled([0] * 25)
    incident = build_incident(detections=(_detection(3),))
    counts = evaluate_flows(flows, _verdicts([False] * 25), (incident,))["incidents"]
    assert counts["device_days"] == pytest.approx(24 * 60 / 86_400)
    assert counts["false"] == 1 and counts["true"] == 0
    assert counts["false_per_device_day"] == pytest.approx(60.0)


def test_pauses_between_recordings_are_not_watched() -> None:
    flows = build_flows([FlowSpec(at_s=0), FlowSpec(at_s=3600), FlowSpec(at_s=9e6), FlowSpec(at_s=9e6 + 3600)])
    assert device_days(flows) == pytest.approx(2 / 24)
    assert device_days(flows, np.array([0, 1, 1, 1])) == pytest.approx(1 / 24)
    assert device_days(replace(flows, started_at_s=np.zeros(4))) == 0.0


@pytest.mark.parametrize(("count", "bound"), [(0, 2.996), (1, 4.744), (2, 6.296), (10, 16.962)])
def test_poisson_bound_agrees_with_the_tables(count: int, bound: float) -> None:
    assert poisson_upper_bound(count) == pytest.approx(bound, abs=1e-3)


def test_bootstrap_interval_holds_the_ratio_and_needs_two_captures() -> None:
    interval = bootstrap_interval(np.array([9.0, 1.0, 5.0]), np.array([10.0, 10.0, 10.0]))
    assert interval is not None and interval[0] < 0.5 < interval[1]
    assert bootstrap_interval(np.array([1.0]), np.array([2.0])) is None


@pytest.mark.parametrize("budget", [0.0, 0.1, 0.25, 0.5])
def test_no_more_than_the_budget_lies_above_the_threshold(budget: float) -> None:
    random = np.random.default_rng(3)
    score, weight = random.integers(0, 20, 500).astype(float), random.random(500)
    threshold = threshold_at(score, weight, budget)
    assert weight[score > threshold].sum() <= budget * weight.sum()
    looser = threshold - 1
    assert weight[score > looser].sum() > budget * weight.sum()
    assert threshold_at(np.zeros(0), np.zeros(0), budget) == math.inf
