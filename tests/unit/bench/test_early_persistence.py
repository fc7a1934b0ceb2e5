"""Persistence: words are counted from the attempt at which the attack can be recognised, and none is left out."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.bench.early_attacks import ATTACKS
from thingwarden.bench.early_persistence import (
    PLACES,
    RECOGNISED_AFTER,
    WORDS,
    list_persistent,
    pool_persistence,
    record_persistence,
)
from thingwarden.bench.early_scenes import Played, Scene
from thingwarden.bench.early_watch import ActWords, Watched
from thingwarden.domain.flow import FlowBatch
from thingwarden.lab.timeline import Host
from thingwarden.lab.traits import Traits

FLOOD = next(attack for attack in ATTACKS if attack.name == "flood-syn")
HOST = Host(
    name="one",
    kind="plug",
    address="10.77.0.9",
    address6="",
    mac="02:00:00:00:00:09",
    pace=1.0,
    traits=Traits(seed="s"),
)


def lasting(is_above: np.ndarray) -> tuple[Played, Watched]:
    """A flood of one packet and one opening word a second."""
    at_s = np.arange(len(is_above), dtype=np.float64)
    played = Played(flows=FlowBatch.unknown(0), infected=HOST, sent_at_s=at_s, began_at_s=0.0)
    words = ActWords(
        known_at_s=at_s, is_close=at_s % 2 == 1, is_above=is_above, flow=np.arange(len(at_s), dtype=np.int64)
    )
    return played, Watched(words=words, changes=(), decisions=())


def test_words_before_an_attack_can_be_recognised_do_not_count() -> None:
    late = RECOGNISED_AFTER["flood"] - 1
    is_above = np.arange(4000) >= late
    record = record_persistence(FLOOD, *lasting(is_above))
    assert record["words"] == WORDS
    assert record["is_above"] == [True] * len(PLACES)
    assert record["shares"] == [1.0] * len(PLACES)
    assert record_persistence(FLOOD, *lasting(np.arange(4000) > late))["is_above"][0] is False


def test_an_attack_that_a_model_gets_used_to_is_seen_in_the_later_places() -> None:
    record = record_persistence(FLOOD, *lasting(np.arange(4000) < RECOGNISED_AFTER["flood"] - 1 + 100))
    assert record["is_above"] == [True, True, True, False]
    assert record["shares"][:2] == [1.0, 1.0] and 0 < record["shares"][2] < 0.2 and record["shares"][3] == 0.0


def test_what_ended_before_a_place_says_nothing_about_it() -> None:
    record = record_persistence(FLOOD, *lasting(np.ones(200, dtype=bool)))
    assert record["is_above"] == [True, True, True, None]
    pooled = pool_persistence([(Scene(attack=FLOOD, rate_per_s=500.0, seed=0), record)])["flood-syn"]
    assert pooled["above"][-1] is None and pooled["above"][0] == 1.0
    assert pooled["fewest_words"] == record["words"]


def test_opening_and_closing_words_are_told_apart() -> None:
    record = record_persistence(FLOOD, *lasting(np.arange(4000) % 2 == 0))
    assert (record["open_share"], record["close_share"]) == (1.0, 0.0)


def test_scans_floods_and_beacons_are_let_go_on() -> None:
    scenes = list_persistent(ATTACKS, seeds=2)
    assert {scene.attack.family for scene in scenes} == {"scan", "flood", "beacon"}
    assert all(scene.attempts * 2 >= WORDS for scene in scenes)
    assert {scene.seed for scene in scenes} == {0, 1}
    assert list_persistent((), seeds=2) == []


def test_pooling_takes_the_mean_over_networks() -> None:
    records = [record_persistence(FLOOD, *lasting(np.full(4000, value))) for value in (True, False)]
    pairs = [(Scene(attack=FLOOD, rate_per_s=500.0, seed=seed), record) for seed, record in enumerate(records)]
    assert pool_persistence(pairs)["flood-syn"]["shares"] == pytest.approx([0.5] * 4)
