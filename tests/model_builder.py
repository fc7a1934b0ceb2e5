"""Networks small enough to train within a test, and the artifacts made of them; needs torch.

In: a seed. Out: ``FlowLanguageModel`` and verified ``Artifact`` folders.
Must never: be taken for a model that detects anything.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import torch

from flow_builder import VOCABULARY
from part_builder import build_recipe
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.word import WordBatch
from thingwarden.model.artifact import Artifact, load_artifact, write_artifact
from thingwarden.train.export import export_habit, export_network
from thingwarden.train.finetune import shape_from
from thingwarden.train.network import FlowLanguageModel

ATTENTION: Final = {"architecture": "attention", "layers": 2, "head_count": 2, "head_width": 4, "window_words": 7}


def build_model(seed: int = 0, **changes: Any) -> FlowLanguageModel:
    """An untrained network whose heads are loud enough that its answers differ from word to word."""
    torch.manual_seed(seed)
    model = FlowLanguageModel(shape_from(VOCABULARY, build_recipe(**changes)))
    with torch.no_grad():
        for head in (model.class_head, model.ton_head, model.role_head, model.opening_head, model.outcome_head,
                     model.habit_head):  # fmt: skip
            head.weight.mul_(3.0)
    return model.eval()


def write_model(path: Path, network: bytes, habit: bytes) -> None:
    """An artifact folder around a network and what it expects."""
    contents = {
        "model.onnx": network,
        "habit.onnx": habit,
        "vocabulary.json": json.dumps(VOCABULARY.to_json()).encode(),
        "calibration.json": Calibration().to_json().encode(),
        "card.md": b"# tiny\n",
    }
    write_artifact(path, contents, name="tiny")


def build_artifact(path: Path, model: FlowLanguageModel | None = None, *, words: WordBatch | None = None) -> Artifact:
    """A verified artifact of a network, an untrained one by default; int8, scaled by ``words``, where given."""
    sample = None if words is None else words.fields[None]
    model = model or build_model()
    write_model(path, export_network(model, sample), export_habit(model))
    return load_artifact(path)
