"""Scores and words as columns."""

from __future__ import annotations

import numpy as np

from thingwarden.domain.taxonomy import CLASSES, TON_CLASSES
from thingwarden.domain.word import ROLES, Scores, WordBatch


def test_malicious_is_what_is_not_benign() -> None:
    probability = np.zeros((2, len(CLASSES)), dtype=np.float32)
    probability[:, 0] = [0.75, 0.0]
    probability[:, 1] = [0.25, 1.0]
    scores = Scores(
        class_probability=probability,
        ton_probability=np.zeros((2, len(TON_CLASSES)), dtype=np.float32),
        role_probability=np.zeros((2, len(ROLES)), dtype=np.float32),
        surprise_nats=np.zeros(2, dtype=np.float32),
    )
    assert scores.malicious_probability.tolist() == [0.25, 1.0]
    assert scores.malicious_probability.dtype == np.float32


def test_a_batch_has_as_many_words_as_flow_rows() -> None:
    words = WordBatch(
        fields=np.zeros((3, 2), dtype=np.uint8),
        device=np.zeros(3, dtype=np.int32),
        flow=np.zeros(3, dtype=np.int64),
        is_close=np.zeros(3, dtype=np.bool_),
        is_probe=np.zeros(3, dtype=np.bool_),
        is_orig=np.zeros(3, dtype=np.bool_),
        known_at_s=np.zeros(3),
        starts_sentence=np.zeros(3, dtype=np.bool_),
    )
    assert len(words) == 3
