"""Figures from verdicts: rates, F1, incidents, and how far each can be trusted.

In: labelled flows, ``FlowVerdicts``, incidents. Out: plain dicts that go to JSON; None where a figure has no meaning.
Must never: average away a class, or print a rate over nothing as zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.detection import FlowVerdicts
from thingwarden.domain.flow import FlowBatch, words_from_address
from thingwarden.domain.incident import Incident, Role
from thingwarden.domain.taxonomy import CLASSES, TON_CLASSES
from thingwarden.train.weighting import require_labels, weigh_patterns

SECONDS_PER_DAY: Final = 86_400.0

LONGEST_GAP_S: Final = 12 * 3600.0
"""A capture silent for longer was not recording: day files of one device may lie weeks apart."""

BOOTSTRAP_DRAWS: Final = 2_000
_SLACK_S: Final = 1.0

Weights = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


def evaluate_flows(
    flows: FlowBatch,
    verdicts: FlowVerdicts,
    incidents: Sequence[Incident],
    capture: npt.NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """The figures of ``thingwarden evaluate``, by row and by pattern.

    Args:
        flows: labelled; rows whose label is -1 count nowhere.
        verdicts: one per flow.
        incidents: what was raised over these flows; their detections name rows of ``flows``.
        capture: int64 (n,), which input file each flow is of; patterns are told apart by it.

    Raises:
        InputError: the flows have no labels.
    """
    weight = weigh_patterns(flows, capture)
    return {
        "rows": int((weight > 0).sum()),
        "patterns": round(float(weight.sum())),
        "by_row": summarise(flows, verdicts, (weight > 0).astype(np.float64)),
        "by_pattern": summarise(flows, verdicts, weight),
        "incidents": count_incidents(flows, incidents, capture),
    }


def summarise(flows: FlowBatch, verdicts: FlowVerdicts, weight: Weights) -> dict[str, Any]:
    """``tpr``, ``fpr``, ``macro_f1`` and ``per_class``; the ten-class head speaks where rows are TON_IoT's."""
    labels = require_labels(flows)
    is_ton = bool((labels.ton_class[weight > 0] >= 0).any())
    truth, said, names = (
        (labels.ton_class, verdicts.ton_class, TON_CLASSES)
        if is_ton
        else (labels.attack_class, verdicts.attack_class, tuple(attack_class.value for attack_class in CLASSES))
    )
    per_class = score_classes(truth.astype(np.int64), said.astype(np.int64), weight, names)
    return {
        "tpr": rate(verdicts.is_malicious, labels.malicious == 1, weight),
        "fpr": rate(verdicts.is_malicious, labels.malicious == 0, weight),
        "macro_f1": macro_f1(per_class),
        "per_class": per_class,
    }


def rate(said: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_], weight: Weights) -> float | None:
    """Weighted share of ``among`` that was said; None where there is nothing to say it of."""
    total = float(weight[among].sum())
    return float(weight[among & said].sum()) / total if total > 0 else None


