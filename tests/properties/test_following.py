"""Flows that are still going on give, chunk by chunk, the words of the batch that they end as."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow_builder import VOCABULARY, assert_same_words, join_chunks
from following_builder import Followed, cut_packets, follow_packets
from packet_builder import Frame, icmp, pcap, tcp, udp
from thingwarden.config import PACKAGED_MODEL, PACKAGED_SAMPLE
from thingwarden.domain.flow import COLUMN_DTYPES, FlowBatch
from thingwarden.domain.packet import PacketBatch
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.encode.word import RESET_STATES, code_mask
from thingwarden.ingest.flow_table import FlowTable
from thingwarden.ingest.metering import finish_flows, meter_packets
from thingwarden.ingest.pcap import PcapSource
from thingwarden.model.artifact import load_artifact

CAPTURES = (
    "attacks/chrissanders/synscan.pcapng.xz",
    "attacks/chrissanders/http_espn_fail.pcapng.xz",
    "attacks/ddos/amp.TCP.reflection.SYNACK.pcap.xz",
    "benign/iot-sentinel-2016/HueBridge/Setup-A-2-STA.pcap.xz",
    "benign/home-devices-2020/aqara_gateway/2020-11-25.pcap.xz",
    "iot23/CTU-IoT-Malware-Capture-42-1/2019-01-10-14-34-38-192.168.1.197.pcap.xz",
)
"""With floods, scans, resets, several packets of one instant, flows of hours; none whose times step back."""

ports = st.integers(40_000, 40_002)
flags = st.sampled_from(["S", "SA", "A", "PA", "FA", "R", "RA"])
numbers = st.one_of(st.integers(0, 40), st.integers(2**32 - 20, 2**32 - 1))
frames = st.one_of(
    st.builds(
        lambda *values, **named: tcp(0.0, *values, **named),
        flags, numbers, numbers, st.sampled_from([b"", b"x", b"GET / HTTP/1.1"]),
        from_client=st.booleans(), client_port=ports, server_port=st.sampled_from([80, 9000]),
    ),
    st.builds(
        lambda *values, **named: udp(0.0, *values, **named),
        st.sampled_from([b"", b"hello"]), from_client=st.booleans(), client_port=ports,
    ),
    st.builds(lambda kind, **named: icmp(0.0, kind, **named), st.sampled_from([0, 3, 8]), from_client=st.booleans()),
)  # fmt: skip
gaps_s = st.sampled_from([0.0, 0.001, 0.05, 0.5, 4.9, 5.0, 6.0, 59.0, 61.0, 301.0])
captures = st.lists(st.tuples(gaps_s, frames), min_size=1, max_size=40)


def read_packets(path: Path | None, data: bytes = b"") -> PacketBatch:
    source = PcapSource(path or Path("x"), stream=None if path else io.BytesIO(data))
    parts = list(source.packets())
    return PacketBatch(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in PacketBatch.__slots__}
    )


def timed(capture: list[tuple[float, Frame]]) -> list[Frame]:
    at_s = np.cumsum([gap_s for gap_s, _ in capture]).tolist()
    return [frame._replace(at_s=at) for at, (_, frame) in zip(at_s, capture, strict=True)]


def assert_words_of_the_batch(followed: Followed, vocabulary: Vocabulary = VOCABULARY) -> None:
    assert_same_words(followed.words, join_chunks(SentenceEncoder(vocabulary).encode(followed.flows)))


def ended_flows(packets: PacketBatch) -> FlowBatch:
    """What the meter makes of the whole capture."""
    table, ended = meter_packets(FlowTable.empty(), packets)
    return FlowBatch.concatenate([ended, finish_flows(table)])


@settings(max_examples=150, deadline=None)
@given(capture=captures, cuts=st.lists(st.integers(1, 40), max_size=6))
def test_any_packets_in_any_chunks(capture: list[tuple[float, Frame]], cuts: list[int]) -> None:
    packets = read_packets(None, pcap(timed(capture)))
    assert_words_of_the_batch(follow_packets(cut_packets(packets, cuts), VOCABULARY))


@settings(max_examples=60, deadline=None)
@given(capture=captures, cuts=st.lists(st.integers(1, 40), max_size=6))
def test_flows_without_stragglers_end_as_in_a_file(capture: list[tuple[float, Frame]], cuts: list[int]) -> None:
    packets = read_packets(None, pcap(timed(capture)))
    followed, ended = follow_packets(cut_packets(packets, cuts), VOCABULARY).flows, ended_flows(packets)
    assert sorted(followed.uid.tolist()) == sorted(ended.uid.tolist())
    ended = ended.take(np.argsort(ended.uid)[np.argsort(np.argsort(followed.uid))])
    is_reset = code_mask(RESET_STATES)[ended.conn_state] | code_mask(RESET_STATES)[followed.conn_state]
    for name in set(COLUMN_DTYPES) - {"orig_mac", "resp_mac"}:
        one, other = getattr(followed, name)[~is_reset], getattr(ended, name)[~is_reset]
        np.testing.assert_array_equal(one, other, err_msg=name)


def assert_equal_to_the_file(packets: PacketBatch, seed: int) -> None:
    """The words are those of a replay of the capture; its flows in the order in which they began."""
    vocabulary = Vocabulary.from_json(load_artifact(PACKAGED_MODEL).vocabulary)
    cuts = np.random.default_rng(seed).integers(1, len(packets), 120)
    followed = follow_packets(cut_packets(packets, cuts.tolist()), vocabulary)
    assert_words_of_the_batch(followed, vocabulary)
    ended = ended_flows(packets)
    ended = ended.take(np.argsort(ended.uid)[np.argsort(np.argsort(followed.flows.uid))])
    assert_same_words(followed.words, join_chunks(SentenceEncoder(vocabulary).encode(ended)))


def test_the_packaged_sample_in_chunks() -> None:
    with gzip.open(PACKAGED_SAMPLE) as stream:
        assert_equal_to_the_file(read_packets(None, stream.read()), 1)


@pytest.mark.data
@pytest.mark.parametrize("name", CAPTURES)
def test_real_captures_in_chunks(name: str, data_folder: Path) -> None:
    assert_equal_to_the_file(read_packets(data_folder / name), 2)
