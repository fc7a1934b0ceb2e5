"""What was trained once is found again, and only by those who would have trained the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from thingwarden.bench.shelf import NetworkShelf, training_key
from thingwarden.domain.errors import ArtifactError
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.train.corpus import Corpus, Part
from thingwarden.train.folds import FoldPlan, view_fold
from thingwarden.train.recipe import Recipe
from thingwarden.train.training import TrainingSet

pytestmark = pytest.mark.torch


@pytest.fixture
def recipe(repository: Path) -> Recipe:
    return Recipe.load(repository / "recipes" / "nano.toml").model_copy(
        update={"pretrain_rounds": 0, "finetune_rounds": 1, "sentences_per_round": 12, "lanes": 4, "width": 16,
                "state_width": 16, "table_rows_per_step": 16}
    )  # fmt: skip


@pytest.fixture
def data(plan: FoldPlan, corpus: Corpus) -> TrainingSet:
    view = view_fold(plan, corpus, 0).blind()
    return TrainingSet(train=view.train, calibration=view.calibration, table=view.ton.take(view.ton_train))


def test_what_was_trained_is_found_again(data: TrainingSet, recipe: Recipe, tmp_path: Path) -> None:
    shelf = NetworkShelf(tmp_path / "networks")
    first = shelf.train(data, recipe, 0, "one")
    (kept,) = (tmp_path / "networks").iterdir()
    written = (kept / "model.onnx").stat().st_mtime_ns
    again = shelf.train(data, recipe, 0, "two")
    assert (again.network, again.habit, again.vocabulary) == (first.network, first.habit, first.vocabulary)
    assert (kept / "model.onnx").stat().st_mtime_ns == written
    assert (str(first.path), str(again.path)) == ("one", "two")


def test_every_cause_has_a_key_of_its_own(data: TrainingSet, recipe: Recipe) -> None:
    part = next(part for part in data.train if len(part.flows) > 1)
    ports = part.flows.resp_port.copy()
    ports[-1] ^= 1
    altered = Part(part.capture, replace(part.flows, resp_port=ports))
    others = [
        replace(data, train=[altered if item is part else item for item in data.train]),
        replace(data, train=data.train[1:]),
        replace(data, table=data.table.take([0, 1])),
        replace(data, absent=(AttackClass.SCAN,)),
    ]
    keys = [training_key(item, recipe, 0) for item in (data, *others)]
    keys += [training_key(data, recipe, 1), training_key(data, recipe.model_copy(update={"learning_rate": 0.5}), 0)]
    assert len(set(keys)) == len(keys)


def test_what_decides_nothing_changes_no_key(data: TrainingSet, recipe: Recipe) -> None:
    renamed = recipe.model_copy(update={"name": "other"})
    assert training_key(replace(data, calibration=()), renamed, 0) == training_key(data, recipe, 0)


def test_a_damaged_network_is_named(data: TrainingSet, recipe: Recipe, tmp_path: Path) -> None:
    shelf = NetworkShelf(tmp_path)
    shelf.train(data, recipe, 0, "one")
    (kept,) = tmp_path.iterdir()
    (kept / "vocabulary.json").write_text("{")
    with pytest.raises(ArtifactError, match=kept.name):
        shelf.train(data, recipe, 0, "one")
