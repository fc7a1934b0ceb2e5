"""What every Scorer must do, whatever model it holds."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from flow_builder import VOCABULARY, join_chunks, random_flows
from thingwarden.domain.ports import Scorer
from thingwarden.domain.taxonomy import CLASSES, TON_CLASSES, AttackClass
from thingwarden.domain.word import ROLES, Scores, WordBatch
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.testing import ScriptedScorer

WIDTHS = {"class_probability": len(CLASSES), "ton_probability": len(TON_CLASSES), "role_probability": len(ROLES)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def words() -> WordBatch:
    return join_chunks(SentenceEncoder(VOCABULARY).encode(random_flows(3, 120)))


NETWORKS = [pytest.param(name, marks=pytest.mark.torch) for name in ("float32", "int8")]


@pytest.fixture(scope="module", params=["scripted", *NETWORKS])
def scorer(request: pytest.FixtureRequest, folder: Path, words: WordBatch) -> Scorer:
    if request.param == "scripted":
        return ScriptedScorer({3: (0.9, AttackClass.SCAN)})
    pytest.importorskip("torch")
    from model_builder import build_artifact
    from thingwarden.model.scorer import FlowScorer

    return FlowScorer(build_artifact(folder / request.param, words=words if request.param == "int8" else None))


def test_every_word_gets_one_row_of_every_score(scorer: Scorer, words: WordBatch) -> None:
    scorer.reset()
    scores = scorer.score(words)
    for name, width in WIDTHS.items():
        probability = getattr(scores, name)
        assert probability.shape == (len(words), width) and probability.dtype == np.float32
        np.testing.assert_allclose(probability.sum(axis=1), 1.0, atol=1e-5)
        assert (probability >= 0).all()
    assert scores.surprise_nats.shape == (len(words),) and scores.surprise_nats.dtype == np.float32
    assert np.isfinite(scores.surprise_nats).all() and (scores.surprise_nats >= 0).all()


def test_no_words_give_no_scores(scorer: Scorer, words: WordBatch) -> None:
    scores = scorer.score(words.take(slice(0, 0)))
    assert scores.class_probability.shape == (0, len(CLASSES))


@pytest.mark.parametrize("chunk_words", [1, 10, 100])
def test_splitting_changes_no_score(scorer: Scorer, words: WordBatch, chunk_words: int) -> None:
    scorer.reset()
    whole = scorer.score(words)
    scorer.reset()
    parts = [scorer.score(words.take(slice(at, at + chunk_words))) for at in range(0, len(words), chunk_words)]
    for item in fields(Scores):
        joined = np.concatenate([getattr(part, item.name) for part in parts])
        np.testing.assert_allclose(joined, getattr(whole, item.name), atol=1e-5, rtol=1e-5)


def test_a_later_word_changes_no_earlier_score(scorer: Scorer, words: WordBatch) -> None:
    scorer.reset()
    whole = scorer.score(words)
    scorer.reset()
    first = scorer.score(words.take(slice(0, 90)))
    np.testing.assert_allclose(first.class_probability, whole.class_probability[:90], atol=1e-5)
    np.testing.assert_allclose(first.surprise_nats, whole.surprise_nats[:90], atol=1e-4, rtol=1e-5)
