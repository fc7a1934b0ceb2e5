"""The network: shapes, causality, and that it can learn at all."""

from __future__ import annotations

import numpy as np
import pytest

from flow_builder import VOCABULARY
from thingwarden.domain.taxonomy import CLASSES, TON_CLASSES
from thingwarden.domain.word import ROLES

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

from model_builder import ATTENTION, build_model, build_recipe  # noqa: E402
from thingwarden.train.network import FlowLanguageModel, word_log_likelihood  # noqa: E402

LANES, WORDS = 3, 10


@pytest.fixture(params=["recurrent", "attention"])
def model(request: pytest.FixtureRequest) -> FlowLanguageModel:
    return build_model(reader=ATTENTION) if request.param == "attention" else build_model()


def random_ids(seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    sizes = np.array(VOCABULARY.sizes)
    return torch.from_numpy((rng.random((LANES, WORDS, len(sizes))) * sizes).astype(np.int64))


def test_every_word_gets_an_answer_of_every_head(model: FlowLanguageModel) -> None:
    outputs = model(random_ids(), model.initial_state(LANES))
    assert outputs.attack_class.shape == (LANES, WORDS, len(CLASSES))
    assert outputs.ton_class.shape == (LANES, WORDS, len(TON_CLASSES))
    assert outputs.role.shape == (LANES, WORDS, len(ROLES))
    assert outputs.word.shape == (LANES, WORDS, sum(VOCABULARY.sizes))
    assert outputs.state.summary.shape == (LANES, build_recipe().state_width)
    assert [part.shape for part in outputs.state.memory] == [(LANES, *shape) for shape in model.reader.memory_shapes()]


def test_a_later_word_changes_no_earlier_score(model: FlowLanguageModel) -> None:
    ids = random_ids()
    altered = ids.clone()
    altered[:, 6] = random_ids(1)[:, 6]
    one, two = (model(words, model.initial_state(LANES)) for words in (ids, altered))
    for name in ("attack_class", "ton_class", "role", "word"):
        assert torch.equal(getattr(one, name)[:, :6], getattr(two, name)[:, :6])
        assert not torch.equal(getattr(one, name)[:, 6:], getattr(two, name)[:, 6:])


def test_a_word_is_expected_without_being_read(model: FlowLanguageModel) -> None:
    """What is said of an opening's fields must not depend on them; of an outcome's, only on the opening's."""
    ids = random_ids()
    altered = ids.clone()
    altered[:, 5] = random_ids(1)[:, 5]
    is_outcome = model.outcome_columns
    one, two = (model(words, model.initial_state(LANES)).word[:, 5] for words in (ids, altered))
    assert torch.equal(one[:, ~is_outcome], two[:, ~is_outcome])
    other_outcome = ids.clone()
    outcome_fields = torch.tensor(model.shape.is_outcome)
    other_outcome[:, 5, outcome_fields] = altered[:, 5, outcome_fields]
    three = model(other_outcome, model.initial_state(LANES)).word[:, 5]
    assert torch.equal(one, three) and not torch.equal(one, two)


def test_a_sentence_may_be_read_in_parts(model: FlowLanguageModel) -> None:
    ids = random_ids()
    whole = model(ids, model.initial_state(LANES))
    first = model(ids[:, :4], model.initial_state(LANES))
    rest = model(ids[:, 4:], first.state)
    torch.testing.assert_close(torch.cat([first.word, rest.word], dim=1), whole.word, atol=1e-5, rtol=1e-5)
    for one, other in zip(rest.state.memory, whole.state.memory, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_only_the_expected_words_are_expected(model: FlowLanguageModel) -> None:
    ids = random_ids()
    chosen = torch.zeros((LANES, WORDS), dtype=torch.bool)
    chosen[1, 2] = chosen[2, 7] = True
    some, every = model(ids, model.initial_state(LANES), chosen), model(ids, model.initial_state(LANES))
    torch.testing.assert_close(some.word, every.word[chosen])
    assert torch.equal(some.attack_class, every.attack_class)


def test_each_field_has_a_distribution_of_its_own() -> None:
    sizes, logits = (3, 4), torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    total = torch.zeros(5)
    for bucket in range(3):
        ids = torch.tensor([[bucket, 1]]).expand(5, 2)
        total += word_log_likelihood(logits, ids, sizes)[:, 0].exp()
    torch.testing.assert_close(total, torch.ones(5))
    expected = torch.log_softmax(logits[:, 3:], dim=-1)[:, 2]
    found = word_log_likelihood(logits, torch.tensor([[0, 2]]).expand(5, 2), sizes)[:, 1]
    torch.testing.assert_close(found, expected)


def test_it_learns_one_batch_by_heart(model: FlowLanguageModel) -> None:
    ids = random_ids()
    target = torch.arange(LANES * WORDS) % len(CLASSES)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(60):
        logits = model(ids, model.initial_state(LANES)).attack_class.reshape(-1, len(CLASSES))
        loss = torch.nn.functional.cross_entropy(logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (logits.argmax(dim=-1) == target).all()


def test_a_state_is_forgotten_lane_by_lane_and_cut_off_from_what_made_it(model: FlowLanguageModel) -> None:
    state = model(random_ids(), model.initial_state(LANES)).state
    carried = state.carried(torch.tensor([1.0, 0.0, 1.0]))
    for before, after in zip((*state.memory, state.summary), (*carried.memory, carried.summary), strict=True):
        assert not after.requires_grad and not after[1].any()
        assert torch.equal(after[[0, 2]], before[[0, 2]].detach()) and before[0].any()
