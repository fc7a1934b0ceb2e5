"""The flow language model: a device's sentence in, the next word and the meaning of this one out.

In: word ids (B, T, F) and the state that the sentence left behind. Out: logits, and the state to go on from.
Must never: let a later word change an earlier score; nothing here looks ahead.
Sources: K. Cho and others 2014 (gated recurrent unit); B. Zhang, R. Sennrich 2019 (RMSNorm); D. So and others 2021
(squared ReLU).

Letters: B batch, T words, F fields, V buckets of all fields, D word width, H state width, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from thingwarden.domain.taxonomy import CLASSES, TON_CLASSES
from thingwarden.domain.word import ROLES

DROPOUT: Final = 0.1
"""Share of the mixed features that training leaves out, so that no single one decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a network.

    Attributes:
        sizes: buckets of each field.
        is_outcome: per field, whether only closing words have it.
        width: D, width of a word's embedding.
        state_width: H, width of the recurrent state.
    """

    sizes: tuple[int, ...]
    is_outcome: tuple[bool, ...]
    width: int = 96
    state_width: int = 128


class State(NamedTuple):
    """What a sentence leaves behind, 2 H numbers a device whatever its length."""

    hidden: Tensor  # (1, B, H)
    summary: Tensor  # (B, H)


class Outputs(NamedTuple):
    """Logits for each word."""

    attack_class: Tensor  # (B, T, C)
    ton_class: Tensor  # (B, T, 10)
    role: Tensor  # (B, T, 3)
    word: Tensor  # (B, T, V), or (N, V) of the N expected words: of its fields, from everything before it
    memory: Tensor  # (B, T, H), the hidden state after every word: a probe is read from the one that it stands at
    state: State


def squared_relu(x: Tensor) -> Tensor:
    """relu(x)^2, any shape."""
    return torch.relu(x).square()


class FlowLanguageModel(nn.Module):
    """Embeds a word as the sum of its fields, remembers by one recurrent layer, answers by four heads."""

    offsets: Tensor
    outcome_columns: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, state_width, total = shape.width, shape.state_width, sum(shape.sizes)
        starts = torch.tensor([0, *shape.sizes[:-1]]).cumsum(0)
        self.register_buffer("offsets", starts, persistent=False)
        outcome = torch.repeat_interleave(torch.tensor(shape.is_outcome), torch.tensor(shape.sizes))
        self.register_buffer("outcome_columns", outcome, persistent=False)
        self.table = nn.Embedding(total, width)
        nn.init.normal_(self.table.weight, std=0.25)
        self.word_norm = nn.RMSNorm(width, eps=1e-5)
        self.word_in = nn.Linear(width, 2 * width)
        self.word_out = nn.Linear(2 * width, width)
        self.recurrence = nn.GRU(width, state_width, batch_first=True)
        self.mix = nn.Linear(width + state_width, 2 * state_width)
        self.dropout = nn.Dropout(DROPOUT)
        self.summary = nn.Linear(2 * state_width, state_width)
        self.summary_norm = nn.RMSNorm(state_width, eps=1e-5)
        self.class_head = nn.Linear(state_width, len(CLASSES))
        self.ton_head = nn.Linear(state_width, len(TON_CLASSES))
        self.role_head = nn.Linear(state_width, len(ROLES))
        self.open_norm = nn.RMSNorm(width, eps=1e-5)
        self.expect = nn.Linear(state_width + width, state_width)
        self.opening_head = nn.Linear(state_width, total)
        self.outcome_head = nn.Linear(state_width, total)

    def initial_state(self, batch_count: int) -> State:
        """The state of sentences that have not begun."""
        device = self.table.weight.device
        hidden = torch.zeros(1, batch_count, self.shape.state_width, device=device)
        return State(hidden, torch.zeros(batch_count, self.shape.state_width, device=device))

    def embed(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of the embeddings of all fields and of the opening's fields, each (B, T, D)."""
        batch, words, fields = ids.shape
        flat = (ids + self.offsets).reshape(batch * words, fields)
        opening = flat[:, ~torch.tensor(self.shape.is_outcome)]
        full = nn.functional.embedding_bag(flat, self.table.weight, mode="sum")
        opened = nn.functional.embedding_bag(opening, self.table.weight, mode="sum")
        return full.view(batch, words, -1), opened.view(batch, words, -1)

    def forward(self, ids: Tensor, state: State, expected: Tensor | None = None) -> Outputs:
        """Score words in order.

        Args:
            ids: int64 (B, T, F).
            state: of the B sentences before these words.
            expected: bool (B, T), words to expect; the costliest part, so that training may expect a sample only.
        """
        full, opened = self.embed(ids)
        x = self.word_norm(full)
        x = x + self.word_out(squared_relu(self.word_in(x)))  # (B, T, D)
        remembered, hidden = self.recurrence(x, state.hidden)  # (B, T, H)
        mixed = squared_relu(self.mix(self.dropout(torch.cat([x, remembered], dim=-1))))
        y = self.summary_norm(self.summary(mixed))  # (B, T, H)
        before = torch.cat([state.summary[:, None], y[:, :-1]], dim=1)  # (B, T, H)
        if expected is not None:
            before, opened = before[expected], opened[expected]  # (N, ...)
        word = self.expect_word(before, opened)
        return Outputs(
            self.class_head(y), self.ton_head(y), self.role_head(y), word, remembered, State(hidden, y[:, -1])
        )

    def expect_word(self, before: Tensor, opened: Tensor) -> Tensor:
        """Logits of a word's fields (..., V): an outcome knows the opening that it belongs to.

        Args:
            before: (..., H), the summary of everything before the word.
            opened: (..., D), embedding of the word's opening fields.
        """
        known = squared_relu(self.expect(torch.cat([before, self.open_norm(opened)], dim=-1)))
        return torch.where(self.outcome_columns, self.outcome_head(known), self.opening_head(before))


def word_log_likelihood(logits: Tensor, ids: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Log-probability of each field's bucket under its own softmax, (..., F).

    Args:
        logits: (..., V).
        ids: int64 (..., F).
        sizes: buckets of each field.
    """
    parts = torch.split(logits, list(sizes), dim=-1)
    chosen = [
        torch.log_softmax(part, dim=-1).gather(-1, ids[..., field, None]).squeeze(-1)
        for field, part in enumerate(parts)
    ]
    return torch.stack(chosen, dim=-1)
