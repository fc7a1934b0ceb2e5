"""The baselines, each through a whole fold of the small corpus."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.bench.baselines import RECIPES, BaselineFitter, TrainingShelf, read_training
from thingwarden.bench.contestants import ScoringContestant
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
        assert not said[part.flows.labels.malicious == 0].any()


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
