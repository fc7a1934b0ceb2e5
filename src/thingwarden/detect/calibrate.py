"""Choosing a model's calibration on devices and captures that it was not trained on.

In: probabilities, labels, scored words of held-out traffic. Out: temperature, threshold, levels.
Must never: see the data on which results are reported.
Sources: C. Guo and others, "On Calibration of Modern Neural Networks", 2017; H. Robbins 1956 (empirical Bayes).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.detect.evidence import PROBABILITY_FLOOR, QUANTA_PER_NAT, Evidence, weigh_words
from thingwarden.detect.stream import Course
from thingwarden.domain.calibration import TAIL_SHARES, Calibration
from thingwarden.domain.errors import InputError
from thingwarden.domain.word import UNATTRIBUTED, Scores, WordBatch

TEMPERATURE_RANGE: Final = (0.25, 8.0)
LOWEST_FLOW_THRESHOLD: Final = 0.5
"""However well benign traffic separates, a flow less likely malicious than not is not called malicious."""

HIGHEST_FLOW_THRESHOLD: Final = 1.0 - 1e-6
LOWEST_ALARM_NATS: Final = 12.0
"""However quiet the held-out devices were, they were few: about three confident words, never one."""

SHRINKAGE_RANGE: Final = (100.0, 10_000.0)
EVIDENCE_RANGE_NATS: Final = (1.0, 3.0)
"""Between odds of 3 and of 20 to 1: held-out devices decide within it, for they are few."""

OPEN_EVIDENCE_RANGE_NATS: Final = (1.0, 5.0)
"""The same for words that know no outcome: up to odds of 150 to 1."""

_TIE_NATS: Final = 1e-6
"""Between edges that are equal, so that what many harmless flows reach counts as what the largest share exceeds."""

_HOUR_S: Final = 3600.0
_NO_HOURS: Final = np.zeros((0, 4), dtype=np.int64)
_GOLDEN: Final = (5**0.5 - 1) / 2


def calibrate_temperature(
    class_probability: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    weights: npt.NDArray[np.floating] | None = None,
) -> float:
    """The temperature under which the labels are likeliest.

    Args:
        class_probability: (n, C), rows sum to one.
        labels: (n,), the true column; negative entries are left out.
        weights: (n,), at least 0; all equal when None.

    Returns:
        Within ``TEMPERATURE_RANGE``; above 1 where the model is too sure of itself.

    Raises:
        InputError: no labelled row.
    """
    is_used = labels >= 0
    if not is_used.any():
        raise InputError("temperature", "no labelled row to calibrate on")
    logits = np.log(np.maximum(class_probability[is_used].astype(np.float64), PROBABILITY_FLOOR))  # (n, C)
    column = labels[is_used].astype(np.intp)
    weight = np.ones(len(column)) if weights is None else weights[is_used].astype(np.float64)

    def loss_nats(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        loss = np.logaddexp.reduce(scaled, axis=1) - scaled[np.arange(len(column)), column]
        return float(np.average(loss, weights=weight))

    low, high = np.log(TEMPERATURE_RANGE)
    for _ in range(40):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if loss_nats(left) <= loss_nats(right) else (left, high)
    return float(np.exp((low + high) / 2))


def choose_flow_threshold(
    benign_probability: Mapping[str, npt.NDArray[np.floating]], budget_ratio: float = 0.001
) -> float:
    """The smallest threshold at which benign flows of held-out devices stay within a false positive budget.

    Args:
        benign_probability: by device, the calibrated malicious probability of each of its flows; NaN is left out.
        budget_ratio: share of all benign flows that may lie above the threshold, in [0, 1).

    Returns:
        In [``LOWEST_FLOW_THRESHOLD``, ``HIGHEST_FLOW_THRESHOLD``].

    Raises:
        InputError: no benign flow.
    """
    pooled = np.concatenate([np.zeros(0), *(np.asarray(column, np.float64) for column in benign_probability.values())])
    pooled = np.sort(pooled[~np.isnan(pooled)])[::-1]
    if not len(pooled):
        raise InputError("flow threshold", "no benign flow to choose it on")
    allowed = min(int(budget_ratio * len(pooled)), len(pooled) - 1)
    return float(np.clip(pooled[allowed], LOWEST_FLOW_THRESHOLD, HIGHEST_FLOW_THRESHOLD))


def tail_edges(nats: npt.NDArray[np.floating]) -> tuple[float, ...]:
    """What each of ``TAIL_SHARES`` of harmless flows exceeds, ascending.

    Args:
        nats: (n,), how flows of held-out harmless devices surprise, or how loud they are.

    Raises:
        InputError: no flow.
    """
    if not len(nats):
        raise InputError("shares of harmless flows", "no flow to take them from")
    edges = np.quantile(nats.astype(np.float64), 1.0 - np.array(TAIL_SHARES))
    return tuple((np.maximum.accumulate(edges) + _TIE_NATS * np.arange(len(edges))).tolist())


def shrinkage_words(beyond: npt.NDArray[np.integer], flows: npt.NDArray[np.integer], share: float) -> float:
    """How many flows the fleet's share is worth beside a device's own, by moments of a beta prior.

    Args:
        beyond: (devices,), flows of each harmless device that are more surprising than the fleet's ``share`` are.
        flows: (devices,), of each device in all; devices with none are left out.
        share: in (0, 1), over the fleet.

    Returns:
        Within ``SHRINKAGE_RANGE``: few where devices differ much, many where they are alike.
    """
    kept = flows > 0
    own = beyond[kept] / flows[kept]
    by_chance = np.mean(share * (1.0 - share) / flows[kept]) if kept.any() else 0.0
    between = max(float(np.mean((own - share) ** 2)) - float(by_chance), 1e-12) if kept.any() else 1e-12
    return float(np.clip(share * (1.0 - share) / between - 1.0, *SHRINKAGE_RANGE))


def device_hour_maxima(
    chunks: Iterable[tuple[WordBatch, Scores]], calibration: Calibration
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The highest values of both alarm statistics in every hour of every device, in nats.

    Args:
        chunks: scored words of one encoded batch of harmless traffic, in order.
        calibration: temperature and evidence settings in force; its alarm levels are not used.

    Returns:
        Of class and of strangeness, each float64 (device-hours,), one entry per device and hour in which the device
        said anything.
    """
    quanta = _Quanta(calibration)
    hours = np.concatenate([_NO_HOURS, *(quanta.read(words, scores) for words, scores in chunks)])
    if not len(hours):
        return np.zeros(0), np.zeros(0)
    _, inverse = np.unique(hours[:, :2], axis=0, return_inverse=True)
    maxima = np.zeros((int(inverse.max()) + 1, 2), dtype=np.int64)
    np.maximum.at(maxima, inverse.ravel(), hours[:, 2:])
    return maxima[:, 0] / QUANTA_PER_NAT, maxima[:, 1] / QUANTA_PER_NAT


