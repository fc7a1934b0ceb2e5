"""The baselines that the model must beat, each with the same tuning budget.

In: a blind ``FoldView``. Out: contestants whose scorers read closing words only.
Must never: choose a setting by anything but the training folds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from thingwarden.bench.contestants import FittedScorer
from thingwarden.bench.dictionaries import BackOffDictionary, OneField, RateThreshold
from thingwarden.bench.learners import Boosting, BoostingSetting, Forest, Isolation
from thingwarden.bench.metrics import macro_f1, score_classes, threshold_at
from thingwarden.bench.words import Examples, balance, read_examples, sum_up_history
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import CLASS_INDEX, CLASSES, TON_CLASSES, class_from_ton
from thingwarden.domain.word import ROLES, Scores, WordBatch
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.train.corpus import Part
from thingwarden.train.folds import FoldView, hash_pairs
from thingwarden.train.thinning import balance_lab, fit_vocabulary
from thingwarden.train.thresholds import FLOW_BUDGET
from thingwarden.train.weighting import weigh_patterns

TUNING_ROWS: Final = 12_000
"""Rows of the inner split that a setting is tried on; tuning must not take longer than fitting."""

LAB_STRETCH_FLOWS: Final = 600
"""Flows of one simulated network that baselines read; of all networks together as many as were recorded."""

Probabilities = npt.NDArray[np.float64]


class Classifier(Protocol):
    """What a baseline consists of: one for timed flows, one for TON_IoT's."""

    def fit(self, examples: Examples, label_count: int, seed: int) -> None:
        """Learn; label 0 is benign."""

    def predict(self, fields: npt.NDArray[np.uint8], history: npt.NDArray[np.float32]) -> Probabilities:
        """Class probabilities, (n, label_count)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A kind of baseline and its three settings.

    Attributes:
        makers: one per setting, from plain to complex.
        uses_history: whether it reads sums over the device's past.
    """

    makers: tuple[Callable[[], Classifier], ...]
    uses_history: bool = False


_BOOSTING: Final = (
    lambda: Boosting(BoostingSetting(leaves=7, least_hessian=5.0, rounds=60)),
    lambda: Boosting(BoostingSetting(leaves=15, least_hessian=1.0, rounds=100)),
    lambda: Boosting(BoostingSetting(leaves=31, least_hessian=0.1, rounds=100)),
)
_FORESTS: Final = (lambda: Forest(200), lambda: Forest(20), lambda: Forest(1))

RECIPES: Final[dict[str, Recipe]] = {
    "dictionary": Recipe(
        makers=(lambda: BackOffDictionary(1), lambda: BackOffDictionary(3), lambda: BackOffDictionary(10))
    ),
    "one-field": Recipe(makers=(lambda: OneField(1.0), lambda: OneField(10.0), lambda: OneField(100.0))),
    "rate": Recipe(
        makers=(
            lambda: RateThreshold("fanout_10s"),
            lambda: RateThreshold("fanout_60s"),
            lambda: RateThreshold("rate_10s"),
        )
    ),
    "lightgbm": Recipe(makers=_BOOSTING),
    "lightgbm-history": Recipe(makers=_BOOSTING, uses_history=True),
    "forest": Recipe(makers=_FORESTS),
    "forest-history": Recipe(makers=_FORESTS, uses_history=True),
    "isolation": Recipe(makers=(lambda: Isolation(256), lambda: Isolation(1024), lambda: Isolation(4096))),
}
"""The baselines by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """A fold's training words, with the inner split that settings are chosen on.

    Attributes:
        timed, untimed: examples; None where the fold has none. Patterns weigh the same.
        timed_even: as ``timed``, but captures weigh the same, whatever the number of their patterns.
        timed_inner, untimed_inner: bool, the rows that are held out while a setting is chosen.
    """

    vocabulary: Vocabulary
    timed: Examples | None
    timed_even: Examples | None
    untimed: Examples | None
    timed_inner: npt.NDArray[np.bool_]
    untimed_inner: npt.NDArray[np.bool_]


class TrainingShelf:
    """Keeps the last fold's training words, so that eight baselines do not encode them eight times."""

    def __init__(self) -> None:
        self._view: FoldView | None = None
        self._kept: dict[bool, TrainingSet] = {}

    def take(self, view: FoldView, *, with_history: bool) -> TrainingSet:
        """The training words of ``view``."""
        if self._view is not view:
            self._view, self._kept = view, {}
        if with_history not in self._kept:
            self._kept[with_history] = read_training(view, with_history=with_history)
        return self._kept[with_history]


