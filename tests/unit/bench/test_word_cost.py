"""The cost of a word: dealt to devices by rank, counted on the clock that is given, every network in turn."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from flow_builder import VOCABULARY, join_chunks, random_flows
from part_builder import build_recipe
from thingwarden.domain.word import WordBatch
from thingwarden.encode.sentence import SentenceEncoder

pytestmark = pytest.mark.torch
pytest.importorskip("torch")

from model_builder import ATTENTION, build_model  # noqa: E402
from thingwarden.bench.word_cost import DEVICES, deal_words, measure_costs  # noqa: E402


@pytest.fixture(scope="module")
def words() -> WordBatch:
    return join_chunks(SentenceEncoder(VOCABULARY).encode(random_flows(1, 1500)))


def test_words_are_dealt_to_devices_whose_rates_fall_by_rank(words: WordBatch) -> None:
    dealt = deal_words(words)
    spoken = np.bincount(dealt.device, minlength=DEVICES)
    assert np.array_equal(dealt.fields, words.fields) and not dealt.starts_sentence.any()
    assert spoken[0] == spoken.max() and spoken[:10].sum() > 0.4 * len(words) > spoken[0]
    assert len(spoken) == DEVICES


def test_costs_are_what_the_clock_says(words: WordBatch) -> None:
    recipes = [build_recipe(), build_recipe(name="other", reader=ATTENTION)]
    ticks = count()
    costs = measure_costs(recipes, VOCABULARY, words, rounds=2, clock_s=lambda: next(ticks) * 0.5)
    for cost in costs:
        assert cost.one_word_p50_us == cost.one_word_p99_us == pytest.approx(0.5e6)
        assert cost.words_per_s == pytest.approx(2048 / 0.5)
    plain, attention = costs
    assert plain.parameters == sum(weights.numel() for weights in build_model().parameters())
    habit_bytes = plain.state_bytes - 4 * (16 + 16)
    assert habit_bytes > 0
    assert attention.state_bytes == 4 * (7 * 2 * (4 + 4) + 16) + habit_bytes
    assert 0 < attention.network_bytes < 8 * attention.parameters
