"""What distinguishes a device from others of its kind: its ports, periods and sizes, drawn once and kept.

In: a seed and the name of the device. Out: ``Traits``, from which behaviours ask what they need by name.
Must never: change a value between two questions, or depend on the order in which values are asked for.
"""

# ruff: noqa: S311  random numbers here shape traffic and guard nothing

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

_T = TypeVar("_T")

_ODD_PORT_SHARE: Final = 0.12
"""Of devices at full breadth: how many makers choose a port that nobody would expect. Two in three TCP services that
the public benign devices use are on a usual port; most of the others are on some vendor's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """Answers by name; equal seeds give equal answers.

    Attributes:
        seed: of this device.
        breadth: 0 gives every question its usual answer, as a scenario's devices have it; 1 draws each from its whole
            range, as training wants it; between, the range is narrowed around the usual answer.
    """

    seed: str
    breadth: float = 0.0

    def number(self, name: str, usual: float, low: float, high: float) -> float:
        """A positive number between ``low`` and ``high``, uniform in the logarithm around ``usual``."""
        if self.breadth == 0.0:
            return usual
        drawn = math.log(low) + self._rng(name).random() * (math.log(high) - math.log(low))
        return math.exp(math.log(usual) + self.breadth * (drawn - math.log(usual)))

    def count(self, name: str, usual: int, low: int, high: int) -> int:
        """As ``number``, whole; ``low`` may be 0."""
        shift = 0 if low > 0 else 1  # 0 has no logarithm
        return max(low, min(high, round(self.number(name, usual + shift, low + shift, high + shift)) - shift))

    def choice(self, name: str, usual: _T, others: Sequence[_T]) -> _T:
        """``usual``, or with a probability of ``breadth`` one of it and ``others``."""
        rng = self._rng(name)
        return rng.choice((usual, *others)) if rng.random() < self.breadth else usual

    def port(self, name: str, usual: int, others: Sequence[int] = ()) -> int:
        """A port: ``usual``, or with breadth one of ``others`` or any at all."""
        rng = self._rng(name)
        if rng.random() >= self.breadth:
            return usual
        return rng.randrange(1, 65536) if rng.random() < _ODD_PORT_SHARE else rng.choice((usual, *others))

    def chance(self, name: str, usual: float) -> bool:
        """Whether this device has a property that a share ``usual`` of its kind has; at breadth 0 whether most have."""
        return self._rng(name).random() < usual if self.breadth > 0.0 else usual >= 0.5

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self.seed}:{name}")
