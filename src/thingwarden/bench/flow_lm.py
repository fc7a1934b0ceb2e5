"""The flow language model as a contestant: trained on the blind view by the recipe that the shipped model has.

In: a blind ``FoldView``, a recipe. Out: a ``FittedScorer`` on the exported network, int8 as it ships.
Must never: see calibration or test parts in training; threshold and alarm level are the referee's, as for all.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from thingwarden.bench.contestants import FittedScorer
from thingwarden.model.scorer import FlowScorer
from thingwarden.train.folds import FoldView
from thingwarden.train.recipe import Recipe
from thingwarden.train.training import TrainingSet, assemble_artifact, calibrate, train_network


class FlowLmFitter:
    """Trains one model per view and seed.

    Args:
        recipe: of the model.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def __call__(self, view: FoldView, seed: int) -> FittedScorer:
        """See ``contestants.Fitter``."""
        table = view.ton.take(view.ton_train)
        data = TrainingSet(train=view.train, calibration=view.calibration, table=table, absent=view.absent)
        trained = train_network(data, self._recipe, seed)
        artifact = assemble_artifact(trained, self._recipe, Path(f"{self._recipe.name}-{view.name}-{seed}"))
        calibration = calibrate(view.calibration, artifact)
        scorer = FlowScorer(replace(artifact, calibration=calibration))
        return FittedScorer(vocabulary=trained.vocabulary, scorer=scorer, calibration=calibration)
