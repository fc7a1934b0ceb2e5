"""Evasions in time: an irregular beat, and patience.

In: labelled flows, which of them to move, a strength. Out: ``Evaded``.
Must never: change the order of an attack's flows, or what happens within a flow.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from thingwarden.bench.evasion_rows import Evaded, Mask, Rng, attack_mask, campaigns
from thingwarden.domain.flow import FlowBatch

LEAST_BEATS: Final = 4
"""Contacts of one host in one attack that make a beat: three intervals."""


def reach_beat(flows: FlowBatch) -> Mask:
    """Attacks of at least ``LEAST_BEATS`` contacts by one host, bool (n,)."""
    return _reach_long(flows, LEAST_BEATS, by_host=True)


def jitter(flows: FlowBatch, reached: Mask, strength: float, rng: Rng) -> Evaded:
    """Every interval times a log-normal draw, scaled so that the attack ends when it ended: as many in as long a time.

    Args:
        flows: labelled.
        reached: see ``reach_beat``.
        strength: standard deviation of the intervals' natural logarithms.
        rng: draws.
    """
    started_at_s = flows.started_at_s.copy()
    for rows in campaigns(flows, reached, by_host=True):
        intervals_s = np.diff(started_at_s[rows])
        drawn_s = intervals_s * np.exp(rng.normal(0.0, strength, len(intervals_s)))
        if drawn_s.sum() > 0.0:
            drawn_s *= intervals_s.sum() / drawn_s.sum()
            started_at_s[rows[1:]] = started_at_s[rows[0]] + np.cumsum(drawn_s)
    return Evaded.in_place(replace(flows, started_at_s=started_at_s), reached)


def reach_pace(flows: FlowBatch) -> Mask:
    """Attacks of more than one contact, bool (n,)."""
    return _reach_long(flows, 2, by_host=False)


def slow_down(flows: FlowBatch, reached: Mask, strength: float, rng: Rng) -> Evaded:
    """Every attack stretched from its first contact on; what would begin after the recording's end does not happen.

    Args:
        flows: labelled.
        reached: see ``reach_pace``.
        strength: at least 1; by how much.
        rng: not used.
    """
    started_at_s = flows.started_at_s.copy()
    for rows in campaigns(flows, reached, by_host=False):
        first_s = started_at_s[rows[0]]
        started_at_s[rows] = first_s + strength * (started_at_s[rows] - first_s)
    kept = started_at_s <= flows.started_at_s.max(initial=0.0)
    slowed = replace(flows, started_at_s=started_at_s).take(kept)
    return Evaded(flows=slowed, reached=reached[kept], row=np.flatnonzero(kept))


def _reach_long(flows: FlowBatch, least: int, *, by_host: bool) -> Mask:
    reached = np.zeros(len(flows), dtype=np.bool_)
    for rows in campaigns(flows, attack_mask(flows), by_host=by_host):
        reached[rows] = len(rows) >= least
    return reached
