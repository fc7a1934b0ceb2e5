"""Both directions share a key; different 5-tuples never do, even where their hashes collide."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from packet_builder import Frame, conversation, ethernet, icmp, ip_packet, pcap, tcp, udp
from thingwarden.domain.packet import PacketBatch
from thingwarden.ingest import flow_key
from thingwarden.ingest.flow_key import FlowKeys, group_packets, key_packets
from thingwarden.ingest.pcap import PcapSource


def decode(frames: list[Frame]) -> PacketBatch:
    return next(PcapSource(Path("x"), stream=io.BytesIO(pcap(frames))).packets())


def test_both_directions_have_one_key_and_opposite_ends() -> None:
    keys, is_upper = key_packets(decode(conversation()[:2]))
    assert keys.digest[0] == keys.digest[1]
    assert is_upper[0] != is_upper[1]


def test_ports_and_protocol_are_part_of_the_key() -> None:
    keys, _ = key_packets(decode([tcp(0, "S"), tcp(0, "S", client_port=40_001), udp(0)]))
    assert len(set(keys.digest.tolist())) == 3


def test_icmp_pairs_share_a_key_and_errors_do_not() -> None:
    keys, _ = key_packets(
        decode([icmp(0, 8), icmp(0, 0, from_client=False), icmp(0, 3), icmp(0, 3, from_client=False)])
    )
    assert keys.digest[0] == keys.digest[1]
    assert keys.digest[2] != keys.digest[3]
    assert keys.proto.tolist() == [1, 1, 1, 1]


def test_icmp6_neighbour_discovery_is_a_pair() -> None:
    there = ethernet(ip_packet("fd00::1", "fd00::2", 58, bytes([135, 0]) + bytes(22)))
    back = ethernet(ip_packet("fd00::2", "fd00::1", 58, bytes([136, 0]) + bytes(22)))
    keys, _ = key_packets(decode([Frame(0, there), Frame(0, back)]))
    assert keys.digest[0] == keys.digest[1]


def test_packets_sort_by_key_and_stay_in_order_within() -> None:
    keys, _ = key_packets(decode([udp(0), tcp(1, "S"), udp(2), tcp(3, "S")]))
    grouping = group_packets(FlowKeys.empty(), keys)
    assert sorted(grouping.order.tolist()) == [0, 1, 2, 3]
    assert [abs(a - b) for a, b in grouping.order.reshape(2, 2).tolist()] == [2, 2]
    assert grouping.is_first.tolist() == [True, False, True, False]
    assert grouping.open_row.tolist() == [-1] * 4


def test_an_open_flow_is_found_at_the_first_packet_of_its_key() -> None:
    keys, _ = key_packets(decode([udp(0), udp(1), tcp(2, "S")]))
    grouping = group_packets(keys.take(np.array([2])), keys)
    found = {int(order): int(row) for order, row in zip(grouping.order, grouping.open_row, strict=True)}
    assert found == {0: -1, 1: -1, 2: 0}


@pytest.mark.parametrize("open_count", [0, 2])
def test_colliding_hashes_do_not_merge_flows(open_count: int) -> None:
    keys, _ = key_packets(decode([udp(0), tcp(1, "S"), udp(2), tcp(3, "S"), udp(4)]))
    collided = replace(keys, digest=np.zeros(len(keys), dtype=np.uint64))
    grouping = group_packets(collided.take(np.arange(open_count)), collided)
    kinds = collided.kind[grouping.order]
    assert grouping.is_first.sum() == 2
    assert (kinds[1:] != kinds[:-1]).tolist() == grouping.is_first[1:].tolist()
    rows = grouping.open_row[grouping.is_first]
    assert sorted(rows.tolist()) == ([0, 1] if open_count else [-1, -1])


def test_mixing_spreads_small_differences() -> None:
    mixed = flow_key.mix_words(np.arange(1000, dtype=np.uint64))
    assert len(set((mixed >> np.uint64(48)).tolist())) > 900
