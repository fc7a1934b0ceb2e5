"""Suricata's flow events become flows in Zeek's terms; all else in the log is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import CONN_STATES, FlowBatch, address_from_words
from thingwarden.ingest.eve_flows import EveFlowSource
from thingwarden.ingest.source import read_flows

FLOW: dict[str, Any] = {
    "timestamp": "2026-01-02T03:05:06.000000+0000",
    "flow_id": 445348883402532,
    "event_type": "flow",
    "src_ip": "192.168.1.10",
    "src_port": 40000,
    "dest_ip": "203.0.113.5",
    "dest_port": 443,
    "proto": "TCP",
    "app_proto": "tls",
    "flow": {
        "pkts_toserver": 10,
        "pkts_toclient": 8,
        "bytes_toserver": 1140,
        "bytes_toclient": 9112,
        "start": "2026-01-02T04:04:05.500000+0100",
        "end": "2026-01-02T03:04:07.750000+0000",
        "state": "closed",
    },
    "tcp": {"tcp_flags_ts": "1b", "tcp_flags_tc": "1b"},
    "ether": {"src_macs": ["02:00:00:00:00:0a"], "dest_macs": ["02:00:00:00:00:05", "02:00:00:00:00:06"]},
}


def source_of(tmp_path: Path, *events: dict[str, Any] | str) -> EveFlowSource:
    path = tmp_path / "eve.json"
    path.write_text("".join((event if isinstance(event, str) else json.dumps(event)) + "\n" for event in events))
    return EveFlowSource(path)


def read(tmp_path: Path, *events: dict[str, Any] | str) -> FlowBatch:
    return FlowBatch.concatenate(list(source_of(tmp_path, *events).batches()))


def changed(**members: Any) -> dict[str, Any]:
    return FLOW | members


def state(tmp_path: Path, event: dict[str, Any]) -> str:
    return CONN_STATES[read(tmp_path, event).conn_state[0]]


def test_every_column_arrives(tmp_path: Path) -> None:
    flows = read(tmp_path, FLOW)
    assert flows.started_at_s.tolist() == [1767323045.5]
    assert flows.duration_s.tolist() == [2.25]
    assert str(address_from_words(*flows.orig_address[0].tolist())) == "192.168.1.10"
    assert (flows.orig_port[0], flows.resp_port[0], flows.proto[0]) == (40000, 443, 6)
    assert (flows.orig_packets[0], flows.resp_packets[0]) == (10, 8)
    assert (flows.orig_ip_bytes[0], flows.resp_ip_bytes[0]) == (1000, 9000)
    assert (flows.orig_bytes[0], flows.resp_bytes[0]) == (-1, -1)
    assert (flows.service[0], flows.uid[0], flows.history[0]) == (b"ssl", b"445348883402532", b"")
    assert (flows.orig_mac[0], flows.resp_mac[0]) == (0x02000000000A, 0x020000000005)
    assert CONN_STATES[flows.conn_state[0]] == "SF"


@pytest.mark.parametrize(
    ("sent", "answered", "replies", "expected"),
    [
        ("02", "00", 0, "S0"),
        ("03", "00", 0, "SH"),
        ("06", "00", 0, "RSTOS0"),
        ("02", "14", 1, "REJ"),
        ("12", "12", 1, "S1"),
        ("1b", "12", 1, "S2"),
        ("1a", "1b", 1, "S3"),
        ("1b", "1b", 1, "SF"),
        ("1f", "1b", 1, "RSTO"),
        ("1b", "1f", 1, "RSTR"),
        ("00", "13", 1, "SHR"),
        ("18", "18", 1, "OTH"),
    ],
)
def test_tcp_states_follow_from_flags(tmp_path: Path, sent: str, answered: str, replies: int, expected: str) -> None:
    flow = FLOW["flow"] | {"pkts_toclient": replies}
    assert state(tmp_path, changed(flow=flow, tcp={"tcp_flags_ts": sent, "tcp_flags_tc": answered})) == expected


@pytest.mark.parametrize(("replies", "expected"), [(0, "S0"), (3, "SF")])
def test_udp_states_follow_from_replies(tmp_path: Path, replies: int, expected: str) -> None:
    flow = FLOW["flow"] | {"pkts_toclient": replies}
    assert state(tmp_path, changed(proto="UDP", flow=flow)) == expected


def test_without_flags_the_state_is_unknown(tmp_path: Path) -> None:
    assert read(tmp_path, changed(tcp={})).conn_state[0] == 0


def test_icmp_of_both_families_has_type_and_code(tmp_path: Path) -> None:
    ping = {name: value for name, value in FLOW.items() if "port" not in name}
    ping |= {"icmp_type": 8, "icmp_code": 0, "proto": "ICMP", "app_proto": "failed"}
    ping6 = ping | {"icmp_type": 128, "proto": "IPv6-ICMP", "src_ip": "fd00::1", "dest_ip": "fd00::2"}
    flows = read(tmp_path, ping, ping6)
    assert flows.proto.tolist() == [1, 58]
    assert flows.orig_port.tolist() == [8, 128]
    assert flows.service.tolist() == [b"", b""]
    assert str(address_from_words(*flows.orig_address[1].tolist())) == "fd00::1"


def test_one_packet_has_no_duration(tmp_path: Path) -> None:
    flow = FLOW["flow"] | {"pkts_toserver": 1, "pkts_toclient": 0, "bytes_toserver": 60, "end": FLOW["flow"]["start"]}
    assert str(read(tmp_path, changed(flow=flow)).duration_s[0]) == "nan"


def test_other_events_are_counted_and_bad_lines_are_skipped(tmp_path: Path) -> None:
    source = source_of(
        tmp_path,
        {"event_type": "alert", "flow_id": 1},
        "{broken",
        FLOW,
        {"event_type": "stats"},
        changed(src_ip="nowhere"),
        changed(flow="no object"),
        changed(dest_port=70_000),
        changed(flow=FLOW["flow"] | {"pkts_toserver": -4}),
    )
    assert sum(map(len, source.batches())) == 1
    assert source.counts == {
        "rows": 6,
        "flows": 1,
        "other_events": 2,
        "skipped_event": 1,
        "skipped_address": 1,
        "skipped_timestamp": 1,
        "skipped_port": 1,
        "skipped_count": 1,
    }


def test_a_log_of_which_no_flow_can_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 1: none of 1 rows could be read; the first fault is its address"):
        read(tmp_path, changed(src_ip="nowhere"))


def test_a_log_without_flows_gives_none(tmp_path: Path) -> None:
    source = source_of(tmp_path, {"event_type": "alert", "flow_id": 1}, '{"timestamp": "cut at the e')
    assert list(source.batches()) == []
    assert source.counts == {"rows": 1, "flows": 0, "other_events": 1, "skipped_event": 1}


@pytest.mark.data
def test_a_real_log_is_read_whole(data_folder: Path) -> None:
    flows = read_flows(data_folder / "formats" / "suricata-eve" / "test6-malicious.suricata.json.xz")
    assert len(flows) > 500
    assert (flows.orig_packets + flows.resp_packets > 0).all()
    assert (flows.orig_ip_bytes >= 20 * flows.orig_packets).all()
