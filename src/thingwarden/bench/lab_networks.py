"""Simulated networks as a test: attacks found by act, and false incidents counted over device-weeks.

In: a fitted ``Contestant``, networks of a lab corpus that it never learned from. Out: raw counts per network; figures.
Must never: judge a network by a model that saw it, or leave out a network that went badly.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.bench.contestants import Contestant, Watched
from thingwarden.bench.measure import count_flows, count_mask
from thingwarden.bench.metrics import bootstrap_interval, judge_incident, poisson_upper_bound
from thingwarden.domain.address import mac_number
from thingwarden.domain.flow import FlowBatch, words_from_address
from thingwarden.domain.incident import Incident, Role
from thingwarden.domain.response import Act, Decision
from thingwarden.domain.taxonomy import CLASSES
from thingwarden.ingest.lab_corpus import LabNetwork, read_manifest, read_network, split_acts
from thingwarden.respond.playbook import Playbook, load_playbook, propose
from thingwarden.respond.policy import Ledger, NetworkView, judge_proposal
from thingwarden.respond.rules import PolicySettings
from thingwarden.train.corpus import LabCorpus, Part
from thingwarden.train.weighting import require_labels, weigh_patterns

HABITS: Final = "habits"
"""Cause of a false incident whose loudest flows belong to no harmless act."""

OTHER_HOST: Final = "other"
SLACK_S: Final = 1.0
"""An incident's instants are those of its flows' words; an attack's are those of its flows."""

DAYS_PER_WEEK: Final = 7.0

Record = dict[str, Any]


def measure_networks(parts: Sequence[Part], lab: LabCorpus, contestant: Contestant) -> list[Record]:
    """One record per network that the fold holds out."""
    return [
        record_network(lab.find(part.capture.name), part.flows, contestant.watch(part.flows))
        for part in parts
        if len(part.flows)
    ]


def counted_networks(folder: Path, fold: int, fold_count: int) -> list[LabNetwork]:
    """Networks of the folder with the purpose ``count`` whose number falls to the fold.

    Raises:
        InputError: the folder is no lab corpus.
    """
    networks = read_manifest(folder).networks
    return [item for item in networks if item.purpose == "count" and item.number % fold_count == fold]


def watch_networks(folder: Path, networks: Sequence[LabNetwork], contestant: Contestant, kept: Path) -> list[Record]:
    """One record per network, each written to ``kept`` as soon as it is made and taken from there if it is.

    Args:
        folder: of the corpus.
        networks: read one at a time.
        contestant: fitted.
        kept: folder of this contestant, view, seed and corpus; made where it is missing.

    Raises:
        InputError: a file is not what its manifest says.
    """
    kept.mkdir(parents=True, exist_ok=True)
    records = []
    for network in networks:
        path = kept / f"{network.name}.json"
        if not path.is_file():
            flows = read_network(folder, network)
            unfinished = path.with_suffix(".partial")
            unfinished.write_text(json.dumps(record_network(network, flows, contestant.watch(flows))))
            unfinished.replace(path)
        records.append(json.loads(path.read_text()))
    return records


def record_network(network: LabNetwork, flows: FlowBatch, watched: Watched) -> Record:
    """Raw counts of one network: flows, attacks by act, and every false incident with whom and what it accuses."""
    judged = [(incident, judge_incident(flows, incident)) for incident in watched.incidents]
    true = [incident for incident, verdict in judged if verdict is True]
    false = [incident for incident, verdict in judged if verdict is False]
    playbook = load_playbook()
    return {
        "network": network.name,
        "condition": network.condition,
        "flows": len(flows),
        "device_days": network.device_days,
        "devices_by_kind": dict(Counter(device.kind for device in network.devices)),
        "chores": list(network.chores),
        **count_flows(flows, [watched.verdicts]),
        "acts": _count_acts(flows, watched, true),
        "true": len(true),
        "false": [_describe_false(network, flows, incident, playbook) for incident in false],
    }


