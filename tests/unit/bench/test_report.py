"""The report begins with what was missed, and prints every capture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from thingwarden.bench.accuracy import summarise_run
from thingwarden.bench.baselines import RECIPES, BaselineFitter, TrainingShelf
from thingwarden.bench.contestants import ScoringContestant
from thingwarden.bench.goals import MODEL
from thingwarden.bench.plots import draw_plots
from thingwarden.bench.protocols import Cell, build_view, measure_view
from thingwarden.bench.report import write_reports
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


def test_all_three_files_are_written_and_notes_stand_below_the_goals(summary: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "accuracy-notes.md").write_text("Because the <beacon> is slow.")
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
        "accuracy-notes.md",
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


def test_without_simulated_networks_the_report_says_so(summary: dict[str, Any], tmp_path: Path) -> None:
    write_reports(summary, tmp_path)
    report = (tmp_path / "accuracy.md").read_text()
    assert "Simulated networks: none." in report and "## What the lab adds" not in report
