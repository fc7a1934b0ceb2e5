"""What a word costs a network in the streaming path: processor time for many devices at once, and for one word alone.

In: recipes, a vocabulary, real words. Out: ``WordCost`` of each recipe.
Must never: let one recipe have the quiet minutes of the machine; all take turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from thingwarden.bench.words import slice_words
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.word import WordBatch
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.model.artifact import Artifact
from thingwarden.model.scorer import FlowScorer
from thingwarden.train.export import export_habit, export_network
from thingwarden.train.finetune import shape_from
from thingwarden.train.network import FlowLanguageModel
from thingwarden.train.recipe import Recipe

DEVICES: Final = 200
CHUNK_WORDS: Final = 2048
ROUNDS: Final = 12
SINGLE_WORDS: Final = 60
"""Words scored alone in each round."""

_SCALE_LANES: Final = 32
_WARM_UP: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WordCost:
    """What one network costs.

    Attributes:
        parameters: weights of the network.
        network_bytes: of the int8 graph.
        state_bytes: kept for one device.
        words_per_s: scored in chunks of ``CHUNK_WORDS`` of ``DEVICES`` devices, by one thread's processor time; median.
        one_word_p50_us, one_word_p99_us: processor time of a run for a single word.
    """

    parameters: int
    network_bytes: int
    state_bytes: int
    words_per_s: float
    one_word_p50_us: float
    one_word_p99_us: float


def deal_words(words: WordBatch, seed: int = 0) -> WordBatch:
    """The same words, in the same order, spoken by ``DEVICES`` devices whose rates fall as 1/rank."""
    shares = 1.0 / np.arange(1, DEVICES + 1)
    device = np.random.default_rng(seed).choice(DEVICES, len(words), p=shares / shares.sum()).astype(np.int32)
    return replace(words, device=device, starts_sentence=np.zeros(len(words), dtype=bool))


def measure_costs(
    recipes: Sequence[Recipe],
    vocabulary: Vocabulary,
    words: WordBatch,
    *,
    rounds: int = ROUNDS,
    clock_s: Callable[[], float] = time.thread_time,
) -> list[WordCost]:
    """Cost of each recipe's network, untrained: what is read and how often does not depend on the weights.

    Args:
        recipes: which networks.
        vocabulary: of the words.
        words: at least one chunk; they are dealt to ``DEVICES`` devices and used round after round.
        rounds: in each, every network scores one chunk and ``SINGLE_WORDS`` single words.
        clock_s: processor time of this thread.
    """
    dealt = deal_words(words)
    built = [_build(recipe, vocabulary, dealt) for recipe in recipes]
    chunk_s: list[list[float]] = [[] for _ in recipes]
    single_s: list[list[float]] = [[] for _ in recipes]
    for turn in range(-_WARM_UP, rounds):
        start = turn * CHUNK_WORDS % max(1, len(dealt) - CHUNK_WORDS + 1)
        chunk = slice_words(dealt, slice(start, start + CHUNK_WORDS))
        singles = [slice_words(chunk, slice(at, at + 1)) for at in range(min(SINGLE_WORDS, len(chunk)))]
        for number, (_, _, scorer) in enumerate(built):
            whole = _seconds(scorer, chunk, clock_s) / len(chunk)
            alone = [_seconds(scorer, single, clock_s) for single in singles]
            if turn >= 0:
                chunk_s[number].append(whole)
                single_s[number].extend(alone)
    return [
        WordCost(
            parameters=parameters,
            network_bytes=network_bytes,
            state_bytes=scorer.state_bytes,
            words_per_s=1.0 / max(float(np.median(chunks)), 1e-9),
            one_word_p50_us=1e6 * float(np.quantile(singles, 0.5)),
            one_word_p99_us=1e6 * float(np.quantile(singles, 0.99)),
        )
        for (parameters, network_bytes, scorer), chunks, singles in zip(built, chunk_s, single_s, strict=True)
    ]


def _build(recipe: Recipe, vocabulary: Vocabulary, words: WordBatch) -> tuple[int, int, FlowScorer]:
    torch.manual_seed(0)
    model = FlowLanguageModel(shape_from(vocabulary, recipe)).eval()
    network = export_network(model, _scale_sample(words))
    artifact = Artifact(
        path=Path(recipe.name),
        network=network,
        habit=export_habit(model),
        vocabulary=vocabulary.to_json(),
        calibration=Calibration(),
        card="",
        manifest={"name": recipe.name},
    )
    return sum(weights.numel() for weights in model.parameters()), len(network), FlowScorer(artifact)


def _scale_sample(words: WordBatch) -> npt.NDArray[np.uint8]:
    """Words that fix the scales of int8 activations, uint8 (B, T, F)."""
    kept = words.fields[:CHUNK_WORDS]
    lanes = min(_SCALE_LANES, len(kept))
    return kept[: len(kept) // lanes * lanes].reshape(lanes, -1, kept.shape[1])


def _seconds(scorer: FlowScorer, words: WordBatch, clock_s: Callable[[], float]) -> float:
    began_s = clock_s()
    scorer.score(words)
    return clock_s() - began_s
