"""Calibration: each choice does on held-out data what it promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from thingwarden.detect.calibrate import (
    EVIDENCE_RANGE_NATS,
    LOWEST_ALARM_NATS,
    LOWEST_FLOW_THRESHOLD,
    SHRINKAGE_RANGE,
    calibrate_temperature,
    choose_alarm_level,
    choose_evidence_nats,
    choose_flow_threshold,
    device_hour_maxima,
    shrinkage_words,
    tail_edges,
)
from thingwarden.detect.correlate import Correlator
from thingwarden.domain.calibration import TAIL_SHARES, Calibration
from thingwarden.domain.errors import InputError
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.testing import FlowSpec, FlowWordEncoder, ScriptedScorer, build_devices, build_flows, build_scores


def overconfident(temperature: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Labels drawn from soft probabilities, and those probabilities sharpened."""
    generator = np.random.default_rng(7)
    logits = generator.normal(size=(20_000, 3)) * 2
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (generator.random(len(true))[:, None] > true.cumsum(axis=1)).sum(axis=1)
    sharp = np.exp(logits * temperature)
    return sharp / sharp.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(temperature: float) -> None:
    probability, labels = overconfident(temperature)
    assert calibrate_temperature(probability, labels) == pytest.approx(temperature, rel=0.1)


def test_unlabelled_rows_and_weights_of_zero_do_not_count() -> None:
    probability, labels = overconfident(2.0)
    wrong = (labels + 1) % 3
    both = np.concatenate([probability, probability])
    unlabelled = calibrate_temperature(both, np.concatenate([labels, np.full_like(labels, -1)]))
    unweighted = calibrate_temperature(
        both, np.concatenate([labels, wrong]), np.concatenate([np.ones(len(labels)), np.zeros(len(labels))])
    )
    assert unlabelled == pytest.approx(unweighted)


def test_without_labels_there_is_no_temperature() -> None:
    with pytest.raises(InputError):
        calibrate_temperature(np.ones((1, 3)) / 3, np.array([-1]))


@pytest.mark.parametrize("budget_ratio", [0.0, 0.001, 0.01])
def test_the_threshold_keeps_its_budget_and_is_the_smallest(budget_ratio: float) -> None:
    generator = np.random.default_rng(3)
    devices = {name: generator.beta(1, 3, size=5000) ** 0.2 for name in ("camera", "plug")}
    pooled = np.concatenate(list(devices.values()))
    threshold = choose_flow_threshold(devices, budget_ratio)
    assert (pooled > threshold).mean() <= budget_ratio
    if threshold > LOWEST_FLOW_THRESHOLD:
        assert (pooled > np.nextafter(threshold, 0)).mean() > budget_ratio


def test_flows_without_verdict_are_left_out() -> None:
    assert choose_flow_threshold({"camera": np.array([np.nan, 0.7])}) == pytest.approx(0.7)
    with pytest.raises(InputError):
        choose_flow_threshold({"camera": np.array([np.nan])})


def test_so_many_openings_exceed_each_edge() -> None:
    nats = np.random.default_rng(1).gamma(9.0, 3.0, 20_000)
    edges = np.array(tail_edges(nats))
    exceeded = (nats[:, None] > edges).mean(axis=0)
    np.testing.assert_allclose(exceeded, TAIL_SHARES, atol=5e-4)
    Calibration(surprise_nats=tuple(edges))
    with pytest.raises(InputError):
        tail_edges(np.zeros(0))


def test_devices_that_differ_are_believed_sooner_than_devices_that_are_alike() -> None:
    generator = np.random.default_rng(5)
    openings = np.full(200, 400)
    alike = shrinkage_words(generator.binomial(openings, 0.05), openings, 0.05)
    differing = shrinkage_words(generator.binomial(openings, generator.beta(1.0, 19.0, 200)), openings, 0.05)
    assert SHRINKAGE_RANGE[0] <= differing < alike / 4


def test_evidence_begins_where_the_budget_of_harmless_weight_ends() -> None:
    log_odds = np.linspace(-5.0, 5.0, 1001)
    even = np.ones(1001)
    assert choose_evidence_nats(log_odds, even, 0.3) == pytest.approx(2.0, abs=0.02)
    late = np.where(log_odds > 1.5, 0.01, 1.0)
    assert choose_evidence_nats(log_odds, late, 0.3) == EVIDENCE_RANGE_NATS[0]
    assert choose_evidence_nats(log_odds, even, 0.0) == EVIDENCE_RANGE_NATS[1]
    assert choose_evidence_nats(np.zeros(0), np.zeros(0), 0.3) == EVIDENCE_RANGE_NATS[0]


def test_an_alarm_level_from_the_maxima_opens_no_incident_on_the_same_traffic() -> None:
    devices = build_devices(["192.168.1.10"])
    flows = build_flows([FlowSpec(at_s=n * 60.0) for n in range(600)])
    scorer = ScriptedScorer(dict.fromkeys(range(0, 600, 7), (0.999, AttackClass.C2)))
    calibration = Calibration(drift_nats=0.3)
    chunks = [(words, scorer.score(words)) for words in FlowWordEncoder(devices).encode(flows, 100)]
    maxima, strange = device_hour_maxima(chunks, calibration)
    assert len(maxima) == len(strange) == 11
    level = choose_alarm_level(maxima)
    assert level > LOWEST_ALARM_NATS

    def incident_count(alarm_level_nats: float) -> int:
        correlator = Correlator(Calibration(drift_nats=0.3, alarm_level_nats=alarm_level_nats), devices)
        for words, scores in chunks:
            correlator.update(words, scores, flows)
        return len(correlator.finish(flows))

    assert incident_count(level) == 0
    assert incident_count(float(maxima.max())) == 1


def test_strangeness_has_a_statistic_of_its_own_which_harmless_words_take_from() -> None:
    devices = build_devices(["192.168.1.10"])
    flows = build_flows([FlowSpec(at_s=n * 60.0) for n in range(120)])
    calibration = Calibration(strange_nats=3.0, strange_cap_nats=5.0, rarity_weight=1.0)
    (words,) = FlowWordEncoder(devices).encode(flows, 1000)

    def highest(surprise_nats: npt.NDArray[np.float64]) -> float:
        scores = replace(build_scores(len(words), 1e-6), surprise_nats=surprise_nats.astype(np.float32))
        shown, strange = device_hour_maxima([(words, scores)], calibration)
        assert not shown.any()
        return float(strange.max())

    assert highest(np.full(len(words), 9.0)) == pytest.approx(2.0 * 120)
    assert highest(np.where(words.flow % 2, 9.0, 0.0)) == pytest.approx(2.0)


def test_quiet_devices_do_not_lower_the_level_below_several_words() -> None:
    assert choose_alarm_level(np.zeros(100)) == LOWEST_ALARM_NATS
    assert choose_alarm_level(np.zeros(0)) == LOWEST_ALARM_NATS
