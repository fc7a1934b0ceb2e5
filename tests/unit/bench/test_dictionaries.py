"""The counting baselines on words made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.bench.dictionaries import BACK_OFF, BackOffDictionary, OneField, RateThreshold
from thingwarden.bench.words import Examples
from thingwarden.encode.vocabulary import FIELD_INDEX, FIELD_NAMES

PORT, STATE, RATE = (FIELD_INDEX[name] for name in ("resp_port", "conn_state", "fanout_10s"))
NO_HISTORY = np.zeros((1, 0), dtype=np.float32)


def _word(**fields: int) -> np.ndarray:
    word = np.zeros(len(FIELD_NAMES), dtype=np.uint8)
    for name, bucket in fields.items():
        word[FIELD_INDEX[name]] = bucket
    return word


def _examples(rows: list[tuple[np.ndarray, int]]) -> Examples:
    return Examples(
        fields=np.stack([word for word, _ in rows]),
        history=np.zeros((len(rows), 0), dtype=np.float32),
        label=np.array([label for _, label in rows]),
        weight=np.ones(len(rows)),
    )


def test_levels_only_ever_drop_fields() -> None:
    assert BACK_OFF[0] == FIELD_NAMES and BACK_OFF[-1] == ()
    sizes = [len(set(names)) for names in BACK_OFF]
    assert sizes == sorted(sizes, reverse=True)


def test_a_word_seen_in_training_is_judged_by_itself() -> None:
    dictionary = BackOffDictionary(1)
    dictionary.fit(_examples([(_word(proto=1, resp_port=5), 1)] * 3 + [(_word(proto=1, resp_port=9), 0)] * 3), 2, 0)
    said = dictionary.predict(np.stack([_word(proto=1, resp_port=5), _word(proto=1, resp_port=9)]), NO_HISTORY)
    assert said.argmax(axis=1).tolist() == [1, 0]
    assert said.sum(axis=1) == pytest.approx([1.0, 1.0])


def test_an_unknown_word_backs_off_to_fewer_fields() -> None:
    dictionary = BackOffDictionary(1)
    dictionary.fit(
        _examples([(_word(proto=1, conn_state=2, resp_port=5, fanout_1s=1), 1)] * 2 + [(_word(proto=2), 0)] * 9), 2, 0
    )
    unknown = _word(proto=1, conn_state=2, resp_port=5, fanout_1s=7)
    assert dictionary.predict(unknown[None], NO_HISTORY).argmax() == 1
    nothing_like_it = _word(proto=5, conn_state=9, resp_port=77)
    assert dictionary.predict(nothing_like_it[None], NO_HISTORY).argmax() == 0


def test_a_combination_seen_too_seldom_is_not_believed() -> None:
    rows = [(_word(proto=1, service=3), 1)] + [(_word(proto=1, service=4), 0)] * 9
    for least, label in ((1, 1), (2, 0)):
        dictionary = BackOffDictionary(least)
        dictionary.fit(_examples(rows), 2, 0)
        assert dictionary.predict(_word(proto=1, service=3)[None], NO_HISTORY).argmax() == label


def test_the_best_field_is_found() -> None:
    random = np.random.default_rng(0)
    rows = [(_word(resp_port=int(random.integers(1, 5)), conn_state=1 + label), label) for label in (0, 1) * 20]
    rule = OneField(1.0)
    rule.fit(_examples(rows), 2, 0)
    assert rule.field == "conn_state"
    assert rule.predict(_word(conn_state=2)[None], NO_HISTORY).argmax() == 1


def test_faster_is_more_suspicious() -> None:
    rule = RateThreshold("fanout_10s")
    rule.fit(_examples([(_word(), 0), (_word(), 2), (_word(), 2), (_word(), 1)]), 3, 0)
    said = rule.predict(np.stack([_word(fanout_10s=bucket) for bucket in (1, 4, 12)]), NO_HISTORY)
    assert (np.diff(said[:, 0]) < 0).all()
    assert said[:, 1:].argmax(axis=1).tolist() == [1, 1, 1]
    assert said.sum(axis=1) == pytest.approx([1.0] * 3)
