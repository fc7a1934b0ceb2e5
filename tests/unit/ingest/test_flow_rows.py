"""What the columns say of flows that are still open."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from packet_builder import CLIENT, Frame, pcap, tcp, udp
from thingwarden.domain.flow import CONN_STATES, UNKNOWN_COUNT, address_from_words
from thingwarden.ingest.flow_rows import opening_columns, outcome_columns, standing_columns
from thingwarden.ingest.flow_table import FlowTable
from thingwarden.ingest.metering import meter_packets
from thingwarden.ingest.pcap import PcapSource

HANDSHAKE = [
    tcp(0.0, "S", 100),
    tcp(0.1, "SA", 500, 101, from_client=False),
    tcp(0.2, "A", 101, 501),
    tcp(0.3, "PA", 101, 501, b"GET / HTTP/1.1"),
]


def table_of(frames: list[Frame]) -> FlowTable:
    packets = next(PcapSource(Path("x"), stream=io.BytesIO(pcap(frames))).packets())
    return meter_packets(FlowTable.empty(), packets)[0]


def test_the_opening_tells_who_began() -> None:
    columns = opening_columns(table_of(HANDSHAKE))
    assert str(address_from_words(*columns["orig_address"][0].tolist())) == CLIENT
    assert (columns["orig_port"][0], columns["resp_port"][0]) == (40_000, 9000)
    assert columns["proto"][0] == 6


def test_the_outcome_is_told_as_it_stands() -> None:
    columns = outcome_columns(table_of(HANDSHAKE))
    assert CONN_STATES[columns["conn_state"][0]] == "S1"
    assert (columns["history"][0], columns["service"][0]) == (b"ShAD", b"http")
    assert (columns["orig_packets"][0], columns["orig_bytes"][0]) == (3, 14)
    assert columns["resp_ip_bytes"][0] == 40
    assert np.isclose(columns["duration_s"][0], 0.3)


def test_without_a_duration_no_bytes_are_told() -> None:
    columns = standing_columns(table_of([udp(0.0, b"hello")]))
    assert np.isnan(columns["duration_s"][0])
    assert columns["orig_bytes"][0] == UNKNOWN_COUNT


def test_flows_that_began_at_different_instants_have_different_ids() -> None:
    uids = opening_columns(table_of(HANDSHAKE))["uid"], opening_columns(table_of([tcp(1.0, "S", 100)]))["uid"]
    assert uids[0][0] != uids[1][0]
    assert uids[0][0].startswith(b"C")
