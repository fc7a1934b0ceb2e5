"""The test kit itself keeps its word."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from thingwarden.domain.response import ReceiptStatus
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.domain.word import UNATTRIBUTED
from thingwarden.testing import (
    START_S,
    FlowSpec,
    FlowWordEncoder,
    ManualClock,
    RecordingEnforcer,
    ScriptedScorer,
    build_decision,
    build_devices,
    build_flows,
    build_scores,
)

A, B = "192.168.1.10", "192.168.1.11"


def test_words_come_in_knowable_order_two_per_flow_and_local_device() -> None:
    flows = build_flows([FlowSpec(at_s=5.0, orig=A, resp=B), FlowSpec(at_s=0.0, orig="198.51.100.7")])
    (words,) = FlowWordEncoder(build_devices([A, B])).encode(flows)
    assert np.all(np.diff(words.known_at_s) >= 0)
    assert sorted(words.device.tolist()) == [UNATTRIBUTED, UNATTRIBUTED, 1, 1, 2, 2]
    assert words.is_close.sum() == 3


def test_chunks_hold_what_was_asked_for() -> None:
    flows = build_flows([FlowSpec(at_s=n, orig=A) for n in range(5)])
    chunks = list(FlowWordEncoder(build_devices([A])).encode(flows, 4))
    assert [len(chunk) for chunk in chunks] == [4, 4, 2]
    assert list(FlowWordEncoder(build_devices([A])).encode(build_flows([]))) == []


def test_scores_are_probabilities() -> None:
    scores = build_scores(3, [0.0, 0.4, 1.0], AttackClass.SCAN, role="target")
    assert np.allclose(scores.class_probability.sum(axis=1), 1)
    assert np.allclose(scores.role_probability.sum(axis=1), 1)
    assert np.allclose(scores.malicious_probability, [0.0, 0.4, 1.0])


def test_the_scripted_scorer_forgets_nothing_and_depends_on_no_chunk() -> None:
    flows = build_flows([FlowSpec(at_s=n, orig=A) for n in range(3)])
    (words,) = FlowWordEncoder(build_devices([A])).encode(flows)
    scorer = ScriptedScorer({1: (0.9, AttackClass.C2)})
    whole = scorer.score(words).malicious_probability
    scorer.reset()
    parts = [scorer.score(words.take(slice(n, n + 1))).malicious_probability for n in range(len(words))]
    assert np.array_equal(whole, np.concatenate(parts))
    assert whole[words.flow == 1].min() > 0.89


def test_the_clock_stands_still_until_it_is_turned() -> None:
    clock = ManualClock()
    assert clock().timestamp() == START_S
    assert clock.advance(2.5) - ManualClock()() == timedelta(seconds=2.5)
    assert clock() == clock()


def test_the_recording_enforcer_answers_as_told() -> None:
    enforcer, decision = RecordingEnforcer(lambda _: ReceiptStatus.FAILED), build_decision()
    assert enforcer.apply(decision, decision.decided_at).status is ReceiptStatus.FAILED
    enforcer.revoke(decision, decision.decided_at)
    assert (enforcer.applied, enforcer.revoked) == ([decision], [decision])
