"""Goals are told missed first, each by its distance, and none is silent where nothing was measured."""

from __future__ import annotations

from typing import Any

import pytest

from thingwarden.bench.goals import MODEL, check_goals


def spread(value: float) -> dict[str, float]:
    return {"mean": value, "least": value, "most": value}


def figures(**changes: dict[str, Any] | None) -> dict[str, Any]:
    """Figures that meet every goal."""
    met: dict[str, Any] = {
        "captures_left_out": {"tpr": 0.97, "fpr": 0.001, "captures_with_attacks": 7, "captures_found_with_role": 7},
        "classes_left_out": {"scan": {"recall": spread(0.9)}, "TON_IoT xss": {"recall": spread(0.1)}},
        "ton_pairs": {"macro_f1": 0.95, "macro_f1_learnable": 0.96, "fpr": 0.001},
        "benign_left_out": {
            "false_incidents": 0,
            "device_days": 14.0,
            "false_per_device_week_at_most": 1.5,
            "accused_per_100_sessions": 1.0,
        },
        "lab_weeks": {"device_weeks": 210.0, "false_per_device_week": 0.2, "restricted": 0},
        "shortcut_audit": {
            "route_told_from_benign_scores": 0.55,
            "equal_verdicts_on_both_routes": 0.999,
            "f1_of_source_alone": 0.1,
            "f1_of_position_alone": 0.2,
        },
    }
    met["classes_left_out"]["TON_IoT xss"]["recall_at_threshold"] = spread(0.85)
    for protocol in set(met) - {"classes_left_out"}:
        met[protocol] = {key: spread(value) for key, value in met[protocol].items()}
    return met | changes


def summary(model: dict[str, Any], **changes: Any) -> dict[str, Any]:
    dictionary = {"ton_pairs": {"macro_f1": spread(0.8), "macro_f1_learnable": spread(0.9)}}
    row = {"figure": "tpr", "one": 0.97, "other": 0.6, "difference": 0.37, "interval": (0.1, 0.5)}
    return {
        "contestants": {MODEL: {"figures": model}, "dictionary": {"figures": dictionary}},
        "against_baselines": {"dictionary": [row]},
        "lab_ablation": None,
    } | changes


def worse(protocol: str, **values: float) -> dict[str, Any]:
    model = figures()
    return model | {protocol: model[protocol] | {key: spread(value) for key, value in values.items()}}


def test_where_all_is_reached_every_line_says_so() -> None:
    goals = check_goals(summary(figures()))
    assert len(goals) == 15 and all(goal.startswith("MET: ") for goal in goals)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (worse("captures_left_out", tpr=0.9), "weighted TPR 0.900, at least 0.95 wanted (-0.0500)"),
        (worse("captures_left_out", fpr=0.01), "pooled FPR 0.0100, allowed 0.002 (-0.0080)"),
        (worse("captures_left_out", captures_found_with_role=5), "5.0 of 7 malicious captures"),
        (worse("ton_pairs", macro_f1=0.85), "macro-F1 0.850, 0.900 would halve the dictionary's error (-0.0500)"),
        (worse("ton_pairs", fpr=0.02), "FPR 0.020, allowed 0.01 (-0.0100)"),
        (worse("benign_left_out", false_incidents=2), "2.0 false incidents in 14.0 benign device-days"),
        (worse("benign_left_out", accused_per_100_sessions=3), "3.0 of 100 set-up sessions accused"),
        (worse("lab_weeks", false_per_device_week=1.5), "1.500 false incidents a device-week"),
        (worse("lab_weeks", device_weeks=20), "in 20 simulated"),
        (worse("shortcut_audit", route_told_from_benign_scores=0.7), "accuracy 0.700"),
        (worse("shortcut_audit", equal_verdicts_on_both_routes=0.9), "0.9000 of verdicts are equal"),
        (worse("shortcut_audit", f1_of_source_alone=0.6), "F1 of the source alone 0.600"),
    ],
)
def test_what_is_missed_comes_first_with_its_distance(model: dict[str, Any], told: str) -> None:
    goals = check_goals(summary(model))
    assert goals[0].startswith("MISSED: ") and told in goals[0]
    assert all(goal.startswith("MET: ") for goal in goals[1:])


def test_classes_that_are_not_found_are_named() -> None:
    classes = {"scan": {"recall": spread(0.9)}, "dos": {"recall": spread(0.5)}, "c2": {"recall": None}}
    assert "for 1 of 2; below: dos 0.50 (-0.3000)" in check_goals(summary(figures(classes_left_out=classes)))[0]


def test_a_lead_that_chance_could_have_made_is_none() -> None:
    row = {"figure": "tpr", "one": 0.97, "other": 0.9, "difference": 0.07, "interval": (-0.1, 0.2)}
    assert check_goals(summary(figures(), against_baselines={"forest": [row]}))[0].startswith("MISSED: weighted TPR")


def test_what_was_not_measured_is_said() -> None:
    nothing = figures(classes_left_out={}, lab_weeks=None, ton_pairs=None, shortcut_audit={})
    goals = check_goals(summary(nothing))
    assert sum(goal.startswith("NOT MEASURED: ") for goal in goals) == 7
    assert goals[0].startswith("NOT MEASURED") and goals[-1].startswith("MET")


def test_without_the_model_there_is_nothing_to_check() -> None:
    assert check_goals({"contestants": {"dictionary": {"figures": {}}}})[0].startswith("NOT RUN")


@pytest.mark.parametrize(("gain", "word"), [(0.2, "MET"), (-0.2, "MISSED")])
def test_simulated_networks_must_help_on_recorded_ones(gain: float, word: str) -> None:
    rows = [
        {
            "figure": figure,
            "title": figure,
            "one": 0.5 + sign * gain,
            "other": 0.5,
            "difference": sign * gain,
            "interval": (-0.1, 0.1),
        }
        for figure, sign in (("tpr", 1.0), ("fpr", -1.0), ("false", -1.0))
    ]
    told = [goal for goal in check_goals(summary(figures(), lab_ablation=rows)) if "with simulated networks" in goal]
    assert len(told) == 2 and all(goal.startswith(word) for goal in told)
