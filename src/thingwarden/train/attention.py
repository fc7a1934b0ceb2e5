"""A windowed causal transformer as reader: each layer attends to a word and to a fixed number of words before it.

In: words (B, T, D), and per layer the keys and values of the window before them. Out: as ``Reader``.
Must never: attend further back than the window, or let a word's absolute place in its sentence matter.
Sources: A. Vaswani and others 2017 (attention); N. Shazeer 2019 (one key and value for all heads, so that the memory
is small); O. Press and others 2021 (biases by distance, here learned from such a start); D. So and others 2021
(squared ReLU).

Letters: W words of the window, E width of a head, N heads.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from thingwarden.train.reader import Memory, Reader, Reading, Trail, squared_relu

EPSILON: Final = 1e-5
INNER_RATIO: Final = 2
"""Width of a layer's inner features, in widths of a word."""


class AttentionLayer(nn.Module):
    """Attention over the window, then two linear layers; both add to what they were given.

    Before a sentence's first word stand W words of silence, whose keys and values are zero: a head that finds nothing
    may rest on them, and no mask needs to remember how long the sentence is.
    """

    def __init__(self, width: int, head_count: int, head_width: int, window_words: int) -> None:
        super().__init__()
        self.head_count, self.head_width, self.window_words = head_count, head_width, window_words
        self.norm = nn.RMSNorm(width, eps=EPSILON)
        self.query = nn.Linear(width, head_count * head_width)
        self.key_value = nn.Linear(width, 2 * head_width)
        self.gather = nn.Linear(head_count * head_width, width)
        self.inner_norm = nn.RMSNorm(width, eps=EPSILON)
        self.inner = nn.Linear(width, INNER_RATIO * width)
        self.outer = nn.Linear(INNER_RATIO * width, width)
        slopes = 2.0 ** -(8.0 * torch.arange(1, head_count + 1) / head_count)
        self.distance_bias = nn.Parameter(-slopes[:, None] * torch.arange(window_words + 1.0))  # (N, W + 1)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Words (B, T, D) and the window before them (B, W, 2 E).

        Returns:
            The words after this layer, and the window followed by their own keys and values, (B, W + T, 2 E).
        """
        normed = self.norm(x)
        rows = torch.cat([past, self.key_value(normed)], dim=1)  # (B, W + T, 2 E)
        keys, values = rows.split(self.head_width, dim=-1)
        batch, words, _ = x.shape
        queries = self.query(normed).view(batch, words, self.head_count, self.head_width).transpose(1, 2)
        scores = queries @ (keys.transpose(1, 2) * self.head_width**-0.5)[:, None]  # (B, N, T, W + T)
        weights = torch.softmax(scores + self.band(words), dim=-1)
        found = (weights @ values[:, None]).transpose(1, 2).reshape(batch, words, -1)
        x = x + self.gather(found)
        x = x + self.outer(squared_relu(self.inner(self.inner_norm(x))))
        return x, rows

    def band(self, words: int) -> Tensor:
        """Bias of each of T words towards each of W + T, minus infinity outside its window, (N, T, W + T)."""
        place = torch.arange(words)[:, None] + self.window_words - torch.arange(self.window_words + words)
        is_outside = (place < 0) | (place > self.window_words)
        bias = self.distance_bias[:, place.clamp(0, self.window_words)]
        return bias.masked_fill(is_outside, float("-inf"))


class AttentionReader(Reader):
    """Layers of windowed attention; L layers see at most L W words back."""

    def __init__(self, width: int, *, layers: int, head_count: int, head_width: int, window_words: int) -> None:
        super().__init__(width)
        self.window_words = window_words
        self.layers = nn.ModuleList(AttentionLayer(width, head_count, head_width, window_words) for _ in range(layers))
        self.out_norm = nn.RMSNorm(width, eps=EPSILON)
        self._past_shape = (window_words, 2 * head_width)

    def memory_shapes(self) -> tuple[tuple[int, ...], ...]:
        """See ``Reader``."""
        return (self._past_shape,) * len(self.layers)

    def forward(self, x: Tensor, memory: Memory) -> Reading:
        """See ``Reader``."""
        trail = []
        for layer, past in zip(self.layers, memory, strict=True):
            x, rows = layer(x, past)
            trail.append(rows)
        kept = tuple(rows[:, rows.shape[1] - self.window_words :] for rows in trail)
        return Reading(self.out_norm(x), kept, tuple(trail))

    def memory_at(self, trail: Trail, lane: Tensor, after: Tensor) -> Memory:
        """See ``Reader``."""
        places = after[:, None] + 1 + torch.arange(self.window_words)  # (P, W)
        return tuple(rows[lane[:, None], places] for rows in trail)
