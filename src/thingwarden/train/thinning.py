"""Fewer flows of many simulated networks: whole networks are left out first, then the far ends of the others.

In: parts of a lab corpus. Out: contiguous stretches of some of them.
Must never: choose by chance, or by what a model says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from thingwarden.domain.flow import FlowBatch
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.train.corpus import Part

VOCABULARY_STRETCH_FLOWS: Final = 1_000
"""Flows of one simulated network that a vocabulary is fitted on."""


def thin_networks(parts: Sequence[Part], most_flows: int, stretch_flows: int) -> list[Part]:
    """Stretches of networks spread evenly over ``parts``, ``most_flows`` in all at most.

    Args:
        parts: labelled, each in time order.
        most_flows: in all; 0 gives nothing.
        stretch_flows: of one network at most; the stretch begins a little before the network's first attack, or with
            its first flow where it has none.
    """
    count = min(len(parts), most_flows // stretch_flows)
    if count == 0:
        return []
    chosen = np.linspace(0, len(parts) - 1, count).round().astype(np.int64)
    return [_cut(parts[number], stretch_flows) for number in chosen.tolist()]


def balance_lab(parts: Sequence[Part], stretch_flows: int) -> list[Part]:
    """The recorded parts as they are, and of the simulated ones so much that they hold no more flows than those."""
    recorded = [part for part in parts if part.capture.family != "lab"]
    simulated = [part for part in parts if part.capture.family == "lab"]
    return recorded + thin_networks(simulated, sum(len(part.flows) for part in recorded), stretch_flows)


def fit_vocabulary(train: Sequence[Part], table: FlowBatch) -> Vocabulary:
    """The vocabulary of what is learned from; simulated networks cannot crowd out what was recorded.

    Args:
        train: timed parts.
        table: TON_IoT's rows to learn from.
    """
    parts = balance_lab(train, VOCABULARY_STRETCH_FLOWS)
    return Vocabulary.fit([*(part.flows for part in parts), table])


def _cut(part: Part, stretch_flows: int) -> Part:
    labels = part.flows.labels
    assert labels is not None, "a corpus is labelled"
    attacks = np.flatnonzero(labels.malicious == 1)
    first = max(0, int(attacks[0]) - stretch_flows // 3) if len(attacks) else 0
    first = max(0, min(first, len(part.flows) - stretch_flows))
    rows = np.arange(first, min(len(part.flows), first + stretch_flows))
    return Part(part.capture, part.flows.take(rows))
