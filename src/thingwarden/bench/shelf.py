"""Trained networks kept between runs: what is set after the training can be changed without training anew.

In: what a training learns from, a recipe, a seed. Out: the trained artifact, from the shelf where it lies there.
Must never: hand out a network that other data, another recipe, another seed or other source would not have made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from thingwarden.bench.accuracy import stage_files
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.errors import ArtifactError
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.model.artifact import Artifact
from thingwarden.train.recipe import Recipe
from thingwarden.train.training import TrainingSet, assemble_artifact, train_network

LEARNING_STAGES: Final = ("domain", "encode", "train")
"""Stages whose source decides what a network learns from given flows."""

SET_AFTERWARDS: Final = ("calibration.py", "thresholds.py", "card.py")
"""Files of these stages that decide nothing before the network is trained."""


class NetworkShelf:
    """A folder of trained networks.

    Args:
        folder: made where missing; each network is a folder in it, named after all that decides the network.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def train(self, data: TrainingSet, recipe: Recipe, seed: int, name: str) -> Artifact:
        """The network that training on ``data`` makes, not calibrated; kept for the next time.

        Args:
            data: its calibration parts decide nothing here.
            recipe, seed: of the training.
            name: how errors and the manifest name the artifact.
        """
        place = self._folder / training_key(data, recipe, seed)
        if not place.is_dir():
            trained = train_network(data, recipe, seed)
            _put(place, assemble_artifact(trained, recipe, Path(name)))
        return _take(place, recipe, name)


def _put(place: Path, artifact: Artifact) -> None:
    unfinished = place.with_name(f"{place.name}.{os.getpid()}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    (unfinished / "model.onnx").write_bytes(artifact.network)
    (unfinished / "habit.onnx").write_bytes(artifact.habit)
    (unfinished / "vocabulary.json").write_text(json.dumps(artifact.vocabulary))
    if not place.is_dir():
        unfinished.rename(place)


def _take(place: Path, recipe: Recipe, name: str) -> Artifact:
    try:
        vocabulary = json.loads((place / "vocabulary.json").read_text())
        Vocabulary.from_json(vocabulary)
        network, habit = ((place / file).read_bytes() for file in ("model.onnx", "habit.onnx"))
    except (OSError, ValueError) as error:
        raise ArtifactError(str(place), f"cannot be read: {error}", "delete it; it is made anew") from error
    return Artifact(
        path=Path(name),
        network=network,
        habit=habit,
        vocabulary=vocabulary,
        calibration=Calibration(),
        card="",
        manifest={"name": recipe.name},
    )


def training_key(data: TrainingSet, recipe: Recipe, seed: int) -> str:
    """SHA-256 over everything that decides a trained network: flows and labels, recipe, seed, source, torch."""
    import torch

    digest = hashlib.sha256()
    for part in data.train:
        digest.update(f"{part.capture.name} {part.capture.family} {part.capture.kind} {part.capture.group}".encode())
        _update(digest, part.flows)
    _update(digest, data.table)
    absent = sorted(attack_class.value for attack_class in data.absent)
    digest.update(json.dumps([absent, recipe.substance(), seed, torch.__version__]).encode())
    for path in stage_files(LEARNING_STAGES):
        if path.name not in SET_AFTERWARDS:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _update(digest: Any, columns: Any) -> None:
    """Every array in a dataclass of columns, and in those that it holds."""
    for item in fields(columns):
        value = getattr(columns, item.name)
        if is_dataclass(value):
            _update(digest, value)
        elif isinstance(value, np.ndarray):
            digest.update(f"{item.name} {value.dtype} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        else:
            digest.update(f"{item.name} {value!r}".encode())
