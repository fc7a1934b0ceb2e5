"""Several inputs judged apart and measured as one: rows keep their own verdicts and incidents."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from thingwarden.bench.evaluate import Judged, evaluate_judged, label_all
from thingwarden.domain.detection import Detection, FlowVerdicts
from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.testing import FlowSpec, build_device, build_flows, build_incident


def _judged(attack_class: AttackClass, is_malicious: list[bool], accused_row: int | None = None) -> Judged:
    """An input of flows of one class, flagged as told, with an incident that rests on one row."""
    count = len(is_malicious)
    flows = build_flows([FlowSpec(at_s=60.0 * row, resp_port=80 + row) for row in range(count)])
    flagged = np.array(is_malicious)
    verdicts = FlowVerdicts(
        malicious_probability=flagged.astype(np.float32),
        is_malicious=flagged,
        attack_class=np.where(flagged, CLASS_INDEX[AttackClass.C2], 0).astype(np.int8),
        ton_class=np.full(count, -1, dtype=np.int8),
        device=np.ones(count, dtype=np.int32),
        role=np.zeros(count, dtype=np.int8),
        surprise_nats=np.zeros(count, dtype=np.float32),
    )
    incidents = () if accused_row is None else (build_incident(detections=(_detection(accused_row),)),)
    return Judged(flows=label_all(flows, attack_class), verdicts=verdicts, incidents=incidents)


def _detection(row: int) -> Detection:
    device = build_device()
    assert device.address is not None
    return Detection(
        flow=row,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        proto="tcp",
        is_outbound=True,
        peer=device.address,
        port=80,
        service=None,
        conn_state="SF",
        sent_bytes=1,
        received_bytes=1,
        probability=0.9,
        attack_class=AttackClass.C2,
    )


def test_rates_are_over_all_inputs() -> None:
    benign = _judged(AttackClass.BENIGN, [False, False, False, True])
    malicious = _judged(AttackClass.C2, [True, False])
    figures = evaluate_judged([benign, malicious])
    assert figures["rows"] == 6
    assert figures["by_row"]["fpr"] == pytest.approx(0.25)
    assert figures["by_row"]["tpr"] == pytest.approx(0.5)


def test_an_incident_is_judged_by_the_labels_of_its_own_input() -> None:
    benign = _judged(AttackClass.BENIGN, [False, False, False], accused_row=0)
    malicious = _judged(AttackClass.C2, [True], accused_row=0)
    incidents = evaluate_judged([benign, malicious])["incidents"]
    assert (incidents["true"], incidents["false"]) == (1, 1)


def test_equal_flows_of_two_inputs_are_two_patterns() -> None:
    one = _judged(AttackClass.BENIGN, [False])
    assert evaluate_judged([one])["patterns"] == 1
    assert evaluate_judged([one, one])["patterns"] == 2


def test_a_label_for_all_replaces_what_was_there() -> None:
    labels = label_all(label_all(build_flows([FlowSpec()]), AttackClass.BENIGN), AttackClass.SCAN).labels
    assert labels is not None
    assert labels.malicious.tolist() == [1]
    assert labels.attack_class.tolist() == [CLASS_INDEX[AttackClass.SCAN]]
    assert labels.ton_class.tolist() == [-1]


def test_inputs_without_labels_are_refused() -> None:
    labelled = _judged(AttackClass.BENIGN, [False])
    bare = Judged(flows=FlowBatch.unknown(1), verdicts=labelled.verdicts, incidents=())
    with pytest.raises(InputError, match="labels"):
        evaluate_judged([labelled, bare])
