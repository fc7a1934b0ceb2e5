"""Packet columns are of one length and are cut together."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from packet_builder import conversation, pcap
from thingwarden.domain.packet import PacketBatch
from thingwarden.ingest.pcap import PcapSource


def batch() -> PacketBatch:
    return next(PcapSource(Path("x"), stream=io.BytesIO(pcap(conversation()))).packets())


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="unequal"):
        replace(batch(), proto=np.zeros(3, dtype=np.uint8))


def test_packets_are_taken_by_index_and_by_mask() -> None:
    packets = batch()
    assert packets.take(np.array([3, 0])).payload_bytes.tolist() == [5, 0]
    assert packets.take(packets.payload_bytes > 0).payload_bytes.tolist() == [5, 7]
