"""Verdicts: one per flow; of an incident where there is a history, of its loudest closing word where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.detect.correlate import Accusation, Correlator
from thingwarden.detect.evidence import OFFENDER
from thingwarden.detect.verdict import FlowJudge
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.detection import FlowVerdicts
from thingwarden.domain.errors import InputError
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.domain.word import ROLES, Scores, WordBatch
from thingwarden.testing import FlowSpec, FlowWordEncoder, build_devices, build_flows, build_scores

A, B = "192.168.1.10", "192.168.1.11"
DEVICES = build_devices([A, B])


def judge_alone(words: WordBatch, scores: Scores, calibration: Calibration | None = None) -> FlowVerdicts:
    """The verdict on a flow without history."""
    judge = FlowJudge(1, calibration or Calibration(), is_timed=False)
    judge.update(words, scores)
    return judge.verdicts()


def test_opening_words_judge_nothing() -> None:
    flows = build_flows([FlowSpec(orig=A)])
    (words,) = FlowWordEncoder(DEVICES).encode(flows)
    opening = words.take(slice(0, 1))
    verdicts = judge_alone(opening, build_scores(1, 1.0))
    assert np.isnan(verdicts.malicious_probability[0])
    assert not verdicts.is_malicious[0]


def test_the_more_suspicious_side_of_a_local_flow_speaks() -> None:
    flows = build_flows([FlowSpec(orig=A, resp=B)])
    (words,) = FlowWordEncoder(DEVICES).encode(flows)
    scores = build_scores(4, np.where(words.is_orig, 0.2, 0.97), AttackClass.SCAN)
    verdicts = judge_alone(words, scores)
    assert verdicts.malicious_probability[0] == pytest.approx(0.97, abs=1e-3)
    assert verdicts.device[0] == 2
    assert ROLES[verdicts.role[0]] == "target"
    assert verdicts.attack_class[0] == CLASS_INDEX[AttackClass.SCAN]


def test_the_originator_speaks_where_both_sides_agree() -> None:
    flows = build_flows([FlowSpec(orig=A, resp=B)])
    (words,) = FlowWordEncoder(DEVICES).encode(flows)
    verdicts = judge_alone(words, build_scores(4, 0.97))
    assert (verdicts.device[0], ROLES[verdicts.role[0]]) == (1, "offender")


def test_a_benign_flow_has_no_class_and_no_role() -> None:
    flows = build_flows([FlowSpec(orig=A)])
    (words,) = FlowWordEncoder(DEVICES).encode(flows)
    verdicts = judge_alone(words, build_scores(2, 0.5), Calibration(flow_threshold=0.9))
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


def judge_together(probability: list[float], surprise_nats: float = 0.0, **thresholds: float) -> FlowVerdicts:
    """Verdicts on flows of one device, a second apart."""
    flows = build_flows([FlowSpec(at_s=float(row), orig=A) for row in range(len(probability))])
    (words,) = FlowWordEncoder(DEVICES).encode(flows)
    calibration = Calibration(**thresholds)
    scores = build_scores(len(words), [probability[row] for row in words.flow], surprise_nats=surprise_nats)
    judge, correlator = FlowJudge(len(flows), calibration), Correlator(calibration, DEVICES)
    judge.update(words, scores)
    correlator.update(words, scores, flows)
    judge.accuse(correlator.accusations())
    return judge.verdicts()


def test_a_single_loud_flow_among_quiet_ones_is_not_malicious() -> None:
    assert not judge_together([0.999, *[0.01] * 20]).is_malicious.any()


def test_every_flow_of_an_incident_is_malicious_and_only_those() -> None:
    verdicts = judge_together([*[0.01] * 5, *[0.999] * 20, 0.01])
    assert verdicts.is_malicious.tolist() == [*[False] * 5, *[True] * 20, False]
    assert set(verdicts.attack_class[5:25].tolist()) == {CLASS_INDEX[AttackClass.C2]}
    assert set(verdicts.role[5:25].tolist()) == {OFFENDER}


def test_strange_flows_are_malicious_once_strangeness_alarms() -> None:
    assert not judge_together([0.3] * 20, 9.0, strange_nats=1.0, strange_alarm_nats=60.0).is_malicious.any()
    verdicts = judge_together([0.3] * 60, 9.0, strange_nats=1.0, strange_alarm_nats=60.0)
    assert verdicts.is_malicious.all()
    assert set(verdicts.attack_class.tolist()) == {CLASS_INDEX[AttackClass.UNKNOWN]}


def test_strange_flows_of_an_incident_that_its_class_opened_are_malicious_too() -> None:
    """A few flows of a known class open it; strangeness of the others adds up while it is open, and takes effect."""
    known, strange = [0.9999] * 4, [0.7] * 40
    levels = {"strange_nats": 1.0, "strange_alarm_nats": 60.0, "alarm_level_nats": 12.0}
    verdicts = judge_together([*known, *strange], 9.0, **levels)
    assert verdicts.is_malicious.all()
    assert not judge_together([*known, *strange[:8]], 9.0, **levels).is_malicious[4:].any(), "not enough of it yet"
    calm = judge_together([*known, *strange], 0.0, **levels)
    assert calm.is_malicious.tolist() == [*[True] * 4, *[False] * 40], "and nothing where flows are usual"


def test_the_louder_accusation_counts_whatever_the_order() -> None:
    flows = build_flows([FlowSpec(at_s=float(row), orig=A, resp=B) for row in range(30)])
    (words,) = FlowWordEncoder(DEVICES).encode(flows)
    scores = build_scores(len(words), np.where(words.is_orig, 0.999, 0.99), AttackClass.SCAN)
    correlator = Correlator(Calibration(), DEVICES)
    correlator.update(words, scores, flows)
    found = []
    for accusations in (correlator.accusations(), correlator.accusations()[::-1]):
        judge = FlowJudge(len(flows), Calibration())
        judge.accuse(accusations)
        found.append(judge.verdicts().device.tolist())
    assert len(correlator.accusations()) > 1 and all(isinstance(item, Accusation) for item in correlator.accusations())
    assert found[0] == found[1] == [1] * 30


def test_a_row_that_is_given_to_another_flow_starts_anew() -> None:
    flows = build_flows([FlowSpec(orig=A), FlowSpec(orig=B)])
    (words,) = FlowWordEncoder(DEVICES).encode(flows)
    judge = FlowJudge(2, Calibration(), is_timed=False)
    judge.update(words, build_scores(4, 0.97))
    judge.forget_flows(np.array([0]))
    verdicts = judge.verdicts()
    assert np.isnan(verdicts.malicious_probability[0])
    assert verdicts.is_malicious.tolist() == [False, True]
    assert verdicts.device.tolist() == [-1, 2]
