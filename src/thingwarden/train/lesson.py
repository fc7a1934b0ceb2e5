"""Sentences laid side by side in lanes, so that a network reads them with their state carried on.

In: sentences, a random generator. Out: ``Lesson`` tensors-to-be, B lanes of T words at a time.
Must never: carry a state from one sentence into another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from thingwarden.encode.vocabulary import FIELD_INDEX, FIELD_NAMES, MASKED, NOVELTIES, OPEN_FIELDS, PEER_KINDS
from thingwarden.train.recipe import Recipe
from thingwarden.train.scenes import Sentence

AGED_SHARE: Final = 0.4
"""Share of sentences whose device is made older: recordings last days, gateways years."""

_LIFETIME: Final = {
    FIELD_INDEX[name]: OPEN_FIELDS[name] for name in ("service_opens", "service_peers", "peer_contacts")
}
_NOVELTY: Final = FIELD_INDEX["novelty"]
_ALL_NEW: Final = NOVELTIES.index("all_new")
_PORT: Final = FIELD_INDEX["resp_port"]
_PORT_COUNT: Final = OPEN_FIELDS["resp_port"]
_PEER_KIND: Final = FIELD_INDEX["peer_kind"]
_PLAIN_PEER_KIND: Final = np.arange(len(PEER_KINDS), dtype=np.uint8)
for _learned, _plain in (("gateway", "same_lan"), ("unknown", "same_lan"), ("dns_server", "internet")):
    _PLAIN_PEER_KIND[PEER_KINDS.index(_learned)] = PEER_KINDS.index(_plain)

Rng = np.random.Generator


MOST_PROBES: Final = 1024
"""Probes of one step: a quarter of the words beside them, for a long flow has several and says little new by each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Words that are read beside a lesson and not remembered; P words.

    Attributes:
        ids: int64 (P, F).
        lane, after: int64 (P,), the lane, and the word of it (0 to T - 1) after which the probe stands.
        attack_class, role: int64 (P,), as in ``Lesson``.
        weight: float32 (P,).
    """

    ids: npt.NDArray[np.int64]
    lane: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]
    attack_class: npt.NDArray[np.int64]
    role: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.lane)

    @classmethod
    def empty(cls) -> Self:
        """None at all."""
        none = np.zeros(0, dtype=np.int64)
        weight = np.zeros(0, dtype=np.float32)
        ids = np.zeros((0, len(FIELD_NAMES)), dtype=np.int64)
        return cls(ids=ids, lane=none, after=none, attack_class=none, role=none, weight=weight)


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
        probes: what is read beside them, ``MOST_PROBES`` at most.
    """

    ids: npt.NDArray[np.int64]
    attack_class: npt.NDArray[np.int64]
    role: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]
    is_word: npt.NDArray[np.bool_]
    restarts: npt.NDArray[np.bool_]
    is_clean: npt.NDArray[np.bool_]
    probes: Probes


PLAIN_PEER_SHARE: Final = 0.3
"""Share of sentences whose peers are told by their address alone, as where nothing was heard before."""


def mask_fields(sentence: Sentence, recipe: Recipe, rng: Rng) -> npt.NDArray[np.uint8]:
    """The sentence's fields with some masked throughout, as a source would that cannot supply them."""
    fields = age(sentence.fields, rng) if rng.random() < AGED_SHARE else sentence.fields
    shares = np.array([recipe.field_masking.get(name, recipe.other_masking) for name in FIELD_NAMES])
    shares[0] = 0.0
    masked = fields.copy()
    if rng.random() < PLAIN_PEER_SHARE:
        masked[:, _PEER_KIND] = _PLAIN_PEER_KIND[masked[:, _PEER_KIND]]
    masked[:, rng.random(len(shares)) < shares] = MASKED
    return masked


def age(fields: npt.NDArray[np.uint8], rng: Rng) -> npt.NDArray[np.uint8]:
    """The words of a device that has lived longer than any recording: what it counts of known services stands higher.

    Args:
        fields: uint8 (n, F).
        rng: decides which services, and how high.
    """
    aged = fields.copy()
    is_known = fields[:, _NOVELTY] != _ALL_NEW
    for column, bucket_count in _LIFETIME.items():
        floor = np.where(rng.random(_PORT_COUNT) < 0.5, rng.integers(1, bucket_count, _PORT_COUNT), 0)
        raised = np.maximum(aged[:, column], floor[fields[:, _PORT]].astype(np.uint8))
        aged[:, column] = np.where(is_known & (aged[:, column] > MASKED), raised, aged[:, column])
    return aged


