"""A whole run on sketches: flows in, a model folder out that loads, scores and is calibrated on others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from flow_builder import random_flows
from lab_builder import build_lab
from part_builder import build_recipe, sketched_part
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.flow import FlowBatch
from thingwarden.train.corpus import Corpus, load_lab
from thingwarden.train.folds import FoldPlan

pytestmark = pytest.mark.torch
pytest.importorskip("torch")

from thingwarden.model.artifact import Artifact, load_artifact  # noqa: E402
from thingwarden.train.training import (  # noqa: E402
    TrainingSet,
    calibrate,
    score_parts,
    train_artifact,
    whole_set,
)

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    train = [sketched_part("attack", 1), sketched_part("benign-a", 2)]
    return TrainingSet(train=train, calibration=[sketched_part("benign-b", 3)], table=FlowBatch.empty())


@pytest.fixture(scope="module")
def artifact(data: TrainingSet, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return train_artifact(data, tmp_path_factory.mktemp("model") / "tiny", build_recipe(), 5, now=lambda: NOW)


def test_what_was_trained_loads_and_scores(artifact: Artifact, data: TrainingSet) -> None:
    loaded = load_artifact(artifact.path)
    assert loaded == artifact
    (scored,) = score_parts([("recorded", data.calibration[0])], loaded)
    assert len(scored.words) == len(scored.scores.surprise_nats) > 0
    assert np.isfinite(scored.scores.class_probability).all()


def test_the_manifest_and_the_card_say_how_it_came_to_be(artifact: Artifact) -> None:
    training = artifact.manifest["training"]
    assert training["seed"] == 5 and training["steps"] > 1
    assert training["recipe_sha256"] == build_recipe().digest()
    assert artifact.manifest["trained_at"] == "2030-01-02T03:04:05+00:00"
    assert (
        "| attack |" in artifact.card and "| benign-b |" in artifact.card and training["recipe_sha256"] in artifact.card
    )


def test_thresholds_are_those_of_the_devices_held_out(artifact: Artifact, data: TrainingSet) -> None:
    assert artifact.calibration == calibrate(data.calibration, artifact)
    assert artifact.calibration != calibrate(data.train, artifact)
    assert f"{artifact.calibration.flow_threshold:.6f}" in artifact.card


def test_without_benign_parts_the_calibration_stays(artifact: Artifact) -> None:
    start = Calibration(flow_threshold=0.4)
    assert calibrate([], artifact, start) is start
    assert calibrate([sketched_part("benign", 1)._replace(flows=FlowBatch.empty())], artifact) == Calibration()


def test_the_same_seed_makes_the_same_network(artifact: Artifact, data: TrainingSet, tmp_path: Path) -> None:
    again = train_artifact(data, tmp_path / "again", build_recipe(), 5, now=lambda: NOW)
    assert again.network == artifact.network and again.card == artifact.card


def test_the_whole_set_learns_from_no_device_that_thresholds_are_set_on() -> None:
    parts = tuple(sketched_part(name, seed) for seed, name in enumerate(("attack", "benign-a", "benign-b")))
    ton = replace(random_flows(1, 5), is_timed=False)
    plan = FoldPlan(
        count=2, captures={"attack": 1}, groups={"benign-a": 0, "benign-b": 1}, classes={}, ton_pairs={},
        ton_sources={}, sha256="",
    )  # fmt: skip
    chosen = whole_set(Corpus(parts=parts, ton=ton), plan, 1)
    assert [part.capture.name for part in chosen.train] == ["attack", "benign-a"]
    assert [part.capture.name for part in chosen.calibration] == ["benign-b"]
    assert chosen.table is ton and chosen.lab is None


def test_with_simulated_networks_manifest_and_card_say_which(tmp_path: Path) -> None:
    lab = load_lab(build_lab(tmp_path / "lab", networks=3, counted=0))
    train = [sketched_part("attack", 1), sketched_part("benign-a", 2), *lab.parts]
    data = TrainingSet(train=train, calibration=[sketched_part("benign-b", 3)], table=FlowBatch.empty(), lab=lab)
    artifact = train_artifact(data, tmp_path / "out", build_recipe(), 5, now=lambda: NOW)
    described = artifact.manifest["training"]["lab"]
    assert described == {
        "recipe_sha256": lab.manifest.recipe_sha256,
        "manifest_sha256": lab.sha256,
        "networks": 3,
        "flows": sum(len(part.flows) for part in lab.parts),
    }
    assert "| 3 simulated networks |" in artifact.card and lab.sha256 in artifact.card


def test_without_simulated_networks_manifest_and_card_say_so(artifact: Artifact) -> None:
    assert artifact.manifest["training"]["lab"] is None
    assert "No simulated network" in artifact.card
