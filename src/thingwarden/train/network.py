"""The flow language model: a device's sentence in, the next word and the meaning of this one out.

In: word ids (B, T, F) and the state that the sentence left behind. Out: logits, and the state to go on from.
Must never: let a later word change an earlier score; nothing here looks ahead.
Sources: B. Zhang, R. Sennrich 2019 (RMSNorm); D. So and others 2021 (squared ReLU).

Letters: B batch, T words, F fields, V buckets of all fields, D word width, H state width, C classes, R what the reader
tells of a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from thingwarden.domain.taxonomy import CLASSES, TON_CLASSES
from thingwarden.domain.word import ROLES
from thingwarden.train.attention import AttentionReader
from thingwarden.train.reader import Memory, Reader, RecurrentReader, Trail, squared_relu

DROPOUT: Final = 0.1
"""Share of the mixed features that training leaves out, so that no single one decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionShape:
    """Sizes of a reader by attention.

    Attributes:
        layers: one above the other.
        head_count, head_width: N and E.
        window_words: W, words before its own that a layer attends to.
    """

    layers: int
    head_count: int
    head_width: int
    window_words: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a network.

    Attributes:
        sizes: buckets of each field.
        is_outcome: per field, whether only closing words have it.
        width: D, width of a word's embedding.
        state_width: H, width of the summary, and of the recurrent state.
        attention: of a reader by attention; None for the recurrent one.
    """

    sizes: tuple[int, ...]
    is_outcome: tuple[bool, ...]
    width: int = 96
    state_width: int = 128
    attention: AttentionShape | None = None


class State(NamedTuple):
    """What a sentence leaves behind, as many numbers whatever its length."""

    memory: Memory
    summary: Tensor  # (B, H)

    def carried(self, keep: Tensor) -> State:
        """Cut off from the words that made it, and forgotten where ``keep`` (float (B,)) is 0."""

        def carry(values: Tensor) -> Tensor:
            return values.detach() * keep.reshape(-1, *[1] * (values.dim() - 1))

        return State(tuple(carry(values) for values in self.memory), carry(self.summary))


class Outputs(NamedTuple):
    """Logits for each word."""

    attack_class: Tensor  # (B, T, C)
    ton_class: Tensor  # (B, T, 10)
    role: Tensor  # (B, T, 3)
    word: Tensor  # (B, T, V), or (N, V) of the N expected words: of its fields, from everything before it
    summary: Tensor  # (B, T, H), of everything up to each word
    trail: Trail  # from which ``state_at`` tells the state after any of these words
    state: State


def build_reader(shape: Shape) -> Reader:
    """The reader that a shape asks for."""
    attention = shape.attention
    if attention is None:
        return RecurrentReader(shape.width, shape.state_width)
    return AttentionReader(
        shape.width,
        layers=attention.layers,
        head_count=attention.head_count,
        head_width=attention.head_width,
        window_words=attention.window_words,
    )


class FlowLanguageModel(nn.Module):
    """Embeds a word as the sum of its fields, remembers by its reader, answers by four heads."""

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
        self.reader = build_reader(shape)
        self.mix = nn.Linear(width + self.reader.read_width, 2 * state_width)
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
        self.habit = nn.Linear(state_width, state_width)
        self.habit_head = nn.Linear(state_width, total)

    def initial_state(self, batch_count: int) -> State:
        """The state of sentences that have not begun."""
        memory = tuple(torch.zeros(batch_count, *shape) for shape in self.reader.memory_shapes())
        return State(memory, torch.zeros(batch_count, self.shape.state_width))

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
        reading = self.reader(x, state.memory)
        mixed = squared_relu(self.mix(self.dropout(torch.cat([x, reading.known], dim=-1))))
        y = self.summary_norm(self.summary(mixed))  # (B, T, H)
        before = torch.cat([state.summary[:, None], y[:, :-1]], dim=1)  # (B, T, H)
        if expected is not None:
            before, opened = before[expected], opened[expected]  # (N, ...)
        word = self.expect_word(before, opened)
        heads = self.class_head(y), self.ton_head(y), self.role_head(y)
        return Outputs(*heads, word, y, reading.trail, State(reading.memory, y[:, -1]))

    def state_at(self, trail: Trail, lane: Tensor, after: Tensor) -> State:
        """The states from which P words are read that are not remembered; they expect no next word.

        Args:
            trail: of the words that were read.
            lane, after: int64 (P,), in which sentence, and after which of its words.
        """
        memory = self.reader.memory_at(trail, lane, after)
        return State(memory, torch.zeros(len(lane), self.shape.state_width))

    def expect_openings(self, summary: Tensor) -> Tensor:
        """Logits of the fields of openings to come, (..., V), from a summary (..., H) that may be old."""
        logits: Tensor = self.habit_head(squared_relu(self.habit(summary)))
        return logits

    def expect_word(self, before: Tensor, opened: Tensor) -> Tensor:
        """Logits of a word's fields (..., V): an outcome knows the opening that it belongs to.

        Args:
            before: (..., H), the summary of everything before the word.
            opened: (..., D), embedding of the word's opening fields.
        """
        likely = squared_relu(self.expect(torch.cat([before, self.open_norm(opened)], dim=-1)))
        return torch.where(self.outcome_columns, self.outcome_head(likely), self.opening_head(before))


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