class _Quanta:
    """Both statistics of every device and role, word after word."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._drift = round(calibration.drift_nats * QUANTA_PER_NAT)
        self._course = Course()
        self._track: dict[tuple[int, int], tuple[int, int, int, int]] = {}

    def read(self, words: WordBatch, scores: Scores) -> npt.NDArray[np.int64]:
        """Device, hour and both statistics after each word of evidence, and zeros for hours that hold none."""
        if not len(words):
            return _NO_HOURS
        evidence = weigh_words(words, scores, self._calibration)
        hours = np.floor(words.known_at_s / _HOUR_S).astype(np.int64)
        known = words.device != UNATTRIBUTED
        quiet = np.unique(np.stack([words.device[known], hours[known]], axis=1), axis=0)
        number, calm = self._course.follow(words, evidence)
        told = [
            self._follow(int(words.device[row]), int(hours[row]), evidence, row, int(number[row]), int(calm[row]))
            for row in evidence.telling().tolist()
        ]
        loud = np.array(told, dtype=np.int64).reshape(-1, 4)
        return np.concatenate([np.concatenate([quiet, np.zeros_like(quiet)], axis=1), loud]).astype(np.int64)

    def _follow(
        self, device: int, hour: int, evidence: Evidence, row: int, number: int, calm: int
    ) -> tuple[int, int, int, int]:
        key = (device, int(evidence.role[row]))
        shown, strange, last, last_calm = self._track.get(key, (0, 0, 0, 0))
        shown = max(0, shown - self._drift * max(0, number - last - 1)) + int(evidence.gain[row])
        strange = max(0, strange - (calm - last_calm)) + max(0, int(evidence.strange[row]))
        self._track[key] = shown, strange, number, calm
        return device, hour, shown, strange


def choose_evidence_nats(
    log_odds: npt.NDArray[np.floating],
    weight: npt.NDArray[np.floating],
    budget_ratio: float,
    range_nats: tuple[float, float] = EVIDENCE_RANGE_NATS,
) -> float:
    """The log-odds that at most so much of harmless flows' weight exceeds.

    Args:
        log_odds: (n,), of the loudest word of each harmless flow.
        weight: (n,), at least 0.
        budget_ratio: in [0, 1).
        range_nats: least and most.

    Returns:
        Within ``range_nats``.
    """
    order = np.argsort(-log_odds, kind="stable")
    share = np.cumsum(weight[order]) / max(float(weight.sum()), 1e-12)
    place = min(int(np.searchsorted(share, budget_ratio, side="right")), len(order) - 1)
    return float(np.clip(log_odds[order[place]] if len(order) else 0.0, *range_nats))


def choose_alarm_level(
    maxima_nats: npt.NDArray[np.floating], quantile: float = 1.0, margin_ratio: float = 1.2
) -> float:
    """An alarm level above what held-out benign devices reach.

    Per-word thresholds mean nothing at tens of thousands of dependent words a day; the maximum per device-hour does.

    Args:
        maxima_nats: (device-hours,), from ``device_hour_maxima``, over devices outside training.
        quantile: in [0, 1]; 1 takes the largest, less forgives that share of hours their outliers.
        margin_ratio: at least 1; how far above it the level is set.

    Returns:
        At least ``LOWEST_ALARM_NATS``.
    """
    if not len(maxima_nats):
        return LOWEST_ALARM_NATS
    return max(LOWEST_ALARM_NATS, margin_ratio * float(np.quantile(maxima_nats, quantile)))
