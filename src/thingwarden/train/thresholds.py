"""Thresholds and levels of a trained scorer, set on harmless devices and networks that it did not learn from.

In: harmless parts with their words and scores. Out: ``Calibration``.
Must never: let one family of devices thin out another: each sets every level alone, and the strictest counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from thingwarden.detect.calibrate import (
    LOWEST_ALARM_NATS,
    OPEN_EVIDENCE_RANGE_NATS,
    choose_alarm_level,
    choose_evidence_nats,
    choose_flow_threshold,
    device_hour_maxima,
    shrinkage_words,
    tail_edges,
)
from thingwarden.detect.evidence import malicious_log_odds, probability_from_log_odds
from thingwarden.domain.calibration import TAIL_SHARES, Calibration
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.word import UNATTRIBUTED, Scores, WordBatch
from thingwarden.train.corpus import Part
from thingwarden.train.graft import lose_packets
from thingwarden.train.weighting import weigh_patterns

FLOW_BUDGET: Final = 0.002
"""Share of harmless flows without any history that may be called malicious."""

EVIDENCE_BUDGET: Final = 0.01
"""Share of harmless flows, by pattern, that may speak against their device at all: an alarm takes several."""

SHRINKAGE_TAIL: Final = TAIL_SHARES.index(0.05)
"""The share of flows by which devices are compared."""

OWN_SCAN: Final = b"benign:owner_scan"
"""An owner's scan is answered by naming his machine, not by a level so high that no scan is seen."""

QUANTILES: Final = {"recorded": 1.0, "lossy": 1.0, "lab": 0.98}
"""Of the device-hours of each family: recorded ones are few, and none may alarm; of simulated ones one in fifty may,
for loud hours cluster on a few devices that an invented maker gave the manners of malware."""

LOSSY_SEED: Final = 7

LOWEST_STRANGE_NATS: Final = 60.0
"""Some fifteen of the strangest flows: what a device never did before is not wrong yet."""


class Scored(NamedTuple):
    """A harmless part and what a scorer said about it; ``family`` is a key of ``QUANTILES``."""

    family: str
    part: Part
    words: WordBatch
    scores: Scores


def prepare(parts: Iterable[Part]) -> list[tuple[str, Part]]:
    """What thresholds are set on, by family: recorded and simulated parts without an owner's own scans, and recorded
    ones once more as a sensor would have seen them that began late and dropped packets."""
    known = [Part(part.capture, _leave_out_own_scans(part.flows)) for part in parts if len(part.flows)]
    prepared = [("lab" if part.capture.family == "lab" else "recorded", part) for part in known]
    rng = np.random.default_rng(LOSSY_SEED)
    recorded = (part for part in known if part.capture.family != "lab")
    return [*prepared, *(("lossy", Part(part.capture, lose_packets(part.flows, rng))) for part in recorded)]


def _leave_out_own_scans(flows: FlowBatch) -> FlowBatch:
    if flows.labels is None:
        return flows
    is_own_scan = np.char.startswith(flows.labels.detail, OWN_SCAN)
    return flows.take(~is_own_scan) if is_own_scan.any() else flows


def set_thresholds(scored: Sequence[Scored], start: Calibration) -> Calibration:
    """Flow threshold, levels of evidence, scale of loudness, alarm levels, each the strictest that a family asks for.

    Args:
        scored: harmless parts that were held out of the learning; without any, ``start`` is returned.
        start: everything else.
    """
    families = list(_by_family(scored))
    if not families:
        return start
    calibration = replace(
        start,
        flow_threshold=max(_flow_threshold(members, start) for _, members in families),
        evidence_nats=max(_evidence_nats(members, start) for _, members in families),
        open_evidence_nats=max(_open_evidence_nats(members, start) for _, members in families),
        loudness_nats=_loudness_nats(families, start),
    )
    levels = [(LOWEST_ALARM_NATS, LOWEST_STRANGE_NATS)]
    for name, members in families:
        maxima = [device_hour_maxima([(item.words, item.scores)], calibration) for item in members]
        both = (np.concatenate(column) for column in zip(*maxima, strict=True))
        shown, strange = (choose_alarm_level(column, quantile=QUANTILES[name]) for column in both)
        levels.append((shown, strange))
    shown_levels, strange_levels = zip(*levels, strict=True)
    return replace(calibration, alarm_level_nats=max(shown_levels), strange_alarm_nats=max(strange_levels))


