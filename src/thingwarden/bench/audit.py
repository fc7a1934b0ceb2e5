"""The shortcut audit: whether a contestant knows attacks, or only knows which collection a flow comes from.

In: a ``FoldView`` and a fitted ``Contestant``. Out: raw counts per fold, and the gates that need no contestant at all.
Must never: be left out of a report because its figures are bad.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from thingwarden.bench.contestants import Assessment, Contestant, ScoringContestant
from thingwarden.domain.flow import FlowBatch
from thingwarden.train.corpus import Part
from thingwarden.train.folds import FoldView
from thingwarden.train.weighting import require_labels, weigh_patterns

LONGEST_GRAFT_FLOWS: Final = 1_500
FEWEST_HOST_FLOWS: Final = 40
HOSTS_PER_ATTACK: Final = 3
ROUTE_START_TOLERANCE_S: Final = 0.02
PROBE_WORDS_PER_PART: Final = 800
PROBE_STATES_PER_PART: Final = 80


def graft_attacks(view: FoldView, contestant: Contestant, seed: int) -> list[dict[str, Any]]:
    """Recall of the fold's attacks when benign devices that were never seen commit or suffer them.

    The malicious flows of each test capture are given a benign device's address and moved to begin in the middle of
    its recording; a contestant that knew only the collection loses them.
    """
    random = np.random.default_rng(seed)
    hosts = [part for part in view.test if part.capture.kind == "benign" and len(part.flows) >= FEWEST_HOST_FLOWS]
    records = []
    for part in view.test:
        if part.capture.kind != "attack":
            continue
        for number in random.permutation(len(hosts))[:HOSTS_PER_ATTACK].tolist():
            grafted = graft_flows(hosts[number].flows, part.flows)
            verdicts = contestant.assess(grafted).verdicts
            weight = weigh_patterns(grafted)
            is_malicious = require_labels(grafted).malicious == 1
            records.append(
                {
                    "attack": part.capture.name,
                    "host": hosts[number].capture.name,
                    "weight": float(weight[is_malicious].sum()),
                    "weight_said": float(weight[is_malicious & verdicts.is_malicious].sum()),
                }
            )
    return records


def graft_flows(host: FlowBatch, source: FlowBatch) -> FlowBatch:
    """The host's flows with the source's malicious flows moved to the host's device and to the middle of its time.

    Args:
        host: benign, labelled, in time order.
        source: labelled; its offender, or the target where the offender changes with every flow, becomes the device.

    Returns:
        Both, in time order, labelled.
    """
    rows = np.flatnonzero(require_labels(source).malicious == 1)[:LONGEST_GRAFT_FLOWS]
    attack = source.take(rows)
    device_high_low, device_mac = _main_device(host)
    changes = len(np.unique(attack.orig_address, axis=0)) > len(attack) // 4
    end = "resp" if changes else "orig"
    addresses = getattr(attack, f"{end}_address")
    unique, counts = np.unique(addresses, axis=0, return_counts=True)
    moved = (addresses == unique[counts.argmax()]).all(axis=1)
    attack = attack.take(moved)
    middle_s = float(np.median(host.started_at_s))
    columns = {
        f"{end}_address": np.tile(device_high_low, (len(attack), 1)),
        f"{end}_mac": np.full(len(attack), device_mac, dtype=np.uint64),
        "started_at_s": attack.started_at_s - attack.started_at_s.min(initial=np.inf) + middle_s,
    }
    joined = FlowBatch.concatenate([host, replace(attack, **columns)])
    return joined.take(np.argsort(joined.started_at_s, kind="stable"))


def _main_device(flows: FlowBatch) -> tuple[npt.NDArray[np.uint64], int]:
    unique, inverse, counts = np.unique(flows.orig_address, axis=0, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(inverse.ravel() == counts.argmax())
    return unique[counts.argmax()], int(flows.orig_mac[rows[0]])


def compare_routes(view: FoldView, contestant: Contestant) -> list[dict[str, Any]]:
    """Verdicts on the fold's captures read as Zeek's log and as packets through our own meter.

    Flows are matched by protocol, addresses, ports and start; those that only one route has are counted apart.
    """
    records = []
    for route in view.second_routes:
        log = next(part.flows for part in view.test if part.capture.name == route.capture.name)
        rows, packet_rows = match_flows(log, route.flows)
        by_log, by_packets = (contestant.assess(flows).verdicts.is_malicious for flows in (log, route.flows))
        equal = int((by_log[rows] == by_packets[packet_rows]).sum())
        records.append(
            {"capture": route.capture.name, "flows": len(log), "matched": len(rows), "equal_verdicts": equal}
        )
    return records


def match_flows(one: FlowBatch, other: FlowBatch) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of flows that are in both batches: equal 5-tuples that start within ``ROUTE_START_TOLERANCE_S``."""
    joined = FlowBatch.concatenate([replace(one, labels=None), replace(other, labels=None)])
    columns = [joined.orig_address, joined.resp_address]
    columns += [column[:, None].astype(np.uint64) for column in (joined.orig_port, joined.resp_port, joined.proto)]
    tuple_number = np.unique(np.concatenate(columns, axis=1), axis=0, return_inverse=True)[1].ravel()
    span_s = float(np.ptp(joined.started_at_s)) + 10.0 if len(joined) else 0.0
    place = tuple_number * span_s + (joined.started_at_s - joined.started_at_s.min(initial=np.inf))
    mine, theirs = place[: len(one)], place[len(one) :]
    order = np.argsort(theirs)
    if not len(order):
        return order, order
    right = np.searchsorted(theirs[order], mine)
    candidates = np.clip(np.stack([right - 1, right]), 0, len(order) - 1)
    nearest = candidates[np.abs(theirs[order][candidates] - mine).argmin(axis=0), np.arange(len(mine))]
    rows = np.flatnonzero(np.abs(theirs[order][nearest] - mine) <= ROUTE_START_TOLERANCE_S)
    return rows, order[nearest[rows]]


