"""Scores to evidence: for each word, whether and how much it speaks against its device, and in which role.

In: ``WordBatch``, ``Scores``, ``Calibration``. Out: ``Evidence``, columns as long as the words.
Must never: let the unattributed sentence speak against anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.calibration import TAIL_NATS, Calibration
from thingwarden.domain.errors import ArtifactError
from thingwarden.domain.taxonomy import CLASS_INDEX, CLASSES, AttackClass
from thingwarden.domain.word import ROLES, UNATTRIBUTED, Scores, WordBatch

QUANTA_PER_NAT: Final = 1024
"""Evidence is summed in whole quanta, so that sums do not depend on how the words were split."""

PROBABILITY_FLOOR: Final = 1e-12
"""Keeps logarithms finite; far below what float32 probabilities resolve near 1."""

OFFENDER: Final = ROLES.index("offender")
TARGET: Final = ROLES.index("target")

_HEAD_LIMIT_NATS: Final = 4.0
"""The most that the state head's opinion on the role may weigh."""

_DIRECTION_NATS: Final = 1.0
"""Weight of having begun the flow; the head overrules it at odds of e to 1."""

_BLAME_NATS: Final = 3.0
"""The same for attacks that the originator commits by definition; the head needs odds of 20 to 1."""

_UNKNOWN: Final = CLASS_INDEX[AttackClass.UNKNOWN]

_ORIGINATOR_COMMITS: Final = np.isin(
    np.arange(len(CLASSES)),
    [
        CLASS_INDEX[attack_class]
        for attack_class in (
            AttackClass.SCAN,
            AttackClass.BRUTE_FORCE,
            AttackClass.DOS,
            AttackClass.DDOS,
            AttackClass.EXPLOIT,
            AttackClass.LATERAL,
        )
    ],
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What each of n words says against its device.

    Attributes:
        gain: int64 (n,), quanta that the word's class adds to the device's statistic; 0 for a quiet word.
        strange: int64 (n,), quanta of strangeness above what is neither here nor there, to a statistic of its own:
            below 0 for most closing words, 0 for all others.
        log_odds: float64 (n,), calibrated log-odds that the word is malicious.
        attack_class: int8 (n,), the likeliest class other than benign, index into ``CLASSES``; unknown where the word
            is likelier benign, so that only its strangeness can speak.
        role: int8 (n,), ``OFFENDER`` or ``TARGET``.
    """

    gain: npt.NDArray[np.int64]
    strange: npt.NDArray[np.int64]
    log_odds: npt.NDArray[np.float64]
    attack_class: npt.NDArray[np.int8]
    role: npt.NDArray[np.int8]

    def telling(self) -> npt.NDArray[np.int64]:
        """Rows of the words that add to either statistic."""
        return np.flatnonzero((self.gain > 0) | (self.strange > 0))


def malicious_log_odds(class_probability: npt.NDArray[np.floating], temperature: float) -> npt.NDArray[np.float64]:
    """Log-odds of "not benign" after temperature scaling.

    Args:
        class_probability: (n, C), rows sum to one, column 0 benign.
        temperature: above 0.

    Returns:
        float64 (n,), finite.

    Raises:
        ArtifactError: a probability is not a number; the model is broken.
    """
    if not np.isfinite(class_probability).all():
        raise ArtifactError("model's scores", "a class probability is not finite", "verify the model: model verify")
    logits = np.log(np.maximum(class_probability.astype(np.float64), PROBABILITY_FLOOR)) / temperature  # (n, C)
    return np.asarray(np.logaddexp.reduce(logits[:, 1:], axis=1) - logits[:, 0])


def probability_from_log_odds(log_odds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The logistic function, float64, same shape."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * log_odds)))


def likeliest_attack(class_probability: npt.NDArray[np.floating]) -> npt.NDArray[np.int8]:
    """Index into ``CLASSES`` of the likeliest class other than benign, int8 (n,)."""
    return np.asarray(class_probability[:, 1:].argmax(axis=1) + 1, dtype=np.int8)


def assign_roles(
    role_probability: npt.NDArray[np.floating],
    is_orig: npt.NDArray[np.bool_],
    attack_class: npt.NDArray[np.int8],
) -> npt.NDArray[np.int8]:
    """Offender or target: the state head's opinion joined with who began the flow.

    Args:
        role_probability: (n, 3), over ``ROLES``.
        is_orig: (n,), whether the word's device began the flow.
        attack_class: (n,), index into ``CLASSES``.

    Returns:
        int8 (n,), ``OFFENDER`` or ``TARGET``.
    """
    head = np.log(np.maximum(role_probability[:, [OFFENDER, TARGET]].astype(np.float64), PROBABILITY_FLOOR))
    opinion = np.clip(head[:, 0] - head[:, 1], -_HEAD_LIMIT_NATS, _HEAD_LIMIT_NATS)
    weight = np.where(_ORIGINATOR_COMMITS[attack_class], _BLAME_NATS, _DIRECTION_NATS)
    return np.where(opinion + np.where(is_orig, weight, -weight) > 0, OFFENDER, TARGET).astype(np.int8)


def weigh_words(words: WordBatch, scores: Scores, calibration: Calibration) -> Evidence:
    """Evidence of every word; words of the unattributed sentence weigh nothing.

    Raises:
        ArtifactError: the scores are not finite.
    """
    log_odds = malicious_log_odds(scores.class_probability, calibration.temperature)
    level = np.where(words.is_close, calibration.evidence_nats, calibration.open_evidence_nats)
    shown = np.clip(log_odds - level, 0.0, calibration.evidence_cap_nats)
    shown *= np.where(words.is_close, 1.0, calibration.open_weight)
    strange = np.where(words.is_close, _strangeness(log_odds, scores.surprise_nats, calibration), 0.0)
    is_nobody = words.device == UNATTRIBUTED
    shown[is_nobody], strange[is_nobody] = 0.0, 0.0
    likeliest = likeliest_attack(scores.class_probability)
    attack_class = np.where(log_odds > 0.0, likeliest, np.int8(_UNKNOWN)).astype(np.int8)
    return Evidence(
        gain=np.rint(shown * QUANTA_PER_NAT).astype(np.int64),
        strange=np.rint(strange * QUANTA_PER_NAT).astype(np.int64),
        log_odds=log_odds,
        attack_class=attack_class,
        role=assign_roles(scores.role_probability, words.is_orig, attack_class),
    )


def _strangeness(
    log_odds: npt.NDArray[np.float64], rarity_nats: npt.NDArray[np.float32], calibration: Calibration
) -> npt.NDArray[np.float64]:
    """How unlike harmless flows words are, in how loud they are and how rarely a flow begins so, less the calibrated
    middle; a class that nobody taught is quieter than a known one, and still louder than what is harmless."""
    loudness = np.interp(log_odds, calibration.loudness_nats, TAIL_NATS, left=0.0)
    beyond = np.maximum(log_odds - calibration.loudness_nats[-1], 0.0)
    cap = calibration.strange_cap_nats
    strange = np.minimum(loudness + beyond, cap) + calibration.rarity_weight * np.minimum(rarity_nats, cap)
    return np.asarray(strange - calibration.strange_nats)
