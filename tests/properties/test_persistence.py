"""Attacks that go on for 3,000 words: the packaged model does not get used to them.

The floors are what any model that ships must reach, some way below what it does; docs/results/early.md has the figures.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from thingwarden.bench.contestants import FittedScorer
from thingwarden.bench.early_attacks import ATTACKS
from thingwarden.bench.early_persistence import PLACES, WORDS, record_persistence
from thingwarden.bench.early_scenes import Scene, play, stage
from thingwarden.bench.early_watch import watch
from thingwarden.bench.resumable import Record
from thingwarden.config import PACKAGED_MODEL
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.model.artifact import load_artifact
from thingwarden.model.scorer import FlowScorer

BY_NAME = {attack.name: attack for attack in ATTACKS}
SEEDS = range(100, 104)
RATES = {"flood-syn": 500.0, "flood-udp": 500.0, "sweep-syn": 50.0, "sweep-connect": 20.0, "beacon-tcp": 0.2}
LOUD = ("flood-syn", "flood-udp", "sweep-syn", "sweep-connect")
LAST = len(PLACES) - 1


@cache
def fitted() -> FittedScorer:
    artifact = load_artifact(PACKAGED_MODEL)
    return FittedScorer(
        vocabulary=Vocabulary.from_json(artifact.vocabulary),
        scorer=FlowScorer(artifact),
        calibration=artifact.calibration,
    )


@cache
def lasting(name: str) -> list[Record]:
    """The attack in four networks, for 3,000 words each."""
    attack = BY_NAME[name]
    scenes = [Scene(attack=attack, rate_per_s=RATES[name], seed=seed, attempts=round(0.55 * WORDS)) for seed in SEEDS]
    played = [play(stage(scene)) for scene in scenes]
    return [record_persistence(attack, each, watch(each, fitted())) for each in played]


def share_of(name: str, stretch: int) -> float:
    """Mean share of words above the flow threshold, from the place of that number to the next."""
    return float(np.mean([record["shares"][stretch] for record in lasting(name)]))


@pytest.mark.parametrize("name", LOUD)
def test_from_the_tenth_word_on_a_flood_or_scan_is_above(name: str) -> None:
    assert share_of(name, 1) >= 0.5


@pytest.mark.parametrize("name", LOUD)
def test_the_thousandth_word_and_all_after_it_are_still_above(name: str) -> None:
    assert np.mean([record["is_above"][LAST] for record in lasting(name)]) >= 0.5
    assert share_of(name, LAST) >= 0.6


@pytest.mark.parametrize("name", RATES)
def test_what_a_model_has_recognised_it_does_not_forget(name: str) -> None:
    assert share_of(name, LAST) >= share_of(name, 1) - 0.25


def test_a_beacon_is_seen_better_the_longer_it_lasts() -> None:
    assert share_of("beacon-tcp", LAST) >= 0.25
    assert share_of("beacon-tcp", LAST) >= share_of("beacon-tcp", 0)
