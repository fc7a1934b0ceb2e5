"""Lanes: every word once, no state from one sentence into another, and labels that weigh alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from part_builder import build_recipe
from thingwarden.encode.vocabulary import FIELD_NAMES, OPEN_KIND, PEER_KINDS, PROBE_KIND
from thingwarden.train import lesson as lesson_module
from thingwarden.train.lesson import Lesson, lay_lanes, mask_fields, weigh
from thingwarden.train.scenes import Sentence

MARKED = FIELD_NAMES.index("proto")
NO_MASKING = {"field_masking": {}, "other_masking": 0.0}


def _marked(count: int, mark: int, kind: int = OPEN_KIND) -> np.ndarray:
    fields = np.full((count, len(FIELD_NAMES)), mark, dtype=np.uint8)
    fields[:, FIELD_NAMES.index("kind")] = kind
    return fields


def _sentence(count: int, mark: int, attack_class: int = 0, pattern: int = 0) -> Sentence:
    return Sentence(
        fields=_marked(count, mark),
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
    marks = np.concatenate([lesson.ids[lesson.is_word][:, MARKED] for lesson in lessons])
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
            here = np.unique(lesson.ids[lane][lesson.is_word[lane]][:, MARKED]).tolist()
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


def _with_probes(lengths: list[int], every: int, attack_class: int = 0) -> list[Sentence]:
    """Sentences whose every n-th word is a probe; the mark of a probe is that of the word before it, plus 100."""
    sentences = []
    for count in lengths:
        fields = _marked(count, 0)
        said = np.arange(count) % every != every - 1
        fields[~said, FIELD_NAMES.index("kind")] = PROBE_KIND
        fields[:, MARKED] = np.cumsum(said)
        fields[~said, MARKED] += 100
        sentences.append(replace(_sentence(count, 0, attack_class), fields=fields))
    return sentences


def test_a_probe_stands_after_the_word_that_it_stood_after_and_takes_no_place() -> None:
    sentences = _with_probes([9, 30, 2, 14], every=3)
    recipe = build_recipe(lanes=2, lane_words=4, **NO_MASKING)
    lessons = list(lay_lanes(sentences, recipe, np.random.default_rng(0)))
    probes = sum(len(lesson.probes) for lesson in lessons)
    assert probes == sum(int(sentence.is_probe.sum()) for sentence in sentences) == 17
    for lesson in lessons:
        assert not (lesson.ids[..., 0] == PROBE_KIND).any()
        before = lesson.ids[lesson.probes.lane, lesson.probes.after]
        assert (before[:, MARKED] + 100 == lesson.probes.ids[:, MARKED]).all()
        assert (lesson.probes.ids[:, 0] == PROBE_KIND).all()


def test_a_probe_whose_past_was_cut_off_is_left_out() -> None:
    (sentence,) = _with_probes([8], every=2)
    cut = replace(sentence, **{name: getattr(sentence, name)[1:] for name in ("fields", "attack_class", "role",
                                                                            "pattern")})  # fmt: skip
    (lesson, *_) = lay_lanes([cut], build_recipe(lanes=1, lane_words=4, **NO_MASKING), np.random.default_rng(0))
    assert (cut.is_probe[0], len(lesson.probes)) == (True, 3)


def test_probes_of_a_step_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lesson_module, "MOST_PROBES", 5)
    recipe = build_recipe(lanes=1, lane_words=64, **NO_MASKING)
    lessons = list(lay_lanes(_with_probes([90], every=2), recipe, np.random.default_rng(0)))
    assert [len(lesson.probes) for lesson in lessons] == [5]


def test_having_a_probe_says_nothing_about_the_label() -> None:
    benign, malicious = _with_probes([90, 60], every=3), _with_probes([12], every=2, attack_class=3)
    sentences = [*benign, *malicious]
    weights = weigh(sentences, 0.6)
    for kind in (True, False):
        total = [
            sum(float(weight[sentence.is_probe == kind].sum()) for sentence, weight in zip(part, own, strict=True))
            for part, own in ((benign, weights[:2]), (malicious, weights[2:]))
        ]
        np.testing.assert_allclose(total[0], total[1], rtol=1e-5)
    one_sided = weigh([*benign, _sentence(12, 1, 3)], 0.6)
    for sentence, weight in zip(benign, one_sided, strict=False):
        assert not weight[sentence.is_probe].any() and weight[~sentence.is_probe].all()


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
    assert (sentence.fields[:, 1:] == 3).all()


def test_some_sentences_tell_their_peers_by_address_alone() -> None:
    learned = [PEER_KINDS.index(name) for name in ("gateway", "dns_server", "unknown", "multicast")]
    sentence = _sentence(4, 1)
    sentence.fields[:, FIELD_NAMES.index("peer_kind")] = learned
    rng, recipe = np.random.default_rng(0), build_recipe(**NO_MASKING)
    masked = [mask_fields(sentence, recipe, rng)[:, FIELD_NAMES.index("peer_kind")].tolist() for _ in range(300)]
    plain = [PEER_KINDS.index(name) for name in ("same_lan", "internet", "same_lan", "multicast")]
    assert all(kinds in (learned, plain) for kinds in masked)
    assert 0.2 < np.mean([kinds == plain for kinds in masked]) < 0.4
