"""Everything that decides a training run, as one frozen record read from TOML.

In: ``recipes/*.toml``. Out: ``Recipe``.
Must never: have a default that a recipe file does not show.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thingwarden.domain.errors import ConfigError

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]


class Recipe(BaseModel):
    """One training run.

    Attributes:
        name: of the model.
        width, state_width: D and H of the network.
        pretrain_rounds, finetune_rounds: how often fresh scenes are drawn in each phase.
        sentences_per_round: windows drawn for a round.
        graft_share: share of the windows that are grafts.
        malicious_graft_share: share of the grafted segments that are malicious.
        sketch_share: share of the grafted segments that are sketched instead of recorded.
        lab_native_share: share of the other windows, and of lone words, that come from simulated networks.
        lab_history_share: share of the histories grafted into that are simulated hosts'.
        lab_segment_share: share of the grafted segments, sketches aside, that are simulated.
        lanes, lane_words: B and T of a step.
        table_rows_per_step: TON_IoT rows beside each step's lanes.
        learning_rate: at the peak.
        pattern_exponent: a word weighs n to minus this, n words of its pattern and label in the round.
        pretrain_weight: of the next-word loss while fine-tuning.
        field_masking: field -> share of sentences in which it is masked.
        other_masking: the same for every other field.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    width: Count
    state_width: Count
    pretrain_rounds: Annotated[int, Field(ge=0)]
    finetune_rounds: Count
    sentences_per_round: Count
    graft_share: Share
    malicious_graft_share: Share
    sketch_share: Share
    lab_native_share: Share
    lab_history_share: Share
    lab_segment_share: Share
    lanes: Count
    lane_words: Count
    table_rows_per_step: Count
    learning_rate: Annotated[float, Field(gt=0.0)]
    pattern_exponent: Share
    pretrain_weight: Annotated[float, Field(ge=0.0)]
    field_masking: dict[str, Share]
    other_masking: Share

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a recipe.

        Raises:
            ConfigError: the file is missing, not TOML, or holds a key or value that a recipe cannot have.
        """
        try:
            return cls.model_validate(tomllib.loads(path.read_text()))
        except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise ConfigError(str(path), str(error), "see recipes/nano.toml for every key") from error

    def digest(self) -> str:
        """SHA-256 of the recipe's values."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