def weigh(sentences: Sequence[Sentence], exponent: float) -> list[npt.NDArray[np.float32]]:
    """Weight of every word: n^-exponent within its pattern, malicious and benign words weighing alike in total.

    So they do among the probes alone, too, and where only one side has probes these weigh nothing: that a flow has a
    probe must say nothing about it.
    """
    attack_class = np.concatenate([sentence.attack_class for sentence in sentences])
    pattern = np.concatenate([sentence.pattern for sentence in sentences])
    _, inverse, counts = np.unique(pattern, return_inverse=True, return_counts=True)
    is_probe = np.concatenate([sentence.is_probe for sentence in sentences])
    weight = counts[inverse] ** -exponent
    sides = attack_class == 0, attack_class > 0
    for kind in (~is_probe, is_probe):
        for chosen in (kind & sides[0], kind & sides[1]):
            if chosen.any():
                weight[chosen] *= kind.sum() / 2 / weight[chosen].sum()
    if not all((is_probe & side).any() for side in sides):
        weight[is_probe] = 0.0
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
        lengths[lane] += -(-sentences[index].spoken_count // recipe.lane_words)
    steps = int(lengths.max())
    columns = _Columns.empty(recipe, steps)
    for lane, indices in enumerate(lanes):
        at = 0
        for index in indices:
            columns.write(lane, at, sentences[index], weights[index], mask_fields(sentences[index], recipe, rng))
            at += -(-sentences[index].spoken_count // recipe.lane_words) * recipe.lane_words
    probes = _join_probes(columns.probes)
    for step in range(steps):
        yield columns.lesson(step, recipe.lane_words, _draw_probes(probes, step, recipe.lane_words, rng))


def _join_probes(parts: Sequence[Probes]) -> Probes:
    """All probes in the order of the words that they stand after."""
    listed = [Probes.empty(), *parts]
    columns = {item.name: np.concatenate([getattr(part, item.name) for part in listed]) for item in fields(Probes)}
    return _take_probes(Probes(**columns), np.argsort(columns["after"], kind="stable"))


def _take_probes(probes: Probes, rows: npt.NDArray[np.int64]) -> Probes:
    return Probes(**{item.name: getattr(probes, item.name)[rows] for item in fields(Probes)})


def _draw_probes(probes: Probes, step: int, words: int, rng: Rng) -> Probes:
    """Those that stand within the step, or so many of them as it may have; ``after`` counted from its first word."""
    first, beyond = np.searchsorted(probes.after, [step * words, (step + 1) * words])
    rows = np.arange(first, beyond)
    if len(rows) > MOST_PROBES:
        rows = np.sort(rng.choice(rows, MOST_PROBES, replace=False))
    drawn = _take_probes(probes, rows)
    return replace(drawn, after=drawn.after - step * words)


@dataclass(frozen=True, slots=True)
class _Columns:
    ids: npt.NDArray[np.uint8]  # (B, steps * T, F)
    attack_class: npt.NDArray[np.int8]
    role: npt.NDArray[np.int8]
    weight: npt.NDArray[np.float32]
    is_word: npt.NDArray[np.bool_]
    is_first: npt.NDArray[np.bool_]
    is_clean: npt.NDArray[np.bool_]
    probes: list[Probes]

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
            np.zeros(shape, dtype=bool),
            [],
        )

    def write(
        self,
        lane: int,
        at: int,
        sentence: Sentence,
        weight: npt.NDArray[np.float32],
        fields: npt.NDArray[np.uint8],
    ) -> None:
        said, probes = np.flatnonzero(~sentence.is_probe), np.flatnonzero(sentence.is_probe)
        if not len(said):
            return
        probes = probes[probes > said[0]]  # what an earlier one stood at was cut off
        place = slice(at, at + len(said))
        self.ids[lane, place] = fields[said]
        self.attack_class[lane, place] = sentence.attack_class[said]
        self.role[lane, place] = sentence.role[said]
        self.weight[lane, place] = weight[said]
        self.is_word[lane, place] = True
        self.is_first[lane, at] = True
        self.is_clean[lane, place] = bool((sentence.attack_class == 0).all())
        self.probes.append(
            Probes(
                ids=fields[probes].astype(np.int64),
                lane=np.full(len(probes), lane, dtype=np.int64),
                after=at + np.searchsorted(said, probes) - 1,
                attack_class=sentence.attack_class[probes].astype(np.int64),
                role=sentence.role[probes].astype(np.int64),
                weight=weight[probes],
            )
        )

    def lesson(self, step: int, words: int, probes: Probes) -> Lesson:
        place = slice(step * words, (step + 1) * words)
        return Lesson(
            ids=self.ids[:, place].astype(np.int64),
            attack_class=self.attack_class[:, place].astype(np.int64),
            role=self.role[:, place].astype(np.int64),
            weight=self.weight[:, place],
            is_word=self.is_word[:, place],
            restarts=self.is_first[:, place.start],
            is_clean=self.is_clean[:, place.start],
            probes=probes,
        )
