"""A packet capture as a source of flows.

In: a pcap or pcapng file, compressed or not. Out: ``FlowBatch`` per chunk, in the order in which flows end.
Must never: hold the whole capture; memory is bounded by a chunk of packets and the flows open at one time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import BinaryIO

import numpy as np

from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.link_layer import LinkBatch
from thingwarden.domain.packet import PacketBatch
from thingwarden.ingest.capture_file import CaptureReader
from thingwarden.ingest.compression import open_stream
from thingwarden.ingest.flow_table import FlowTable
from thingwarden.ingest.link_layer import decode_link_layer
from thingwarden.ingest.metering import finish_flows, meter_packets
from thingwarden.ingest.packets import FrameBatch, decode_layers, decode_packets

HearLink = Callable[[LinkBatch], None]
"""Called with what each chunk of frames says about the link, in the order of the capture; not where it says nothing."""


class PcapSource:
    """Flows of one capture file.

    Args:
        path: the file; also its name in errors.
        stream: its bytes, if already open; else the file is opened and decompressed by content.
        hear_link: told what the frames say about the link; None where nobody listens.
        is_growing: whether ``stream`` is written while it is read, so that packets are wanted as they come.
    """

    def __init__(
        self,
        path: Path,
        *,
        stream: BinaryIO | None = None,
        hear_link: HearLink | None = None,
        is_growing: bool = False,
    ) -> None:
        self._path = path
        self._stream = stream
        self._hear_link = hear_link
        self._is_growing = is_growing
        self._counts: Counter[str] = Counter()
        self._notes: list[str] = []

    @property
    def counts(self) -> Mapping[str, int]:
        """What was read and what was left out, by reason; ``frames`` and ``packets`` among them."""
        return {reason: count for reason, count in self._counts.items() if count}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the file, such as where it was cut."""
        return tuple(self._notes)

    def batches(self) -> Iterator[FlowBatch]:
        """Yield the flows that ended within each chunk of packets, and at last those still open.

        Raises:
            InputError: the file is empty, no capture, or of a link type that is not supported.
        """
        self._counts.clear()
        self._notes.clear()
        table = FlowTable.empty()
        for packets in self.packets():
            table, ended = meter_packets(table, packets)
            if len(ended):
                yield ended
        last = finish_flows(table)
        if len(last):
            yield last

    def packets(self) -> Iterator[PacketBatch]:
        """Yield the decoded packets chunk by chunk, in the order of the capture."""
        if self._stream is not None:
            yield from self._packets(self._stream)
            return
        with open_stream(self._path) as stream:
            yield from self._packets(stream)

    def _packets(self, stream: BinaryIO) -> Iterator[PacketBatch]:
        reader = CaptureReader(stream, str(self._path), self._counts, self._notes, self._is_growing)
        for frames in reader.frames():
            packets = _in_order([self._decode(part) for part in frames])
            self._counts["frames"] += sum(len(part) for part in frames)
            self._counts["packets"] += len(packets)
            yield packets

    def _decode(self, frames: FrameBatch) -> PacketBatch:
        layers = decode_layers(frames, self._counts)
        if self._hear_link is not None:
            said = decode_link_layer(layers, self._counts)
            if len(said):
                self._hear_link(said)
        return decode_packets(layers, self._counts)


def _in_order(parts: list[PacketBatch]) -> PacketBatch:
    """Join the packets of several link types by time; one link type keeps the capture's own order."""
    if len(parts) == 1:
        return parts[0]
    joined = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(PacketBatch)
    }
    return PacketBatch(**joined).take(np.argsort(joined["at_s"], kind="stable"))
