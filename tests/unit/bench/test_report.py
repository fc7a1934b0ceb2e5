"""The report begins with what was missed, and prints every capture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from thingwarden.bench.accuracy import summarise_run
from thingwarden.bench.baselines import RECIPES, BaselineFitter, TrainingShelf
from thingwarden.bench.contestants import ScoringContestant
from thingwarden.bench.plots import draw_plots
from thingwarden.bench.protocols import Cell, build_view, measure_view
from thingwarden.bench.report import MODEL, NOTES_FILE, check_goals, write_reports
from thingwarden.train.corpus import Corpus
from thingwarden.train.folds import FoldPlan


@pytest.fixture(scope="module")
def summary(plan: FoldPlan, corpus: Corpus) -> dict[str, Any]:
    cells: list[Cell] = []
    for name, recipe in (("dictionary", "dictionary"), ("lightgbm", "forest"), (MODEL, "rate")):
        contestant = ScoringContestant(name, BaselineFitter(RECIPES[recipe], TrainingShelf()))
        cell = measure_view(build_view(plan, corpus, "0", 0), contestant, 0)
        cells.append(cell | {"fold_plan_sha256": plan.sha256, "source_sha256": "ab" * 32, "version": "0"})
    return summarise_run(plan, cells)


def test_missed_goals_come_first_with_their_distance(summary: dict[str, Any]) -> None:
    goals = check_goals(summary)
    is_missed = [goal.startswith("MISSED") for goal in goals]
    assert is_missed[0] and is_missed == sorted(is_missed, reverse=True)
    ton = next(goal for goal in goals if "macro-F1" in goal)
    assert ton.startswith("MISSED") and "(-" in ton


def test_a_report_without_the_model_says_so(summary: dict[str, Any]) -> None:
    without = summary | {"contestants": {"dictionary": summary["contestants"]["dictionary"]}}
    assert check_goals(without)[0].startswith("NOT RUN")


def test_all_three_files_are_written_and_notes_stand_below_the_goals(summary: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / NOTES_FILE).write_text("Because the <beacon> is slow.")
    write_reports(summary, tmp_path)
    markdown = (tmp_path / "accuracy.md").read_text()
    assert markdown.index("MISSED") < markdown.index("Because the <beacon>") < markdown.index("## Captures left out")
    assert summary["plan"]["sha256"] in markdown
    page = (tmp_path / "accuracy.html").read_text()
    assert "Because the &lt;beacon&gt;" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        NOTES_FILE,
        "accuracy.json",
        "accuracy.md",
        "accuracy.html",
    }


def test_every_capture_is_a_row(summary: dict[str, Any], tmp_path: Path) -> None:
    write_reports(summary, tmp_path)
    markdown = (tmp_path / "accuracy.md").read_text()
    assert "| bad-0 |" in markdown and "| good-0 |" in markdown


def test_a_summary_without_contestants_still_makes_a_report(summary: dict[str, Any], tmp_path: Path) -> None:
    empty = summary | {"contestants": {}, "curves": {}, "source_sha256": [], "cells": 0}
    write_reports(empty, tmp_path)
    assert (tmp_path / "accuracy.md").read_text().startswith("# Accuracy")
    assert draw_plots(empty) == []


def test_contestants_of_different_folds_are_not_compared_silently(summary: dict[str, Any], tmp_path: Path) -> None:
    write_reports(summary, tmp_path)
    assert "NOT COMPARABLE" not in (tmp_path / "accuracy.md").read_text()
    model = summary["contestants"][MODEL]
    shorter = model | {"per_seed": [run | {"folds": []} for run in model["per_seed"]]}
    write_reports(summary | {"contestants": summary["contestants"] | {MODEL: shorter}}, tmp_path)
    assert "- NOT COMPARABLE" in (tmp_path / "accuracy.md").read_text()


def _ablation(gain: float) -> list[dict[str, Any]]:
    return [
        {"figure": figure, "title": figure, "captures": 7, "one": 0.5 + sign * gain, "other": 0.5,
         "difference": sign * gain, "interval": (-0.1, 0.1)}
        for figure, sign in (("tpr", 1.0), ("fpr", -1.0), ("false", -1.0))
    ]  # fmt: skip


@pytest.mark.parametrize(("gain", "word"), [(0.2, "MET"), (-0.2, "MISSED")])
def test_simulated_networks_must_help_on_recorded_ones(summary: dict[str, Any], gain: float, word: str) -> None:
    goals = check_goals(summary | {"lab_ablation": _ablation(gain)})
    told = [goal for goal in goals if "with simulated networks against" in goal]
    assert len(told) == 2 and all(goal.startswith(word) for goal in told)


@pytest.mark.parametrize(
    ("weeks", "restricted", "words"), [(250.0, 0, ("MET", "MET")), (12.0, 3, ("MISSED", "MISSED"))]
)
def test_weeks_must_be_many_and_nobody_restricted_in_them(
    summary: dict[str, Any], weeks: float, restricted: int, words: tuple[str, str]
) -> None:
    counted = {"device_weeks": _spread(weeks), "restricted": _spread(restricted)}
    model = summary["contestants"][MODEL]
    model = model | {"figures": model["figures"] | {"lab_weeks": counted}}
    goals = check_goals(summary | {"contestants": {MODEL: model}})
    told = {"device-weeks counted": words[0], "more than a notification": words[1]}
    for text, word in told.items():
        (goal,) = [goal for goal in goals if text in goal]
        assert goal.startswith(word)


def _spread(value: float) -> dict[str, float]:
    return {"mean": value, "least": value, "most": value}


def test_without_simulated_networks_the_report_says_so(summary: dict[str, Any], tmp_path: Path) -> None:
    write_reports(summary, tmp_path)
    report = (tmp_path / "accuracy.md").read_text()
    assert "Simulated networks: none." in report and "## What the lab adds" not in report
