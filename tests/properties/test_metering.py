"""Metering does not depend on chunks, loses no packet, and survives any bytes."""

from __future__ import annotations

import io
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from packet_builder import Frame, enhanced, icmp, interface, pcap, section, tcp, udp
from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import (
    COLUMN_DTYPES,
    MILESTONE_AGES_S,
    MILESTONE_DTYPES,
    MILESTONE_PACKETS,
    MOST_MILESTONES,
    FlowBatch,
)
from thingwarden.domain.packet import PacketBatch
from thingwarden.ingest.conn_log import conn_log_rows
from thingwarden.ingest.flow_table import FlowTable
from thingwarden.ingest.metering import finish_flows, meter_packets
from thingwarden.ingest.pcap import PcapSource
from thingwarden.ingest.tcp_state import state_table

ports = st.integers(40_000, 40_002)
flags = st.sampled_from(["S", "SA", "A", "PA", "FA", "R", "RA", "F", "SF", "FR", ""])
numbers = st.one_of(st.integers(0, 40), st.integers(2**32 - 20, 2**32 - 1))
payloads = st.sampled_from([b"", b"x", b"hello", b"GET / HTTP/1.1"])
tcp_frames = st.builds(
    lambda *values, **named: tcp(0.0, *values, **named),
    flags, numbers, numbers, payloads,
    from_client=st.booleans(), client_port=ports, server_port=st.sampled_from([80, 9000]),
    receive_bytes=st.sampled_from([0, 512]),
)  # fmt: skip
udp_frames = st.builds(
    lambda *values, **named: udp(0.0, *values, **named),
    payloads, from_client=st.booleans(), client_port=ports, server_port=st.sampled_from([53, 9000]),
)  # fmt: skip
icmp_frames = st.builds(
    lambda kind, **named: icmp(0.0, kind, **named), st.sampled_from([0, 3, 8, 11]), from_client=st.booleans()
)
gaps_s = st.sampled_from([0.0, 0.001, 0.5, 4.9, 5.0, 6.0, 59.0, 61.0, 301.0])
# Small numbers of keys and states on purpose: the interesting cases are reuse, expiry and resets of one 5-tuple.
captures = st.lists(st.tuples(gaps_s, st.one_of(tcp_frames, udp_frames, icmp_frames)), min_size=1, max_size=40)


def timed(capture: list[tuple[float, Frame]]) -> list[Frame]:
    at_s, frames = 0.0, []
    for gap_s, frame in capture:
        at_s += gap_s
        frames.append(frame._replace(at_s=at_s))
    return frames


def packets_of(frames: list[Frame]) -> PacketBatch:
    return next(PcapSource(Path("x"), stream=io.BytesIO(pcap(frames))).packets())


def meter_in_chunks(packets: PacketBatch, cuts: list[int]) -> Counter[tuple[object, ...]]:
    """The conn.log lines and the milestones, however ordered."""
    table, lines = FlowTable.empty(), Counter[tuple[object, ...]]()
    edges = [0, *sorted(cut % (len(packets) + 1) for cut in cuts), len(packets)]
    for start, end in pairwise(edges):
        table, ended = meter_packets(table, packets.take(np.arange(start, end)))
        lines.update(conn_log_rows(ended))
        lines.update(milestone_rows(ended))
    lines.update(conn_log_rows(finish_flows(table)))
    lines.update(milestone_rows(finish_flows(table)))
    return lines


def milestone_rows(flows: FlowBatch) -> list[tuple[object, ...]]:
    """The milestones as tuples that begin with the flow's uid."""
    noted = flows.milestones
    if noted is None:
        return []
    columns = [getattr(noted, name).tolist() for name in MILESTONE_DTYPES if name != "flow"]
    return list(zip(flows.uid[noted.flow].tolist(), *columns, strict=True))


def standing_at_milestones(packets: PacketBatch) -> list[tuple[object, ...]]:
    """What a meter that stops after every packet would note, by ending the packet's flow there."""
    table, rows = FlowTable.empty(), []
    past: dict[tuple[int, float], tuple[float, bool]] = {}
    for number in range(len(packets)):
        table, _ = meter_packets(table, packets.take(np.array([number])))
        mine = table.take(np.array([len(table) - 1]))  # the flow that grew stands last
        key = (int(mine.keys.digest[0]), float(mine.started_at_s[0]))
        age_before_s, was_closed = past.get(key, (0.0, False))
        age_s = float(packets.at_s[number] - mine.started_at_s[0])
        is_due = int(mine.packets.sum()) in MILESTONE_PACKETS
        is_due |= any(age_before_s < least_s <= age_s for least_s in MILESTONE_AGES_S)
        elapsed_s = float(mine.last_at_s[0] - mine.started_at_s[0])
        past[key] = elapsed_s, bool(state_table().both_closed[mine.tcp_state[0]])
        if is_due and not was_closed:
            end = finish_flows(mine)
            rows.append(
                (end.uid[0], elapsed_s, *(int(getattr(end, name)[0]) for name in COUNTED), len(end.history[0]),
                 end.service[0] != b"")
            )  # fmt: skip
    return rows


