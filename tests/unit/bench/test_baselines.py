"""The baselines, each through a whole fold of the small corpus."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from thingwarden.bench import baselines
from thingwarden.bench.baselines import RECIPES, BaselineFitter, TrainingShelf, _even_lab, read_training
from thingwarden.bench.contestants import ScoringContestant
from thingwarden.bench.words import Examples
from thingwarden.train.corpus import Corpus
from thingwarden.train.folds import FoldPlan, FoldView, view_across, view_fold


@pytest.fixture(scope="module")
def view(plan: FoldPlan, corpus: Corpus) -> FoldView:
    return view_fold(plan, corpus, 0)


def test_every_baseline_has_the_same_tuning_budget() -> None:
    assert {len(recipe.makers) for recipe in RECIPES.values()} == {3}


@pytest.mark.parametrize("name", ["dictionary", "forest-history", "lightgbm"])
def test_a_scan_like_those_in_training_is_found(name: str, view: FoldView) -> None:
    contestant = ScoringContestant(name, BaselineFitter(RECIPES[name], TrainingShelf()))
    contestant.fit(view.blind(), 0)
    for part in view.test:
        assert part.flows.labels is not None
        said = contestant.assess(part.flows).verdicts.is_malicious
        is_malicious = part.flows.labels.malicious == 1
        assert said[is_malicious].sum() >= 0.9 * is_malicious.sum()
        assert said[part.flows.labels.malicious == 0].mean() <= 0.02  # the budget leaves room for a flow or two


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_baseline_judges_timed_and_untimed_flows(name: str, view: FoldView) -> None:
    contestant = ScoringContestant(name, BaselineFitter(RECIPES[name], TrainingShelf()))
    contestant.fit(view.blind(), 0)
    for flows in (view.test[0].flows, view.ton.take(view.ton_test_pairs)):
        verdicts = contestant.assess(flows).verdicts
        assert np.isfinite(verdicts.malicious_probability).all()
        assert ((verdicts.ton_class >= 0) & (verdicts.ton_class < 10)).all()


@pytest.mark.parametrize("learns_ton", [True, False])
def test_the_half_that_was_fitted_speaks_for_the_other(plan: FoldPlan, corpus: Corpus, learns_ton: bool) -> None:
    view = view_across(plan, corpus, learns_ton=learns_ton)
    contestant = ScoringContestant("lightgbm-history", BaselineFitter(RECIPES["lightgbm-history"], TrainingShelf()))
    contestant.fit(view.blind(), 0)
    other = view.test[-1].flows if learns_ton else view.ton
    assert len(contestant.assess(other).verdicts) == len(other)


def test_the_vocabulary_knows_training_flows_only(view: FoldView) -> None:
    training = read_training(view.blind(), with_history=False)
    assert training.timed is not None and training.timed_even is not None
    assert training.vocabulary.services == (b"dns", b"ssl")
    assert training.timed.weight[training.timed.label == 0].sum() == pytest.approx(len(training.timed) / 2)
    assert 0 < training.timed_inner.mean() < 1


def test_one_view_is_encoded_once(view: FoldView) -> None:
    shelf, blind = TrainingShelf(), view.blind()
    assert shelf.take(blind, with_history=False) is shelf.take(blind, with_history=False)
    assert shelf.take(blind, with_history=True).timed is not shelf.take(blind, with_history=False).timed


def test_simulated_rows_weigh_as_much_as_recorded_ones(view: FoldView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "LAB_STRETCH_FLOWS", 40)
    networks = [part._replace(capture=replace(part.capture, family="lab", name=f"net-{number:05d}"))
                for number, part in enumerate(view.train)]  # fmt: skip
    alone = read_training(view.blind(), with_history=False)
    together = read_training(replace(view, train=(*view.train, *networks)).blind(), with_history=False)
    assert alone.timed is not None and together.timed is not None
    assert len(alone.timed) < len(together.timed) <= 2 * len(alone.timed)
    is_malicious = together.timed.label > 0
    assert together.timed.weight[is_malicious].sum() == pytest.approx(together.timed.weight[~is_malicious].sum())
    assert len(together.timed_inner) == len(together.timed)


@pytest.mark.parametrize("lab_weight", [0.01, 1.0, 700.0])
def test_however_many_networks_there_are_they_are_half(lab_weight: float) -> None:
    is_lab = np.array([False, True, True, False, True])
    examples = Examples(
        fields=np.zeros((5, 2), dtype=np.uint8),
        history=np.zeros((5, 0), dtype=np.float32),
        label=np.array([0, 0, 0, 1, 1]),
        weight=np.where(is_lab, lab_weight, 2.0),
    )
    weight = _even_lab(examples, is_lab).weight
    assert weight[1] + weight[2] == pytest.approx(weight[0]) and weight[4] == pytest.approx(weight[3])
