"""Counts what one model, as it ships, makes of the hard negatives: incidents, and those that get more than a notice.

In: an artifact, how many networks. Out: figures with Poisson's bound per hard negative, a report.
Must never: count only the incidents that accuse an odd thing's own flows, or leave out a network that went badly.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from thingwarden.bench import hard_negatives
from thingwarden.bench.contestants import FittedScorer, ScoringContestant
from thingwarden.bench.hard_negatives import CONTROL, DAY_S, HardNegative, Prepared, Situation, prepare
from thingwarden.bench.lab_networks import HABITS, is_restricted
from thingwarden.bench.metrics import poisson_upper_bound
from thingwarden.bench.report_notes import read_notes
from thingwarden.bench.resumable import Record, run_all, state_digest
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import Incident
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.ingest.lab_corpus import split_acts
from thingwarden.lab.behaviour.catalogue import ACTS, live
from thingwarden.lab.simulated.run import BEGAN_ON, simulate
from thingwarden.model.artifact import Artifact, load_artifact
from thingwarden.model.scorer import FlowScorer
from thingwarden.respond.playbook import load_playbook
from thingwarden.respond.rules import PolicySettings
from thingwarden.train.weighting import require_labels

GOAL_NETWORKS: Final = 20
"""Each is let happen in so many networks at least, and none of them may be answered with more than a notification."""

HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class _Task:
    model: Path
    situation: Situation
    duration_s: float


def count_negatives(
    artifact: Artifact,
    kept: Path,
    *,
    negatives: Sequence[HardNegative],
    networks: int = GOAL_NETWORKS,
    duration_s: float = DAY_S,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Any]:
    """Let each happen in so many networks.

    Args:
        artifact: the model, with the thresholds that it ships with.
        kept: folder for one record per network, so that a run that was cut off goes on.
        negatives: which.
        networks: of each, all of them different.
        duration_s: of each recording.
        jobs: worker processes.
        progress: told how many networks are done, and of how many.
    """
    situations = {
        item.name: item
        for negative in negatives
        for number in range(networks)
        for item in (Situation(negative, number),)
    }
    folder = kept / f"{state_digest(artifact, Path(hard_negatives.__file__), Path(__file__))}-{duration_s:.0f}"
    tasks = {name: _Task(artifact.path, situation, duration_s) for name, situation in situations.items()}
    records = run_all(_measure, tasks, folder, jobs=jobs, progress=progress)
    return {
        "model": f"{artifact.manifest['name']} of {artifact.manifest.get('trained_at', 'no date')}",
        "evidence_nats": artifact.calibration.evidence_nats,
        "alarm_level_nats": artifact.calibration.alarm_level_nats,
        "state": folder.name,
        "networks": networks,
        "duration_s": duration_s,
        "negatives": {
            negative.name: {
                "about": negative.about,
                **pool_negative([records[name] for name, item in situations.items() if item.negative is negative]),
            }
            for negative in negatives
        },
    }


def _measure(task: _Task) -> Record:
    """What a worker does."""
    return record_situation(task.situation, prepare(task.situation, task.duration_s), _contestant(task.model))


@cache
def _contestant(model: Path) -> ScoringContestant:
    artifact = load_artifact(model)
    fitted = FittedScorer(
        vocabulary=Vocabulary.from_json(artifact.vocabulary),
        scorer=FlowScorer(artifact),
        calibration=artifact.calibration,
    )
    return ScoringContestant.ready(str(artifact.manifest["name"]), fitted)


def record_situation(situation: Situation, prepared: Prepared, contestant: ScoringContestant) -> Record:
    """Play one network and note every incident; all are false, for there is no attack.

    Returns:
        ``flows``; ``device_days`` since the odd thing began; ``incidents``, each with hours since then (negative:
        before), class, role, the harmless act that most of its loudest flows belong to, and whether policy, with the
        owner's machine allowed and each incident on its own, would order more than a notification.
    """
    schedule = prepared.schedule
    flows = FlowBatch.concatenate(list(simulate(schedule, live, ACTS)))
    began_at_s = BEGAN_ON.timestamp() + schedule.starts_at_hour * HOUR_S + prepared.begins_s
    playbook, settings = load_playbook(), PolicySettings(allowed_macs=prepared.allowed_macs)
    return {
        "flows": len(flows),
        "device_days": len(schedule.hosts) * (schedule.duration_s - prepared.begins_s) / DAY_S,
        "device_days_before": len(schedule.hosts) * prepared.begins_s / DAY_S,
        "incidents": [
            {
                "after_h": (incident.opened_at.timestamp() - began_at_s) / HOUR_S,
                "class": incident.attack_class.value,
                "role": incident.role.value,
                "cause": _cause(flows, incident),
                "is_own": _cause(flows, incident) == situation.negative.event,
                "is_restricted": is_restricted(incident, playbook, settings),
            }
            for incident in contestant.watch(flows).incidents
        ],
    }


def _cause(flows: FlowBatch, incident: Incident) -> str:
    names, act = split_acts(require_labels(flows).detail)
    causes = Counter(names[act[detection.flow]] for detection in incident.detections)
    return causes.most_common(1)[0][0] or HABITS


def pool_negative(records: Sequence[Record]) -> Record:
    """Counts over the networks of one hard negative, with the means that cannot be excluded with 95 % confidence."""
    incidents = [incident for record in records for incident in record["incidents"]]
    after = [incident for incident in incidents if incident["after_h"] >= 0.0]
    restricted = sum(incident["is_restricted"] for incident in after)
    return {
        "networks": len(records),
        "flows": sum(record["flows"] for record in records),
        "device_days": sum(record["device_days"] for record in records),
        "incidents": len(after),
        "own_incidents": sum(incident["is_own"] for incident in after),
        "networks_with_incident": sum(
            any(incident["after_h"] >= 0.0 for incident in record["incidents"]) for record in records
        ),
        "restricted": restricted,
        "restricted_own": sum(incident["is_restricted"] and incident["is_own"] for incident in after),
        "restricted_per_network_at_most": poisson_upper_bound(restricted) / len(records),
        "classes": dict(Counter(f"{incident['class']}, {incident['role']}" for incident in after).most_common()),
        "device_days_before": sum(record["device_days_before"] for record in records),
        "incidents_before": len(incidents) - len(after),
        "restricted_before": sum(item["is_restricted"] for item in incidents) - restricted,
    }


def is_met(row: Record) -> bool:
    """Whether a hard negative was let happen often enough and never answered with more than a notification."""
    return bool(row["networks"] >= GOAL_NETWORKS and row["restricted"] == 0)


def render_negatives(figures: dict[str, Any], notes: str = "") -> str:
    """The report, Markdown: missed ones first, the control last; ``notes`` are printed below the table."""
    rows = {name: row for name, row in figures["negatives"].items() if name != CONTROL}
    control = {name: row for name, row in figures["negatives"].items() if name == CONTROL}
    met = sum(is_met(row) for row in rows.values())
    ordered = sorted(rows.items(), key=lambda item: (is_met(item[1]), -item[1]["restricted"], -item[1]["incidents"]))
    seen = sorted({f"- {name}: {row['about']}" for name, row in figures["negatives"].items()})
    return "\n".join(
        [
            "# Hard negatives",
            "",
            f"**{'Met' if met == len(rows) else 'MISSED'}**: {met} of {len(rows)} hard negatives passed without any "
            f"incident above a notification, each in {figures['networks']} simulated networks of four to seven devices "
            f"that nobody learned from, {figures['duration_s'] / HOUR_S:.0f} hours long (needed: {GOAL_NETWORKS}).",
            "",
            f"Model: {figures['model']}, evidence above {figures['evidence_nats']:.2f} nats, alarm level "
            f"{figures['alarm_level_nats']:.1f} nats. Counted is every incident from the odd thing's beginning to the "
            "end of the recording, whatever caused it; in brackets those whose loudest flows are the odd thing's own "
            "(an outage has none of its own: what fails then are habits). `before`: the same networks until then. "
            "The bound is Poisson's, 95 %. Each incident is judged by policy on its own, which errs upwards.",
            "",
            "| hard negative | networks | incidents (own) | above notify (own) | per network at most | "
            "incidents before (above notify) | said | |",
            "|---|---:|---:|---:|---:|---:|---|---|",
            *(_row(name, row) for name, row in (*ordered, *control.items())),
            "",
            *([notes, ""] if notes else []),
            *seen,
            "",
        ]
    )


def _row(name: str, row: Record) -> str:
    said = "; ".join(f"{count} {text}" for text, count in list(row["classes"].items())[:4])
    verdict = "control" if name == CONTROL else "met" if is_met(row) else "**MISSED**"
    return (
        f"| {name} | {row['networks']} | {row['incidents']} ({row['own_incidents']}) | "
        f"{row['restricted']} ({row['restricted_own']}) | {row['restricted_per_network_at_most']:.2f} | "
        f"{row['incidents_before']} ({row['restricted_before']}) | {said} | {verdict} |"
    )


def write_negatives(figures: dict[str, Any], out: Path) -> Path:
    """Write ``hard-negatives.md`` and ``hard-negatives.json`` into ``out``; the first one's path."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "hard-negatives.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    report = out / "hard-negatives.md"
    report.write_text(render_negatives(figures, read_notes(out, "hard-negatives")), encoding="utf-8")
    return report