COUNTED = ("orig_bytes", "resp_bytes", "orig_packets", "resp_packets", "conn_state")


@settings(max_examples=150, deadline=None)
@given(captures, st.lists(st.integers(0, 40), max_size=4))
def test_chunks_do_not_matter(capture: list[tuple[float, Frame]], cuts: list[int]) -> None:
    packets = packets_of(timed(capture))
    assert meter_in_chunks(packets, cuts) == meter_in_chunks(packets, [])


@settings(max_examples=60, deadline=None)
@given(captures)
def test_every_packet_is_in_one_flow(capture: list[tuple[float, Frame]]) -> None:
    packets = packets_of(timed(capture))
    table, ended = meter_packets(FlowTable.empty(), packets)
    flows = FlowBatch.concatenate([ended, finish_flows(table)])
    assert flows.orig_packets.sum() + flows.resp_packets.sum() == len(packets)
    assert flows.orig_ip_bytes.sum() + flows.resp_ip_bytes.sum() == packets.ip_bytes.sum()
    assert (flows.orig_packets + flows.resp_packets > 0).all()
    assert {name: getattr(flows, name).dtype for name in COLUMN_DTYPES} == COLUMN_DTYPES


@settings(max_examples=60, deadline=None)
@given(captures)
def test_meeting_packets_does_not_change_the_open_flows(capture: list[tuple[float, Frame]]) -> None:
    packets = packets_of(timed(capture))
    table, _ = meter_packets(FlowTable.empty(), packets)
    before = list(conn_log_rows(finish_flows(table)))
    meter_packets(table, packets)
    assert list(conn_log_rows(finish_flows(table))) == before


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([0, 1, 101, 113, 276]))
def test_any_frame_is_decoded_or_counted(data: bytes, link_type: int) -> None:
    source = PcapSource(Path("x"), stream=io.BytesIO(pcap([Frame(0.0, data)], link_type=link_type)))
    flows = FlowBatch.concatenate(list(source.batches()))
    left_out = sum(count for reason, count in source.counts.items() if reason not in ("frames", "packets"))
    assert source.counts["frames"] == 1
    assert source.counts.get("packets", 0) + left_out == 1
    assert len(flows) == source.counts.get("packets", 0)


@settings(max_examples=150, deadline=None)
@given(captures, st.integers(0, 10_000), st.binary(min_size=1, max_size=8), st.booleans())
def test_a_damaged_file_is_an_input_error_or_is_read(
    capture: list[tuple[float, Frame]], at: int, damage: bytes, as_pcapng: bool
) -> None:
    frames = timed(capture)
    blocks = b"".join(enhanced(int(frame.at_s * 10**6), frame.data) for frame in frames)
    data = section() + interface() + blocks if as_pcapng else pcap(frames)
    at %= len(data)
    damaged = data[:at] + damage + data[at + len(damage) :]
    try:
        flows = FlowBatch.concatenate(list(PcapSource(Path("x"), stream=io.BytesIO(damaged)).batches()))
    except InputError as error:
        assert error.what.startswith("x")
    else:
        assert (flows.orig_packets >= 0).all()


@settings(max_examples=100, deadline=None)
@given(captures)
def test_a_milestone_tells_how_the_flow_would_have_ended_there(capture: list[tuple[float, Frame]]) -> None:
    packets = packets_of(timed(capture))
    table, ended = meter_packets(FlowTable.empty(), packets)
    flows = FlowBatch.concatenate([ended, finish_flows(table)])
    assert sorted(milestone_rows(flows), key=repr) == sorted(standing_at_milestones(packets), key=repr)
    assert flows.milestones is not None
    assert np.bincount(flows.milestones.flow, minlength=1).max() <= MOST_MILESTONES
    assert (np.diff(flows.milestones.flow) >= 0).all()


def test_an_acknowledgement_counts_in_a_chunk_of_its_own() -> None:
    keep_alive = [
        tcp(0.0, "A", 101, 501),
        tcp(0.1, "A", 501, 102, from_client=False),
        tcp(4.3, "A", 500, 102, from_client=False),
        tcp(4.4, "A", 101, 501),
    ]
    packets = packets_of(keep_alive)
    assert meter_in_chunks(packets, [1]) == meter_in_chunks(packets, [])