def _count_acts(flows: FlowBatch, watched: Watched, true: Sequence[Incident]) -> dict[str, Record]:
    """Counts of each attack; it is found where a true incident accuses one of its hosts while it goes on.

    One incident may so find several: who is infected scans, guesses and calls home in one breath.
    """
    labels, weight = require_labels(flows), weigh_patterns(flows)
    names, act = split_acts(labels.detail)
    is_malicious = labels.malicious == 1
    parts = [_rows_accused(flows, incident) for incident in true]
    table: dict[str, Record] = {}
    for code, name in enumerate(names):
        rows = is_malicious & (act == code)
        if rows.any():
            table[name or HABITS] = {
                "class": CLASSES[int(np.bincount(labels.attack_class[rows].clip(0)).argmax())].value,
                "found": any(bool((rows & (began | suffered)).any()) for began, suffered, _ in parts),
                "found_with_role": any(
                    bool((rows & (began if role is Role.OFFENDER else suffered)).any())
                    for began, suffered, role in parts
                ),
                **count_mask(rows, watched.verdicts.is_malicious, weight),
            }
    return table


def _rows_accused(flows: FlowBatch, incident: Incident) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], Role]:
    """Flows that the device began, and those that it suffered, while the incident went on, bool (n,); its role."""
    start_s, end_s = incident.first_seen_at.timestamp(), incident.last_seen_at.timestamp()
    is_during = (flows.started_at_s <= end_s + SLACK_S) & (flows.ended_at_s >= start_s - SLACK_S)
    device = incident.device
    ends = []
    for address, mac in ((flows.orig_address, flows.orig_mac), (flows.resp_address, flows.resp_mac)):
        is_device = np.zeros(len(flows), dtype=np.bool_)
        if device.address is not None:
            is_device |= (address == np.array(words_from_address(device.address), dtype=np.uint64)).all(axis=1)
        if device.mac is not None:
            is_device |= mac == mac_number(device.mac)
        ends.append(is_device & is_during)
    return ends[0], ends[1], incident.role


def _describe_false(network: LabNetwork, flows: FlowBatch, incident: Incident, playbook: Playbook) -> Record:
    kinds = {name: device.kind for device in network.devices for name in (device.ip, device.mac)}
    address = str(incident.device.address)
    names, act = split_acts(require_labels(flows).detail)
    causes = Counter(names[act[detection.flow]] for detection in incident.detections)
    return {
        "kind": kinds.get(incident.device.mac or "", kinds.get(address, OTHER_HOST)),
        "cause": causes.most_common(1)[0][0] or HABITS,
        "class": incident.attack_class.value,
        "role": incident.role.value,
        "is_restricted": is_restricted(incident, playbook),
    }


def is_restricted(incident: Incident, playbook: Playbook, settings: PolicySettings | None = None) -> bool:
    """Whether policy, by its defaults or ``settings`` and nothing ordered before, would order more than a notification.

    Hosts that the product learns to protect are not known here, so this errs towards yes.
    """
    view, ledger, settings = NetworkView(devices=(incident.device,)), Ledger(), settings or PolicySettings()
    for proposal in propose(incident, playbook):
        if proposal.act is not Act.NOTIFY:
            order = judge_proposal(
                proposal, incident, view=view, ledger=ledger, settings=settings, now=incident.opened_at
            )
            if isinstance(order, Decision):
                return True
    return False


def pool_networks(records: Sequence[Record]) -> Record | None:
    """Figures over the networks left out; None without any."""
    if not records:
        return None
    said, total = (np.array([r["malicious"][key] for r in records]) for key in ("weight_said", "weight"))
    acts = [(name, act) for record in records for name, act in record["acts"].items()]
    return {
        "networks": len(records),
        "tpr": _ratio(said.sum(), total.sum()),
        "tpr_interval": bootstrap_interval(said, total),
        "tpr_by_row": _pooled(records, "malicious", "rows"),
        "fpr": _pooled(records, "benign", "weight"),
        "fpr_by_row": _pooled(records, "benign", "rows"),
        "attacks": len(acts),
        "attacks_found": _ratio(sum(act["found"] for _, act in acts), len(acts)),
        "attacks_found_with_role": _ratio(sum(act["found_with_role"] for _, act in acts), len(acts)),
        **_count_false(records),
        "per_act": _pool_acts(acts),
    }


