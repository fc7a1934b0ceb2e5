"""The run: cells are kept, resumed and refused; names are checked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab_builder import build_lab
from thingwarden.bench.accuracy import all_makers, baseline_makers, run_accuracy, source_digest
from thingwarden.bench.baselines import RECIPES, BaselineFitter, TrainingShelf
from thingwarden.bench.contestants import Contestant, ScoringContestant
from thingwarden.bench.goals import MODEL
from thingwarden.bench.report import WITHOUT_LAB
from thingwarden.domain.errors import InputError, RequestError
from thingwarden.domain.flow import FlowBatch
from thingwarden.ingest.lab_corpus import LabNetwork, read_network
from thingwarden.train.corpus import Corpus, load_lab
from thingwarden.train.folds import FoldPlan


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch, corpus: Corpus, plan: FoldPlan) -> Counter[str]:
    """The small corpus in place of the captures; counts how often it was read."""
    reads: Counter[str] = Counter()

    def load(data: Path, cache: Path | None, lab: Path | None) -> Corpus:
        reads["corpus"] += 1
        return corpus if lab is None else replace(corpus, lab=load_lab(lab))

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


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_lab(tmp_path_factory.mktemp("lab"), networks=6, counted=6)


def test_simulated_networks_are_tested_on_and_counted_in(ring: Counter[str], tmp_path: Path, lab: Path) -> None:
    out = tmp_path / "out"
    summary = run_accuracy(tmp_path, out, lab=lab, weeks=lab, contestants=["forest"], folds=["0", "1", "class-0"])
    figures = summary["contestants"]["forest"]["figures"]
    assert figures["lab_left_out"]["networks"]["mean"] == 4  # of six, those of folds 0 and 1 out of three
    assert figures["lab_weeks"]["networks"]["mean"] == 4
    assert figures["lab_weeks"]["device_weeks"]["mean"] == pytest.approx(4 * 0.75 / 7)
    assert not [path for path in (out / "cells").iterdir() if path.is_dir()]
    report = (out / "accuracy.md").read_text()
    for title in (
        "## Simulated networks left out",
        "## Simulated attacks by act",
        "## Simulated device-weeks by cause",
    ):
        assert title in report
    assert f"manifest SHA-256 `{summary['lab_sha256']}`" in report


def test_a_count_that_was_cut_off_goes_on_at_the_next_network(
    ring: Counter[str], tmp_path: Path, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> dict[str, Any]:
        return run_accuracy(tmp_path, tmp_path / "out", lab=lab, weeks=lab, contestants=["dictionary"], folds=["0"])

    read: list[str] = []

    def read_some(folder: Path, network: LabNetwork) -> FlowBatch:
        if len(read) == 1:
            raise KeyboardInterrupt
        read.append(network.name)
        return read_network(folder, network)

    with monkeypatch.context() as patch:
        patch.setattr("thingwarden.bench.lab_networks.read_network", read_some)
        with pytest.raises(KeyboardInterrupt):
            run()
    cell = tmp_path / "out" / "cells" / "dictionary.0.seed0.json"
    written_at_ns = cell.stat().st_mtime_ns
    (kept,) = cell.parent.glob("dictionary.0.seed0.weeks-*")
    assert [path.stem for path in kept.iterdir()] == read
    assert run()["contestants"]["dictionary"]["figures"]["lab_weeks"]["networks"]["mean"] == 2
    assert cell.stat().st_mtime_ns == written_at_ns and not kept.exists()
    before = ring["corpus"]
    run()
    assert ring["corpus"] == before


def test_cells_of_other_networks_are_measured_anew(ring: Counter[str], tmp_path: Path, lab: Path) -> None:
    other = build_lab(tmp_path / "other", networks=3, counted=3)
    reads = []
    for folder in (None, lab, other, other):
        run_accuracy(tmp_path, tmp_path / "out", lab=folder, contestants=["dictionary"], folds=["0"])
        reads.append(ring["corpus"])
    assert reads == [1, 2, 3, 3]


def test_a_folder_that_is_no_corpus_is_refused_before_anything_is_read(ring: Counter[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not there"):
        run_accuracy(tmp_path, tmp_path / "out", lab=tmp_path, contestants=["dictionary"], folds=["0"])
    assert ring["corpus"] == 0


def test_the_model_without_the_lab_stands_beside_the_one_with_it(ring: Counter[str], tmp_path: Path, lab: Path) -> None:
    def make(name: str, *, uses_lab: bool) -> Callable[[], Contestant]:
        shelf = TrainingShelf()
        return lambda: ScoringContestant(name, BaselineFitter(RECIPES["forest"], shelf), uses_lab=uses_lab)

    makers = {MODEL: make(MODEL, uses_lab=True), WITHOUT_LAB: make(WITHOUT_LAB, uses_lab=False)}
    arguments: dict[str, Any] = {"makers": makers, "folds": ["0", "1", "class-0"]}
    summary = run_accuracy(tmp_path, tmp_path / "out", lab=lab, **arguments)
    cells = {path.name for path in (tmp_path / "out" / "cells").iterdir()}
    assert f"{WITHOUT_LAB}.1.seed0.json" in cells and f"{WITHOUT_LAB}.class-0.seed0.json" not in cells
    rows = {row["figure"]: row for row in summary["lab_ablation"]}
    assert rows["tpr"]["captures"] == 2 and rows["false"]["difference"] is not None
    assert "## What the lab adds" in (tmp_path / "out" / "accuracy.md").read_text()
    alone = run_accuracy(tmp_path, tmp_path / "alone", **arguments)
    assert set(alone["contestants"]) == {MODEL} and alone["lab_ablation"] is None


@pytest.mark.torch
def test_with_torch_the_model_has_a_twin_without_the_lab() -> None:
    pytest.importorskip("torch")
    assert {MODEL, WITHOUT_LAB} <= set(all_makers())
    assert all_makers()[WITHOUT_LAB]().name == WITHOUT_LAB
