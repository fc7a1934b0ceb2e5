"""The evasion run on a small corpus: cells are kept, what is unknown is refused, figures are complete."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evasion_builder import Outspoken, attacked_network, calls_attacks
from lab_builder import build_lab
from thingwarden.bench.contestants import Contestant
from thingwarden.bench.evasion import EVASIONS
from thingwarden.bench.evasion_measure import Network
from thingwarden.bench.evasion_run import (
    FAMILIES,
    FROG,
    RECORDED,
    WARM_UP,
    Entrant,
    fold_entrants,
    run_evasion,
    shipped_entrant,
    shorten_attacks,
    strengths_of,
)
from thingwarden.config import PACKAGED_MODEL
from thingwarden.domain.errors import InputError, RequestError
from thingwarden.model.artifact import load_artifact
from thingwarden.train.corpus import Corpus
from thingwarden.train.folds import FoldPlan

PLAN = Path(__file__).parents[3] / "recipes" / "folds.toml"


@dataclass
class Maker:
    """Makes a contestant that knows the labels; counts how often."""

    made: list[Outspoken] = field(default_factory=list)

    def __call__(self) -> Contestant:
        self.made.append(Outspoken(calls_attacks))
        return self.made[-1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_lab(tmp_path_factory.mktemp("lab"), networks=4, counted=1)


def _entrant(maker: Maker, **changes: Any) -> Entrant:
    return Entrant(**{"name": "oracle", "identity": "1", "origin": "Knows all.", "make": maker, **changes})


def test_who_knows_the_labels_keeps_all(lab: Path, tmp_path: Path) -> None:
    said: list[tuple[int, int]] = []
    figures = run_evasion([_entrant(Maker())], lab, tmp_path, progress=lambda *at: said.append(at))
    measured = figures["contestants"]["oracle"]
    assert tuple(measured) == FAMILIES and figures["networks"] == 2
    for name in EVASIONS:
        points = measured[name]["all"]
        assert [point["strength"] for point in points] == list(strengths_of(name))
        assert {point["recall"] for point in points} <= {1.0, None}
        assert {point["kept"] for point in points} <= {1.0, None}
    total = sum(len(strengths_of(family)) for family in FAMILIES)
    assert said == [(done, total) for done in range(total + 1)]
    json.dumps(figures, allow_nan=False)


def test_a_second_run_takes_what_the_first_has_measured(lab: Path, tmp_path: Path) -> None:
    families = ("padding", "slowness")
    first, second, other = Maker(), Maker(), Maker()
    before = run_evasion([_entrant(first)], lab, tmp_path, families=families)
    assert run_evasion([_entrant(second)], lab, tmp_path, families=families) == before
    assert (len(first.made), len(second.made)) == (1, 0)
    run_evasion([_entrant(other, identity="2")], lab, tmp_path, families=families)
    assert len(other.made) == 1, "another model is measured anew"


def test_a_run_that_was_cut_off_measures_what_is_missing(lab: Path, tmp_path: Path) -> None:
    before = run_evasion([_entrant(Maker())], lab, tmp_path, families=("jitter",))
    next(tmp_path.rglob("jitter.1.json")).unlink()
    maker = Maker()
    assert run_evasion([_entrant(maker)], lab, tmp_path, families=("jitter",)) == before
    assert len(maker.made) == 1 and not list(tmp_path.rglob("*.partial"))


def test_another_seed_and_fewer_networks_are_other_cells(lab: Path, tmp_path: Path) -> None:
    for changes in ({}, {"seed": 5}, {"network_limit": 1}):
        run_evasion([_entrant(Maker())], lab, tmp_path, families=("padding",), **changes)
    assert len(list(tmp_path.iterdir())) == 3


def test_recorded_captures_have_a_curve_of_their_own(lab: Path, tmp_path: Path) -> None:
    recorded = (Network("34-1", attacked_network(), 1.0),)
    figures = run_evasion([_entrant(Maker(), recorded=recorded)], lab, tmp_path, families=("padding", WARM_UP))
    curves = figures["contestants"]["oracle"]["padding"]
    assert figures["recorded"] == {"oracle": ["34-1"]}
    assert curves[RECORDED][0]["networks"] == 1 and curves[RECORDED][0]["device_weeks"] == pytest.approx(1 / 7)


def test_what_is_unknown_or_empty_is_refused(lab: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="evasion tunnelling"):
        run_evasion([_entrant(Maker())], lab, tmp_path, families=("tunnelling",))
    quiet = build_lab(tmp_path / "quiet", networks=0, counted=1)
    with pytest.raises(InputError, match="no network holds an attack"):
        run_evasion([_entrant(Maker())], quiet, tmp_path)


def test_unknown_contestants_and_folds_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="oracle"):
        fold_entrants(["oracle"], tmp_path, 0, 0, PLAN)
    with pytest.raises(RequestError, match="fold 9"):
        fold_entrants(["lightgbm"], tmp_path, 9, 0, PLAN)


def test_the_shipped_model_comes_with_its_thresholds() -> None:
    artifact = load_artifact(PACKAGED_MODEL)
    entrant = shipped_entrant(artifact)
    contestant = entrant.make()
    assert entrant.name == contestant.name == artifact.name
    assert f"{artifact.calibration.evidence_nats:.2f}" in entrant.origin
    assert contestant.calibration == artifact.calibration  # type: ignore[attr-defined]


def test_a_fold_lends_its_recorded_attacks_to_who_learned_from_the_others(
    monkeypatch: pytest.MonkeyPatch, corpus: Corpus, plan: FoldPlan, tmp_path: Path
) -> None:
    monkeypatch.setattr("thingwarden.bench.evasion_run.load_corpus", lambda data, cache: corpus)
    monkeypatch.setattr("thingwarden.bench.evasion_run.load_plan", lambda path: plan)
    (entrant,) = fold_entrants(["dictionary"], tmp_path, 1, 0, PLAN)
    assert entrant.name == "dictionary, fold 1" and plan.sha256 in entrant.identity
    assert [network.name for network in entrant.recorded] == ["bad-1"]
    contestant = entrant.make()
    said = contestant.watch(entrant.recorded[0].flows).verdicts.is_malicious
    assert said[calls_attacks(entrant.recorded[0].flows)].all(), "it learned from other scans"


def test_of_a_recorded_attack_the_first_flows_are_taken() -> None:
    flows = attacked_network(beacons=12, probes=20)
    short = shorten_attacks(flows, 5)
    assert calls_attacks(short).sum() == 10 and len(short) == len(flows) - 22
    kept = np.isin(short.started_at_s, flows.started_at_s[calls_attacks(flows)][:1])
    assert kept.any()
    assert shorten_attacks(flows).started_at_s.shape == flows.started_at_s.shape


def test_frogs_are_measured_at_every_growth(lab: Path, tmp_path: Path) -> None:
    figures = run_evasion([_entrant(Maker())], lab, tmp_path, families=(FROG,))
    for curve in figures["contestants"]["oracle"][FROG].values():
        assert [point["strength"] for point in curve] in ([], list(strengths_of(FROG)))
