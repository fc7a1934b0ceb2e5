"""Early detection as a whole: goals, pooling that hides nothing, and a run that goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from thingwarden.bench.early import Goal, goal_of, judge_goals, measure_early, pool_rate
from thingwarden.bench.early_attacks import ATTACKS
from thingwarden.bench.early_scenes import Scene
from thingwarden.config import PACKAGED_MODEL
from thingwarden.model.artifact import load_artifact

BY_NAME = {attack.name: attack for attack in ATTACKS}


def moment(seconds: float, attempts: int) -> dict[str, Any]:
    return {"seconds": seconds, "packets": attempts, "attempts": attempts, "is_close": False}


def scene_record(incident: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "attempts": 200,
        "attempts_per_s": 99.0,
        "word": incident,
        "incident": incident,
        "answer": None,
        "is_accused_before": False,
        "flows_per_minute": 1.0,
    }


def test_goals_are_those_of_the_design() -> None:
    assert goal_of(BY_NAME["sweep-syn"], 100.0) == Goal(seconds=2.0, attempts=30)
    assert goal_of(BY_NAME["sweep-syn"], 1.0) == Goal(seconds=30.0, attempts=30), "thirty probes take thirty seconds"
    assert goal_of(BY_NAME["flood-syn"], 10.0) == Goal(seconds=1.0)
    assert goal_of(BY_NAME["guess-ssh"], 1.0) == Goal(attempts=10)
    assert goal_of(BY_NAME["beacon-tcp"], 1 / 3600) == Goal(attempts=5)
    assert goal_of(BY_NAME["beacon-tcp-busy"], 1 / 3600) == Goal(attempts=8)
    assert goal_of(BY_NAME["beacon-tcp-busy"], 1 / 600) == Goal(attempts=5)


def test_a_goal_needs_both_and_never_is_never_in_time() -> None:
    goal = Goal(seconds=2.0, attempts=30)
    assert goal.is_met(moment(2.0, 30))
    assert not goal.is_met(moment(2.1, 3)) and not goal.is_met(moment(0.1, 31)) and not goal.is_met(None)


def test_pooling_counts_what_was_never_found_as_endless() -> None:
    found = [scene_record(moment(seconds, 10)) for seconds in (0.5, 1.0, 9.0)]
    pooled = pool_rate(BY_NAME["sweep-syn"], 100.0, found)
    assert pooled["incident"]["seconds"] == {"median": 1.0, "worst": 9.0}
    assert (pooled["within"], pooled["incident"]["never"]) == (2, 0)
    pooled = pool_rate(BY_NAME["sweep-syn"], 100.0, [*found[:1], scene_record(None), scene_record(None)])
    assert pooled["incident"]["seconds"] == {"median": None, "worst": None}
    assert (pooled["within"], pooled["incident"]["never"]) == (1, 2)


def test_one_scene_too_late_misses_the_goal_and_missed_goals_come_first() -> None:
    told = (
        ("sweep-syn", 100.0, (moment(0.1, 10), moment(0.2, 20))),
        ("flood-syn", 100.0, (moment(0.1, 10), None)),
        ("beacon-tcp-busy", 1 / 3600, (moment(25_000.0, 8),)),
    )
    goals = judge_goals(
        [
            (Scene(attack=BY_NAME[name], rate_per_s=rate, seed=seed), scene_record(incident))
            for name, rate, incidents in told
            for seed, incident in enumerate(incidents)
        ]
    )
    assert [goal["is_met"] for goal in goals] == [False, True, True]
    assert goals[0]["goal"].startswith("flood") and goals[0]["never"] == 1
    assert (goals[0]["within"], goals[0]["word_within"]) == (1, 1)
    assert goals[0]["seconds"] == {"median": None, "worst": None}
    assert goals[1]["attempts"] == {"median": 20.0, "worst": 20.0}
    assert goals[2]["goal"].startswith("C&C once an hour") and goals[2]["within"] == 1


def test_a_run_keeps_its_scenes_and_measures_none_twice(tmp_path: Path) -> None:
    attacks = (replace(BY_NAME["guess-http"], rates_per_s=(5.0,)),)
    artifact = load_artifact(PACKAGED_MODEL)
    said: list[tuple[int, int]] = []
    first = measure_early(
        artifact, tmp_path, attacks=attacks, seeds=2, progress=lambda done, total: said.append((done, total))
    )
    assert said == [(0, 2), (1, 2), (2, 2)]
    said.clear()
    again = measure_early(
        artifact, tmp_path, attacks=attacks, seeds=2, progress=lambda done, total: said.append((done, total))
    )
    assert said == [(2, 2)] and again == first
    (rate,) = first["attacks"]["guess-http"]["rates"]
    assert rate["scenes"] == 2 and rate["goal_attempts"] == 10
    assert rate["achieved_per_s"] is not None
