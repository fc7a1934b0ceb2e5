"""Packets in chunks through the live meter and the encoder, and the same flows as one batch, for comparing.

In: packets and where to cut them. Out: the words of the stream, and the flows as they were told.
Must never: cut between two packets of one instant; what the order of those is only the capture says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from thingwarden.domain.flow import FlowBatch, Milestones
from thingwarden.domain.flow_store import FlowProgress, FlowStore
from thingwarden.domain.packet import PacketBatch
from thingwarden.domain.word import WordBatch
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.ingest.live_meter import LiveMeter


@dataclass
class Followed:
    """Words whose flows are numbered in the order in which they began, and these flows with their milestones."""

    words: WordBatch
    flows: FlowBatch


def cut_packets(packets: PacketBatch, cuts: Iterable[int]) -> Iterator[PacketBatch]:
    """The packets in parts; a cut between two of one instant is left out."""
    later = {int(place) + 1 for place in np.flatnonzero(np.diff(packets.at_s) > 0)}
    edges = [0, *sorted(later & set(cuts)), len(packets)]
    for start, end in pairwise(edges):
        yield packets.take(np.arange(start, end))


def follow_packets(chunks: Iterable[PacketBatch], vocabulary: Vocabulary, row_count: int = 1 << 14) -> Followed:
    """Meter and encode chunk by chunk, all flows kept."""
    store = FlowStore(row_count)
    meter, encoder = LiveMeter(store), SentenceEncoder(vocabulary)
    words: list[WordBatch] = []
    opened, reached = [np.zeros(0, dtype=np.int64)], []

    def take(progress: FlowProgress, upto_s: float) -> None:
        opened.append(progress.opened)
        reached.append(progress.reached)
        for part in encoder.follow(store.flows, progress, upto_s):
            words.append(part)
            meter.disown(np.unique(part.flow[part.is_close]))

    for packets in chunks:
        take(meter.meter(packets), float(packets.at_s.max()))
    take(meter.finish(), np.inf)
    rows = np.concatenate(opened)
    number = np.full(row_count, -1)
    number[rows] = np.arange(len(rows))
    joined = WordBatch.concatenate(words)
    noted = Milestones.join([replace(part, flow=number[part.flow]) for part in reached])
    flows = replace(store.flows.take(rows), milestones=noted)
    return Followed(words=replace(joined, flow=number[joined.flow]), flows=flows)
