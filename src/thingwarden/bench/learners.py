"""Baselines that learn: gradient boosting, random forest, isolation forest.

In: ``Examples``. Out: class probabilities per word.
Must never: read more than the word's fields and sums of them over the device's past.
Sources: LightGBM (G. Ke and others, 2017); L. Breiman, "Random Forests", 2001; F. T. Liu and others,
"Isolation Forest", 2008.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import lightgbm
import numpy as np
import numpy.typing as npt
from sklearn.ensemble import IsolationForest, RandomForestClassifier

from thingwarden.bench.words import Examples, merge_equal
from thingwarden.encode.vocabulary import FIELD_INDEX

Probabilities = npt.NDArray[np.float64]

CATEGORICAL: Final = ("direction", "proto", "resp_port", "orig_port", "peer_kind", "conn_state", "service", "history")
"""Fields whose buckets have no order; every other field's buckets rise with the quantity."""

LARGEST_FIT_ROWS: Final = 60_000
"""More rows than this are sampled: the whole run must take minutes on one core."""


def _inputs(fields: npt.NDArray[np.uint8], history: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.concatenate([fields.astype(np.float32), history], axis=1)


def _condense(examples: Examples, seed: int) -> Examples:
    if examples.history.shape[1] == 0:
        examples = merge_equal(examples)
    if len(examples) <= LARGEST_FIT_ROWS:
        return examples
    rows = np.random.default_rng(seed).choice(len(examples), LARGEST_FIT_ROWS, replace=False)
    return examples.take(np.sort(rows))


@dataclass(frozen=True, slots=True)
class BoostingSetting:
    """One point of the grid; the rest is fixed.

    Attributes:
        leaves: most leaves of a tree.
        least_hessian: least weight times curvature in a leaf; equal rows are merged, so counting rows would be wrong.
        rounds: trees per class.
    """

    leaves: int
    least_hessian: float
    rounds: int


class Boosting:
    """LightGBM over the classes that training holds."""

    def __init__(self, setting: BoostingSetting) -> None:
        self._setting = setting
        self._model: Any = None
        self._classes: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._label_count = 0

    def fit(self, examples: Examples, label_count: int, seed: int) -> None:
        """Grow ``rounds`` trees per class on one thread."""
        examples = _condense(examples, seed)
        self._label_count = label_count
        self._classes, label = np.unique(examples.label, return_inverse=True)
        if len(self._classes) < 2:
            return
        inputs = _inputs(examples.fields, examples.history)
        data = lightgbm.Dataset(
            inputs, label, weight=examples.weight, categorical_feature=[FIELD_INDEX[name] for name in CATEGORICAL]
        )
        self._model = lightgbm.train(self._parameters(seed), data, num_boost_round=self._setting.rounds)

    def _parameters(self, seed: int) -> dict[str, Any]:
        return {
            "objective": "multiclass",
            "num_class": len(self._classes),
            "num_leaves": self._setting.leaves,
            "min_data_in_leaf": 1,
            "min_sum_hessian_in_leaf": self._setting.least_hessian,
            "min_data_per_group": 1,
            "learning_rate": 0.1,
            "feature_fraction": 0.8,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "cat_smooth": 10.0,
            "num_threads": 1,
            "deterministic": True,
            "force_col_wise": True,
            "seed": seed,
            "verbosity": -1,
        }

    def predict(self, fields: npt.NDArray[np.uint8], history: npt.NDArray[np.float32]) -> Probabilities:
        """Class probabilities, (n, label_count); a class that training did not hold gets none."""
        probability = np.zeros((len(fields), self._label_count))
        if self._model is None:
            probability[:, self._classes] = 1.0
        else:
            probability[:, self._classes] = self._model.predict(_inputs(fields, history), num_threads=1)
        return probability

    def gain_ratios(self) -> npt.NDArray[np.float64]:
        """What each input column gained in fitting, as a share of all, (F + H,); empty before."""
        if self._model is None:
            return np.zeros(0)
        gain: npt.NDArray[np.float64] = np.asarray(self._model.feature_importance("gain"), dtype=np.float64)
        return np.asarray(gain / max(float(gain.sum()), 1e-12))


class Forest:
    """A random forest of 120 trees.

    Args:
        least_leaf: least weight of a leaf, in rows.
    """

    def __init__(self, least_leaf: int) -> None:
        self._least_leaf = least_leaf
        self._model: Any = None
        self._label_count = 0

    def fit(self, examples: Examples, label_count: int, seed: int) -> None:
        """Grow the trees on one thread."""
        examples = _condense(examples, seed)
        self._label_count = label_count
        self._model = RandomForestClassifier(
            n_estimators=120,
            min_weight_fraction_leaf=min(0.4, self._least_leaf / examples.weight.sum()),
            max_features="sqrt",
            random_state=seed,
            n_jobs=1,
        )
        self._model.fit(_inputs(examples.fields, examples.history), examples.label, sample_weight=examples.weight)

    def predict(self, fields: npt.NDArray[np.uint8], history: npt.NDArray[np.float32]) -> Probabilities:
        """Class probabilities, (n, label_count)."""
        probability = np.zeros((len(fields), self._label_count))
        probability[:, self._model.classes_] = self._model.predict_proba(_inputs(fields, history))
        return probability


class Isolation:
    """An isolation forest that has only seen benign words; it knows "unusual", not which attack.

    Args:
        sample_rows: words per tree.
    """

    def __init__(self, sample_rows: int) -> None:
        self._sample_rows = sample_rows
        self._model: Any = None
        self._attack = np.zeros(0)

    def fit(self, examples: Examples, label_count: int, seed: int) -> None:
        """Grow 100 trees on the benign rows."""
        benign = _condense(examples.take(examples.label == 0), seed)
        self._attack = np.full(label_count, 1.0 / (label_count - 1))
        self._attack[0] = 0.0
        self._model = IsolationForest(
            n_estimators=100, max_samples=min(self._sample_rows, len(benign)), random_state=seed, n_jobs=1
        )
        self._model.fit(_inputs(benign.fields, benign.history), sample_weight=benign.weight)

    def predict(self, fields: npt.NDArray[np.uint8], history: npt.NDArray[np.float32]) -> Probabilities:
        """Class probabilities, (n, label_count); the anomaly score, in (0, 1), spread evenly over the attacks."""
        score = -self._model.score_samples(_inputs(fields, history))
        probability = np.clip(score, 0.001, 0.999)[:, None] * self._attack
        probability[:, 0] = 1.0 - probability.sum(axis=1)
        return np.asarray(probability)
