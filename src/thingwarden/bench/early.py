"""Early detection and persistence of one model as it ships: every scene watched, pooled to curves and goals.

In: an artifact, attacks, how many seeds. Out: figures: what was reached after how long, at which rate, and in how many.
Must never: leave out a scene in which nothing was found, or count it as if it had been found at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from thingwarden.bench import early_attacks, early_persistence, early_scenes, early_watch
from thingwarden.bench.contestants import FittedScorer
from thingwarden.bench.early_attacks import SLOWEST_BEACON_S, Attack, Family
from thingwarden.bench.early_persistence import list_persistent, pool_persistence, record_persistence
from thingwarden.bench.early_scenes import Scene, play, stage
from thingwarden.bench.early_watch import record_scene, watch
from thingwarden.bench.resumable import Record, run_all, state_digest
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.model.artifact import Artifact, load_artifact
from thingwarden.model.scorer import FlowScorer

SCAN_PROBES: Final = 30
BEACONS: Final = 5
HOURLY_BEACONS: Final = 8
GUESSES: Final = 10
SCAN_S: Final = 2.0
FLOOD_S: Final = 1.0

MEASURES: Final = ("seconds", "packets", "attempts")
VERDICTS: Final = ("word", "incident", "answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """The latest at which an incident may be opened; None where it does not matter."""

    seconds: float | None = None
    attempts: int | None = None

    def is_met(self, moment: Record | None) -> bool:
        """Whether a scene's incident came in time."""
        if moment is None:
            return False
        in_seconds = self.seconds is None or moment["seconds"] <= self.seconds
        return in_seconds and (self.attempts is None or moment["attempts"] <= self.attempts)


@dataclass(frozen=True, slots=True)
class _Task:
    model: Path
    scene: Scene


def goal_of(attack: Attack, rate_per_s: float) -> Goal:
    """What is asked of an attack at a rate.

    So many probes take longer than the seconds allowed where a scan is slow; there the probes alone decide.
    """
    if attack.family == "scan":
        return Goal(seconds=max(SCAN_S, SCAN_PROBES / rate_per_s), attempts=SCAN_PROBES)
    if attack.family == "flood":
        return Goal(seconds=FLOOD_S)
    if attack.family == "guess":
        return Goal(attempts=GUESSES)
    is_hourly = attack.is_busy and math.isclose(1.0 / rate_per_s, SLOWEST_BEACON_S)
    return Goal(attempts=HOURLY_BEACONS if is_hourly else BEACONS)


def measure_early(
    artifact: Artifact,
    kept: Path,
    *,
    attacks: Sequence[Attack],
    seeds: int,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Any]:
    """Watch every attack at every rate in every seed's network, and every lasting one for its 3,000 words.

    Args:
        artifact: the model, with the thresholds that it ships with.
        kept: folder for one record per scene, so that a run that was cut off goes on.
        attacks: which.
        seeds: networks per attack.
        jobs: worker processes.
        progress: told how many scenes are done, and of how many.
    """
    sources = [Path(str(module.__file__)) for module in (early_attacks, early_scenes, early_watch, early_persistence)]
    folder = kept / state_digest(artifact, *sources)
    scenes = [
        Scene(attack=attack, rate_per_s=rate, seed=seed)
        for attack in attacks
        for rate in attack.rates_per_s
        for seed in range(seeds)
    ]
    lasting = list_persistent(attacks, seeds)
    tasks = {scene.name: _Task(artifact.path, scene) for scene in (*scenes, *lasting)}
    records = run_all(_measure, tasks, folder, jobs=jobs, progress=progress)
    return {
        "model": f"{artifact.manifest['name']} of {artifact.manifest.get('trained_at', 'no date')}",
        "evidence_nats": artifact.calibration.evidence_nats,
        "alarm_level_nats": artifact.calibration.alarm_level_nats,
        "state": folder.name,
        "seeds": seeds,
        "attacks": {
            attack.name: {
                "family": attack.family,
                "about": attack.about,
                "rates": [
                    pool_rate(attack, rate, [records[scene.name] for scene in scenes if _is_of(scene, attack, rate)])
                    for rate in attack.rates_per_s
                ],
            }
            for attack in attacks
        },
        "goals": judge_goals([(scene, records[scene.name]) for scene in scenes]),
        "persistence": pool_persistence([(scene, records[scene.name]) for scene in lasting]),
    }


