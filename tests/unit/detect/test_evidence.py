"""Evidence: calibrated odds, their limits, and who is blamed."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.detect.evidence import (
    OFFENDER,
    QUANTA_PER_NAT,
    TARGET,
    assign_roles,
    malicious_log_odds,
    probability_from_log_odds,
    weigh_words,
)
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.errors import ArtifactError
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.domain.word import WordBatch
from thingwarden.testing import FlowSpec, FlowWordEncoder, build_devices, build_flows, build_scores


def words_of(orig: str = "192.168.1.10") -> WordBatch:
    flows = build_flows([FlowSpec(orig=orig)])
    (words,) = FlowWordEncoder(build_devices(["192.168.1.10"])).encode(flows)
    return words


@pytest.mark.parametrize("probability", [0.001, 0.5, 0.99])
def test_temperature_one_leaves_the_probability(probability: float) -> None:
    scores = build_scores(1, probability)
    found = probability_from_log_odds(malicious_log_odds(scores.class_probability, 1.0))
    assert found[0] == pytest.approx(probability, rel=1e-4)


def test_a_high_temperature_takes_certainty_away() -> None:
    class_probability = np.full((1, 12), 0.01 / 11, dtype=np.float32)
    class_probability[0, CLASS_INDEX[AttackClass.C2]] = 0.99
    hot, cold = (malicious_log_odds(class_probability, temperature)[0] for temperature in (3.0, 1.0))
    assert 0 < hot < cold


def test_certainty_stays_finite() -> None:
    assert np.isfinite(malicious_log_odds(build_scores(2, [0.0, 1.0]).class_probability, 1.0)).all()


def test_scores_that_are_no_numbers_are_refused() -> None:
    broken = build_scores(1).class_probability
    broken[0, 3] = np.nan
    with pytest.raises(ArtifactError, match="not finite"):
        malicious_log_odds(broken, 1.0)


def test_evidence_begins_at_the_threshold_and_ends_at_the_cap() -> None:
    calibration = Calibration(flow_threshold=0.9, evidence_cap_nats=6.0)
    opening, closing = weigh_words(words_of(), build_scores(2, 0.9), calibration).gain
    assert (opening, closing) == (0, 0)
    opening, closing = weigh_words(words_of(), build_scores(2, 1.0), calibration).gain
    assert closing == 6 * QUANTA_PER_NAT
    assert opening == 3 * QUANTA_PER_NAT


def test_unattributed_words_are_no_evidence() -> None:
    assert not weigh_words(words_of(orig="198.51.100.7"), build_scores(2, 1.0), Calibration()).gain.any()


def test_surprise_counts_only_where_calibrated() -> None:
    scores = build_scores(2, 0.9, surprise_nats=30.0)
    assert not weigh_words(words_of(), scores, Calibration()).gain.any()
    weighted = Calibration(surprise_weight=1.0, surprise_cap=2.0, close_surprise_nats=10.0)
    assert weigh_words(words_of(), scores, weighted).gain[1] == 2 * QUANTA_PER_NAT


@pytest.mark.parametrize(
    ("head", "is_orig", "attack_class", "expected"),
    [
        ("quiet", True, AttackClass.SCAN, OFFENDER),
        ("quiet", False, AttackClass.SCAN, TARGET),
        ("quiet", True, AttackClass.C2, OFFENDER),
        ("quiet", False, AttackClass.C2, TARGET),
        ("offender", False, AttackClass.C2, OFFENDER),
        ("target", True, AttackClass.C2, TARGET),
    ],
)
def test_roles_follow_direction_unless_the_head_is_sure(
    head: str, is_orig: bool, attack_class: AttackClass, expected: int
) -> None:
    role_probability = build_scores(1, role=head).role_probability
    found = assign_roles(role_probability, np.array([is_orig]), np.array([CLASS_INDEX[attack_class]], dtype=np.int8))
    assert found[0] == expected


def test_a_doubtful_head_does_not_blame_the_responder_of_a_scan() -> None:
    doubtful = np.array([[0.1, 0.8, 0.1]], dtype=np.float32)
    scan = np.array([CLASS_INDEX[AttackClass.SCAN]], dtype=np.int8)
    assert assign_roles(doubtful, np.array([False]), scan)[0] == TARGET
