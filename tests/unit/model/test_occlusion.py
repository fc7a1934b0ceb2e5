"""Recalling changes no score, finds exactly what was said, and reads on as if it had never stopped."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from flow_builder import join_chunks, random_flows, with_milestones
from thingwarden.config import PACKAGED_MODEL
from thingwarden.domain.taxonomy import CLASSES
from thingwarden.domain.word import Scores, WordBatch
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import FIELD_NAMES, Vocabulary
from thingwarden.model.artifact import Artifact, load_artifact
from thingwarden.model.occlusion import QUIET_PROBABILITY, STRIDE_WORDS, Passage, RecallingScorer
from thingwarden.model.scorer import FlowScorer

WINDOW, REACH = 12, 9


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return load_artifact(PACKAGED_MODEL)


@pytest.fixture(scope="module")
def words(artifact: Artifact) -> WordBatch:
    """Three busy devices; device 2 is forgotten and met again in the middle."""
    encoder = SentenceEncoder(Vocabulary.from_json(artifact.vocabulary))
    encoded = join_chunks(encoder.encode(random_flows(1, 900, hosts=3)))
    starts = encoded.starts_sentence.copy()
    starts[np.flatnonzero(encoded.device == 2)[300]] = True
    return replace(encoded, starts_sentence=starts)


@pytest.fixture(scope="module")
def whole(artifact: Artifact, words: WordBatch) -> Scores:
    return FlowScorer(artifact).score(words)


def recalling(artifact: Artifact) -> RecallingScorer:
    return RecallingScorer(FlowScorer(artifact), window_words=WINDOW, reach_words=REACH)


def reread(scorer: RecallingScorer, passage: Passage) -> np.ndarray:
    nothing = np.zeros((1, len(FIELD_NAMES)), dtype=np.bool_), np.zeros((1, len(passage)), dtype=np.bool_)
    return scorer.class_probability(passage, passage.fields, *nothing)[0]


def places_of(words: WordBatch, device: int, number: int) -> np.ndarray:
    """Rows of the words of the sentence that a device's ``number``-th word belongs to, up to that word."""
    rows = np.flatnonzero(words.device == device)[:number]
    starts = np.flatnonzero(words.starts_sentence[rows])
    return rows[starts[-1] :] if len(starts) else rows


@pytest.mark.parametrize("chunk_words", [1, 37, 500, 5000])
def test_what_is_recalled_was_said_and_scores_the_same(
    artifact: Artifact, words: WordBatch, whole: Scores, chunk_words: int
) -> None:
    assert np.bincount(words.device).max() > 4 * STRIDE_WORDS
    scorer, rng, asked = recalling(artifact), np.random.default_rng(2), 0
    for at in range(0, len(words), chunk_words):
        part = words.take(slice(at, at + chunk_words))
        scores = scorer.score(part)
        for item in fields(Scores):
            expected = getattr(whole, item.name)[at : at + chunk_words]
            np.testing.assert_allclose(getattr(scores, item.name), expected, atol=1e-5, rtol=1e-5)
        if chunk_words == 1 and at % 20:
            continue
        for row in rng.integers(0, len(part), 4):
            device = int(part.device[row])
            number = int((words.device[: at + row + 1] == device).sum() - rng.integers(0, REACH))
            if device == 0 or number < 1:
                continue
            said = places_of(words, device, number)
            if words.starts_sentence[np.flatnonzero(words.device == device)[number : at + row]].any():
                continue  # the device has been forgotten since
            passage, context = scorer.recall(device, number), scorer.recall_context(device, number)
            assert passage is not None and context is not None
            assert len(passage) == min(WINDOW, len(said)) and len(context) >= len(passage)
            for recalled in (passage, context):
                rows = said[-len(recalled) :]
                np.testing.assert_array_equal(recalled.fields, words.fields[rows])
                np.testing.assert_array_equal(recalled.flow, words.flow[rows])
                np.testing.assert_array_equal(recalled.is_orig, words.is_orig[rows])
                is_quiet = whole.class_probability[rows, 0] >= QUIET_PROBABILITY
                np.testing.assert_array_equal(recalled.is_quiet, is_quiet)
            np.testing.assert_allclose(reread(scorer, passage), whole.class_probability[said[-1]], atol=1e-5)
            asked += 1
    assert asked > 2