def read_training(view: FoldView, *, with_history: bool) -> TrainingSet:
    """Encode a fold's training flows with a vocabulary fitted on them alone.

    Of simulated networks stretches are read, and they weigh as much as what was recorded.
    """
    ton = view.ton.take(view.ton_train)
    vocabulary = fit_vocabulary(view.train, ton)
    captures: dict[str, list[Part]] = defaultdict(list)
    for part in balance_lab(view.train, LAB_STRETCH_FLOWS):
        if len(part.flows):
            captures[part.capture.name].append(part)
    timed, inner, even, is_lab = [], [], [], []
    for number, name in enumerate(_inner_order(captures)):
        flows = FlowBatch.concatenate([part.flows for part in captures[name]])
        weights = np.split(weigh_patterns(flows), np.cumsum([len(part.flows) for part in captures[name]])[:-1])
        pieces = [
            read_examples(vocabulary, part.flows, weight, with_history=with_history)
            for part, weight in zip(captures[name], weights, strict=True)
        ]
        timed.append(Examples.join(pieces))
        even.append(_even_out(timed[-1]))
        inner.append(np.full(len(timed[-1]), number % 3 == 0))
        is_lab.append(np.full(len(timed[-1]), captures[name][0].capture.family == "lab"))
    untimed, untimed_inner = _read_ton(vocabulary, ton)
    return TrainingSet(
        vocabulary=vocabulary,
        timed=balance(_even_lab(Examples.join(timed), np.concatenate(is_lab))) if timed else None,
        timed_even=balance(_even_lab(Examples.join(even), np.concatenate(is_lab))) if even else None,
        untimed=untimed,
        timed_inner=np.concatenate(inner) if inner else np.zeros(0, dtype=np.bool_),
        untimed_inner=untimed_inner,
    )


def _even_out(examples: Examples) -> Examples:
    """The capture's benign rows weigh one together, and so do its malicious rows."""
    is_benign = examples.label == 0
    weight = examples.weight.copy()
    for side in (is_benign, ~is_benign):
        weight[side] /= max(weight[side].sum(), 1e-9)
    return replace(examples, weight=weight)


def _even_lab(examples: Examples, is_lab: npt.NDArray[np.bool_]) -> Examples:
    """Simulated rows weigh as much as recorded ones of the same side."""
    is_benign = examples.label == 0
    weight = examples.weight.copy()
    for side in (is_benign, ~is_benign):
        if (side & is_lab).any() and (side & ~is_lab).any():
            weight[side & is_lab] *= weight[side & ~is_lab].sum() / weight[side & is_lab].sum()
    return replace(examples, weight=weight)


def _inner_order(captures: dict[str, list[Part]]) -> list[str]:
    """Captures with attacks first, then benign ones: every third of either kind is held out while tuning."""
    return sorted(captures, key=lambda name: (captures[name][0].capture.kind != "attack", name))


def _read_ton(vocabulary: Vocabulary, ton: FlowBatch) -> tuple[Examples | None, npt.NDArray[np.bool_]]:
    if len(ton) == 0 or ton.labels is None:
        return None, np.zeros(0, dtype=np.bool_)
    is_used = np.flatnonzero(ton.labels.ton_class >= 0)
    ton = ton.take(is_used)
    examples = read_examples(vocabulary, ton, np.ones(len(ton)), with_history=False)
    is_inner = np.array([int(digest[-1], 16) % 4 == 0 for digest in hash_pairs(ton)])
    return examples, is_inner


class BaselineFitter:
    """Chooses a setting on the inner split and fits it on all training rows.

    Args:
        recipe: what to fit.
        shelf: shared by all baselines.
    """

    def __init__(self, recipe: Recipe, shelf: TrainingShelf) -> None:
        self._recipe = recipe
        self._shelf = shelf

    def __call__(self, view: FoldView, seed: int) -> FittedScorer:
        """See ``contestants.Fitter``."""
        training = self._shelf.take(view, with_history=self._recipe.uses_history)
        timed = self._choose((training.timed, training.timed_even), training.timed_inner, len(CLASSES), seed)
        untimed = self._choose((training.untimed,), training.untimed_inner, len(TON_CLASSES), seed)
        scorer = BaselineScorer(timed, untimed, uses_history=self._recipe.uses_history)
        return FittedScorer(vocabulary=training.vocabulary, scorer=scorer)

    def _choose(
        self, weightings: Sequence[Examples | None], inner: npt.NDArray[np.bool_], label_count: int, seed: int
    ) -> Classifier | None:
        known = [examples for examples in weightings if examples is not None and len(examples)]
        settings = list(product(known, self._recipe.makers))
        if not settings:
            return None
        judge = known[0]
        figures = [_try_setting(maker(), examples, judge, inner, label_count, seed) for examples, maker in settings]
        examples, maker = settings[int(np.argmax(figures))]
        chosen = maker()
        chosen.fit(examples, label_count, seed)
        return chosen


