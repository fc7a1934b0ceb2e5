"""Baselines that only count: the dictionary with back-off, the best single field, the rate.

In: ``Examples``. Out: class probabilities per word.
Must never: be improved until a model wins; if one of these wins, the report says so first.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.bench.words import Examples, row_keys
from thingwarden.encode.vocabulary import FIELD_INDEX, FIELD_NAMES, RHYTHM_FIELDS

Probabilities = npt.NDArray[np.float64]

_SHAPE: Final = ("proto", "service", "conn_state", "history", "resp_port", "peer_kind", "direction")
_SIZES: Final = ("duration", "orig_bytes", "resp_bytes", "orig_packets", "resp_packets")

BACK_OFF: Final[tuple[tuple[str, ...], ...]] = (
    FIELD_NAMES,
    tuple(name for name in FIELD_NAMES if name not in RHYTHM_FIELDS and name != "same_size"),
    (*_SHAPE, "orig_port", "orig_bytes", "resp_bytes", "orig_packets", "resp_packets"),
    (*_SHAPE, "orig_packets", "resp_packets"),
    _SHAPE,
    ("proto", "service", "conn_state", "resp_port"),
    ("proto", "conn_state", "resp_port"),
    ("proto", "conn_state"),
    (),
)
"""Which fields are looked up, in this order, until training has seen the combination often enough."""


class BackOffDictionary:
    """What did training say about a word with these very fields; if it never saw them, with fewer.

    Args:
        least_weight: how often, in rows, training must have seen a combination to be believed.
    """

    def __init__(self, least_weight: float) -> None:
        self._least_weight = least_weight
        self._levels: list[tuple[list[int], npt.NDArray[np.uint64], Probabilities]] = []

    def fit(self, examples: Examples, label_count: int, seed: int) -> None:
        """Count labels per combination at every level of ``BACK_OFF``; the seed changes nothing."""
        self._levels = []
        for names in BACK_OFF:
            columns = [FIELD_INDEX[name] for name in names]
            keys, inverse = np.unique(row_keys(examples.fields[:, columns]), return_inverse=True)
            counts = np.zeros((len(keys), label_count))
            np.add.at(counts, (inverse, examples.label), examples.weight)
            rows = np.bincount(inverse)
            kept = (rows >= self._least_weight) if names else np.ones(len(keys), dtype=np.bool_)
            self._levels.append((columns, keys[kept], counts[kept]))

    def predict(self, fields: npt.NDArray[np.uint8], history: npt.NDArray[np.float32]) -> Probabilities:
        """Class probabilities, (n, label_count): counts of the finest level that knows the word, lightly smoothed."""
        prior = self._levels[-1][2][0]
        counts = np.tile(prior, (len(fields), 1))
        is_open = np.ones(len(fields), dtype=np.bool_)
        for columns, keys, known in self._levels[:-1]:
            if not len(keys):
                continue
            key = row_keys(fields[:, columns])
            position = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
            found = is_open & (keys[position] == key)
            counts[found] = known[position[found]]
            is_open &= ~found
        smoothed = counts + 0.5 * prior / prior.sum()
        probability: Probabilities = smoothed / smoothed.sum(axis=1, keepdims=True)
        return probability


class OneField:
    """The one field whose bucket alone tells most.

    Args:
        smoothing: rows of prior added to every bucket.
    """

    def __init__(self, smoothing: float, among: tuple[str, ...] = FIELD_NAMES) -> None:
        self._smoothing = smoothing
        self._among = among
        self.field = among[0]
        self._table: Probabilities = np.zeros((0, 0))

    def fit(self, examples: Examples, label_count: int, seed: int) -> None:
        """Choose the field with the least weighted log loss on the examples; the seed changes nothing."""
        least = np.inf
        prior = np.bincount(examples.label, weights=examples.weight, minlength=label_count)
        prior = prior / prior.sum()
        for name in self._among:
            bucket = examples.fields[:, FIELD_INDEX[name]]
            counts = np.zeros((256, label_count))
            np.add.at(counts, (bucket, examples.label), examples.weight)
            counts += self._smoothing * prior
            table = counts / counts.sum(axis=1, keepdims=True)
            loss = -float(examples.weight @ np.log(np.maximum(table[bucket, examples.label], 1e-12)))
            if loss < least:
                least, self.field, self._table = loss, name, table

    def predict(self, fields: npt.NDArray[np.uint8], history: npt.NDArray[np.float32]) -> Probabilities:
        """Class probabilities of the word's bucket of the chosen field, (n, label_count)."""
        return self._table[fields[:, FIELD_INDEX[self.field]]]


RATE_FIELDS: Final = ("fanout_1s", "fanout_10s", "fanout_60s", "rate_1s", "rate_10s")


class RateThreshold:
    """More flows, or more peers, per second than usual: the oldest detector.

    Args:
        field: the rate that is watched, one of ``RATE_FIELDS``.
    """

    def __init__(self, field: str) -> None:
        self._field = FIELD_INDEX[field]
        self._attack = np.zeros(0)

    def fit(self, examples: Examples, label_count: int, seed: int) -> None:
        """Learn only which attacks are fastest; what counts as fast is the threshold's business."""
        attacks = np.bincount(examples.label, weights=examples.weight, minlength=label_count)
        attacks[0] = 0.0
        self._attack = attacks / attacks.sum() if attacks.sum() > 0 else np.full(label_count, 1.0 / label_count)

    def predict(self, fields: npt.NDArray[np.uint8], history: npt.NDArray[np.float32]) -> Probabilities:
        """Class probabilities, (n, label_count); the rate's bucket, scaled, stands for "malicious"."""
        malicious = 0.02 + 0.07 * fields[:, self._field].astype(np.float64)
        probability = np.minimum(malicious, 0.98)[:, None] * self._attack
        probability[:, 0] = 0.0
        probability[:, 0] = 1.0 - probability.sum(axis=1)
        return probability
