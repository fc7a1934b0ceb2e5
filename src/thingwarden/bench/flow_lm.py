"""The flow language model as a contestant: trained on the blind view by the recipe that the shipped model has.

In: a blind ``FoldView``, a recipe. Out: a ``FittedScorer`` on the exported network, int8 as it ships.
Must never: see calibration or test parts in training; thresholds are the referee's, as for every contestant.
"""

from __future__ import annotations

from pathlib import Path

from thingwarden.bench.contestants import FittedScorer
from thingwarden.domain.calibration import Calibration
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.model.artifact import Artifact
from thingwarden.model.scorer import FlowScorer
from thingwarden.train.export import export_network
from thingwarden.train.finetune import Trainer
from thingwarden.train.folds import FoldView
from thingwarden.train.recipe import Recipe
from thingwarden.train.scenes import Stage
from thingwarden.train.table import collect_typed_rows


class FlowLmFitter:
    """Trains one model per view and seed.

    Args:
        recipe: of the model.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def __call__(self, view: FoldView, seed: int) -> FittedScorer:
        """See ``contestants.Fitter``."""
        ton = view.ton.take(view.ton_train)
        vocabulary = Vocabulary.fit([*(part.flows for part in view.train), ton])
        table = collect_typed_rows(ton, vocabulary) if len(ton) else None
        trainer = Trainer.prepare(vocabulary, Stage(view.train, vocabulary), table, self._recipe, seed)
        network = export_network(trainer.run())
        artifact = Artifact(
            path=Path(f"{self._recipe.name}-{view.name}-{seed}"),
            network=network,
            vocabulary=vocabulary.to_json(),
            calibration=Calibration(),
            card="",
            manifest={"name": self._recipe.name},
        )
        return FittedScorer(vocabulary=vocabulary, scorer=FlowScorer(artifact))
