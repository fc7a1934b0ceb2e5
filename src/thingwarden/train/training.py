"""One training run from flows to artifact: vocabulary, scenes, network, export, thresholds, card.

In: the parts to learn from, the benign parts to set thresholds on, a recipe, a seed. Out: a model folder.
Must never: set a threshold on a device that was learned from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thingwarden import __version__
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.domain.word import WordBatch
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.model.artifact import Artifact, load_artifact, write_artifact
from thingwarden.model.scorer import FlowScorer
from thingwarden.train.card import CardFacts, render_card
from thingwarden.train.corpus import Corpus, LabCorpus, Part
from thingwarden.train.export import export_habit, export_network
from thingwarden.train.finetune import Progress, Trainer
from thingwarden.train.folds import FoldPlan, split_parts
from thingwarden.train.network import FlowLanguageModel
from thingwarden.train.recipe import Recipe
from thingwarden.train.scenes import LabShares, Stage
from thingwarden.train.table import collect_typed_rows
from thingwarden.train.thinning import fit_vocabulary
from thingwarden.train.thresholds import Scored, prepare, scale_surprise, set_thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """What a run learns from.

    Attributes:
        train: timed parts, labelled; those of the family ``lab`` are simulated.
        calibration: benign parts of devices that are not in ``train``.
        table: TON_IoT rows to learn from; may be empty.
        absent: attack classes that no sketch may show, because they are tested on as unknown.
        lab: where simulated parts come from; None without any. Only the card and the manifest tell of it.
    """

    train: Sequence[Part]
    calibration: Sequence[Part]
    table: FlowBatch
    absent: Sequence[AttackClass] = ()
    lab: LabCorpus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained network with its vocabulary, and the words by which its export is scaled."""

    vocabulary: Vocabulary
    model: FlowLanguageModel
    step_count: int
    scale_sample: npt.NDArray[np.uint8]


def train_network(
    data: TrainingSet,
    recipe: Recipe,
    seed: int,
    progress: Progress | None = None,
    known: Mapping[str, FlowLanguageModel] | None = None,
) -> Trained:
    """Fit vocabulary and network, after the teachers that the recipe names.

    Args:
        data: its calibration parts are not looked at.
        recipe: sizes, lengths, shares.
        seed: of the weights and of everything drawn.
        progress: told after every round.
        known: networks trained on the same data with the same seed, by their recipes' ``substance``; a teacher that
            is among them is not trained again.
    """
    vocabulary = fit_vocabulary(data.train, data.table)
    shares = LabShares(
        native=recipe.lab_native_share, history=recipe.lab_history_share, segment=recipe.lab_segment_share
    )
    stage = Stage(data.train, vocabulary, data.absent, shares)
    table = collect_typed_rows(data.table, vocabulary)
    teachers: list[FlowLanguageModel] = []
    for number, teacher in enumerate(recipe.teachers):
        lesson = recipe.taught_by(teacher)
        found = (known or {}).get(lesson.substance()) if number == 0 else None
        teachers.append(found or Trainer.prepare(vocabulary, stage, table, lesson, seed + number).run(progress))
    trainer = Trainer.prepare(vocabulary, stage, table, recipe, seed, teachers)
    model = trainer.run(progress)
    return Trained(
        vocabulary=vocabulary, model=model, step_count=trainer.step_count, scale_sample=trainer.draw_scale_sample()
    )


