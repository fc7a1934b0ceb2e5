"""Verdicts: one per flow, from its most suspicious closing word."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.detect.verdict import FlowJudge, judge_flows
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.errors import InputError
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.domain.word import ROLES
from thingwarden.testing import FlowSpec, FlowWordEncoder, build_devices, build_flows, build_scores, take_words

A, B = "192.168.1.10", "192.168.1.11"
DEVICES = build_devices([A, B])


def test_opening_words_judge_nothing() -> None:
    flows = build_flows([FlowSpec(orig=A)])
    (words,) = FlowWordEncoder(DEVICES).encode(flows)
    opening = take_words(words, slice(0, 1))
    verdicts = judge_flows([(opening, build_scores(1, 1.0))], 1, Calibration())
    assert np.isnan(verdicts.malicious_probability[0])
    assert not verdicts.is_malicious[0]


def test_the_more_suspicious_side_of_a_local_flow_speaks() -> None:
    flows = build_flows([FlowSpec(orig=A, resp=B)])
    (words,) = FlowWordEncoder(DEVICES).encode(flows)
    scores = build_scores(4, np.where(words.is_orig, 0.2, 0.97), AttackClass.SCAN)
    verdicts = judge_flows([(words, scores)], 1, Calibration())
    assert verdicts.malicious_probability[0] == pytest.approx(0.97, abs=1e-3)
    assert verdicts.device[0] == 2
    assert ROLES[verdicts.role[0]] == "target"
    assert verdicts.attack_class[0] == CLASS_INDEX[AttackClass.SCAN]


def test_the_originator_speaks_where_both_sides_agree() -> None:
    flows = build_flows([FlowSpec(orig=A, resp=B)])
    (words,) = FlowWordEncoder(DEVICES).encode(flows)
    verdicts = judge_flows([(words, build_scores(4, 0.97))], 1, Calibration())
    assert (verdicts.device[0], ROLES[verdicts.role[0]]) == (1, "offender")


def test_a_benign_flow_has_no_class_and_no_role() -> None:
    flows = build_flows([FlowSpec(orig=A)])
    (words,) = FlowWordEncoder(DEVICES).encode(flows)
    verdicts = judge_flows([(words, build_scores(2, 0.5))], 1, Calibration(flow_threshold=0.9))
    assert (verdicts.is_malicious[0], verdicts.attack_class[0], verdicts.role[0]) == (False, 0, 0)


def test_a_word_of_another_batch_is_refused() -> None:
    flows = build_flows([FlowSpec(orig=A), FlowSpec(orig=A)])
    (words,) = FlowWordEncoder(DEVICES).encode(flows)
    with pytest.raises(InputError, match="outside"):
        FlowJudge(1, Calibration()).update(words, build_scores(4))


def test_innocent_flows_are_those_not_judged_malicious() -> None:
    flows = build_flows([FlowSpec(orig=A), FlowSpec(orig=A)])
    (words,) = FlowWordEncoder(DEVICES).encode(flows)
    judge = FlowJudge(2, Calibration())
    judge.update(words, build_scores(4, np.where(words.flow == 0, 0.99, 0.1)))
    assert judge.innocent(np.array([0, 1, 1])).tolist() == [1]
