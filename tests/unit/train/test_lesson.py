"""Lanes: every word once, no state from one sentence into another, and labels that weigh alike."""

from __future__ import annotations

import numpy as np

from part_builder import build_recipe
from thingwarden.encode.vocabulary import FIELD_NAMES
from thingwarden.train.lesson import Lesson, lay_lanes, mask_fields, weigh
from thingwarden.train.scenes import Sentence

NO_MASKING = {"field_masking": {}, "other_masking": 0.0}


def _sentence(count: int, mark: int, attack_class: int = 0, pattern: int = 0) -> Sentence:
    return Sentence(
        fields=np.full((count, len(FIELD_NAMES)), mark, dtype=np.uint8),
        attack_class=np.full(count, attack_class, dtype=np.int8),
        role=np.full(count, int(attack_class > 0), dtype=np.int8),
        pattern=np.full(count, pattern, dtype=np.int64),
    )


def _lay(lengths: list[int]) -> list[Lesson]:
    sentences = [_sentence(length, mark) for mark, length in enumerate(lengths, 1)]
    recipe = build_recipe(lanes=3, lane_words=4, **NO_MASKING)
    return list(lay_lanes(sentences, recipe, np.random.default_rng(0)))


def test_every_word_is_laid_once() -> None:
    lengths = [5, 1, 12, 4, 7, 3, 9]
    lessons = _lay(lengths)
    marks = np.concatenate([lesson.ids[lesson.is_word][:, 0] for lesson in lessons])
    assert np.bincount(marks).tolist() == [0, *lengths]
    assert all(lesson.ids.shape == (3, 4, len(FIELD_NAMES)) for lesson in lessons)


def test_padding_is_no_target() -> None:
    for lesson in _lay([5, 1, 6]):
        assert (lesson.attack_class[~lesson.is_word] == -1).all()
        assert not lesson.weight[~lesson.is_word].any() and not lesson.ids[~lesson.is_word].any()


def test_a_lane_restarts_where_a_sentence_begins_and_only_there() -> None:
    before = [0, 0, 0]
    for lesson in _lay([5, 1, 12, 4, 7, 3, 9]):
        for lane in range(3):
            here = np.unique(lesson.ids[lane][lesson.is_word[lane]][:, 0]).tolist()
            assert len(here) <= 1
            if here:
                assert bool(lesson.restarts[lane]) == (here[0] != before[lane])
                before[lane] = here[0]


def test_benign_and_malicious_words_weigh_alike_in_total() -> None:
    sentences = [_sentence(90, 1, 0, 1), _sentence(10, 1, 0, 2), _sentence(7, 1, 3, 3), _sentence(20, 1, -1, 4)]
    common, rare, malicious, context = weigh(sentences, 0.6)
    benign_total = common.sum() + rare.sum()
    np.testing.assert_allclose(benign_total, malicious.sum(), rtol=1e-5)
    np.testing.assert_allclose(benign_total + malicious.sum(), 127, rtol=1e-5)
    assert not context.any()
    np.testing.assert_allclose(common.sum() / rare.sum(), (90 / 10) ** 0.4, rtol=1e-5)


def test_an_exponent_of_one_lets_every_pattern_weigh_alike() -> None:
    common, rare = weigh([_sentence(90, 1, 0, 1), _sentence(10, 1, 0, 2)], 1.0)
    np.testing.assert_allclose(common.sum(), rare.sum(), rtol=1e-5)


def test_without_one_label_the_other_still_weighs() -> None:
    (weight,) = weigh([_sentence(8, 1, 2, 1)], 0.5)
    np.testing.assert_allclose(weight.sum(), 4.0, rtol=1e-5)


def test_fields_are_masked_throughout_a_sentence_as_often_as_asked() -> None:
    recipe = build_recipe(field_masking={"history": 0.5, "service": 1.0, "kind": 1.0}, other_masking=0.0)
    rng, sentence = np.random.default_rng(0), _sentence(6, 3)
    masked = np.stack([mask_fields(sentence, recipe, rng) for _ in range(200)])
    assert (masked == masked[:, :1]).all()
    gone = (masked[:, 0] == 0).mean(axis=0)
    shares = dict(zip(FIELD_NAMES, gone.tolist(), strict=True))
    assert shares["service"] == 1.0 and 0.4 < shares["history"] < 0.6
    assert shares["kind"] == 0.0 and shares["proto"] == 0.0
    assert (sentence.fields == 3).all()
