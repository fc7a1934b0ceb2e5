"""What one contestant still sees of attacks that evade, as raw counts per network, and the figures over networks.

In: a contestant with its thresholds fixed, networks, an evasion. Out: records; recall kept, and its price.
Must never: set a threshold, or count a flow that the evasion could not have changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from thingwarden.bench.contestants import Contestant, Watched
from thingwarden.bench.evasion import Evasion, evade
from thingwarden.bench.evasion_rows import Evaded, Mask, attack_mask
from thingwarden.bench.lab_networks import DAYS_PER_WEEK, SLACK_S
from thingwarden.bench.measure import count_mask
from thingwarden.bench.metrics import BOOTSTRAP_DRAWS, bootstrap_interval, judge_incident, poisson_upper_bound
from thingwarden.domain.address import mac_number
from thingwarden.domain.flow import FlowBatch, words_from_address
from thingwarden.domain.incident import Incident, Role
from thingwarden.domain.taxonomy import CLASSES
from thingwarden.ingest.lab_corpus import split_acts
from thingwarden.train.weighting import require_labels, weigh_patterns

Record = dict[str, Any]
Counts = npt.NDArray[np.float64]

CLASS_SUMS: Final = (
    "rows", "rows_said", "weight", "weight_said", "rows_said_before", "weight_said_before", "payload_bytes",
    "rows_before", "payload_bytes_before",
)  # fmt: skip
"""What is counted of attack flows; "before" is without the evasion, of the same flows where they are still there."""

BENIGN_SUMS: Final = ("rows", "rows_said", "weight", "weight_said")


class Network(NamedTuple):
    """Labelled flows of one network, and for how many device-days it was watched."""

    name: str
    flows: FlowBatch
    device_days: float


class Stage:
    """Networks with attacks, and what a contestant says of them as they are, asked once.

    Args:
        contestant: fitted.
        networks: each name once.
    """

    def __init__(self, contestant: Contestant, networks: Sequence[Network]) -> None:
        self._contestant = contestant
        self._networks = networks
        self._unchanged: dict[str, Watched] = {}

    def measure(self, evasion: Evasion, strength: float, seed: int) -> list[Record]:
        """One record per network; each network draws from a stream of its own."""
        records = []
        for number, network in enumerate(self._networks):
            before = self._watch_unchanged(network)
            evaded = evade(network.flows, evasion, strength, seed + number)
            now = before if evaded.flows is network.flows else self._contestant.watch(evaded.flows)
            records.append(record_evaded(network, evasion.reach(network.flows), before, evaded, now))
        return records

    def _watch_unchanged(self, network: Network) -> Watched:
        if network.name not in self._unchanged:
            self._unchanged[network.name] = self._contestant.watch(network.flows)
        return self._unchanged[network.name]


def record_evaded(network: Network, reached_before: Mask, before: Watched, evaded: Evaded, now: Watched) -> Record:
    """Raw counts of one network: reached attack flows by class, attacks found, and the budget spent.

    A flow weighs as its pattern did before the evasion: padding makes many patterns out of one flood.
    """
    flows, said = evaded.flows, now.verdicts.is_malicious
    labels, weight_before = require_labels(flows), weigh_patterns(network.flows)
    weight = np.where(evaded.row < 0, 0.0, weight_before[evaded.row])
    said_before = np.where(evaded.row < 0, False, before.verdicts.is_malicious[evaded.row])
    class_before = require_labels(network.flows).attack_class
    judged = [(incident, judge_incident(flows, incident)) for incident in now.incidents]
    classes = {}
    for code in np.unique(class_before[reached_before]).tolist():
        rows, rows_before = evaded.reached & (labels.attack_class == code), reached_before & (class_before == code)
        was_said = count_mask(rows, said_before, weight)
        classes[CLASSES[code].value] = {
            **count_mask(rows, said, weight),
            "rows_said_before": was_said["rows_said"],
            "weight_said_before": was_said["weight_said"],
            "payload_bytes": _payload_bytes(flows, rows),
            "rows_before": int(rows_before.sum()),
            "payload_bytes_before": _payload_bytes(network.flows, rows_before),
        }
    return {
        "network": network.name,
        "flows": len(flows),
        "flows_before": len(network.flows),
        "device_days": network.device_days,
        "false": sum(verdict is False for _, verdict in judged),
        "benign": count_mask(labels.malicious == 0, said, weight),
        "classes": classes,
        "attacks": _find_attacks(evaded, said, [incident for incident, verdict in judged if verdict is True]),
    }


def _payload_bytes(flows: FlowBatch, rows: Mask) -> int:
    return int(np.maximum(flows.orig_bytes[rows], 0).sum() + np.maximum(flows.resp_bytes[rows], 0).sum())


def _find_attacks(evaded: Evaded, said: Mask, incidents: Sequence[Incident]) -> list[Record]:
    """Each act among the reached flows: found where a true incident accuses one of its hosts over one of its flows."""
    flows = evaded.flows
    labels = require_labels(flows)
    names, act = split_acts(labels.detail)
    blamed = [rows_blamed(flows, incident, said) for incident in incidents]
    found = []
    for code in np.unique(act[evaded.reached]).tolist():
        rows = evaded.reached & (act == code)
        found.append(
            {
                "act": names[code],
                "class": CLASSES[int(np.bincount(labels.attack_class[rows].clip(0)).argmax())].value,
                "found": any(bool((rows & (right | wrong)).any()) for right, wrong in blamed),
                "found_with_role": any(bool((rows & right).any()) for right, _ in blamed),
            }
        )
    return found


def rows_blamed(flows: FlowBatch, incident: Incident, said: Mask) -> tuple[Mask, Mask]:
    """Attack flows that an incident speaks of, bool (n,) each: those for which its role is right, and the others.

    It speaks of flows of its device while it went on, if they were called malicious or are among its loudest.
    """
    start_s, end_s = incident.first_seen_at.timestamp(), incident.last_seen_at.timestamp()
    spoken = said.copy()
    spoken[[detection.flow for detection in incident.detections]] = True
    spoken &= (flows.started_at_s <= end_s + SLACK_S) & (flows.ended_at_s >= start_s - SLACK_S) & attack_mask(flows)
    began, suffered = (_is_device(flows, incident, end) & spoken for end in ("orig", "resp"))
    return (began, suffered) if incident.role is Role.OFFENDER else (suffered, began)


def _is_device(flows: FlowBatch, incident: Incident, end: str) -> Mask:
    device = incident.device
    is_device = np.zeros(len(flows), dtype=np.bool_)
    if device.address is not None:
        address = np.array(words_from_address(device.address), dtype=np.uint64)
        is_device |= (getattr(flows, f"{end}_address") == address).all(axis=1)
    if device.mac is not None:
        is_device |= getattr(flows, f"{end}_mac") == mac_number(device.mac)
    return is_device


def pool_evaded(records: Sequence[Record], attack_class: str | None = None) -> Record:
    """Figures over networks at one strength; None where nothing can be said.

    Args:
        records: one per network.
        attack_class: only this one; None takes all.

    Returns:
        ``recall`` by pattern and its 95 % interval, ``recall_by_row``; ``kept``, that recall over the recall of the
        same flows without the evasion, with its interval; ``attacks``, ``found``, ``found_with_role``; ``contacts``,
        ``payload`` and ``flows`` over those without, which is what the evasion costs; ``fpr``, ``fpr_by_row``,
        ``false`` incidents and their rate.
    """
    sums = _sum_classes(records, attack_class)
    attacks = [attack for record in records for attack in record["attacks"] if attack_class in (None, attack["class"])]
    return {
        "recall": _ratio(sums["weight_said"].sum(), sums["weight"].sum()),
        "recall_interval": bootstrap_interval(sums["weight_said"], sums["weight"]),
        "recall_by_row": _ratio(sums["rows_said"].sum(), sums["rows"].sum()),
        "kept": _ratio(sums["weight_said"].sum(), sums["weight_said_before"].sum()),
        "kept_interval": _kept_interval(sums["weight_said"], sums["weight_said_before"], sums["weight"]),
        "networks": int((sums["rows_before"] > 0).sum()),
        "attacks": len(attacks),
        "found": _ratio(sum(attack["found"] for attack in attacks), len(attacks)),
        "found_with_role": _ratio(sum(attack["found_with_role"] for attack in attacks), len(attacks)),
        "contacts": _ratio(sums["rows"].sum(), sums["rows_before"].sum()),
        "payload": _ratio(sums["payload_bytes"].sum(), sums["payload_bytes_before"].sum()),
        "flows": _ratio(sum(record["flows"] for record in records), sum(record["flows_before"] for record in records)),
        **_spent(records),
    }


def _sum_classes(records: Sequence[Record], attack_class: str | None) -> dict[str, Counts]:
    """Each of ``CLASS_SUMS`` per network, float64 (networks,)."""
    return {
        key: np.array(
            [
                sum(counts[key] for name, counts in record["classes"].items() if attack_class in (None, name))
                for record in records
            ],
            dtype=np.float64,
        )
        for key in CLASS_SUMS
    }


def _spent(records: Sequence[Record]) -> Record:
    """The false-alarm budget that was really spent."""
    benign = {key: sum(record["benign"][key] for record in records) for key in BENIGN_SUMS}
    false = sum(record["false"] for record in records)
    weeks = sum(record["device_days"] for record in records) / DAYS_PER_WEEK
    return {
        "fpr": _ratio(benign["weight_said"], benign["weight"]),
        "fpr_by_row": _ratio(benign["rows_said"], benign["rows"]),
        "false": false,
        "device_weeks": weeks,
        "false_per_device_week": _ratio(false, weeks),
        "false_per_device_week_at_most": _ratio(poisson_upper_bound(false), weeks),
    }


def _kept_interval(said: Counts, said_before: Counts, weight: Counts, seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of the ratio, networks drawn with replacement; None with fewer than two that were seen before."""
    networks = np.flatnonzero(weight > 0)
    if np.count_nonzero(said_before) < 2:
        return None
    draws = np.random.default_rng(seed).choice(networks, (BOOTSTRAP_DRAWS, len(networks)))
    now, before = said[draws].sum(axis=1), said_before[draws].sum(axis=1)
    low, high = np.quantile(now[before > 0] / before[before > 0], [0.025, 0.975])
    return float(low), float(high)


def _ratio(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole > 0 else None


def summarise_evasion(by_strength: Mapping[float, Sequence[Record]]) -> dict[str, list[Record]]:
    """Curves of one contestant under one evasion, strength by strength: ``all``, and each class that it reaches."""
    names = {name for records in by_strength.values() for record in records for name in record["classes"]}
    return {
        name or "all": [
            {"strength": strength, **pool_evaded(records, name)} for strength, records in sorted(by_strength.items())
        ]
        for name in (None, *sorted(names))
    }
