"""Whether words of an attack that goes on and on stay above the flow threshold: surprise must survive its own context.

In: a lasting scene, watched. Out: which of its words were above, counted from the one at which it can be recognised.
Must never: count from a word at which nobody could know.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from thingwarden.bench.early_attacks import Attack, Family
from thingwarden.bench.early_scenes import Played, Scene
from thingwarden.bench.early_watch import Watched, attempt_moments
from thingwarden.bench.resumable import Record

PLACES: Final = (1, 10, 100, 1000)
WORDS: Final = 3000
_WORDS_PER_ATTEMPT: Final = 2
_SPARE: Final = 1.1
"""Lost packets make no flow."""

RECOGNISED_AFTER: Final[dict[Family, int]] = {"scan": 10, "flood": 50, "beacon": 3}
"""Attempts after which an act can be told from what harmless devices do: ten addresses or ports asked; fifty packets;
the third contact, with which two intervals are known to be alike."""

_RATES: Final = {
    "sweep-syn": 50.0,
    "sweep-connect": 20.0,
    "flood-syn": 500.0,
    "flood-udp": 500.0,
    "beacon-tcp": 1 / 30,
    "beacon-http": 1 / 30,
    "beacon-tls": 1 / 30,
    "beacon-udp": 1 / 30,
}
"""Attacks that are let go on, attempts per second: each attempt a flow of its own."""


def list_persistent(attacks: Sequence[Attack], seeds: int) -> list[Scene]:
    """Lasting scenes of those attacks that are let go on."""
    attempts = round(WORDS / _WORDS_PER_ATTEMPT * _SPARE)
    return [
        Scene(attack=attack, rate_per_s=_RATES[attack.name], seed=seed, attempts=attempts)
        for attack in attacks
        if attack.name in _RATES
        for seed in range(seeds)
    ]


def record_persistence(attack: Attack, played: Played, watched: Watched) -> Record:
    """Which of a lasting attack's words lie above the flow threshold.

    Returns:
        ``is_above`` of the words at ``PLACES`` counted from the first after ``RECOGNISED_AFTER`` attempts, None beyond
        the end; ``shares`` above in the stretches between the places, and of the opening and closing words alone.
    """
    attempts_at_s = attempt_moments(attack, played)
    known_at_s = watched.words.known_at_s
    recognised_at_s = float(attempts_at_s[min(RECOGNISED_AFTER[attack.family], len(attempts_at_s)) - 1])
    first = int(np.searchsorted(known_at_s, recognised_at_s - 1e-6))
    above = watched.words.is_above[first : first + WORDS]
    is_close = watched.words.is_close[first : first + WORDS]
    bounds = (0, *(place - 1 for place in PLACES[1:]), WORDS)
    stretches = list(pairwise(bounds))
    return {
        "words": len(above),
        "is_above": [bool(above[place - 1]) if place <= len(above) else None for place in PLACES],
        "shares": [float(above[low:high].mean()) if low < len(above) else None for low, high in stretches],
        "open_share": float(above[~is_close].mean()) if (~is_close).any() else None,
        "close_share": float(above[is_close].mean()) if is_close.any() else None,
    }


def pool_persistence(records: Sequence[tuple[Scene, Record]]) -> dict[str, Record]:
    """By attack: the share of seeds in which the word at each place is above, and mean shares of words."""
    by_attack: dict[str, list[tuple[Scene, Record]]] = defaultdict(list)
    for scene, record in records:
        by_attack[scene.attack.name].append((scene, record))
    return {
        name: {
            "rate_per_s": found[0][0].rate_per_s,
            "seeds": len(found),
            "recognised_after": RECOGNISED_AFTER[found[0][0].attack.family],
            "fewest_words": min(record["words"] for _, record in found),
            "above": [_mean([record["is_above"][place] for _, record in found]) for place in range(len(PLACES))],
            "shares": [_mean([record["shares"][place] for _, record in found]) for place in range(len(PLACES))],
            "open_share": _mean([record["open_share"] for _, record in found]),
            "close_share": _mean([record["close_share"] for _, record in found]),
        }
        for name, found in by_attack.items()
    }


def _mean(values: Sequence[float | bool | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None