def train_artifact(
    data: TrainingSet,
    out: Path,
    recipe: Recipe,
    seed: int,
    progress: Progress | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Artifact:
    """Train, export, calibrate and write a model folder.

    Args:
        data: what to learn from, and on whom to set thresholds.
        out: the folder; replaced file by file.
        recipe, seed, progress: see ``train_network``.
        now: the clock that dates the card.

    Raises:
        ArtifactError: what was written does not verify.
    """
    trained = train_network(data, recipe, seed, progress)
    artifact = assemble_artifact(trained, recipe, out)
    calibration = calibrate(data.calibration, artifact)
    trained_at = now().isoformat(timespec="seconds")
    facts = CardFacts(
        recipe=recipe,
        seed=seed,
        trained_at=trained_at,
        parameter_count=sum(parameter.numel() for parameter in trained.model.parameters()),
        network_bytes=len(artifact.network),
        train=data.train,
        calibration=data.calibration,
        table_rows=len(data.table),
        thresholds=calibration,
        lab=data.lab,
    )
    contents = {
        "model.onnx": artifact.network,
        "habit.onnx": artifact.habit,
        "vocabulary.json": json.dumps(artifact.vocabulary, indent=1).encode(),
        "calibration.json": calibration.to_json().encode(),
        "card.md": render_card(facts).encode(),
    }
    write_artifact(
        out,
        contents,
        name=recipe.name,
        version=__version__,
        trained_at=trained_at,
        training={
            "recipe_sha256": recipe.digest(),
            "seed": seed,
            "steps": trained.step_count,
            "lab": describe_lab(data),
        },
    )
    return load_artifact(out)


def assemble_artifact(trained: Trained, recipe: Recipe, path: Path) -> Artifact:
    """The exported network as an artifact in memory, not yet calibrated and without a card.

    Args:
        trained, recipe: what was trained, and how.
        path: how errors name it; nothing is written.
    """
    return Artifact(
        path=path,
        network=export_network(trained.model, trained.scale_sample),
        habit=export_habit(trained.model),
        vocabulary=trained.vocabulary.to_json(),
        calibration=Calibration(),
        card="",
        manifest={"name": recipe.name},
    )


def calibrate(parts: Sequence[Part], artifact: Artifact, start: Calibration | None = None) -> Calibration:
    """Scale surprise and set every threshold on harmless parts.

    Args:
        parts: of devices that the artifact was not trained on; without any, ``start`` is returned.
        artifact: the trained model.
        start: everything that is not set here.
    """
    known = prepare(parts)
    scaled = scale(known, artifact, start or Calibration())
    return set_thresholds(score_parts(known, scaled), scaled.calibration)


def scale(known: Sequence[tuple[str, Part]], artifact: Artifact, start: Calibration) -> Artifact:
    """The artifact that knows how surprise is spread over harmless flows; nothing else of ``start`` is changed.

    Args:
        known: harmless parts by family, see ``thresholds.prepare``.
        artifact: the trained model.
        start: everything that is not set here.
    """
    raw = replace(artifact, calibration=start)
    return replace(artifact, calibration=scale_surprise(score_parts(known, raw), start))


def score_parts(parts: Sequence[tuple[str, Part]], artifact: Artifact) -> list[Scored]:
    """Words and scores of each part, from a fresh encoder and a scorer that has forgotten the part before.

    Args:
        parts: with the family of each, see ``thresholds.prepare``.
        artifact: the trained model.
    """
    vocabulary, scorer = Vocabulary.from_json(artifact.vocabulary), FlowScorer(artifact)
    scored = []
    for family, part in parts:
        scorer.reset()
        words = WordBatch.concatenate(SentenceEncoder(vocabulary).encode(part.flows))
        scored.append(Scored(family, part, words, scorer.score(words)))
    return scored


def describe_lab(data: TrainingSet) -> dict[str, Any] | None:
    """What the artifact's manifest says about the simulated networks that it learned from; None without any."""
    if data.lab is None:
        return None
    learned = [part for part in data.train if part.capture.family == "lab"]
    return {
        "recipe_sha256": data.lab.manifest.recipe_sha256,
        "manifest_sha256": data.lab.sha256,
        "networks": len(learned),
        "flows": sum(len(part.flows) for part in learned),
    }


def whole_set(corpus: Corpus, plan: FoldPlan, calibration_fold: int) -> TrainingSet:
    """Everything at hand, but for the benign devices and networks of ``calibration_fold``, which set thresholds."""
    train, calibration, _ = split_parts(plan, corpus, None, calibration_fold)
    return TrainingSet(train=train, calibration=calibration, table=corpus.ton, lab=corpus.lab)
