"""The run: cells are kept, resumed and refused; names are checked."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from thingwarden.bench.accuracy import all_makers, baseline_makers, run_accuracy, source_digest
from thingwarden.bench.baselines import RECIPES
from thingwarden.bench.contestants import ScoringContestant
from thingwarden.domain.errors import RequestError
from thingwarden.train.corpus import Corpus
from thingwarden.train.folds import FoldPlan


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch, corpus: Corpus, plan: FoldPlan) -> Counter[str]:
    """The small corpus in place of the captures; counts how often it was read."""
    reads: Counter[str] = Counter()

    def load(data: Path, cache: Path | None) -> Corpus:
        reads["corpus"] += 1
        return corpus

    monkeypatch.setattr("thingwarden.bench.accuracy.load_corpus", load)
    monkeypatch.setattr("thingwarden.bench.accuracy.load_plan", lambda path: plan)
    return reads


def test_a_run_leaves_cells_and_reports_and_goes_on_where_it_stopped(ring: Counter[str], tmp_path: Path) -> None:
    run_accuracy(tmp_path, tmp_path / "out", contestants=["dictionary"], folds=["0"])
    cell = tmp_path / "out" / "cells" / "dictionary.0.seed0.json"
    written_at_ns = cell.stat().st_mtime_ns
    summary = run_accuracy(tmp_path, tmp_path / "out", contestants=["dictionary"], folds=["0", "1"])
    assert cell.stat().st_mtime_ns == written_at_ns
    assert summary["cells"] == 2
    assert ring["corpus"] == 2
    run_accuracy(tmp_path, tmp_path / "out", contestants=["dictionary"], folds=["0", "1"])
    assert ring["corpus"] == 2
    assert json.loads((tmp_path / "out" / "accuracy.json").read_text())["plan"]["folds"] == 3
    assert "THE DICTIONARY WINS" in (tmp_path / "out" / "accuracy.md").read_text()
    assert "<svg" in (tmp_path / "out" / "accuracy.html").read_text()


@pytest.mark.parametrize("resume", [True, False])
def test_cells_of_another_plan_are_measured_anew(ring: Counter[str], tmp_path: Path, resume: bool) -> None:
    cells = tmp_path / "out" / "cells"
    cells.mkdir(parents=True)
    old = {"fold_plan_sha256": "another", "contestant": "dictionary"}
    (cells / "dictionary.0.seed0.json").write_text(json.dumps(old))
    summary = run_accuracy(tmp_path, tmp_path / "out", contestants=["dictionary"], folds=["0"], resume=resume)
    assert summary["cells"] == 1 and ring["corpus"] == 1


@pytest.mark.parametrize(("contestants", "folds"), [(["nobody"], None), (["dictionary"], ["9"])])
def test_unknown_names_are_refused(
    ring: Counter[str], tmp_path: Path, contestants: list[str], folds: list[str] | None
) -> None:
    with pytest.raises(RequestError, match="is not known"):
        run_accuracy(tmp_path, tmp_path / "out", contestants=contestants, folds=folds)


def test_every_recipe_has_a_maker() -> None:
    makers = baseline_makers()
    assert set(makers) == set(RECIPES) <= set(all_makers())
    made = {name: make() for name, make in makers.items()}
    assert {name: contestant.name for name, contestant in made.items()} == {name: name for name in RECIPES}
    assert all(isinstance(contestant, ScoringContestant) for contestant in made.values())


def test_the_source_has_one_digest() -> None:
    assert source_digest() == source_digest() and len(source_digest()) == 64
