"""What one contestant did in one view, as raw counts that can be pooled later.

In: a fitted ``Contestant`` and a ``FoldView``. Out: plain dicts: one record per capture, one for TON_IoT.
Must never: hold a rate; rates of different folds cannot be added, counts can.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.bench.contestants import Assessment, Contestant
from thingwarden.bench.metrics import device_days, has_right_role, judge_incident
from thingwarden.domain.detection import FlowVerdicts
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import CLASSES, TON_CLASSES
from thingwarden.train.corpus import Part
from thingwarden.train.folds import FoldView
from thingwarden.train.weighting import require_labels, weigh_patterns

LOG_ODDS_EDGES: Final = np.linspace(-16.0, 16.0, 321)
"""Bins of the score histograms, in nats; float32 probabilities end near 16."""

TON_CHUNK_FLOWS: Final = 32_768

Progress = Callable[[str], None]


def measure_captures(
    parts: Iterable[Part], contestant: Contestant, keep: Callable[[Part, Assessment], None] | None = None
) -> list[dict[str, Any]]:
    """One record per capture; its sessions are judged one by one and counted together.

    Args:
        parts: what is tested on.
        contestant: fitted.
        keep: is shown every assessment, for audits that need scores.
    """
    sessions: dict[str, list[tuple[Part, Assessment]]] = defaultdict(list)
    for part in parts:
        if len(part.flows):
            assessment = contestant.assess(part.flows)
            sessions[part.capture.name].append((part, assessment))
            if keep is not None:
                keep(part, assessment)
    return [_record_capture(judged) for judged in sessions.values()]


def _record_capture(judged: list[tuple[Part, Assessment]]) -> dict[str, Any]:
    capture = judged[0][0].capture
    flows = FlowBatch.concatenate([part.flows for part, _ in judged])
    verdicts = [assessment.verdicts for _, assessment in judged]
    record: dict[str, Any] = {
        "capture": capture.name,
        "family": capture.family,
        "kind": capture.kind,
        "sessions": len(judged),
        "flows": len(flows),
        **count_flows(flows, verdicts),
    }
    incidents = [_count_part_incidents(part, assessment) for part, assessment in judged]
    record["incidents"] = {key: sum(counts[key] for counts in incidents) for key in incidents[0]}
    record["incidents"]["sessions_accused"] = sum(counts["false"] > 0 for counts in incidents)
    return record


def count_flows(flows: FlowBatch, verdicts: list[FlowVerdicts]) -> dict[str, Any]:
    """Rows and weights, by label and by attack class, and how many of each were called malicious.

    Args:
        flows: labelled, of one capture.
        verdicts: of its sessions, in order.
    """
    labels = require_labels(flows)
    weight = weigh_patterns(flows)
    said = np.concatenate([verdict.is_malicious for verdict in verdicts])
    probability = np.concatenate([verdict.malicious_probability for verdict in verdicts])
    counts: dict[str, Any] = {}
    for name, mask in (("malicious", labels.malicious == 1), ("benign", labels.malicious == 0)):
        counts[name] = {**count_mask(mask, said, weight), "histogram": _histogram(probability[mask], weight[mask])}
    counts["classes"] = {
        CLASSES[code].value: count_mask(labels.attack_class == code, said, weight)
        for code in np.unique(labels.attack_class[labels.malicious == 1]).tolist()
        if code >= 0
    }
    return counts


def count_mask(
    mask: npt.NDArray[np.bool_], said: npt.NDArray[np.bool_], weight: npt.NDArray[np.float64]
) -> dict[str, Any]:
    """Of the flows in ``mask`` (bool (n,)): how many there are and were called malicious, by row and by weight."""
    return {
        "rows": int(mask.sum()),
        "rows_said": int((mask & said).sum()),
        "weight": float(weight[mask].sum()),
        "weight_said": float(weight[mask & said].sum()),
    }


def _histogram(probability: npt.NDArray[np.float32], weight: npt.NDArray[np.float64]) -> dict[str, float]:
    """Weight per bin of log-odds, empty bins left out; keys are bin numbers as text."""
    clipped = np.clip(np.nan_to_num(probability.astype(np.float64)), 1e-12, 1.0 - 1e-12)
    log_odds = np.clip(np.log(clipped) - np.log1p(-clipped), LOG_ODDS_EDGES[0], LOG_ODDS_EDGES[-1] - 1e-9)
    totals, _ = np.histogram(log_odds, LOG_ODDS_EDGES, weights=weight)
    return {str(number): float(totals[number]) for number in np.flatnonzero(totals).tolist()}


def _count_part_incidents(part: Part, assessment: Assessment) -> dict[str, Any]:
    verdicts = assessment.verdicts
    judged = [(incident, judge_incident(part.flows, incident, verdicts)) for incident in assessment.incidents]
    true = [incident for incident, verdict in judged if verdict is True]
    return {
        "true": len(true),
        "true_with_role": sum(has_right_role(part.flows, incident, verdicts) for incident in true),
        "false": sum(verdict is False for _, verdict in judged),
        "unlabelled": sum(verdict is None for _, verdict in judged),
        "device_days": device_days(part.flows),
    }


def measure_ton(view: FoldView, contestant: Contestant) -> dict[str, Any]:
    """Confusion of the ten-class head and what the threshold flags, for held-out pairs and held-out normal sources."""
    return {
        "pairs": _record_ton(view.ton, view.ton_test_pairs, contestant),
        "sources": _record_ton(view.ton, view.ton_test_sources, contestant),
    }


def _record_ton(ton: FlowBatch, rows: npt.NDArray[np.int64], contestant: Contestant) -> dict[str, Any]:
    width = len(TON_CLASSES)
    confusion = np.zeros((width, width), dtype=np.int64)
    by_pattern = np.zeros((width, width))
    weight = weigh_patterns(ton.take(rows)) if len(rows) else np.zeros(0)
    flagged = np.zeros(width, dtype=np.int64)
    for start in range(0, len(rows), TON_CHUNK_FLOWS):
        flows = ton.take(rows[start : start + TON_CHUNK_FLOWS])
        verdicts = contestant.assess(flows).verdicts
        truth = require_labels(flows).ton_class.astype(np.int64)
        said = np.maximum(verdicts.ton_class, 0)
        np.add.at(confusion, (truth, said), 1)
        np.add.at(by_pattern, (truth, said), weight[start : start + TON_CHUNK_FLOWS])
        flagged += np.bincount(truth[verdicts.is_malicious], minlength=width)
    return {"confusion": confusion.tolist(), "by_pattern": by_pattern.tolist(), "flagged": flagged.tolist()}
