"""Sentences laid side by side in lanes, so that a network reads them with their state carried on.

In: sentences, a random generator. Out: ``Lesson`` tensors-to-be, B lanes of T words at a time.
Must never: carry a state from one sentence into another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thingwarden.encode.vocabulary import FIELD_NAMES, MASKED
from thingwarden.train.recipe import Recipe
from thingwarden.train.scenes import Sentence

Rng = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One step's words.

    Attributes:
        ids: int64 (B, T, F).
        attack_class: int64 (B, T); -1 is not a target.
        role: int64 (B, T).
        weight: float32 (B, T), of the class and role losses; 0 in padding.
        is_word: bool (B, T), false in padding.
        restarts: bool (B,), lanes whose state is cleared before this step.
    """

    ids: npt.NDArray[np.int64]
    attack_class: npt.NDArray[np.int64]
    role: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]
    is_word: npt.NDArray[np.bool_]
    restarts: npt.NDArray[np.bool_]


def mask_fields(sentence: Sentence, recipe: Recipe, rng: Rng) -> npt.NDArray[np.uint8]:
    """The sentence's fields with some masked throughout, as a source would that cannot supply them."""
    shares = np.array([recipe.field_masking.get(name, recipe.other_masking) for name in FIELD_NAMES])
    shares[0] = 0.0
    masked = sentence.fields.copy()
    masked[:, rng.random(len(shares)) < shares] = MASKED
    return masked


def weigh(sentences: Sequence[Sentence], exponent: float) -> list[npt.NDArray[np.float32]]:
    """Weight of every word: n^-exponent within its pattern, malicious and benign words weighing alike in total."""
    attack_class = np.concatenate([sentence.attack_class for sentence in sentences])
    pattern = np.concatenate([sentence.pattern for sentence in sentences])
    _, inverse, counts = np.unique(pattern, return_inverse=True, return_counts=True)
    weight = counts[inverse] ** -exponent
    for chosen in (attack_class == 0, attack_class > 0):
        if chosen.any():
            weight[chosen] *= len(weight) / 2 / weight[chosen].sum()
    weight[attack_class < 0] = 0.0
    cuts = np.cumsum([len(sentence) for sentence in sentences])[:-1]
    return [part.astype(np.float32) for part in np.split(weight, cuts)]


def lay_lanes(sentences: Sequence[Sentence], recipe: Recipe, rng: Rng) -> Iterator[Lesson]:
    """Yield lessons until the longest lane is used up; shorter ones end in padding.

    Args:
        sentences: of any length; each is padded to whole steps.
        recipe: gives B, T, the masking and the weighting.
        rng: decides order and masking.
    """
    weights = weigh(sentences, recipe.pattern_exponent)
    lanes: list[list[int]] = [[] for _ in range(recipe.lanes)]
    lengths = np.zeros(recipe.lanes, dtype=np.int64)
    for index in rng.permutation(len(sentences)):
        lane = int(lengths.argmin())
        lanes[lane].append(int(index))
        lengths[lane] += -(-len(sentences[index]) // recipe.lane_words)
    steps = int(lengths.max())
    columns = _Columns.empty(recipe, steps)
    for lane, indices in enumerate(lanes):
        at = 0
        for index in indices:
            columns.write(lane, at, sentences[index], weights[index], mask_fields(sentences[index], recipe, rng))
            at += -(-len(sentences[index]) // recipe.lane_words) * recipe.lane_words
    for step in range(steps):
        yield columns.lesson(step, recipe.lane_words)


@dataclass(frozen=True, slots=True)
class _Columns:
    ids: npt.NDArray[np.uint8]  # (B, steps * T, F)
    attack_class: npt.NDArray[np.int8]
    role: npt.NDArray[np.int8]
    weight: npt.NDArray[np.float32]
    is_word: npt.NDArray[np.bool_]
    is_first: npt.NDArray[np.bool_]

    @classmethod
    def empty(cls, recipe: Recipe, steps: int) -> _Columns:
        shape = (recipe.lanes, steps * recipe.lane_words)
        return cls(
            np.zeros((*shape, len(FIELD_NAMES)), dtype=np.uint8),
            np.full(shape, -1, dtype=np.int8),
            np.zeros(shape, dtype=np.int8),
            np.zeros(shape, dtype=np.float32),
            np.zeros(shape, dtype=bool),
            np.zeros(shape, dtype=bool),
        )

    def write(
        self,
        lane: int,
        at: int,
        sentence: Sentence,
        weight: npt.NDArray[np.float32],
        fields: npt.NDArray[np.uint8],
    ) -> None:
        place = slice(at, at + len(sentence))
        self.ids[lane, place] = fields
        self.attack_class[lane, place] = sentence.attack_class
        self.role[lane, place] = sentence.role
        self.weight[lane, place] = weight
        self.is_word[lane, place] = True
        self.is_first[lane, at] = True

    def lesson(self, step: int, words: int) -> Lesson:
        place = slice(step * words, (step + 1) * words)
        return Lesson(
            ids=self.ids[:, place].astype(np.int64),
            attack_class=self.attack_class[:, place].astype(np.int64),
            role=self.role[:, place].astype(np.int64),
            weight=self.weight[:, place],
            is_word=self.is_word[:, place],
            restarts=self.is_first[:, place.start],
        )
