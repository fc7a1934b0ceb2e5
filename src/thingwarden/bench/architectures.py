"""Architectures, sizes and distillation, side by side: the same folds and scenes, other networks.

In: recipes of which the first is what the others are held against, the folder of public captures.
Out: cells that a cut-off run goes on from, ``architectures.json`` and ``architectures.md``.
Must never: compare networks on captures, folds or seeds that one of them was not tested on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from thingwarden import __version__
from thingwarden.bench.ablation import compare_contestants
from thingwarden.bench.accuracy import DEFAULT_PLAN, cache_folder, source_digest
from thingwarden.bench.architecture_report import render_architectures
from thingwarden.bench.contestants import Assessment, FittedScorer, ScoringContestant
from thingwarden.bench.protocols import Cell, measure_view, pool_ranking, summarise_contestant
from thingwarden.bench.report_notes import read_notes
from thingwarden.bench.speed import describe_machine
from thingwarden.bench.word_cost import CHUNK_WORDS, measure_costs
from thingwarden.bench.words import encode_words
from thingwarden.domain.errors import RequestError
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.word import WordBatch
from thingwarden.model.scorer import FlowScorer
from thingwarden.train.corpus import load_corpus
from thingwarden.train.export import export_network
from thingwarden.train.folds import FoldPlan, FoldView, load_plan, view_fold
from thingwarden.train.network import FlowLanguageModel
from thingwarden.train.recipe import Recipe
from thingwarden.train.thinning import fit_vocabulary
from thingwarden.train.thresholds import prepare
from thingwarden.train.training import TrainingSet, assemble_artifact, scale, train_network

DEFAULT_RECIPES: Final = tuple(
    Path("recipes") / f"{name}.toml" for name in ("nano", "nano-attention", "small", "nano-distilled")
)
DEFAULT_FOLDS: Final = (0, 3)
COST_WORDS: Final = 20 * CHUNK_WORDS

Report = Callable[[str], None]


@dataclass(slots=True)
class Agreement:
    """How often int8 said what float32 says.

    Attributes:
        flow_count, equal_verdict_count: flows, and those called the same at the threshold of the int8 network.
        word_count, equal_class_count: words, and those with the same likeliest class.
        most_apart: largest difference of a word's probability of being benign.
    """

    flow_count: int = 0
    equal_verdict_count: int = 0
    word_count: int = 0
    equal_class_count: int = 0
    most_apart: float = 0.0


class TwinFitter:
    """Trains by a recipe, and keeps the float32 export beside the int8 one.

    Args:
        recipe: of the network.
        known: networks of this fold and seed by their recipes' ``substance``; the one trained here joins them.
    """

    def __init__(self, recipe: Recipe, known: dict[str, FlowLanguageModel]) -> None:
        self._recipe, self._known = recipe, known
        self.exact: FlowScorer | None = None

    def __call__(self, view: FoldView, seed: int) -> FittedScorer:
        """See ``contestants.Fitter``."""
        table = view.ton.take(view.ton_train)
        data = TrainingSet(train=view.train, calibration=view.calibration, table=table, absent=view.absent)
        trained = train_network(data, self._recipe, seed, known=self._known)
        self._known[self._recipe.substance()] = trained.model
        artifact = assemble_artifact(trained, self._recipe, Path(f"{self._recipe.name}-{view.name}-{seed}"))
        artifact = scale(prepare(view.calibration), artifact, artifact.calibration)
        self.exact = FlowScorer(replace(artifact, network=export_network(trained.model)))
        return FittedScorer(
            vocabulary=trained.vocabulary,
            scorer=FlowScorer(artifact),
            calibration=artifact.calibration,
        )


class TwinContestant(ScoringContestant):
    """The int8 network as a contestant; its float32 twin reads the same words, and where they differ is counted."""

    def __init__(self, name: str, fitter: TwinFitter) -> None:
        super().__init__(name, fitter, uses_lab=False)
        self._twins = fitter
        self.agreement = Agreement()
        self.fit_processor_s = 0.0

    def fit(self, view: FoldView, seed: int) -> None:
        """See ``Contestant``; a teacher that was trained before costs nothing here."""
        began_s = time.process_time()
        super().fit(view, seed)
        self.fit_processor_s = time.process_time() - began_s

    def assess(self, flows: FlowBatch) -> Assessment:
        """See ``Contestant``."""
        assessment = super().assess(flows)
        assert self._twins.exact is not None, "fit comes first"
        self._twins.exact.reset()
        exact = self._twins.exact.score(assessment.words)
        verdicts = self.judge(flows, assessment.words, exact, assessment.devices).verdicts
        one, other, seen = assessment.scores.class_probability, exact.class_probability, self.agreement
        seen.flow_count += len(flows)
        seen.equal_verdict_count += int((verdicts.is_malicious == assessment.verdicts.is_malicious).sum())
        seen.word_count += len(one)
        seen.equal_class_count += int((one.argmax(axis=1) == other.argmax(axis=1)).sum())
        seen.most_apart = max(seen.most_apart, float(np.abs(one[:, 0] - other[:, 0]).max(initial=0.0)))
        return assessment


def run_architectures(
    data: Path,
    out: Path,
    work: Path,
    *,
    recipes: Sequence[Path] = DEFAULT_RECIPES,
    folds: Sequence[int] = DEFAULT_FOLDS,
    seeds: Sequence[int] = (0,),
    plan_path: Path = DEFAULT_PLAN,
    cache: Path | None = None,
    report: Report = lambda _: None,
) -> dict[str, Any]:
    """Train and test what is not measured yet, measure what a word costs, write the report.

    Args:
        data: folder of the public captures.
        out: folder of the report.
        work: folder of the cells; one of another recipe or fold plan is measured anew.
        recipes: files; the first is what the others are compared with.
        folds: outer folds.
        seeds: one run of everything per seed.
        plan_path: the fold plan.
        cache: folder for parsed captures; None uses the person's cache folder.
        report: told before each training.

    Returns:
        The content of ``architectures.json``.

    Raises:
        ConfigError: no captures, no fold plan, or a recipe that is none.
        RequestError: fewer than two recipes, two of one name, or an unknown fold.
    """
    loaded, plan = [Recipe.load(path) for path in recipes], load_plan(plan_path)
    _check_request(loaded, folds, plan)
    corpus = load_corpus(data, cache or cache_folder())
    work.mkdir(parents=True, exist_ok=True)
    cells: list[Cell] = []
    for fold in folds:
        view = view_fold(plan, corpus, fold)
        for seed in seeds:
            cells.extend(_measure_fold(view, seed, loaded, plan, work, report))
    report("cost of a word")
    figures = _summarise(plan, loaded, cells, _measure_costs(view_fold(plan, corpus, folds[0]), loaded))
    out.mkdir(parents=True, exist_ok=True)
    (out / "architectures.json").write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    text = render_architectures(figures, read_notes(out, "architectures"))
    (out / "architectures.md").write_text(text, encoding="utf-8")
    return figures


def _check_request(recipes: Sequence[Recipe], folds: Sequence[int], plan: FoldPlan) -> None:
    names = [recipe.name for recipe in recipes]
    if len(set(names)) < max(2, len(names)):
        raise RequestError(f"recipes {', '.join(names)}", "two or more of different names are compared")
    unknown = sorted(set(folds) - set(range(plan.count)))
    if unknown or not folds:
        raise RequestError(f"fold {unknown[0] if unknown else 'none'}", f"the plan has 0 to {plan.count - 1}")


def _measure_fold(
    view: FoldView, seed: int, recipes: Sequence[Recipe], plan: FoldPlan, work: Path, report: Report
) -> list[Cell]:
    known: dict[str, FlowLanguageModel] = {}
    cells = []
    for recipe in recipes:
        path = work / f"{recipe.name}.{view.name}.seed{seed}.json"
        origin = {"recipe_sha256": recipe.digest(), "fold_plan_sha256": plan.sha256}
        cell = json.loads(path.read_text()) if path.is_file() else {}
        if any(cell.get(key) != value for key, value in origin.items()):
            report(f"{recipe.name}, fold {view.name}, seed {seed}")
            contestant = TwinContestant(recipe.name, TwinFitter(recipe, known))
            cell = measure_view(view, contestant, seed) | origin
            cell |= {"agreement": asdict(contestant.agreement), "fit_processor_s": contestant.fit_processor_s}
            cell |= {"source_sha256": source_digest(), "version": __version__}
            unfinished = path.with_suffix(".partial")
            unfinished.write_text(json.dumps(cell))
            unfinished.replace(path)
        cells.append(cell)
    return cells


def _measure_costs(view: FoldView, recipes: Sequence[Recipe]) -> dict[str, dict[str, Any]]:
    """Cost of each recipe's network on the words of a fold's training captures."""
    vocabulary = fit_vocabulary(view.train, view.ton.take(view.ton_train))
    kept, count = [], 0
    for part in view.train:
        if count < COST_WORDS and len(part.flows):
            kept.append(encode_words(vocabulary, part.flows))
            count += len(kept[-1])
    costs = measure_costs(recipes, vocabulary, WordBatch.concatenate(kept))
    return {recipe.name: asdict(cost) for recipe, cost in zip(recipes, costs, strict=True)}


def _summarise(
    plan: FoldPlan, recipes: Sequence[Recipe], cells: Sequence[Cell], costs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    of = {recipe.name: [cell for cell in cells if cell["contestant"] == recipe.name] for recipe in recipes}
    records = {name: [record for cell in own for record in cell["captures"]] for name, own in of.items()}
    first = recipes[0].name
    return {
        "first": first,
        "folds": sorted({int(cell["view"]) for cell in cells}),
        "seeds": sorted({cell["seed"] for cell in cells}),
        "plan_sha256": plan.sha256,
        "source_sha256": sorted({cell["source_sha256"] for cell in cells}),
        "recipes": {recipe.name: {"sha256": recipe.digest(), **recipe.model_dump()} for recipe in recipes},
        "machine": {key: value for key, value in describe_machine().items() if not key.endswith("_bytes")},
        "networks": {
            name: {
                "cost": costs[name],
                "fit_processor_s": [cell["fit_processor_s"] for cell in own],
                "agreement": _pool_agreement([cell["agreement"] for cell in own]),
                "ranking": {key: value for key, value in pool_ranking(records[name]).items() if key != "curve"},
                "accuracy": summarise_contestant(plan, own),
            }
            for name, own in of.items()
        },
        "against_first": {
            name: compare_contestants(own, records[first]) for name, own in records.items() if name != first
        },
    }


def _pool_agreement(counts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    totals = {key: sum(count[key] for count in counts) for key in counts[0] if key != "most_apart"}
    return {**totals, "most_apart": max(count["most_apart"] for count in counts)}
