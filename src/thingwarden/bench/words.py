"""What every baseline reads: exactly the fields of the word, and sums of them over the device's recent words.

In: ``FlowBatch`` and a vocabulary fitted on training flows. Out: ``Examples``, columns of closing words.
Must never: show a baseline anything that a word does not hold, or a word from the future.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.word import WordBatch
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import Vocabulary

HISTORY_SPANS: Final = (16, 64)
"""Closing words of the device, the present one included, over which history is summed up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Closing words with their labels, n rows.

    Attributes:
        fields: uint8 (n, F), as in ``WordBatch``.
        history: float32 (n, H), see ``sum_up_history``; H is 0 where none was asked for.
        label: int64 (n,), index into the classes that are being learned.
        weight: float64 (n,), how much the row counts in fitting.
    """

    fields: npt.NDArray[np.uint8]
    history: npt.NDArray[np.float32]
    label: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: npt.NDArray[np.generic]) -> Examples:
        """The rows at ``rows`` (indices or boolean mask)."""
        return Examples(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @classmethod
    def join(cls, parts: Sequence[Examples]) -> Examples:
        """Rows of all parts, in order; at least one part."""
        return cls(
            **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)}
        )


def encode_words(vocabulary: Vocabulary, flows: FlowBatch) -> WordBatch:
    """All words of a batch, from an encoder that has seen nothing before."""
    return WordBatch.concatenate(SentenceEncoder(vocabulary).encode(flows))


def slice_words(words: WordBatch, rows: slice) -> WordBatch:
    """The words at ``rows``."""
    return WordBatch(**{field.name: getattr(words, field.name)[rows] for field in fields(WordBatch)})


def read_examples(
    vocabulary: Vocabulary, flows: FlowBatch, weight: npt.NDArray[np.float64], *, with_history: bool
) -> Examples:
    """Labelled closing words of a batch; rows without a usable label are context for history and then dropped.

    Args:
        vocabulary: fitted on training flows only.
        flows: labelled; timed ones by the taxonomy, untimed ones by TON_IoT's classes.
        weight: float64 (n,), of each flow.
        with_history: whether to sum up the device's past.
    """
    words = encode_words(vocabulary, flows)
    history = sum_up_history(words) if with_history else np.zeros((len(words), 0), dtype=np.float32)
    closes = np.flatnonzero(words.is_close)
    row = words.flow[closes]
    labels = flows.labels
    assert labels is not None, "a corpus is labelled"
    label = (labels.attack_class if flows.is_timed else labels.ton_class).astype(np.int64)
    examples = Examples(fields=words.fields[closes], history=history[closes], label=label[row], weight=weight[row])
    return examples.take((examples.weight > 0) & (examples.label >= 0))


def sum_up_history(words: WordBatch) -> npt.NDArray[np.float32]:
    """What the device's last closing words were like, float32 (n, H); zero in opening words.

    H columns: per span of ``HISTORY_SPANS`` the mean bucket of each field and the share of the span that holds the
    same bucket as the present word, then how many closing words the device has said, in log2.
    """
    order = np.argsort(words.device, kind="stable")
    device = words.device[order]
    starts = np.append(True, device[1:] != device[:-1])[: len(order)] | words.starts_sentence[order]
    sentence = np.cumsum(starts)[words.is_close[order]]
    order = order[words.is_close[order]]
    fields_now = words.fields[order].astype(np.float32)  # (m, F)
    rank = np.arange(len(order))
    first = np.append(True, sentence[1:] != sentence[:-1])[: len(order)]
    position = rank - np.maximum.accumulate(np.where(first, rank, 0))
    columns = [np.log2(position + 1.0)[:, None]]
    for span in HISTORY_SPANS:
        columns += _mean_and_sameness(fields_now, position, span)
    history = np.zeros((len(words), sum(column.shape[1] for column in columns)), dtype=np.float32)
    history[order] = np.concatenate(columns, axis=1)
    return history


def _mean_and_sameness(
    fields_now: npt.NDArray[np.float32], position: npt.NDArray[np.int64], span: int
) -> list[npt.NDArray[np.float64]]:
    total = np.zeros(fields_now.shape)
    same = np.zeros(fields_now.shape)
    for lag in range(min(span, len(fields_now))):
        reaches = np.flatnonzero(position >= lag)
        earlier = fields_now[reaches - lag]
        total[reaches] += earlier
        same[reaches] += earlier == fields_now[reaches]
    count = np.minimum(position + 1, span)[:, None]
    return [total / count, same / count]


def balance(examples: Examples, benign: int = 0) -> Examples:
    """Weights scaled so that benign rows and malicious rows weigh one half each of the number of rows."""
    is_benign = examples.label == benign
    weight = examples.weight.copy()
    for side in (is_benign, ~is_benign):
        if side.any():
            weight[side] *= 0.5 * len(weight) / weight[side].sum()
    return Examples(fields=examples.fields, history=examples.history, label=examples.label, weight=weight)


def merge_equal(examples: Examples) -> Examples:
    """Rows with equal fields and label as one, their weights summed; only for examples without history."""
    key = np.concatenate([examples.fields, examples.label[:, None].astype(np.uint8)], axis=1)
    _, first, inverse = np.unique(row_keys(key), return_index=True, return_inverse=True)
    merged = examples.take(first)
    weight = np.bincount(inverse, weights=examples.weight).astype(np.float64)
    return Examples(fields=merged.fields, history=merged.history, label=merged.label, weight=weight)


def row_keys(columns: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """A 64-bit key per row, equal for equal rows, uint64 (n,); chance collisions are below one in 10^9 here."""
    multipliers = np.random.default_rng(7).integers(1, 2**63, size=(columns.shape[1],), dtype=np.uint64) | np.uint64(1)
    key = np.full(len(columns), columns.shape[1], dtype=np.uint64)
    for position, multiplier in enumerate(multipliers.tolist()):
        key = (key ^ columns[:, position].astype(np.uint64)) * np.uint64(multiplier)
        key ^= key >> np.uint64(29)
    return key
