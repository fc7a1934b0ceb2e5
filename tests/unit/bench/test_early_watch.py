"""Watching: what is noted is when the product could know, counted from the attack's first packet."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.bench.contestants import FittedScorer
from thingwarden.bench.early_attacks import ATTACKS
from thingwarden.bench.early_scenes import Played, Scene, begun_by, play, stage
from thingwarden.bench.early_watch import attempt_moments, record_scene, watch
from thingwarden.bench.resumable import Record
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.testing import ScriptedScorer
from thingwarden.train.weighting import require_labels

SWEEP = next(attack for attack in ATTACKS if attack.name == "sweep-syn")
RATE_PER_S = 10.0


@pytest.fixture(scope="module")
def played() -> Played:
    return play(stage(Scene(attack=SWEEP, rate_per_s=RATE_PER_S, seed=0, attempts=60)))


def attack_rows(played: Played) -> list[int]:
    is_attack = (require_labels(played.flows).malicious == 1) & begun_by(played.flows, played.infected)
    return np.flatnonzero(is_attack).tolist()


def judge(played: Played, rows: list[int], open_weight: float = 1.0) -> Record:
    script = dict.fromkeys(rows, (0.999, AttackClass.SCAN))
    fitted = FittedScorer(
        vocabulary=Vocabulary.fit([played.flows]),
        scorer=ScriptedScorer(script),
        calibration=Calibration(alarm_level_nats=12.0, open_weight=open_weight),
    )
    return record_scene(SWEEP, played, watch(played, fitted))


def test_a_model_that_knows_at_once_is_done_with_the_first_probe(played: Played) -> None:
    record = judge(played, attack_rows(played))
    assert record["word"] == {"seconds": 0.0, "packets": 1, "attempts": 1, "is_close": False}
    assert record["incident"]["attempts"] == 3, "each word of evidence weighs some 4.7 nats"
    assert record["incident"]["seconds"] == pytest.approx(2 / RATE_PER_S, abs=0.1)
    assert record["class"] == "scan"
    assert record["answer"] is not None
    assert not record["is_accused_before"]


def test_a_model_that_learns_late_is_told_so(played: Played) -> None:
    rows = attack_rows(played)
    began_at_s = float(played.flows.started_at_s[rows[20]])
    record = judge(played, rows[20:])
    assert record["word"]["seconds"] == pytest.approx(began_at_s - played.sent_at_s[0])
    assert record["word"]["attempts"] == np.searchsorted(
        attempt_moments(SWEEP, played), began_at_s + 1e-6, side="right"
    )


def test_outcomes_count_from_when_they_are_knowable(played: Played) -> None:
    record = judge(played, attack_rows(played)[:10], open_weight=0.0)
    assert record["incident"]["seconds"] >= 5.0, "Zeek waits five seconds for an answer to a SYN"


def test_what_is_never_found_is_none(played: Played) -> None:
    record = judge(played, [])
    assert record["word"] is None and record["incident"] is None and record["answer"] is None
    assert record["attempts_per_s"] == pytest.approx(RATE_PER_S, rel=0.5), "asking again takes its share"


def test_an_incident_about_harmless_flows_does_not_count(played: Played) -> None:
    harmless = np.flatnonzero(begun_by(played.flows, played.infected) & (require_labels(played.flows).malicious == 0))
    record = judge(played, harmless.tolist())
    assert record["incident"] is None
    assert record["is_accused_before"] == bool(len(harmless) >= 3)


def test_a_port_asked_twice_is_one_attempt(played: Played) -> None:
    flows = played.flows.take(np.array(attack_rows(played)))
    asked = len(np.unique(flows.resp_address, axis=0))
    assert len(attempt_moments(SWEEP, played)) == asked < len(flows), "nmap asks whoever is silent once more"