def test_the_context_is_as_long_however_the_words_came(artifact: Artifact, words: WordBatch) -> None:
    """What stands for the usual must not depend on the cut of the chunks."""
    until = 1300
    device = int(np.bincount(words.device[:until]).argmax())
    number = int((words.device[:until] == device).sum())
    lengths = set()
    for chunk_words in (1, 50, until):
        scorer = recalling(artifact)
        for at in range(0, until, chunk_words):
            scorer.score(words.take(slice(at, min(at + chunk_words, until))))
        context = scorer.recall_context(device, number)
        assert context is not None
        lengths.add(len(context))
    assert len(lengths) == 1


def test_exchanged_fields_and_dropped_words_change_the_answer(artifact: Artifact, words: WordBatch) -> None:
    scorer = recalling(artifact)
    scorer.score(words)
    passage = scorer.recall(1, int((words.device == 1).sum()))
    assert passage is not None
    exchanged = np.zeros((3, len(FIELD_NAMES)), dtype=np.bool_)
    dropped = np.zeros((3, len(passage)), dtype=np.bool_)
    exchanged[1, :] = True
    dropped[2, :-1] = True
    told = scorer.class_probability(passage, np.zeros_like(passage.fields), exchanged, dropped)
    assert told.shape == (3, len(CLASSES))
    np.testing.assert_allclose(told.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(told[0], reread(scorer, passage), atol=1e-6)
    assert np.abs(told[1:] - told[0]).max(axis=1).min() > 1e-3
    alone = Passage(
        fields=passage.fields[-1:],
        flow=passage.flow[-1:],
        is_orig=passage.is_orig[-1:],
        is_quiet=passage.is_quiet[-1:],
        before=passage.before,
    )
    np.testing.assert_allclose(told[2], reread(scorer, alone), atol=1e-5)


def test_what_is_not_remembered_is_not_made_up(artifact: Artifact, words: WordBatch) -> None:
    scorer = recalling(artifact)
    assert scorer.recall(1, 1) is None
    scorer.score(words.take(slice(0, 1500)))
    scorer.score(words.take(slice(1500, 1501)))
    assert scorer.recall(1, 2) is None, "too long ago"
    assert scorer.recall(1, 10_000) is None, "not said yet"
    assert scorer.recall(0, 1) is None, "nobody's sentence"
    assert scorer.recall(4000, 1) is None, "nobody's index"
    scorer.reset()
    assert scorer.recall_context(1, 1) is None


def test_the_memory_of_a_device_is_bounded(artifact: Artifact) -> None:
    from thingwarden.serve.explain import recalling as as_shipped

    scorer = as_shipped(FlowScorer(artifact))
    assert FlowScorer(artifact).state_bytes < scorer.state_bytes <= 64 * 1024


@pytest.mark.parametrize("chunk_words", [1, 37, 5000])
def test_probes_are_scored_and_never_recalled(artifact: Artifact, chunk_words: int) -> None:
    encoder = SentenceEncoder(Vocabulary.from_json(artifact.vocabulary))
    flows = with_milestones(random_flows(1, 300 if chunk_words == 1 else 900, hosts=3))
    words = join_chunks(encoder.encode(flows))
    said = words.take(~words.is_probe)
    whole, scorer = FlowScorer(artifact).score(words), recalling(artifact)
    for at in range(0, len(words), chunk_words):
        part = words.take(slice(at, at + chunk_words))
        scores = scorer.score(part)
        expected = whole.class_probability[at : at + chunk_words]
        np.testing.assert_allclose(scores.class_probability, expected, atol=1e-5)
    for device in (1, 2):
        last = int((said.device == device).sum())
        passage = scorer.recall(device, last)
        assert passage is not None
        rows = places_of(said, device, last)[-WINDOW:]
        np.testing.assert_array_equal(passage.fields, said.fields[rows])
        word = np.flatnonzero(~words.is_probe & (words.device == device))[-1]
        np.testing.assert_allclose(reread(scorer, passage), whole.class_probability[word], atol=1e-4)


def test_of_forgotten_flows_only_the_words_are_remembered(artifact: Artifact, words: WordBatch) -> None:
    scorer = recalling(artifact)
    scorer.score(words)
    count = int((words.device == 1).sum())
    before = scorer.recall(1, count)
    assert before is not None
    scorer.score(words.take(slice(0, 0)))
    scorer.forget_flows(before.flow[:3], 900, 0)
    scorer.score(words.take(slice(0, 1)))
    after = scorer.recall(1, count)
    assert after is not None
    assert (after.fields == before.fields).all()
    assert after.flow[:3].tolist() == [0, 0, 0]
    assert after.flow[3:].tolist() == before.flow[3:].tolist()
