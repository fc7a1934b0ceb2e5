"""Counts the false incidents of one model, as it ships, in simulated device-weeks that it never learned from.

In: an artifact with its own thresholds, a lab corpus of networks to count in. Out: a report and its figures.
Must never: count in a network that may be learned from, or leave out one that went badly.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from thingwarden.bench.contestants import FittedScorer, ScoringContestant
from thingwarden.bench.lab_networks import pool_weeks, watch_networks
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.errors import InputError
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.ingest.lab_corpus import manifest_digest, read_manifest
from thingwarden.model.artifact import Artifact
from thingwarden.model.scorer import FlowScorer

GOAL_DEVICE_WEEKS: Final = 200.0
"""So many must be counted; at most one false incident in each is allowed."""


def count_weeks(artifact: Artifact, corpus: Path, kept: Path, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Judge every network to count in.

    Args:
        artifact: the model, with the thresholds that it ships with.
        corpus: folder of the networks.
        kept: folder for one record per network, so that a count that was cut off goes on.
        progress: told how many networks are done, and of how many.

    Returns:
        ``pool_weeks`` over all of them, with what was judged by what.

    Raises:
        InputError: no lab corpus, or it holds no network to count in.
    """
    networks = [network for network in read_manifest(corpus).networks if network.purpose == "count"]
    if not networks:
        raise InputError(str(corpus), "holds no network to count in", "make one with: lab corpus --device-weeks")
    model = f"{artifact.manifest['name']} of {artifact.manifest.get('trained_at', 'no date')}"
    fitted = FittedScorer(
        vocabulary=Vocabulary.from_json(artifact.vocabulary),
        scorer=FlowScorer(artifact),
        calibration=artifact.calibration,
    )
    contestant = ScoringContestant.ready(model, fitted)
    records = []
    for number, network in enumerate(networks, start=1):
        records += watch_networks(corpus, [network], contestant, kept)
        progress(number, len(networks))
    return {"model": model, "corpus_sha256": manifest_digest(corpus), **(pool_weeks(records) or {})}


def describe_thresholds(calibration: Calibration) -> str:
    """The two numbers that decide what becomes an incident."""
    return f"evidence above {calibration.evidence_nats:.2f} nats, alarm level {calibration.alarm_level_nats:.1f} nats"


def render_weeks(figures: dict[str, Any], thresholds: str) -> str:
    """The report, Markdown: the whole, then by device kind and by what befell the networks."""
    weeks, false = figures["device_weeks"], figures["false_incidents"]
    is_met = weeks >= GOAL_DEVICE_WEEKS and figures["false_per_device_week"] <= 1.0
    lines = [
        "# False incidents in simulated device-weeks",
        "",
        f"**{'Met' if is_met else 'MISSED'}**: {false} false incidents in {weeks:.0f} device-weeks of "
        f"{figures['networks']} harmless networks, {figures['false_per_device_week']:.3f} a week "
        f"(at most {figures['false_per_device_week_at_most']:.3f} with 95 % confidence); {figures['restricted']} "
        f"would have been answered with more than a notification. Allowed: one a week, over {GOAL_DEVICE_WEEKS:.0f}.",
        "",
        f"Model: {figures['model']}, {thresholds}. {figures['flows']:,} flows, of which "
        f"{figures['fpr_by_row']:.4%} lie above the flow threshold.",
        "",
        "| device kind | device-weeks | false incidents | beyond notification |",
        "|---|---:|---:|---:|",
        *(
            f"| {kind} | {row['device_weeks']:.1f} | {row['false_incidents']} | {row['restricted']} |"
            for kind, row in figures["by_kind"].items()
        ),
        "",
        "| what befell the network | networks | false incidents of its own flows | beyond notification |",
        "|---|---:|---:|---:|",
        *(
            f"| {cause} | {row['networks']} | {row['false_incidents']} | {row['restricted']} |"
            for cause, row in figures["by_cause"].items()
        ),
        "",
    ]
    return "\n".join(lines)


def write_weeks(figures: dict[str, Any], thresholds: str, out: Path) -> Path:
    """Write ``lab-weeks.md`` and ``lab-weeks.json`` into ``out``; the first one's path."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "lab-weeks.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    report = out / "lab-weeks.md"
    report.write_text(render_weeks(figures, thresholds), encoding="utf-8")
    return report
