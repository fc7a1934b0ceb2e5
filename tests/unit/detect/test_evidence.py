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
from thingwarden.domain.calibration import TAIL_SHARES, Calibration
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


def test_evidence_begins_at_its_level_and_ends_at_the_cap() -> None:
    calibration = Calibration(evidence_nats=2.2, open_evidence_nats=2.2, evidence_cap_nats=6.0, open_weight=0.5)
    opening, closing = weigh_words(words_of(), build_scores(2, 0.9), calibration).gain
    assert (opening, closing) == (0, 0)
    opening, closing = weigh_words(words_of(), build_scores(2, 1.0), calibration).gain
    assert closing == 6 * QUANTA_PER_NAT
    assert opening == 3 * QUANTA_PER_NAT


def test_unattributed_words_are_no_evidence() -> None:
    assert not weigh_words(words_of(orig="198.51.100.7"), build_scores(2, 1.0), Calibration()).gain.any()


def strangeness_of(log_odds: float, rarity_nats: float, **constants: float) -> list[float]:
    """Nats of opening and closing word where the log-odds of harmless flows' tails are -9 to -1."""
    calibration = Calibration(loudness_nats=tuple(range(-9, 0)), strange_nats=3.0, **constants)
    scores = build_scores(2, 1.0 / (1.0 + np.exp(-log_odds)), surprise_nats=rarity_nats)
    return [quanta / QUANTA_PER_NAT for quanta in weigh_words(words_of(), scores, calibration).strange.tolist()]


def test_a_closing_word_is_strange_by_its_loudness_and_by_how_its_flow_began() -> None:
    loudness = -np.log(TAIL_SHARES[4])
    assert strangeness_of(-5.0, 0.0, rarity_weight=0.5) == pytest.approx([0.0, loudness - 3.0], abs=2e-3)
    assert strangeness_of(-5.0, 2.0, rarity_weight=0.5) == pytest.approx([0.0, loudness + 1.0 - 3.0], abs=2e-3)


def test_harmless_words_calm_and_nothing_counts_beyond_the_cap() -> None:
    assert strangeness_of(-20.0, 0.0) == [0.0, -3.0]
    assert strangeness_of(20.0, 90.0, rarity_weight=0.5, strange_cap_nats=4.0) == [0.0, 4.0 + 2.0 - 3.0]


def test_the_unattributed_sentence_is_never_strange() -> None:
    scores = build_scores(2, 1.0, surprise_nats=50.0)
    assert not weigh_words(words_of(orig="198.51.100.7"), scores, Calibration()).strange.any()


def test_a_word_likelier_benign_has_no_class() -> None:
    words = weigh_words(words_of(), build_scores(2, [0.4, 0.6], AttackClass.SCAN), Calibration())
    assert words.attack_class.tolist() == [CLASS_INDEX[AttackClass.UNKNOWN], CLASS_INDEX[AttackClass.SCAN]]


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
