"""What is usual for a device: learned late, from clean words only, the same however the words are cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch")

from flow_builder import VOCABULARY, random_flows
from model_builder import build_model
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.errors import ArtifactError
from thingwarden.domain.word import UNATTRIBUTED, WordBatch
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import FIELD_NAMES
from thingwarden.model.habit import LEAST_CLEAN_WORDS, QUARANTINE_S, HabitMemory
from thingwarden.train.export import export_habit
from thingwarden.train.finetune import OUTCOME_FIELDS

pytestmark = pytest.mark.torch

MODEL = build_model(3)
NETWORK = export_habit(MODEL)
WIDTH = MODEL.shape.state_width


@pytest.fixture(scope="module")
def words() -> WordBatch:
    return WordBatch.concatenate(SentenceEncoder(VOCABULARY).encode(random_flows(5, 900, hosts=3)))


def summaries_of(words: WordBatch) -> npt.NDArray[np.float32]:
    """Something that a network might have made of each word."""
    return np.random.default_rng(2).normal(size=(len(words), WIDTH)).astype(np.float32)


def observe(
    words: WordBatch, log_odds: npt.NDArray[np.float64], chunk_words: int, calibration: Calibration | None = None
) -> npt.NDArray[np.float32]:
    """Rarity of all words, read chunk by chunk as the scorer does."""
    habit, summaries = HabitMemory(NETWORK, calibration or Calibration(), Path("tiny")), summaries_of(words)
    before = np.zeros((int(words.device.max()) + 1, WIDTH), dtype=np.float32)
    found = []
    for at in range(0, len(words), chunk_words):
        part = slice(at, at + chunk_words)
        chunk = words.take(part)
        found.append(habit.observe(chunk, log_odds[part], summaries[part], before))
        before[chunk.device] = summaries[part]
    return np.concatenate(found)


def quietly(words: WordBatch) -> npt.NDArray[np.float64]:
    return np.full(len(words), -5.0)


@pytest.mark.parametrize("chunk_words", [1, 7, 100])
def test_splitting_changes_nothing(words: WordBatch, chunk_words: int) -> None:
    log_odds = np.random.default_rng(4).normal(-6.0, 2.0, len(words))
    calibration = Calibration(shrinkage_words=20.0)
    whole = observe(words, log_odds, len(words), calibration)
    assert np.unique(whole).size > 50
    np.testing.assert_allclose(observe(words, log_odds, chunk_words, calibration), whole, atol=1e-4, rtol=1e-4)


def test_only_closing_words_of_devices_are_rare(words: WordBatch) -> None:
    rarity = observe(words, quietly(words), 64)
    assert (rarity[~words.is_close | (words.device == UNATTRIBUTED)] == 0).all()
    assert (rarity[words.is_close & (words.device != UNATTRIBUTED)] > 0).any()


def test_how_a_flow_ended_makes_it_no_rarer(words: WordBatch) -> None:
    outcome = np.array([name in OUTCOME_FIELDS for name in FIELD_NAMES])
    fields = words.fields.copy()
    fields[:, outcome] = 0
    np.testing.assert_array_equal(
        observe(words, quietly(words), 64), observe(replace(words, fields=fields), quietly(words), 64)
    )


def one_device(words: WordBatch, every_s: float) -> WordBatch:
    """Flows that begin alike over and over, by one device."""
    opening = np.flatnonzero(words.is_close & (words.device != UNATTRIBUTED))[:1]
    count = 600
    many = words.take(np.repeat(opening, count))
    return replace(
        many,
        device=np.ones(count, dtype=np.int32),
        known_at_s=1e6 * QUARANTINE_S + every_s * np.arange(count),
        starts_sentence=np.arange(count) == 0,
    )


def test_the_habit_changes_after_two_epochs_and_not_before(words: WordBatch) -> None:
    every_s = 5.0
    steady = one_device(words, every_s)
    rarity = observe(steady, quietly(steady), 50)
    changes = np.flatnonzero(np.diff(rarity)) + 1
    at_s = changes * every_s
    assert at_s[0] == 2 * QUARANTINE_S
    assert (at_s % QUARANTINE_S == 0).all()


def test_suspicion_keeps_words_out_of_the_habit(words: WordBatch) -> None:
    steady = one_device(words, 5.0)
    log_odds = quietly(steady)
    log_odds[:: LEAST_CLEAN_WORDS // 2] = 3.0
    assert np.unique(observe(steady, log_odds, 50)).size == 1


def test_a_device_that_often_surprises_is_allowed_to(words: WordBatch) -> None:
    steady = one_device(words, 5.0)
    strict = observe(steady, quietly(steady), 50, Calibration(shrinkage_words=1e9))
    lenient = observe(steady, quietly(steady), 50, Calibration(shrinkage_words=50.0))
    late = np.arange(len(steady)) * 5.0 >= 3 * QUARANTINE_S
    assert strict[late].min() > 0.7
    assert (lenient[late] < strict[late]).all()


def test_a_new_sentence_forgets(words: WordBatch) -> None:
    steady = one_device(words, 5.0)
    again = replace(steady, starts_sentence=np.arange(len(steady)) % 400 == 0)
    rarity = observe(again, quietly(again), 50)
    assert rarity[400] == rarity[0] != rarity[399]


def test_a_broken_network_is_named() -> None:
    with pytest.raises(ArtifactError, match=r"habit\.onnx"):
        HabitMemory(b"no network", Calibration(), Path("tiny"))
