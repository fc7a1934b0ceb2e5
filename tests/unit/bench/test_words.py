"""What baselines read: closing words, their past, and nothing of what is to come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from thingwarden.bench.words import (
    HISTORY_SPANS,
    Examples,
    balance,
    encode_words,
    merge_equal,
    read_examples,
    row_keys,
    slice_words,
    sum_up_history,
)
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.encode.vocabulary import FIELD_INDEX, FIELD_NAMES, Vocabulary
from thingwarden.testing import FlowSpec, build_flows
from thingwarden.train.corpus import Corpus, constant_labels, mask_labels
from thingwarden.train.weighting import weigh_patterns

FIELD_COUNT = len(FIELD_NAMES)


def _examples(labels: list[int], weights: list[float]) -> Examples:
    count = len(labels)
    return Examples(
        fields=np.zeros((count, 3), dtype=np.uint8),
        history=np.zeros((count, 0), dtype=np.float32),
        label=np.array(labels),
        weight=np.array(weights),
    )


def test_history_of_a_device_is_a_plain_loop_over_its_closing_words(corpus: Corpus) -> None:
    flows = corpus.parts[1].flows
    words = encode_words(Vocabulary.fit([flows]), flows)
    history = sum_up_history(words)
    span = HISTORY_SPANS[0]
    device = int(np.bincount(words.device).argmax())
    rows = np.flatnonzero(words.is_close & (words.device == device))
    for position in (0, 1, span, len(rows) - 1):
        past = words.fields[rows[max(0, position - span + 1) : position + 1]].astype(float)
        here = history[rows[position]]
        assert here[0] == np.float32(np.log2(position + 1))
        np.testing.assert_allclose(here[1 : 1 + FIELD_COUNT], past.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(
            here[1 + FIELD_COUNT : 1 + 2 * FIELD_COUNT], (past == past[-1]).mean(axis=0), rtol=1e-5
        )
    assert not history[~words.is_close].any()


def test_later_words_change_no_earlier_history(corpus: Corpus) -> None:
    words = encode_words(Vocabulary.fit([]), corpus.parts[1].flows)
    whole, part = sum_up_history(words), sum_up_history(slice_words(words, slice(0, 50)))
    np.testing.assert_array_equal(whole[:50], part)


def test_untimed_rows_have_no_past(corpus: Corpus) -> None:
    words = encode_words(Vocabulary.fit([]), corpus.ton)
    assert not sum_up_history(words)[words.is_close][:, 0].any()


def test_rows_without_a_label_are_left_out() -> None:
    flows = replace(build_flows([FlowSpec(at_s=n) for n in range(4)]), labels=constant_labels(4, AttackClass.SCAN))
    flows = mask_labels(flows, np.array([True, False, False, False]))
    examples = read_examples(Vocabulary.fit([flows]), flows, weigh_patterns(flows), with_history=True)
    assert len(examples) == 3
    assert (examples.label == 1).all()


def test_balance_gives_each_side_half() -> None:
    balanced = balance(_examples([0, 0, 0, 1], [1.0, 1.0, 1.0, 5.0]))
    assert balanced.weight[:3].sum() == balanced.weight[3:].sum() == 2.0
    assert balance(_examples([0, 0], [1.0, 3.0])).weight.sum() == 1.0


def test_merging_keeps_the_weight_of_equal_rows() -> None:
    merged = merge_equal(_examples([0, 0, 1], [1.0, 2.0, 4.0]))
    assert len(merged) == 2
    assert dict(zip(merged.label.tolist(), merged.weight.tolist(), strict=True)) == {0: 3.0, 1: 4.0}


def test_keys_tell_rows_apart_by_every_column() -> None:
    rows = np.random.default_rng(0).integers(0, 3, size=(4000, 8), dtype=np.uint8)
    assert len(np.unique(row_keys(rows))) == len(np.unique(rows, axis=0))
    swapped = np.array([[1, 2], [2, 1]], dtype=np.uint8)
    assert len(np.unique(row_keys(swapped))) == 2


def test_closing_words_show_the_outcome(corpus: Corpus) -> None:
    words = encode_words(Vocabulary.fit([]), corpus.parts[0].flows)
    state = words.fields[:, FIELD_INDEX["conn_state"]]
    assert state[words.is_close].all() and not state[~words.is_close].any()