def scale_surprise(scored: Sequence[Scored], start: Calibration) -> Calibration:
    """How surprise is spread over harmless flows, each share by the family that it surprises more, and how much
    devices differ in it.

    Args:
        scored: by a scorer whose calibration scales nothing yet.
        start: everything else.
    """
    families = [[_surprise(item) for item in members] for _, members in _by_family(scored)]
    families = [[nats for nats in members if len(nats)] for members in families]
    edges = [tail_edges(np.concatenate(members)) for members in families if members]
    if not edges:
        return start
    strictest = tuple(np.max(edges, axis=0).tolist())
    own = [nats for members in families for nats in members]
    beyond = np.array([int((nats > strictest[SHRINKAGE_TAIL]).sum()) for nats in own])
    flows = np.array([len(nats) for nats in own])
    worth = shrinkage_words(beyond, flows, TAIL_SHARES[SHRINKAGE_TAIL])
    return replace(start, surprise_nats=strictest, shrinkage_words=worth)


def _by_family(scored: Sequence[Scored]) -> Iterable[tuple[str, list[Scored]]]:
    for name in QUANTILES:
        members = [item for item in scored if item.family == name]
        if members:
            yield name, members


def _flow_threshold(members: Sequence[Scored], start: Calibration) -> float:
    loudest = {f"{number}": probability_from_log_odds(_loudest(item, start)) for number, item in enumerate(members)}
    return choose_flow_threshold(loudest, FLOW_BUDGET)


def _evidence_nats(members: Sequence[Scored], start: Calibration) -> float:
    log_odds = np.concatenate([_loudest(item, start) for item in members])
    weight = np.concatenate([weigh_patterns(item.part.flows) for item in members])
    return choose_evidence_nats(log_odds, weight, EVIDENCE_BUDGET)


def _open_evidence_nats(members: Sequence[Scored], start: Calibration) -> float:
    """By word, not by pattern: a device says the same opening again and again, and each one counts against it."""
    log_odds = [_loudest(item, start, is_close=False) for item in members]
    pooled = np.concatenate([nats[np.isfinite(nats)] for nats in log_odds])
    return choose_evidence_nats(pooled, np.ones(len(pooled)), EVIDENCE_BUDGET, OPEN_EVIDENCE_RANGE_NATS)


def _loudness_nats(families: Sequence[tuple[str, list[Scored]]], start: Calibration) -> tuple[float, ...]:
    """How loud closing words of harmless devices are, each share by the louder family."""
    spoken = [[_closing_log_odds(item, start) for item in members] for _, members in families]
    edges = [tail_edges(np.concatenate(members)) for members in spoken if any(map(len, members))]
    return tuple(np.max(edges, axis=0).tolist()) if edges else start.loudness_nats


def _closing_log_odds(item: Scored, calibration: Calibration) -> npt.NDArray[np.float64]:
    return malicious_log_odds(item.scores.class_probability[_closes(item)], calibration.temperature)


def _loudest(item: Scored, calibration: Calibration, *, is_close: bool = True) -> npt.NDArray[np.float64]:
    """Log-odds of the loudest closing word of each flow, or of the words before, float64 (n,); -inf where none is."""
    loudest = np.full(len(item.part.flows), -np.inf)
    said = np.flatnonzero(item.words.is_close == is_close)
    log_odds = malicious_log_odds(item.scores.class_probability[said], calibration.temperature)
    np.maximum.at(loudest, item.words.flow[said], log_odds)
    return loudest


def _surprise(item: Scored) -> npt.NDArray[np.float32]:
    """Of how the flows of a part's devices began, float32 (k,)."""
    return np.asarray(item.scores.surprise_nats[_closes(item)])


def _closes(item: Scored) -> npt.NDArray[np.bool_]:
    return np.asarray(item.words.is_close & (item.words.device != UNATTRIBUTED))
