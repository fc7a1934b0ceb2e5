"""The model trains as a contestant on the small corpus and is judged like every other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from thingwarden.bench.contestants import ScoringContestant
from thingwarden.train.corpus import Corpus
from thingwarden.train.folds import FoldPlan, view_fold


@pytest.mark.torch
def test_a_tiny_model_is_fitted_judged_and_shows_its_states(
    plan: FoldPlan, corpus: Corpus, repository: Path, tmp_path: Path
) -> None:
    from thingwarden.bench.flow_lm import FlowLmFitter
    from thingwarden.bench.shelf import NetworkShelf
    from thingwarden.train.recipe import Recipe

    recipe = Recipe.load(repository / "recipes" / "nano.toml").model_copy(
        update={"pretrain_rounds": 0, "finetune_rounds": 1, "sentences_per_round": 12, "lanes": 4, "width": 16,
                "state_width": 16, "table_rows_per_step": 16}
    )  # fmt: skip
    view = view_fold(plan, corpus, 0)
    contestant = ScoringContestant("flow-lm", FlowLmFitter(recipe, NetworkShelf(tmp_path)))
    contestant.fit(view.blind(), 0)
    for flows in (view.test[0].flows, view.ton.take(view.ton_test_pairs)):
        assert np.isfinite(contestant.assess(flows).verdicts.malicious_probability).all()
    states = contestant.sample_states(view.test[0].flows, 2)
    assert states is not None and states.shape[1] == recipe.state_width
