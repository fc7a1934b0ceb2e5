"""The accuracy run: every contestant in every view, cell by cell, so that a run that was cut off goes on.

In: the folder of public captures. Out: ``cells/*.json``, ``accuracy.json``, ``accuracy.md``, ``accuracy.html``.
Must never: reuse a cell that was measured under another fold plan.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import thingwarden
from thingwarden import __version__
from thingwarden.bench.baselines import RECIPES, BaselineFitter, TrainingShelf
from thingwarden.bench.contestants import Contestant, ScoringContestant
from thingwarden.bench.protocols import (
    Cell,
    build_view,
    extra_views,
    measure_view,
    pool_ranking,
    summarise_contestant,
)
from thingwarden.bench.report import MODEL, write_reports
from thingwarden.domain.errors import RequestError
from thingwarden.train.corpus import Corpus, load_corpus
from thingwarden.train.folds import FoldPlan, describe_plan, load_plan

DEFAULT_PLAN: Final = Path("recipes/folds.toml")
DEFAULT_RECIPE: Final = Path("recipes/nano.toml")

CELL_FORMAT: Final = 1
"""Raised when a cell's keys change; cells of another format are measured anew."""

DECIDING_STAGES: Final = ("domain", "ingest", "encode", "detect", "model", "train", "bench")

Makers = Mapping[str, Callable[[], Contestant]]


def baseline_makers() -> dict[str, Callable[[], Contestant]]:
    """How to make each baseline; all share one shelf of encoded training words."""
    shelf = TrainingShelf()
    return {
        name: lambda name=name, recipe=recipe: ScoringContestant(name, BaselineFitter(recipe, shelf))  # type: ignore[misc]
        for name, recipe in RECIPES.items()
    }


def all_makers(recipe_path: Path = DEFAULT_RECIPE) -> dict[str, Callable[[], Contestant]]:
    """The baselines, and the flow language model where torch is installed."""
    makers = baseline_makers()
    if importlib.util.find_spec("torch") is not None:
        makers[MODEL] = lambda: _make_model(recipe_path)
    return makers


def _make_model(recipe_path: Path) -> Contestant:
    from thingwarden.bench.flow_lm import FlowLmFitter
    from thingwarden.train.recipe import Recipe

    return ScoringContestant(MODEL, FlowLmFitter(Recipe.load(recipe_path)))


def run_accuracy(
    data: Path,
    out: Path,
    *,
    seeds: Sequence[int] = (0,),
    contestants: Sequence[str] | None = None,
    folds: Sequence[str] | None = None,
    resume: bool = True,
    plan_path: Path = DEFAULT_PLAN,
    makers: Makers | None = None,
    cache: Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Measure, summarise, write the reports.

    Args:
        data, out: folder of the public captures; folder for cells and reports.
        seeds: one run of everything per seed.
        contestants: names; None takes all of ``makers``.
        folds: names of views, ``0`` to ``4`` and ``protocols.extra_views``; None takes all.
        resume: keep cells that exist; else they are measured anew.
        plan_path: the fold plan.
        makers: contestants by name; None takes the baselines and, with torch, the model.
        cache: folder for parsed captures; None uses the person's cache folder.
        console: where the progress bar goes; None makes none.

    Returns:
        The content of ``accuracy.json``.

    Raises:
        ConfigError: no captures, or no fold plan.
        RequestError: an unknown contestant or fold.
    """
    plan = load_plan(plan_path)
    available = makers if makers is not None else all_makers()
    names = _choose("contestant", contestants, tuple(available))
    views = _choose("fold", folds, (*map(str, range(plan.count)), *extra_views(plan)))
    cells_folder = out / "cells"
    cells_folder.mkdir(parents=True, exist_ok=True)
    wanted = [(view, seed, name) for seed in seeds for view in views for name in names]
    missing = [key for key in wanted if not (resume and _is_measured(_cell_path(cells_folder, key), plan))]
    if missing:
        corpus = load_corpus(data, cache or cache_folder())
        _measure_all(missing, plan, corpus, available, cells_folder, console)
    summary = summarise_run(plan, _read_cells(cells_folder, plan))
    write_reports(summary, out)
    return summary


def _choose(what: str, asked: Sequence[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    if asked is None:
        return known
    unknown = sorted(set(asked) - set(known))
    if unknown:
        raise RequestError(f"{what} {unknown[0]}", "is not known", f"choose among {', '.join(known)}")
    return tuple(asked)


def _measure_all(
    keys: Sequence[tuple[str, int, str]],
    plan: FoldPlan,
    corpus: Corpus,
    makers: Makers,
    folder: Path,
    console: Console | None,
) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=console is None) as progress:
        task = progress.add_task("accuracy", total=len(keys))
        view = None
        for name, seed, contestant in keys:
            progress.update(task, description=f"view {name}, seed {seed}, {contestant}")
            if view is None or view.name != name or name == "random":
                view = build_view(plan, corpus, name, seed)
            cell = measure_view(view, makers[contestant](), seed)
            cell |= {
                "format": CELL_FORMAT,
                "fold_plan_sha256": plan.sha256,
                "source_sha256": source_digest(),
                "version": __version__,
            }
            _write_cell(_cell_path(folder, (name, seed, contestant)), cell)
            progress.advance(task)


def _cell_path(folder: Path, key: tuple[str, int, str]) -> Path:
    view, seed, contestant = key
    return folder / f"{contestant}.{view}.seed{seed}.json"


def _is_measured(path: Path, plan: FoldPlan) -> bool:
    if not path.is_file():
        return False
    return _is_current(json.loads(path.read_text()), plan)


def _is_current(cell: Cell, plan: FoldPlan) -> bool:
    return bool(cell.get("fold_plan_sha256") == plan.sha256 and cell.get("format") == CELL_FORMAT)


def _write_cell(path: Path, cell: Cell) -> None:
    unfinished = path.with_suffix(".partial")
    unfinished.write_text(json.dumps(cell))
    unfinished.replace(path)


def _read_cells(folder: Path, plan: FoldPlan) -> list[Cell]:
    cells = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [cell for cell in cells if _is_current(cell, plan)]


def summarise_run(plan: FoldPlan, cells: Sequence[Cell]) -> dict[str, Any]:
    """Figures of every contestant that has cells, and what they were measured under."""
    names = sorted({cell["contestant"] for cell in cells})
    return {
        "plan": describe_plan(plan),
        "version": __version__,
        "source_sha256": sorted({cell["source_sha256"] for cell in cells}),
        "contestants": {
            name: summarise_contestant(plan, [cell for cell in cells if cell["contestant"] == name]) for name in names
        },
        "curves": {name: _curve([cell for cell in cells if cell["contestant"] == name]) for name in names},
        "cells": len(cells),
        "fit_s": {name: sum(cell["fit_s"] for cell in cells if cell["contestant"] == name) for name in names},
    }


def _curve(cells: Sequence[Cell]) -> dict[str, list[float]] | None:
    records = [record for cell in cells if cell["view"].isdigit() for record in cell["captures"]]
    curve: dict[str, list[float]] | None = pool_ranking(records)["curve"]
    return curve


def source_digest() -> str:
    """SHA-256 over the source that decides a figure: cells of a report should share it; it says where they do not."""
    digest = hashlib.sha256()
    for stage in DECIDING_STAGES:
        for path in sorted((Path(thingwarden.__path__[0]) / stage).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where parsed captures are kept between runs: ``$XDG_CACHE_HOME/thingwarden``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thingwarden"
