"""The flow language model as a contestant: trained on the blind view by the recipe that the shipped model has.

In: a blind ``FoldView``, a recipe. Out: a ``FittedScorer`` on the exported network, int8 as it ships.
Must never: see calibration or test parts in training; threshold and alarm level are the referee's, as for all.
"""

from __future__ import annotations

from thingwarden.bench.contestants import FittedScorer
from thingwarden.bench.shelf import NetworkShelf
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.model.scorer import FlowScorer
from thingwarden.train.folds import FoldView
from thingwarden.train.recipe import Recipe
from thingwarden.train.thresholds import prepare
from thingwarden.train.training import TrainingSet, scale


class FlowLmFitter:
    """Trains one model per view and seed, or finds it trained.

    Args:
        recipe: of the model.
        shelf: keeps what was trained.
    """

    def __init__(self, recipe: Recipe, shelf: NetworkShelf) -> None:
        self._recipe = recipe
        self._shelf = shelf

    def __call__(self, view: FoldView, seed: int) -> FittedScorer:
        """See ``contestants.Fitter``."""
        table = view.ton.take(view.ton_train)
        data = TrainingSet(train=view.train, calibration=view.calibration, table=table, absent=view.absent)
        artifact = self._shelf.train(data, self._recipe, seed, f"{self._recipe.name}-{view.name}-{seed}")
        artifact = scale(prepare(view.calibration), artifact, artifact.calibration)
        vocabulary = Vocabulary.from_json(artifact.vocabulary)
        return FittedScorer(vocabulary=vocabulary, scorer=FlowScorer(artifact), calibration=artifact.calibration)
