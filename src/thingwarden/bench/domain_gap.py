"""How well two worlds can be told apart by their words: simulated and real, or the lab and the public captures.

In: words of two worlds, each of a run that is wholly in one fold. Out: ``Gap``: AUC with its interval, and the fields
that give a world away.
Must never: judge a run by what was learned from it, or let the longer world or the louder act decide.
Source: the classifier two-sample test (D. Lopez-Paz and M. Oquab, "Revisiting Classifier Two-Sample Tests", 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.bench.learners import Boosting, BoostingSetting
from thingwarden.bench.words import Examples
from thingwarden.encode.vocabulary import FIELD_NAMES

FOLDS: Final = 4
RESAMPLES: Final = 300
SETTINGS: Final = (
    BoostingSetting(leaves=7, least_hessian=5.0, rounds=100),
    BoostingSetting(leaves=31, least_hessian=1.0, rounds=200),
)
"""The one that tells the worlds apart better is reported: an adversary would choose it too."""

LARGEST_FOLD_ROWS: Final = 40_000
"""Training words of a fold at most; more are sampled."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldWords:
    """Words of one world, n of them.

    Attributes:
        fields: uint8 (n, F), as in ``WordBatch``, both worlds by one vocabulary.
        run: int64 (n,), which run or device the word is of; equal numbers in both worlds are never in two folds.
        subject: S48 (n,), the act that the word's flow belongs to, else the kind of the device that speaks.
        malicious: bool (n,).
    """

    fields: npt.NDArray[np.uint8]
    run: npt.NDArray[np.int64]
    subject: npt.NDArray[np.bytes_]
    malicious: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.run)

    def take(self, rows: npt.NDArray[np.generic]) -> WorldWords:
        """The words at ``rows`` (indices or boolean mask)."""
        return WorldWords(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @classmethod
    def join(cls, parts: Sequence[WorldWords]) -> WorldWords:
        """Words of all parts, in order; at least one part."""
        return cls(
            **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Telltale:
    """A word that was assigned to its world with confidence.

    Attributes:
        subject: as in ``WorldWords``.
        buckets: of all fields.
        is_second: which world it is of.
        probability: of that world, as the trees said without having seen the run.
    """

    subject: str
    buckets: tuple[int, ...]
    is_second: bool
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """How well two worlds were told apart on runs held out.

    Attributes:
        auc: 0.5 is not at all; each word weighs the same within its world.
        auc_low, auc_high: 95 % interval, runs resampled.
        even_auc: as ``auc``, but each subject of each run weighs the same, so that a flood does not drown the rest.
        words: how many there were in either world.
        runs: how many runs or devices.
        gain_ratios: of each field, its share of what the trees gained, falling.
        field_aucs: of each field alone, falling.
        telltales: of each subject and world the word that was assigned with most confidence, falling.
    """

    auc: float
    auc_low: float
    auc_high: float
    even_auc: float
    words: tuple[int, int]
    runs: tuple[int, int]
    gain_ratios: dict[str, float]
    field_aucs: dict[str, float]
    telltales: tuple[Telltale, ...]


def tell_apart(first: WorldWords, second: WorldWords, *, seed: int = 0) -> Gap | None:
    """Ask trees which world a word is of, on runs that they have not seen.

    Args:
        first, second: the two worlds.
        seed: of the folds, the trees and the resampling.

    Returns:
        None where a world has fewer than two runs, or no words: nothing could be held out.
    """
    if min(len(np.unique(world.run)) for world in (first, second)) < 2:
        return None
    both = WorldWords.join([first, second])
    is_second = np.repeat([False, True], [len(first), len(second)])
    fold = _folds(both.run, seed)
    even = even_weights(both, is_second)
    tried = [_predict_held_out(both, is_second, even, fold, setting, seed) for setting in SETTINGS]
    score, gains = max(tried, key=lambda outcome: weighted_auc(is_second, outcome[0], even))
    plain = _balanced(np.ones(len(both)), is_second)
    low, high = _interval(is_second, score, plain, both.run, seed)
    alone = {name: _field_auc(both, is_second, even, fold, column) for column, name in enumerate(FIELD_NAMES)}
    return Gap(
        auc=weighted_auc(is_second, score, plain),
        auc_low=low,
        auc_high=high,
        even_auc=weighted_auc(is_second, score, even),
        words=(len(first), len(second)),
        runs=(len(np.unique(first.run)), len(np.unique(second.run))),
        gain_ratios=_falling(dict(zip(FIELD_NAMES, gains.tolist(), strict=True))),
        field_aucs=_falling(alone),
        telltales=_telltales(both, is_second, score),
    )


def even_weights(both: WorldWords, is_second: npt.NDArray[np.bool_]) -> Floats:
    """Weights float64 (n,): each subject of each run the same, each world one half of the rows."""
    code = np.unique(both.subject, return_inverse=True)[1]
    cell = np.unique(np.stack([both.run, code, is_second], axis=1), axis=0, return_inverse=True)[1].ravel()
    return _balanced(1.0 / np.bincount(cell)[cell], is_second)


def _balanced(weight: Floats, is_second: npt.NDArray[np.bool_]) -> Floats:
    balanced = weight.copy()
    for side in (is_second, ~is_second):
        balanced[side] *= 0.5 * len(weight) / weight[side].sum()
    return balanced


def _folds(run: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    unique, inverse = np.unique(run, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(unique))
    return np.asarray(order[inverse] % min(FOLDS, len(unique)), dtype=np.int64)


def _predict_held_out(
    both: WorldWords,
    is_second: npt.NDArray[np.bool_],
    weight: Floats,
    fold: npt.NDArray[np.int64],
    setting: BoostingSetting,
    seed: int,
) -> tuple[Floats, Floats]:
    """Probability of the second world of each word, by trees that did not see its run; the mean gain per field."""
    examples = Examples(
        fields=both.fields,
        history=np.zeros((len(both), 0), dtype=np.float32),
        label=is_second.astype(np.int64),
        weight=weight,
    )
    score, gains = np.zeros(len(both)), []
    random = np.random.default_rng(seed)
    for number in np.unique(fold).tolist():
        learn = random.permutation(np.flatnonzero(fold != number))[:LARGEST_FOLD_ROWS]
        model = Boosting(setting)
        model.fit(examples.take(learn), 2, seed)
        held_out = np.flatnonzero(fold == number)
        score[held_out] = model.predict(both.fields[held_out], examples.history[held_out])[:, 1]
        gains.append(model.gain_ratios())
    return score, np.mean([gain for gain in gains if len(gain)], axis=0)


def _field_auc(
    both: WorldWords,
    is_second: npt.NDArray[np.bool_],
    weight: Floats,
    fold: npt.NDArray[np.int64],
    column: int,
) -> float:
    """As the trees, but by how often each bucket of one field was of the second world."""
    bucket, score = both.fields[:, column].astype(np.int64), np.zeros(len(both))
    for number in np.unique(fold).tolist():
        learn = fold != number
        second = np.bincount(bucket[learn], weight[learn] * is_second[learn], minlength=256)
        total = np.bincount(bucket[learn], weight[learn], minlength=256)
        score[~learn] = ((second + 0.5) / (total + 1.0))[bucket[~learn]]
    return weighted_auc(is_second, score, weight)


def _interval(
    is_second: npt.NDArray[np.bool_], score: Floats, weight: Floats, run: npt.NDArray[np.int64], seed: int
) -> tuple[float, float]:
    """Quantiles of the AUC when runs are drawn with replacement."""
    position = np.unique(run, return_inverse=True)[1]
    run_count = int(position.max()) + 1
    level = np.unique(score, return_inverse=True)[1]
    random = np.random.default_rng(seed)
    drawn: list[float] = []
    while len(drawn) < RESAMPLES:
        often = np.bincount(random.integers(0, run_count, run_count), minlength=run_count)[position]
        auc = _auc_of_levels(level, is_second, weight * often)
        drawn += [auc] if np.isfinite(auc) else []
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _telltales(both: WorldWords, is_second: npt.NDArray[np.bool_], score: Floats) -> tuple[Telltale, ...]:
    probability = np.where(is_second, score, 1.0 - score)
    found = []
    for subject in np.unique(both.subject).tolist():
        for side in (False, True):
            rows = np.flatnonzero((both.subject == subject) & (is_second == side))
            if len(rows):
                row = rows[probability[rows].argmax()]
                buckets = tuple(both.fields[row].tolist())
                found.append(
                    Telltale(
                        subject=subject.decode(), buckets=buckets, is_second=side, probability=float(probability[row])
                    )
                )
    return tuple(sorted(found, key=lambda item: -item.probability))


def weighted_auc(is_second: npt.NDArray[np.bool_], score: Floats, weight: Floats) -> float:
    """How likely a word of the second world scores higher than one of the first, ties halved.

    Args:
        is_second: bool (n,).
        score: float64 (n,).
        weight: float64 (n,), of each word.
    """
    return _auc_of_levels(np.unique(score, return_inverse=True)[1], is_second, weight)


def _auc_of_levels(level: npt.NDArray[np.int64], is_second: npt.NDArray[np.bool_], weight: Floats) -> float:
    """The weighted AUC of scores given by their rank, ties halved; NaN where one world has no weight."""
    second = np.bincount(level, weight * is_second)
    first = np.bincount(level, weight * ~is_second)
    below = np.cumsum(first) - 0.5 * first
    with np.errstate(invalid="ignore"):
        return float((second * below).sum() / (second.sum() * first.sum()))


def _falling(figures: dict[str, float]) -> dict[str, float]:
    return dict(sorted(figures.items(), key=lambda item: -item[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Offence:
    """A bucket that one world shows more often than the other.

    Attributes:
        subject: an act or a kind of device.
        field, bucket: the bucket as ``Explainer`` names it.
        first_ratio, second_ratio: share of the subject's words in either world.
        words: of the subject, in either world.
    """

    subject: str
    field: str
    bucket: int
    first_ratio: float
    second_ratio: float
    words: tuple[int, int]


def find_offences(first: WorldWords, second: WorldWords, *, least_words: int = 20, count: int = 40) -> list[Offence]:
    """The buckets whose shares differ most, subject by subject: what to mend first.

    Args:
        first, second: the two worlds.
        least_words: a subject with fewer words in both worlds is passed over.
        count: how many to return, the greatest difference first.
    """
    found: list[Offence] = []
    for subject in np.unique(np.concatenate([first.subject, second.subject])).tolist():
        one, other = (world.take(world.subject == subject) for world in (first, second))
        if max(len(one), len(other)) < least_words:
            continue
        for column, name in enumerate(FIELD_NAMES):
            shares = [_shares(world.fields[:, column]) for world in (one, other)]
            bucket = int(np.abs(shares[0] - shares[1]).argmax())
            found.append(
                Offence(
                    subject=subject.decode(),
                    field=name,
                    bucket=bucket,
                    first_ratio=float(shares[0][bucket]),
                    second_ratio=float(shares[1][bucket]),
                    words=(len(one), len(other)),
                )
            )
    return sorted(found, key=lambda item: -abs(item.first_ratio - item.second_ratio))[:count]


def _shares(buckets: npt.NDArray[np.uint8]) -> Floats:
    return np.bincount(buckets, minlength=256) / max(len(buckets), 1)


def find_uncovered(lab: WorldWords, public: WorldWords, *, least_runs: int = 2) -> list[Offence]:
    """Buckets that several public devices show and the lab hardly ever: where the lab's ranges are too narrow.

    Args:
        lab, public: words of either.
        least_runs: a bucket that fewer public devices show is one capture's own matter, and is not to be fitted to.
    """
    found: list[Offence] = []
    runs = np.unique(public.run)
    for column, name in enumerate(FIELD_NAMES):
        per_run = np.stack([_shares(public.fields[public.run == run, column]) for run in runs])
        share, lab_share = per_run.mean(axis=0), _shares(lab.fields[:, column])
        is_uncovered = ((per_run > 0.01).sum(axis=0) >= least_runs) & (lab_share < 0.1 * share)
        found += [
            Offence(
                subject="",
                field=name,
                bucket=bucket,
                first_ratio=float(lab_share[bucket]),
                second_ratio=float(share[bucket]),
                words=(len(lab), len(public)),
            )
            for bucket in np.flatnonzero(is_uncovered).tolist()
        ]
    return sorted(found, key=lambda item: -item.second_ratio)


def sample_words(words: WorldWords, most_per_run: int, seed: int = 0) -> WorldWords:
    """At most ``most_per_run`` words of each run, drawn evenly, in their order."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(words))
    run = words.run[order]
    by_run = np.argsort(run, kind="stable")
    first = np.append(True, np.diff(run[by_run]) != 0)[: len(run)]
    rank = np.arange(len(run)) - np.maximum.accumulate(np.where(first, np.arange(len(run)), 0))
    return words.take(np.sort(order[by_run[rank < most_per_run]]))


def rename_runs(words: WorldWords, offset: int) -> WorldWords:
    """The same words with ``offset`` added to their runs, so that they share no fold with another world's."""
    return replace(words, run=words.run + offset)
