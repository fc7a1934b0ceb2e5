"""Choosing a model's calibration on devices and captures that it was not trained on.

In: probabilities, labels, scored words of held-out traffic. Out: temperature, threshold, levels.
Must never: see the data on which results are reported.
Source: C. Guo and others, "On Calibration of Modern Neural Networks", 2017.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.detect.evidence import PROBABILITY_FLOOR, QUANTA_PER_NAT, weigh_words
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.errors import InputError
from thingwarden.domain.word import UNATTRIBUTED, Scores, WordBatch

TEMPERATURE_RANGE: Final = (0.25, 8.0)
LOWEST_FLOW_THRESHOLD: Final = 0.5
"""However well benign traffic separates, a flow less likely malicious than not is not called malicious."""

HIGHEST_FLOW_THRESHOLD: Final = 1.0 - 1e-6
LOWEST_ALARM_NATS: Final = 8.0
"""However quiet the held-out devices were, they were few: about three confident words, never one."""

_HOUR_S: Final = 3600.0
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


def surprise_scale(surprise_nats: npt.NDArray[np.floating], is_close: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Median and spread of benign words' surprise, under ``Calibration``'s field names.

    Args:
        surprise_nats: (n,), of held-out benign words; NaN is left out.
        is_close: (n,).
    """
    found = {}
    for kind, mask in (("open", ~is_close), ("close", is_close)):
        values = surprise_nats[mask & np.isfinite(surprise_nats)].astype(np.float64)
        median = float(np.median(values)) if len(values) else 0.0
        spread = float(np.median(np.abs(values - median))) if len(values) else 1.0
        found[f"{kind}_surprise_nats"] = median
        found[f"{kind}_surprise_scale_nats"] = max(spread, 0.01)
    return found


def device_hour_maxima(chunks: Iterable[tuple[WordBatch, Scores]], calibration: Calibration) -> npt.NDArray[np.float64]:
    """The highest value of the alarm statistic in every hour of every device, in nats.

    Args:
        chunks: scored words of one encoded batch of benign traffic, in order.
        calibration: temperature, threshold and evidence settings in force; its alarm level is not used.

    Returns:
        float64 (device-hours,), one entry per device and hour in which the device said anything.
    """
    drift = round(calibration.drift_nats * QUANTA_PER_NAT)
    maxima: dict[tuple[int, int], int] = {}
    statistic: dict[tuple[int, int], tuple[int, int]] = {}
    said: dict[int, int] = {}
    for words, scores in chunks:
        evidence = weigh_words(words, scores, calibration)
        hours = np.floor(words.known_at_s / _HOUR_S).astype(np.int64)
        for device in np.unique(words.device[words.device != UNATTRIBUTED]).tolist():
            mine = np.flatnonzero(words.device == device)
            maxima.update({(device, hour): maxima.get((device, hour), 0) for hour in np.unique(hours[mine]).tolist()})
            first = said.get(device, 0)
            said_upto = first + np.cumsum(~words.is_probe[mine])
            for rank in np.flatnonzero(evidence.gain[mine]).tolist():
                row, number = mine[rank], int(said_upto[rank])
                key = (device, int(evidence.role[row]))
                value, last = statistic.get(key, (0, 0))
                value = max(0, value - drift * max(0, number - last - 1)) + int(evidence.gain[row])
                statistic[key] = value, number
                maxima[device, int(hours[row])] = max(maxima[device, int(hours[row])], value)
            said[device] = int(said_upto[-1])
    return np.fromiter(maxima.values(), np.float64, len(maxima)) / QUANTA_PER_NAT


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
