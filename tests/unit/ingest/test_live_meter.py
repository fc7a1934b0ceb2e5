"""The live meter counts as the other does, keeps rows where they are, and stays within its bounds."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from packet_builder import CLIENT_MAC, SERVER_MAC, START_S, Frame, pcap, tcp, udp
from thingwarden.domain.flow import CONN_STATES
from thingwarden.domain.flow_store import FlowStore
from thingwarden.domain.packet import PacketBatch
from thingwarden.ingest.live_meter import LiveMeter
from thingwarden.ingest.pcap import PcapSource

CONNECTION = [
    tcp(0.0, "S", 100),
    tcp(0.1, "SA", 500, 101, from_client=False),
    tcp(0.2, "A", 101, 501),
    tcp(0.3, "PA", 101, 501, b"GET / HTTP/1.1"),
]


def packets_of(frames: list[Frame]) -> PacketBatch:
    return next(PcapSource(Path("x"), stream=io.BytesIO(pcap(frames))).packets())


def state_of(store: FlowStore, row: int) -> str:
    return CONN_STATES[store.flows.conn_state[row]]


def test_a_flow_keeps_its_row_while_it_grows() -> None:
    store = FlowStore(16)
    meter = LiveMeter(store)
    first = meter.meter(packets_of(CONNECTION[:1]))
    assert (first.opened.tolist(), first.touched.tolist(), first.ended.tolist()) == ([1], [1], [])
    assert state_of(store, 1) == "S0"
    later = meter.meter(packets_of(CONNECTION[1:]))
    assert (later.opened.tolist(), later.touched.tolist(), later.ended.tolist()) == ([], [1], [])
    assert (state_of(store, 1), store.flows.service[1]) == ("S1", b"http")
    assert later.reached.flow.tolist() == [1]
    assert later.reached.orig_packets.tolist() == [3]


def test_the_first_packet_says_whose_flow_it_is() -> None:
    store = FlowStore(16)
    LiveMeter(store).meter(packets_of([udp(0.0, b"x", from_client=False)]))
    assert int(store.flows.orig_mac[1]) == int.from_bytes(SERVER_MAC)
    assert int(store.flows.resp_mac[1]) == int.from_bytes(CLIENT_MAC)


def test_idle_flows_end_without_a_packet() -> None:
    store = FlowStore(16)
    meter = LiveMeter(store)
    meter.meter(packets_of([udp(0.0, b"x")]))
    assert meter.expire(START_S + 59.0).ended.tolist() == []
    assert meter.expire(START_S + 60.0).ended.tolist() == [1]
    assert meter.open_count == 0


def test_the_same_key_again_is_another_flow() -> None:
    store = FlowStore(16)
    meter = LiveMeter(store)
    meter.meter(packets_of([udp(0.0, b"x")]))
    again = meter.meter(packets_of([udp(61.0, b"x")]))
    assert (again.opened.tolist(), again.ended.tolist()) == ([2], [1])
    assert meter.open_count == 1


def test_both_may_happen_within_one_chunk() -> None:
    store = FlowStore(16)
    meter = LiveMeter(store)
    progress = meter.meter(packets_of([udp(0.0, b"x"), udp(61.0, b"x"), udp(122.0, b"x")]))
    assert (progress.opened.tolist(), progress.ended.tolist()) == ([1, 2, 3], [1, 2])
    assert progress.touched.tolist() == [3]


def test_flows_begin_in_the_order_of_their_packets() -> None:
    store = FlowStore(32)
    frames = [udp(number * 0.001, b"x", client_port=port) for number, port in enumerate(range(50_000, 50_020))]
    LiveMeter(store).meter(packets_of(frames))
    assert store.flows.orig_port[1:21].tolist() == list(range(50_000, 50_020))


def test_beyond_its_bound_the_flows_that_would_end_soonest_end() -> None:
    store = FlowStore(64)
    meter = LiveMeter(store, open_limit=4)
    meter.meter(packets_of(CONNECTION))
    flood = [udp(1.0 + number * 0.001, b"x", client_port=50_000 + number) for number in range(10)]
    progress = meter.meter(packets_of(flood))
    assert meter.open_count == 4
    assert meter.evicted_count == 7
    assert progress.ended.tolist() == [2, 3, 4, 5, 6, 7, 8]  # the connection, established, is the last to go
    assert meter.meter(packets_of([tcp(2.0, "A", 115, 501)])).touched.tolist() == [1]


def test_what_was_told_is_not_written_again() -> None:
    store = FlowStore(16)
    meter = LiveMeter(store)
    meter.meter(packets_of([*CONNECTION, tcp(0.4, "R", 115)]))
    assert state_of(store, 1) == "RSTO"
    meter.disown(np.array([1]))
    straggler = meter.meter(packets_of([tcp(1.0, "A", 501, 115, from_client=False)]))
    assert [len(part) for part in (straggler.opened, straggler.touched, straggler.ended)] == [0, 0, 0]
    assert store.flows.resp_packets[1] == 1
    assert meter.finish().ended.tolist() == []


def test_no_packet_is_no_progress() -> None:
    meter = LiveMeter(FlowStore(4))
    assert len(meter.meter(packets_of([udp(0.0)]).take(np.zeros(0, dtype=np.int64))).opened) == 0
