"""Everything that decides a training run, as one frozen record read from TOML.

In: ``recipes/*.toml``. Out: ``Recipe``.
Must never: have a default that a recipe file does not show.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from thingwarden.domain.errors import ConfigError

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]


class Recurrent(BaseModel):
    """A reader with one gated recurrent layer as wide as the summary."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Literal["recurrent"]


class Attention(BaseModel):
    """A reader with attention over a window.

    Attributes:
        layers: one above the other.
        head_count: heads of a layer; all share one key and one value.
        head_width: numbers in a key and in a value.
        window_words: words before its own that a layer attends to.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Literal["attention"]
    layers: Count
    head_count: Count
    head_width: Count
    window_words: Count


ReaderSizes = Annotated[Recurrent | Attention, Field(discriminator="architecture")]


class Teacher(BaseModel):
    """A network that is trained first, by the same recipe but for these, and then teaches.

    Attributes:
        reader, width, state_width, learning_rate: as in the recipe.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reader: ReaderSizes
    width: Count
    state_width: Count
    learning_rate: Annotated[float, Field(gt=0.0)]


class Recipe(BaseModel):
    """One training run.

    Attributes:
        name: of the model.
        reader: what reads the sentence, and its sizes.
        width, state_width: D and H of the network.
        teachers: networks whose mean opinion the model learns beside the labels; often there are none.
        distil_share: weight of that opinion in the class loss, the labels keep the rest.
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
    reader: ReaderSizes
    width: Count
    state_width: Count
    teachers: tuple[Teacher, ...]
    distil_share: Share
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

    @model_validator(mode="after")
    def _check_teachers(self) -> Self:
        if bool(self.teachers) != (self.distil_share > 0):
            raise ValueError("distil_share must be above 0 with teachers, and 0 without")
        return self

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

    def taught_by(self, teacher: Teacher) -> Recipe:
        """The recipe by which a teacher is trained."""
        own = {name: getattr(teacher, name) for name in Teacher.model_fields}
        return self.model_copy(update={**own, "teachers": (), "distil_share": 0.0})

    def substance(self) -> str:
        """SHA-256 of all values but the name: recipes that train the same network share it."""
        return self.model_copy(update={"name": ""}).digest()

    def digest(self) -> str:
        """SHA-256 of the recipe's values."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
