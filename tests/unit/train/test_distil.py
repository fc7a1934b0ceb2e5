"""Teachers read along lane by lane, and their pupil is drawn towards what they think."""

from __future__ import annotations

import numpy as np
import pytest

from flow_builder import VOCABULARY

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

from model_builder import ATTENTION, build_model  # noqa: E402
from thingwarden.train.distil import Teachers, soft_loss  # noqa: E402

LANES, WORDS = 3, 8
KEEP = torch.ones(LANES)


def random_ids(seed: int = 0) -> torch.Tensor:
    sizes = np.array(VOCABULARY.sizes)
    return torch.from_numpy((np.random.default_rng(seed).random((LANES, WORDS, len(sizes))) * sizes).astype(np.int64))


def test_an_opinion_is_the_mean_over_the_teachers() -> None:
    networks, ids = [build_model(0), build_model(1, reader=ATTENTION)], random_ids()
    found = Teachers(networks, LANES).read_alone(ids)
    own = [network(ids, network.initial_state(LANES)) for network in networks]
    for name in ("attack_class", "ton_class"):
        expected = sum(torch.softmax(getattr(outputs, name), dim=-1) for outputs in own) / 2
        torch.testing.assert_close(getattr(found, name), expected)
        assert not getattr(found, name).requires_grad


def test_teachers_remember_from_lesson_to_lesson_until_a_lane_starts_anew() -> None:
    network, ids, later = build_model(), random_ids(), random_ids(1)
    teachers = Teachers([network], LANES)
    teachers.read_along(ids, KEEP)
    second = teachers.read_along(later, torch.tensor([1.0, 0.0, 1.0])).attack_class
    whole = network(torch.cat([ids, later], dim=1), network.initial_state(LANES)).attack_class.softmax(dim=-1)
    alone = network(later, network.initial_state(LANES)).attack_class.softmax(dim=-1)
    torch.testing.assert_close(second[[0, 2]], whole[[0, 2], WORDS:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(second[1], alone[1], atol=1e-5, rtol=1e-5)
    assert (second[0] - alone[0]).abs().max() > 1e-4


def test_a_round_begins_without_memory() -> None:
    teachers, ids = Teachers([build_model()], LANES), random_ids()
    first = teachers.read_along(ids, KEEP).attack_class
    teachers.forget()
    assert torch.equal(teachers.read_along(ids, KEEP).attack_class, first)


def test_the_loss_is_least_where_the_pupil_thinks_alike_and_heeds_weights() -> None:
    probability = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    alike, wrong = probability.log(), probability.flip(-1).log()
    both, first = torch.ones(2), torch.tensor([1.0, 0.0])
    entropy = -(probability * probability.log()).sum(dim=-1)
    torch.testing.assert_close(soft_loss(alike, probability, both), entropy.mean())
    torch.testing.assert_close(soft_loss(alike, probability, first), entropy[0])
    assert soft_loss(wrong, probability, both) > entropy.mean()
    assert soft_loss(wrong, probability, torch.zeros(2)) == 0.0
