"""What reads a device's sentence: words in order and what is remembered in, what is known at each word out.

In: words (B, T, D) and the memory of the B sentences before them. Out: (B, T, R), and the memory to go on from.
Must never: let a later word change what an earlier one was read as.
Source: K. Cho and others 2014 (gated recurrent unit).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

Memory = tuple[Tensor, ...]
"""What a reader keeps of B sentences; each tensor has B first, and zeros are a sentence that has not begun."""

Trail = tuple[Tensor, ...]
"""What a reader leaves of the words it reads, so that the memory after any of them can be told."""


class Reading(NamedTuple):
    """What a reader makes of words."""

    known: Tensor  # (B, T, R)
    memory: Memory
    trail: Trail


class Reader(nn.Module, ABC):
    """Reads sentences word by word; its streaming and its batch form are one.

    Args:
        read_width: R, numbers told of each word.
    """

    def __init__(self, read_width: int) -> None:
        super().__init__()
        self.read_width = read_width

    @abstractmethod
    def memory_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each tensor of one sentence's memory."""

    @abstractmethod
    def forward(self, x: Tensor, memory: Memory) -> Reading:
        """Read T words of each sentence.

        Args:
            x: (B, T, D).
            memory: of the sentences before these words.
        """

    @abstractmethod
    def memory_at(self, trail: Trail, lane: Tensor, after: Tensor) -> Memory:
        """The memories of P sentences after one of the words that were read.

        Args:
            trail: of the reading.
            lane: int64 (P,), which sentence of the B.
            after: int64 (P,), which word of the T.
        """


class RecurrentReader(Reader):
    """One gated recurrent layer: a state of constant size and no horizon."""

    def __init__(self, width: int, state_width: int) -> None:
        super().__init__(state_width)
        self.recurrence = nn.GRU(width, state_width, batch_first=True)

    def memory_shapes(self) -> tuple[tuple[int, ...], ...]:
        """See ``Reader``."""
        return ((self.read_width,),)

    def forward(self, x: Tensor, memory: Memory) -> Reading:
        """See ``Reader``."""
        known, hidden = self.recurrence(x, memory[0][None])
        return Reading(known, (hidden[0],), (known,))

    def memory_at(self, trail: Trail, lane: Tensor, after: Tensor) -> Memory:
        """See ``Reader``."""
        return (trail[0][lane, after],)


def squared_relu(x: Tensor) -> Tensor:
    """relu(x)^2, any shape."""
    return torch.relu(x).square()
