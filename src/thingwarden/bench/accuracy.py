"""The accuracy run: every contestant in every view, cell by cell, so that a run that was cut off goes on.

In: the folder of public captures, perhaps simulated networks. Out: ``cells/*.json``, ``accuracy.json``,
``accuracy.md``, ``accuracy.html``.
Must never: reuse a cell that was measured under another fold plan or with other simulated networks.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import thingwarden
from thingwarden import __version__
from thingwarden.bench.ablation import compare_contestants
from thingwarden.bench.baselines import RECIPES, BaselineFitter, TrainingShelf
from thingwarden.bench.contestants import Contestant, ScoringContestant
from thingwarden.bench.goals import MODEL
from thingwarden.bench.lab_networks import counted_networks, watch_networks
from thingwarden.bench.protocols import (
    WEEKS_VIEW,
    Cell,
    build_view,
    extra_views,
    measure_view,
    pool_ranking,
    summarise_contestant,
)
from thingwarden.bench.report import WITHOUT_LAB, write_reports
from thingwarden.domain.errors import RequestError
from thingwarden.ingest.lab_corpus import manifest_digest
from thingwarden.train.corpus import Corpus, load_corpus
from thingwarden.train.folds import FoldPlan, FoldView, describe_plan, load_plan

DEFAULT_PLAN: Final = Path("recipes/folds.toml")
DEFAULT_RECIPE: Final = Path("recipes/nano.toml")

CELL_FORMAT: Final = 2
"""Raised when a cell's keys change; cells of another format are measured anew."""

DECIDING_STAGES: Final = ("domain", "ingest", "encode", "detect", "model", "train", "bench")

Makers = Mapping[str, Callable[[], Contestant]]
Key = tuple[str, int, str]
"""View, seed and contestant of a cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a cell's figures depend on besides the source; cells of another origin are not reused.

    Attributes:
        fold_plan_sha256: of the plan's files.
        lab_sha256: of the manifest of the networks to learn from and be tested on, None without.
        weeks_sha256: of the manifest of the networks to count in, None without; only cells that count look at it.
    """

    fold_plan_sha256: str
    lab_sha256: str | None = None
    weeks_sha256: str | None = None

    def stamp(self, view: str) -> Cell:
        """What a cell of that view says of its origin."""
        stamp: Cell = {"fold_plan_sha256": self.fold_plan_sha256, "lab_sha256": self.lab_sha256, "format": CELL_FORMAT}
        return stamp | ({"weeks_sha256": self.weeks_sha256} if view.startswith(WEEKS_VIEW) else {})

    def made(self, cell: Cell) -> bool:
        """Whether the cell is of this origin."""
        stamp = self.stamp(cell.get("view", ""))
        return all(cell.get(key) == value for key, value in stamp.items())


def baseline_makers() -> dict[str, Callable[[], Contestant]]:
    """How to make each baseline; all share one shelf of encoded training words."""
    shelf = TrainingShelf()
    return {
        name: lambda name=name, recipe=recipe: ScoringContestant(name, BaselineFitter(recipe, shelf))  # type: ignore[misc]
        for name, recipe in RECIPES.items()
    }


def all_makers(recipe_path: Path = DEFAULT_RECIPE, cache: Path | None = None) -> dict[str, Callable[[], Contestant]]:
    """The baselines, and the flow language model where torch is installed; ``cache`` keeps its trained networks."""
    makers, kept = baseline_makers(), (cache or cache_folder()) / "networks"
    if importlib.util.find_spec("torch") is not None:
        makers[MODEL] = lambda: _make_model(recipe_path, MODEL, kept, uses_lab=True)
        makers[WITHOUT_LAB] = lambda: _make_model(recipe_path, WITHOUT_LAB, kept, uses_lab=False)
    return makers


def _make_model(recipe_path: Path, name: str, kept: Path, *, uses_lab: bool) -> Contestant:
    from thingwarden.bench.flow_lm import FlowLmFitter
    from thingwarden.bench.shelf import NetworkShelf
    from thingwarden.train.recipe import Recipe

    return ScoringContestant(name, FlowLmFitter(Recipe.load(recipe_path), NetworkShelf(kept)), uses_lab=uses_lab)