def _pool_acts(acts: Sequence[tuple[str, Record]]) -> dict[str, Record]:
    by_name: dict[str, list[Record]] = defaultdict(list)
    for name, act in acts:
        by_name[name].append(act)
    return {
        name: {
            "class": found[0]["class"],
            "attacks": len(found),
            "found": _ratio(sum(act["found"] for act in found), len(found)),
            "found_with_role": _ratio(sum(act["found_with_role"] for act in found), len(found)),
            "tpr": _ratio(sum(act["weight_said"] for act in found), sum(act["weight"] for act in found)),
        }
        for name, found in sorted(by_name.items())
    }


def pool_weeks(records: Sequence[Record]) -> Record | None:
    """False incidents per device-week over networks without attacks, by device kind and by cause; None without any."""
    if not records:
        return None
    days: Counter[str] = Counter()
    for record in records:
        count = sum(record["devices_by_kind"].values())
        for kind, devices in record["devices_by_kind"].items():
            days[kind] += record["device_days"] * devices / count
    false = [incident for record in records for incident in record["false"]]
    kinds = {incident["kind"] for incident in false} | set(days)
    return {
        "networks": len(records),
        "flows": sum(record["flows"] for record in records),
        "fpr": _pooled(records, "benign", "weight"),
        "fpr_by_row": _pooled(records, "benign", "rows"),
        **_count_false(records),
        "by_kind": {
            kind: _per_week([item for item in false if item["kind"] == kind], days[kind]) for kind in sorted(kinds)
        },
        "by_cause": {cause: _in_cause(records, cause) for cause in sorted(_causes(records))},
    }


def _causes(records: Sequence[Record]) -> set[str]:
    chores = {chore for record in records for chore in record["chores"]}
    return chores | {incident["cause"] for record in records for incident in record["false"]}


def _in_cause(records: Sequence[Record], cause: str) -> Record:
    """Incidents that accuse the cause's own flows, and how many networks it happened in."""
    false = [incident for record in records for incident in record["false"] if incident["cause"] == cause]
    networks = sum(cause == HABITS or cause in record["chores"] for record in records)
    in_networks = sum(len(record["false"]) for record in records if cause == HABITS or cause in record["chores"])
    return {
        "networks": networks,
        "false_incidents": len(false),
        "restricted": sum(incident["is_restricted"] for incident in false),
        "false_incidents_in_these_networks": in_networks,
    }


def _count_false(records: Sequence[Record]) -> Record:
    false = [incident for record in records for incident in record["false"]]
    return _per_week(false, sum(record["device_days"] for record in records))


def _per_week(false: Sequence[Record], device_days: float) -> Record:
    restricted = sum(incident["is_restricted"] for incident in false)
    weeks = device_days / DAYS_PER_WEEK
    return {
        "device_weeks": weeks,
        "false_incidents": len(false),
        "false_per_device_week": _ratio(len(false), weeks),
        "false_per_device_week_at_most": _ratio(poisson_upper_bound(len(false)), weeks),
        "restricted": restricted,
        "restricted_per_device_week_at_most": _ratio(poisson_upper_bound(restricted), weeks),
    }


def class_counts(records: Sequence[Record], attack_class: str) -> Iterator[Mapping[str, float]]:
    """Counts of one class in the networks that hold it."""
    return (record["classes"][attack_class] for record in records if attack_class in record["classes"])


def _pooled(records: Sequence[Record], label: str, unit: str) -> float | None:
    said = sum(record[label][f"{unit}_said"] for record in records)
    return _ratio(said, sum(record[label][unit] for record in records))


def _ratio(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole > 0 else None