def _is_of(scene: Scene, attack: Attack, rate_per_s: float) -> bool:
    return scene.attack.name == attack.name and scene.rate_per_s == rate_per_s


def _measure(task: _Task) -> Record:
    """What a worker does."""
    played = play(stage(task.scene))
    watched = watch(played, _fitted(task.model))
    if task.scene.attempts:
        return record_persistence(task.scene.attack, played, watched)
    return record_scene(task.scene.attack, played, watched)


@cache
def _fitted(model: Path) -> FittedScorer:
    artifact = load_artifact(model)
    return FittedScorer(
        vocabulary=Vocabulary.from_json(artifact.vocabulary),
        scorer=FlowScorer(artifact),
        calibration=artifact.calibration,
    )


def pool_rate(attack: Attack, rate_per_s: float, records: Sequence[Record]) -> Record:
    """Median and worst of an attack's scenes at one rate; null where half of them, or one, was never found."""
    goal = goal_of(attack, rate_per_s)
    achieved = [record["attempts_per_s"] for record in records if record["attempts_per_s"] is not None]
    return {
        "rate_per_s": rate_per_s,
        "achieved_per_s": float(np.median(achieved)) if achieved else None,
        "flows_per_minute": float(np.median([record["flows_per_minute"] for record in records])),
        "scenes": len(records),
        "goal_seconds": goal.seconds,
        "goal_attempts": goal.attempts,
        "within": sum(goal.is_met(record["incident"]) for record in records),
        "accused_before": sum(record["is_accused_before"] for record in records),
        "first_word_is_close": sum(bool(record["word"] and record["word"]["is_close"]) for record in records),
        **{verdict: _spread([record[verdict] for record in records]) for verdict in VERDICTS},
    }


def _spread(moments: Sequence[Record | None]) -> Record:
    """Of each measure median and worst, and how many scenes never came so far."""
    spread: Record = {"never": sum(moment is None for moment in moments)}
    for measure in MEASURES:
        values = sorted(math.inf if moment is None else float(moment[measure]) for moment in moments)
        spread[measure] = {"median": _finite(values[len(values) // 2]), "worst": _finite(values[-1])}
    return spread


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def judge_goals(records: Sequence[tuple[Scene, Record]]) -> list[Record]:
    """The goals with what was reached, those that were missed first; met only where every scene was in time."""
    rows = []
    for text, family, is_hourly in _GOALS:
        found = [
            (goal, record["incident"], record["word"])
            for scene, record in records
            if (goal := goal_of(scene.attack, scene.rate_per_s)) and scene.attack.family == family
            if (goal.attempts == HOURLY_BEACONS) is is_hourly
        ]
        if found:
            within = sum(goal.is_met(incident) for goal, incident, _ in found)
            rows.append(
                {
                    "goal": text,
                    "scenes": len(found),
                    "within": within,
                    "word_within": sum(goal.is_met(word) for goal, _, word in found),
                    "is_met": within == len(found),
                    **_spread([incident for _, incident, _ in found]),
                }
            )
    return sorted(rows, key=lambda row: bool(row["is_met"]))


_GOALS: Final[tuple[tuple[str, Family, bool], ...]] = (
    (f"scan: incident within {SCAN_PROBES} probes, and within {SCAN_S:.0f} s where it is fast enough", "scan", False),
    (f"flood: incident within {FLOOD_S:.0f} s", "flood", False),
    (f"brute force: incident within {GUESSES} attempts", "guess", False),
    (f"C&C: incident within {BEACONS} beacons", "beacon", False),
    (f"C&C once an hour beside 5 flows a minute: incident within {HOURLY_BEACONS} beacons", "beacon", True),
)
"""In words, of which family, and whether the wider goal for slow beacons."""