def _try_setting(
    classifier: Classifier,
    examples: Examples,
    judge: Examples,
    inner: npt.NDArray[np.bool_],
    label_count: int,
    seed: int,
) -> float:
    """How well a setting does on the inner split: TPR at the budget for timed flows, macro-F1 for TON_IoT's.

    ``judge`` holds the same rows as ``examples``, weighted as results are weighted.
    """
    random = np.random.default_rng(seed)
    rows = np.flatnonzero(~inner)
    learn = examples.take(random.permutation(rows)[:TUNING_ROWS])
    held_out = judge.take(random.permutation(np.flatnonzero(inner))[:TUNING_ROWS])
    if not len(held_out) or not len(learn) or len(np.unique(learn.label)) < 2:
        return 0.0
    classifier.fit(learn, label_count, seed)
    probability = classifier.predict(held_out.fields, held_out.history)
    if label_count == len(TON_CLASSES):
        said = probability.argmax(axis=1)
        return macro_f1(score_classes(held_out.label, said, held_out.weight, TON_CLASSES)) or 0.0
    malicious = 1.0 - probability[:, 0]
    is_benign = held_out.label == 0
    if is_benign.all() or not is_benign.any():
        return 0.0
    threshold = threshold_at(malicious[is_benign], held_out.weight[is_benign], FLOW_BUDGET)
    weight = held_out.weight[~is_benign]
    return float(weight[malicious[~is_benign] > threshold].sum() / weight.sum())


_TON_TO_CLASSES: Final = np.zeros((len(TON_CLASSES), len(CLASSES)))
for _row, _name in enumerate(TON_CLASSES):
    _TON_TO_CLASSES[_row, CLASS_INDEX[class_from_ton(_name)]] = 1.0
_CLASSES_TO_TON: Final = _TON_TO_CLASSES.T / np.maximum(_TON_TO_CLASSES.sum(axis=0), 1.0)[:, None]
"""A class that several of TON_IoT's types map to is shared among them; one that none maps to is lost."""


class BaselineScorer:
    """Scores closing words; opening words say nothing. A batch is scored whole, so nothing is remembered.

    Args:
        timed, untimed: fitted, None where training had no such flows; then the other one speaks for it.
        uses_history: as in the recipe.
    """

    def __init__(self, timed: Classifier | None, untimed: Classifier | None, *, uses_history: bool) -> None:
        self._timed = timed
        self._untimed = untimed
        self._uses_history = uses_history

    def reset(self) -> None:
        """Nothing to forget."""

    def score(self, words: WordBatch) -> Scores:
        """Scores of a whole batch."""
        closes = np.flatnonzero(words.is_close)
        width = len(CLASSES)
        class_probability = np.zeros((len(words), width))
        class_probability[:, 0] = 1.0
        ton_probability = np.full((len(words), len(TON_CLASSES)), 1.0 / len(TON_CLASSES))
        history = sum_up_history(words) if self._uses_history else np.zeros((len(words), 0), dtype=np.float32)
        is_timed = bool((words.known_at_s > 0).any())
        predicted = self._predict(words.fields[closes], history[closes], is_timed)
        class_probability[closes], ton_probability[closes] = predicted
        role_probability = np.full((len(words), len(ROLES)), 1.0 / len(ROLES), dtype=np.float32)
        return Scores(
            class_probability=class_probability.astype(np.float32),
            ton_probability=ton_probability.astype(np.float32),
            role_probability=role_probability,
            surprise_nats=np.zeros(len(words), dtype=np.float32),
        )

    def _predict(
        self, fields: npt.NDArray[np.uint8], history: npt.NDArray[np.float32], is_timed: bool
    ) -> tuple[Probabilities, Probabilities]:
        if self._timed is not None and (is_timed or self._untimed is None):
            by_class = self._timed.predict(fields, history)
            return by_class, by_class @ _CLASSES_TO_TON
        assert self._untimed is not None, "a baseline was fitted on something"
        by_ton = self._untimed.predict(fields, np.zeros((len(fields), 0), dtype=np.float32))
        return by_ton @ _TON_TO_CLASSES, by_ton