@dataclass(slots=True)
class SourceProbe:
    """Collects what a contestant remembers, or else says, along benign flows, and tries to tell the route from it.

    Attributes:
        contestant: fitted; its scorer's states are read where it shows them, its scores otherwise.
        seed: of the sampling.
    """

    contestant: Contestant
    seed: int
    inputs: list[npt.NDArray[np.float64]] = field(default_factory=list)
    sources: list[npt.NDArray[np.int64]] = field(default_factory=list)
    captures: list[npt.NDArray[np.int64]] = field(default_factory=list)

    def keep(self, part: Part, assessment: Assessment) -> None:
        """Sample states along the part's benign flows, or scores of their closing words."""
        is_benign = require_labels(part.flows).malicious == 0
        if not is_benign.any():
            return
        states = None
        if isinstance(self.contestant, ScoringContestant):
            states = self.contestant.sample_states(part.flows.take(is_benign), PROBE_STATES_PER_PART)
        sampled = self._sample_scores(assessment, is_benign) if states is None else states.astype(np.float64)
        self.inputs.append(np.nan_to_num(sampled))
        is_log = part.capture.family in ("iot23", "lan-mixed")
        self.sources.append(np.full(len(sampled), is_log, dtype=np.int64))
        self.captures.append(np.full(len(sampled), _stable_number(part.capture.name), dtype=np.int64))

    def _sample_scores(self, assessment: Assessment, is_benign: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        words, scores = assessment.words, assessment.scores
        rows = np.flatnonzero(words.is_close & is_benign[words.flow])
        rows = np.random.default_rng(self.seed).permutation(rows)[:PROBE_WORDS_PER_PART]
        odds = np.log(np.clip(scores.class_probability[rows].astype(np.float64), 1e-9, 1.0))
        return np.concatenate([odds, scores.role_probability[rows], scores.surprise_nats[rows, None]], axis=1)

    def balanced_accuracy(self) -> float | None:
        """How often the route (log or packets) is told right by a linear probe on other captures; 0.5 is chance.

        Captures are halved: the probe learns on one half and is asked about the other, then the other way. None where
        a half lacks a route.
        """
        if not self.inputs:
            return None
        inputs, source = np.concatenate(self.inputs), np.concatenate(self.sources)
        capture = np.concatenate(self.captures)
        half = np.isin(capture, np.unique(capture)[::2])
        figures = [_probe(inputs, source, learn, ~learn) for learn in (half, ~half)]
        known = [figure for figure in figures if figure is not None]
        return float(np.mean(known)) if known else None


def _probe(
    inputs: npt.NDArray[np.float64],
    source: npt.NDArray[np.int64],
    learn: npt.NDArray[np.bool_],
    ask: npt.NDArray[np.bool_],
) -> float | None:
    if len(np.unique(source[learn])) < 2 or len(np.unique(source[ask])) < 2:
        return None
    scaler = StandardScaler().fit(inputs[learn])
    probe = LogisticRegression(class_weight="balanced", max_iter=500)
    probe.fit(scaler.transform(inputs[learn]), source[learn])
    said = probe.predict(scaler.transform(inputs[ask]))
    return float(np.mean([(said[source[ask] == value] == value).mean() for value in (0, 1)]))


def _stable_number(name: str) -> int:
    return int.from_bytes(name.encode()[-7:], "big")


def gates_without_model(view: FoldView) -> dict[str, Any]:
    """Counts for the two gates that no contestant is needed for: source id alone, and position in the capture alone.

    Of what was recorded only: no simulated network is among the captures that are tested on here.
    """
    train = view.without_lab().train
    suspects = _suspect_families(train)
    limit, side = _best_position(train)
    counts = {name: {"hit": 0.0, "claimed": 0.0, "malicious": 0.0} for name in ("source", "position")}
    for part in view.test:
        weight, is_malicious, position = _weights(part)
        by_source = np.full(len(weight), part.capture.family in suspects)
        by_position = (position >= limit) == side
        for name, said in (("source", by_source), ("position", by_position)):
            counts[name]["hit"] += float(weight[said & is_malicious].sum())
            counts[name]["claimed"] += float(weight[said].sum())
            counts[name]["malicious"] += float(weight[is_malicious].sum())
    return counts


def _weights(part: Part) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    weight = weigh_patterns(part.flows)
    position = np.arange(len(weight)) / max(1, len(weight) - 1)
    return weight, require_labels(part.flows).malicious == 1, position


def _suspect_families(parts: tuple[Part, ...]) -> set[str]:
    """The collections that one would call malicious as a whole, so that training is told apart best by F1."""
    total: dict[str, float] = defaultdict(float)
    malicious: dict[str, float] = defaultdict(float)
    for part in parts:
        weight, is_malicious, _ = _weights(part)
        total[part.capture.family] += float(weight.sum())
        malicious[part.capture.family] += float(weight[is_malicious].sum())
    ordered = sorted(total, key=lambda family: -malicious[family] / max(total[family], 1e-9))
    best, best_f1 = 0, 0.0
    for count in range(1, len(ordered) + 1):
        hit, claimed = (sum(counts[family] for family in ordered[:count]) for counts in (malicious, total))
        f1 = 2 * hit / (claimed + sum(malicious.values()))
        if f1 > best_f1:
            best, best_f1 = count, f1
    return set(ordered[:best])


def _best_position(parts: tuple[Part, ...]) -> tuple[float, bool]:
    """The limit on the relative position, and the side of it, that separates training best by F1."""
    columns = [_weights(part) for part in parts if len(part.flows)]
    weight, is_malicious, position = (np.concatenate([column[at] for column in columns]) for at in range(3))
    best = (0.0, 0.0, True)
    for limit in np.linspace(0.0, 0.95, 20).tolist():
        for side in (True, False):
            said = (position >= limit) == side
            hit = float(weight[said & is_malicious].sum())
            claimed = float(weight[said].sum()) + float(weight[is_malicious].sum())
            best = max(best, (2 * hit / claimed if claimed else 0.0, limit, side))
    return best[1], best[2]
