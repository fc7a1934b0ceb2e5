"""A capture file as a source of flows."""

from __future__ import annotations

import gzip
import io
import random
from pathlib import Path

import pytest

from packet_builder import conversation, enhanced, interface, pcap, section, udp
from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import FlowBatch
from thingwarden.ingest.pcap import PcapSource


def test_a_compressed_file_can_be_read_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap.gz"
    path.write_bytes(gzip.compress(pcap(conversation())))
    source = PcapSource(path)
    first, second = (FlowBatch.concatenate(list(source.batches())) for _ in range(2))
    assert first.uid.tolist() == second.uid.tolist()
    assert source.counts == {"frames": 8, "packets": 8}


def test_a_given_stream_is_read() -> None:
    source = PcapSource(Path("x"), stream=io.BytesIO(pcap([udp(0.0)])))
    assert sum(len(batch) for batch in source.batches()) == 1
    assert source.notes == ()


def test_a_cut_capture_yields_its_flows_and_a_note(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap(conversation())[:-10])
    source = PcapSource(path)
    assert sum(len(batch) for batch in source.batches()) == 1
    assert source.counts["truncated_file"] == 1
    assert str(path) in source.notes[0]


def test_a_compressed_file_that_breaks_off_yields_its_flows_and_a_note(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap.gz"
    frames = [udp(n / 100, random.Random(n).randbytes(200), client_port=1 + n) for n in range(4000)]
    path.write_bytes(gzip.compress(pcap(frames))[:-100_000])
    source = PcapSource(path)
    assert 1000 < sum(len(batch) for batch in source.batches()) < 4000
    assert source.counts["truncated_file"] >= 1
    assert str(path) in source.notes[0]


def test_packets_of_several_link_types_are_joined_by_time() -> None:
    late, early = udp(0.0, client_port=1).data, udp(0.0, client_port=2).data[14:]
    data = (
        section()
        + interface()
        + interface(link_type=101)
        + enhanced(2_000_000, late)
        + enhanced(1_000_000, early, number=1)
    )
    packets = next(PcapSource(Path("x"), stream=io.BytesIO(data)).packets())
    assert packets.src_port.tolist() == [2, 1]


def test_a_capture_without_packets_has_no_flows() -> None:
    assert list(PcapSource(Path("x"), stream=io.BytesIO(pcap([]))).batches()) == []


def test_an_empty_file_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "empty.pcap"
    path.touch()
    with pytest.raises(InputError, match="empty"):
        list(PcapSource(path).batches())