def score_classes(truth: Codes, said: Codes, weight: Weights, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and weight of every class that the truth holds."""
    table: dict[str, dict[str, float]] = {}
    for code, name in enumerate(names):
        support = float(weight[truth == code].sum())
        if support <= 0:
            continue
        hit = float(weight[(truth == code) & (said == code)].sum())
        claimed = float(weight[(said == code) & (truth >= 0)].sum())
        table[name] = {
            "precision": hit / claimed if claimed > 0 else 0.0,
            "recall": hit / support,
            "f1": 2 * hit / (support + claimed),
            "weight": support,
        }
    return table


def macro_f1(per_class: dict[str, dict[str, float]], without: Sequence[str] = ()) -> float | None:
    """Mean F1 over the classes present, those in ``without`` left out; None where none is left."""
    scores = [figures["f1"] for name, figures in per_class.items() if name not in without]
    return float(np.mean(scores)) if scores else None


def count_incidents(flows: FlowBatch, incidents: Sequence[Incident], capture: Codes | None = None) -> dict[str, Any]:
    """True and false incidents, and false ones per day that a device was watched.

    An incident whose loudest flows are mostly malicious is true; one whose loudest flows are only such as carry no
    usable label counts as neither.
    """
    verdicts = [judge_incident(flows, incident) for incident in incidents]
    false = sum(verdict is False for verdict in verdicts)
    days = device_days(flows, capture)
    return {
        "true": sum(verdict is True for verdict in verdicts),
        "false": false,
        "device_days": days,
        "false_per_device_day": false / days if days > 0 else None,
    }


def judge_incident(flows: FlowBatch, incident: Incident, verdicts: FlowVerdicts | None = None) -> bool | None:
    """Whether an incident is true, by the labels of its loudest flows.

    Args:
        flows: labelled; the incident's detections name rows of them.
        incident: to be judged.
        verdicts: of the flows; where none of the loudest has a usable label, all flows count that were called
            malicious on the incident's device while it went on.

    Returns:
        None where no flow with a usable label speaks for it.
    """
    labels = require_labels(flows)
    malicious = labels.malicious[[detection.flow for detection in incident.detections]]
    if verdicts is not None and not (malicious >= 0).any():
        malicious = labels.malicious[accused_rows(flows, incident, verdicts)]
    malicious = malicious[malicious >= 0]
    return None if len(malicious) == 0 else bool(malicious.mean() >= 0.5)


def accused_rows(flows: FlowBatch, incident: Incident, verdicts: FlowVerdicts) -> npt.NDArray[np.int64]:
    """Flows called malicious on the incident's device between its first and its last, int64 (k,)."""
    start_s, end_s = incident.first_seen_at.timestamp(), incident.last_seen_at.timestamp()
    is_during = (flows.started_at_s >= start_s - _SLACK_S) & (flows.started_at_s <= end_s + _SLACK_S)
    return np.flatnonzero(is_during & verdicts.is_malicious & (verdicts.device == incident.device.index))


def has_right_role(flows: FlowBatch, incident: Incident, verdicts: FlowVerdicts | None = None) -> bool:
    """Whether the incident blames as the malicious flows do: their originator is the offender, the other the target."""
    labels = require_labels(flows)
    rows = [detection.flow for detection in incident.detections if labels.malicious[detection.flow] == 1]
    if not rows and verdicts is not None:
        accused = accused_rows(flows, incident, verdicts)
        rows = accused[labels.malicious[accused] == 1].tolist()
    if not rows or incident.device.address is None:
        return False
    address = np.array(words_from_address(incident.device.address), dtype=np.uint64)
    began = (flows.orig_address[rows] == address).all(axis=1)
    return bool((began if incident.role is Role.OFFENDER else ~began).mean() >= 0.5)


def device_days(flows: FlowBatch, capture: Codes | None = None) -> float:
    """Days for which the captures recorded, each counted as one watched device; untimed flows give 0.

    A capture of a whole network watches more devices than one, so the rates that divide by this are upper bounds;
    which of a network's hosts count as devices would otherwise be the evaluator's choice.

    Args:
        flows: any order.
        capture: int64 (n,), which capture each flow is of; None where all are of one.
    """
    is_timed = flows.started_at_s > 0
    of = (capture if capture is not None else np.zeros(len(flows), dtype=np.int64))[is_timed]
    started_at_s = flows.started_at_s[is_timed]
    order = np.lexsort((started_at_s, of))
    gaps_s = np.diff(started_at_s[order])
    counts = (np.diff(of[order]) == 0) & (gaps_s <= LONGEST_GAP_S)
    return float(gaps_s[counts].sum()) / SECONDS_PER_DAY


def bootstrap_interval(hits: Weights, totals: Weights, seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of sum(hits)/sum(totals), captures drawn with replacement; None with fewer than two captures."""
    kept = totals > 0
    hits, totals = hits[kept], totals[kept]
    if len(totals) < 2:
        return None
    draws = np.random.default_rng(seed).integers(0, len(totals), size=(BOOTSTRAP_DRAWS, len(totals)))
    ratios = hits[draws].sum(axis=1) / totals[draws].sum(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)


def poisson_upper_bound(count: int, confidence: float = 0.95) -> float:
    """The largest mean under which seeing ``count`` or fewer is no rarer than 1 - ``confidence``.

    Zero seen still allows 3.0; divide by the days watched to get the rate that cannot be excluded.
    """
    low, high = float(count), 10.0 + 4.0 * count
    for _ in range(60):
        middle = (low + high) / 2
        tail = sum(math.exp(k * math.log(middle) - middle - math.lgamma(k + 1)) for k in range(count + 1))
        low, high = (middle, high) if tail > 1 - confidence else (low, middle)
    return high


def threshold_at(score: npt.NDArray[np.floating[Any]], weight: Weights, budget: float) -> float:
    """Smallest threshold above which at most ``budget`` of the weight lies, infinite for no scores."""
    if len(score) == 0:
        return math.inf
    order = np.argsort(-score, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    allowed = int(np.searchsorted(share, budget, side="right"))
    return float(score[order[min(allowed, len(score) - 1)]])
