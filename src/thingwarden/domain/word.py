"""Words and their scores as columns: what the encoder hands to a model and what the model hands back.

In: nothing. Out: ``WordBatch`` and ``Scores``, frozen, all columns of equal length.
Must never: carry an address, a name or an absolute time into ``WordBatch.fields``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

UNATTRIBUTED: Final = 0
"""Device index of the one sentence that all traffic without a device of its own shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordBatch:
    """Encoded flows in the order in which they became knowable; n words of F fields.

    A flow gives an opening and a closing word, and between them probes: how it stood at its milestones. A probe is
    judged by what its device had said until then and then forgotten: no later word is judged in its light.

    Attributes:
        fields: uint8 (n, F), bucket of each field; 0 means masked or unknown.
        device: int32 (n,), index of the device whose sentence the word belongs to; 0 is ``UNATTRIBUTED``.
        flow: int64 (n,), row of the flow in the ``FlowBatch`` that was encoded.
        is_close: bool (n,), true for the word that tells the flow's outcome, false for its opening and its probes.
        is_probe: bool (n,), true for the words that are never remembered: probes, and words of flows that an act of
            ours touched.
        is_orig: bool (n,), whether the device is the flow's originator.
        known_at_s: float64 (n,), Unix seconds at which the word could first be known; never falls.
        starts_sentence: bool (n,), whether the device's state must be cleared before this word.
    """

    fields: npt.NDArray[np.uint8]
    device: npt.NDArray[np.int32]
    flow: npt.NDArray[np.int64]
    is_close: npt.NDArray[np.bool_]
    is_probe: npt.NDArray[np.bool_]
    is_orig: npt.NDArray[np.bool_]
    known_at_s: npt.NDArray[np.float64]
    starts_sentence: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.flow)

    def take(self, rows: slice | npt.NDArray[Any]) -> WordBatch:
        """The words at ``rows`` (indices, a mask or a slice), in that order."""
        return WordBatch(**{item.name: getattr(self, item.name)[rows] for item in fields(WordBatch)})

    @classmethod
    def concatenate(cls, chunks: Iterable[WordBatch]) -> WordBatch:
        """Chunks of one encoder as one batch; at least one chunk."""
        parts = list(chunks)
        return cls(**{item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(cls)})


ROLES: Final = ("quiet", "offender", "target")
"""Order of the state head: what the device was, as far as its sentence shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What a model says about each word of a ``WordBatch``; n words.

    Attributes:
        class_probability: float32 (n, C), over ``taxonomy.CLASSES``; rows sum to one.
        ton_probability: float32 (n, 10), over ``taxonomy.TON_CLASSES``.
        role_probability: float32 (n, 3), over ``ROLES``.
        surprise_nats: float32 (n,), of closing words, how rare among harmless flows one is that began so improbably for
            its device: -ln of the share; 0 for other words.
    """

    class_probability: npt.NDArray[np.float32]
    ton_probability: npt.NDArray[np.float32]
    role_probability: npt.NDArray[np.float32]
    surprise_nats: npt.NDArray[np.float32]

    def take(self, rows: slice | npt.NDArray[Any]) -> Scores:
        """The scores at ``rows`` (indices, a mask or a slice), in that order."""
        return Scores(**{item.name: getattr(self, item.name)[rows] for item in fields(Scores)})

    @property
    def malicious_probability(self) -> npt.NDArray[np.float32]:
        """One minus the probability of the benign class, float32 (n,)."""
        return np.float32(1.0) - self.class_probability[:, 0]