def run_accuracy(
    data: Path,
    out: Path,
    *,
    lab: Path | None = None,
    weeks: Path | None = None,
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
        lab: folder of simulated networks to learn from and, by fold, to be tested on.
        weeks: folder whose networks with the purpose ``count`` false incidents are counted in; may be the same.
        seeds: one run of everything per seed.
        contestants: names; None takes all of ``makers``.
        folds: names of views, ``0`` to ``4`` and ``protocols.extra_views``; None takes all.
        resume: keep cells that exist; else they are measured anew.
        plan_path: the fold plan.
        makers: contestants by name; None takes the baselines and, with torch, the model.
        cache: folder for parsed captures and trained networks; None uses the person's cache folder.
        console: where the progress bar goes; None makes none.

    Returns:
        The content of ``accuracy.json``.

    Raises:
        ConfigError: no captures, or no fold plan.
        InputError: ``lab`` or ``weeks`` is no lab corpus.
        RequestError: an unknown contestant or fold.
    """
    plan = load_plan(plan_path)
    available = makers if makers is not None else all_makers(cache=cache)
    names = _choose("contestant", contestants, tuple(available))
    views = _choose("fold", folds, (*map(str, range(plan.count)), *extra_views(plan)))
    origin = Origin(
        fold_plan_sha256=plan.sha256,
        lab_sha256=manifest_digest(lab) if lab else None,
        weeks_sha256=manifest_digest(weeks) if weeks else None,
    )
    cells_folder = out / "cells"
    cells_folder.mkdir(parents=True, exist_ok=True)
    wanted = [(v, seed, name) for seed in seeds for v in views for name in names if _is_asked(v, name, origin)]
    run = _Run(plan, origin, cells_folder, weeks, available)
    missing = [key for key in wanted if not resume or run.missing(key)]
    if missing:
        run.measure(missing, load_corpus(data, cache or cache_folder(), lab), resume, console)
    summary = summarise_run(plan, _read_cells(cells_folder, origin), origin)
    write_reports(summary, out)
    return summary


def _is_asked(view: str, contestant: str, origin: Origin) -> bool:
    """The model without the lab is for comparison: in the outer folds only, and where there is a lab at all."""
    return contestant != WITHOUT_LAB or (origin.lab_sha256 is not None and view.isdigit())


def _choose(what: str, asked: Sequence[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    if asked is None:
        return known
    unknown = sorted(set(asked) - set(known))
    if unknown:
        raise RequestError(f"{what} {unknown[0]}", "is not known", f"choose among {', '.join(known)}")
    return tuple(asked)


@dataclass(frozen=True, slots=True)
class _Run:
    """Measures what is missing and writes it down, cell by cell."""

    plan: FoldPlan
    origin: Origin
    folder: Path
    weeks: Path | None
    makers: Makers

    def missing(self, key: Key) -> list[Key]:
        """The cells that ``key`` asks for and that are not there: its own, and for an outer fold that of the weeks."""
        view, seed, contestant = key
        asked = [key, (WEEKS_VIEW + view, seed, contestant)] if self.weeks and view.isdigit() else [key]
        return [one for one in asked if not self._is_measured(one)]

    def measure(self, keys: Sequence[Key], corpus: Corpus, resume: bool, console: Console | None) -> None:
        """Fit once per key, then measure what is missing of it, or all of it."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, disable=console is None) as progress:
            task = progress.add_task("accuracy", total=len(keys))
            view = None
            for key in keys:
                name, seed, contestant = key
                progress.update(task, description=f"view {name}, seed {seed}, {contestant}")
                if view is None or view.name != name or name == "random":
                    view = build_view(self.plan, corpus, name, seed)
                if not resume:
                    self._forget(key)
                self._measure_key(key, view, corpus)
                progress.advance(task)

    def _measure_key(self, key: Key, view: FoldView, corpus: Corpus) -> None:
        name, seed, contestant_name = key
        contestant = self.makers[contestant_name]()
        missing = self.missing(key)
        if key in missing:
            self._write(key, measure_view(view, contestant, seed, corpus.lab))
        else:
            contestant.fit(view.blind(), seed)
        weeks_key = (WEEKS_VIEW + name, seed, contestant_name)
        if self.weeks is not None and weeks_key in missing:
            networks = counted_networks(self.weeks, view.fold, self.plan.count)
            kept = self._weeks_folder(key)
            self._remove_weeks(key, spare=kept)
            records = watch_networks(self.weeks, networks, contestant, kept)
            self._write(weeks_key, {"view": weeks_key[0], "seed": seed, "contestant": contestant_name, "lab": records})
            self._remove_weeks(key)

    def _weeks_folder(self, key: Key) -> Path:
        """Named after all that its records depend on, so that it can be gone on with without looking inside."""
        stamp = json.dumps(self.origin.stamp(WEEKS_VIEW), sort_keys=True) + source_digest()
        digest = hashlib.sha256(stamp.encode()).hexdigest()[:16]
        return self.folder / f"{_cell_path(self.folder, key).stem}.weeks-{digest}"

    def _remove_weeks(self, key: Key, spare: Path | None = None) -> None:
        for path in self.folder.glob(f"{_cell_path(self.folder, key).stem}.weeks-*"):
            if path != spare:
                shutil.rmtree(path)

    def _forget(self, key: Key) -> None:
        self._remove_weeks(key)
        for one in (key, (WEEKS_VIEW + key[0], key[1], key[2])):
            _cell_path(self.folder, one).unlink(missing_ok=True)

    def _is_measured(self, key: Key) -> bool:
        path = _cell_path(self.folder, key)
        return path.is_file() and self.origin.made(json.loads(path.read_text()))

    def _write(self, key: Key, cell: Cell) -> None:
        cell = cell | self.origin.stamp(key[0]) | {"source_sha256": source_digest(), "version": __version__}
        path = _cell_path(self.folder, key)
        unfinished = path.with_suffix(".partial")
        unfinished.write_text(json.dumps(cell))
        unfinished.replace(path)


def _cell_path(folder: Path, key: Key) -> Path:
    view, seed, contestant = key
    return folder / f"{contestant}.{view}.seed{seed}.json"


def _read_cells(folder: Path, origin: Origin) -> list[Cell]:
    """Cells of this origin; where nothing is counted now, what was counted before is left out."""
    cells = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [cell for cell in cells if origin.made(cell)]


def summarise_run(plan: FoldPlan, cells: Sequence[Cell], origin: Origin | None = None) -> dict[str, Any]:
    """Figures of every contestant that has cells, and what they were measured under."""
    names = sorted({cell["contestant"] for cell in cells})
    of = {name: [cell for cell in cells if cell["contestant"] == name] for name in names}
    return {
        "plan": describe_plan(plan),
        "lab_sha256": origin.lab_sha256 if origin else None,
        "weeks_sha256": origin.weeks_sha256 if origin else None,
        "version": __version__,
        "source_sha256": sorted({cell["source_sha256"] for cell in cells}),
        "contestants": {name: summarise_contestant(plan, of[name]) for name in names},
        "curves": {name: _curve(of[name]) for name in names},
        "against_baselines": {name: rows for name in RECIPES if (rows := _compare(of, MODEL, name))},
        "lab_ablation": _compare(of, MODEL, WITHOUT_LAB),
        "cells": len(cells),
        "fit_s": {name: sum(cell.get("fit_s", 0.0) for cell in of[name]) for name in names},
    }


def _compare(of: Mapping[str, Sequence[Cell]], one: str, other: str) -> list[dict[str, Any]] | None:
    """Two contestants over the folds and seeds that both were measured in."""
    if one not in of or other not in of:
        return None
    cells = [{(c["view"], c["seed"]): c for c in of[name] if c["view"].isdigit()} for name in (one, other)]
    common = sorted(cells[0].keys() & cells[1].keys())
    records = [[record for key in common for record in own[key]["captures"]] for own in cells]
    return compare_contestants(records[0], records[1]) if common else None


def _curve(cells: Sequence[Cell]) -> dict[str, list[float]] | None:
    records = [record for cell in cells if cell["view"].isdigit() for record in cell["captures"]]
    curve: dict[str, list[float]] | None = pool_ranking(records)["curve"]
    return curve


def source_digest() -> str:
    """SHA-256 over the source that decides a figure: cells of a report should share it; it says where they do not."""
    digest = hashlib.sha256()
    for path in stage_files(DECIDING_STAGES):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def stage_files(stages: Iterable[str]) -> Iterator[Path]:
    """Every source file of these stages, stage by stage, by name."""
    for stage in stages:
        yield from sorted((Path(thingwarden.__path__[0]) / stage).rglob("*.py"))


def cache_folder() -> Path:
    """Where parsed captures and trained networks are kept between runs: ``$XDG_CACHE_HOME/thingwarden``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thingwarden"
