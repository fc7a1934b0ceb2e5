"""Distillation: larger or several networks say what they make of every word, and a smaller one learns their doubts.

In: trained networks, the lessons that their pupil reads. Out: soft targets, and the pupil's loss against them.
Must never: train a teacher on anything that its pupil may not see.
Source: G. Hinton, O. Vinyals, J. Dean 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from thingwarden.train.network import FlowLanguageModel, Outputs, State


class Opinion(NamedTuple):
    """Mean probabilities of the teachers for each word."""

    attack_class: Tensor  # (B, T, C)
    ton_class: Tensor  # (B, T, 10)


class Teachers:
    """Networks that read along with their pupil, each with its own memory of the lanes.

    Args:
        networks: trained; at least one.
        lane_count: lanes of a lesson.
    """

    def __init__(self, networks: Sequence[FlowLanguageModel], lane_count: int) -> None:
        self._networks = [network.eval() for network in networks]
        self._lane_count = lane_count
        self.forget()

    def forget(self) -> None:
        """A round begins: no lane has been read."""
        self._states = [network.initial_state(self._lane_count) for network in self._networks]

    @torch.no_grad()
    def read_along(self, ids: Tensor, keep: Tensor) -> Opinion:
        """What they make of the next lesson's words.

        Args:
            ids: int64 (B, T, F), all lanes.
            keep: float (B,), 0 where a lane starts another sentence.
        """
        states = [state.carried(keep) for state in self._states]
        answers = self._ask(ids, states)
        self._states = [answer.state for answer in answers]
        return _mean(answers)

    @torch.no_grad()
    def read_alone(self, ids: Tensor) -> Opinion:
        """What they make of sentences (B, T, F) that begin here."""
        return _mean(self._ask(ids, [network.initial_state(len(ids)) for network in self._networks]))

    def _ask(self, ids: Tensor, states: Sequence[State]) -> list[Outputs]:
        nothing = torch.zeros(ids.shape[:2], dtype=torch.bool)
        return [network(ids, state, nothing) for network, state in zip(self._networks, states, strict=True)]


def _mean(answers: Sequence[Outputs]) -> Opinion:
    attack_class = torch.stack([torch.softmax(answer.attack_class, dim=-1) for answer in answers]).mean(dim=0)
    ton_class = torch.stack([torch.softmax(answer.ton_class, dim=-1) for answer in answers]).mean(dim=0)
    return Opinion(attack_class, ton_class)


def soft_loss(logits: Tensor, probability: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy against probabilities, weighted, divided by the number of words that weigh anything.

    Args:
        logits, probability: (..., C).
        weight: float (...).
    """
    nats = -(probability * torch.log_softmax(logits, dim=-1)).sum(dim=-1)
    return (nats * weight).sum() / weight.sum().clamp(min=1.0)
