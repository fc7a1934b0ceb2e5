"""Flows as Zeek's conn.log: its header, its names, its way to say unknown."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from packet_builder import conversation, icmp, meter, udp
from thingwarden.domain.flow import FlowBatch, Labels
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.ingest.conn_log import FIELDS, LABEL_FIELDS, conn_log_rows, write_conn_log
from thingwarden.ingest.zeek import ZeekSource


def rows(flows: FlowBatch) -> list[dict[str, str]]:
    return [dict(zip(FIELDS, values, strict=True)) for values in conn_log_rows(flows)]


def test_a_connection_reads_as_zeek_writes_it() -> None:
    (row,) = rows(meter(conversation()))
    assert row["ts"] == "1600000000.000000"
    assert (row["id.orig_h"], row["id.orig_p"], row["proto"]) == ("192.168.1.10", "40000", "tcp")
    assert (row["duration"], row["orig_bytes"], row["resp_bytes"]) == ("0.600000", "5", "7")
    assert (row["conn_state"], row["history"]) == ("SF", "ShADdFf")
    assert (row["orig_l2_addr"], row["resp_l2_addr"]) == ("02:00:00:00:00:0a", "02:00:00:00:00:05")


def test_what_is_unknown_is_a_dash() -> None:
    (row,) = rows(meter([icmp(0, 8)]))
    for name in ("duration", "orig_bytes", "service", "history", "local_orig", "missed_bytes", "tunnel_parents"):
        assert row[name] == "-"
    assert row["proto"] == "icmp"


def test_a_flow_of_which_nothing_is_known_can_be_written() -> None:
    (row,) = rows(FlowBatch.unknown(1, is_timed=False))
    assert (row["ts"], row["orig_pkts"], row["conn_state"], row["proto"]) == ("-", "-", "-", "unknown_transport")


def test_the_file_has_one_header_and_a_line_per_flow() -> None:
    out = io.StringIO()
    assert write_conn_log([meter([udp(0)]), meter([udp(0), udp(100)])], out) == 3
    lines = out.getvalue().splitlines()
    header = [line for line in lines if line.startswith("#")]
    assert header[0] == "#separator \\x09"
    assert sum(line.startswith("#fields\t") for line in header) == 1
    types = next(line for line in header if line.startswith("#types\t"))
    assert len(types.split("\t")) == 1 + len(FIELDS)
    assert {line.count("\t") for line in lines if not line.startswith("#")} == {len(FIELDS) - 1}


def test_no_flows_still_make_a_log() -> None:
    out = io.StringIO()
    assert write_conn_log([], out) == 0
    assert out.getvalue().startswith("#separator")


def test_labels_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    flows = meter([udp(0), udp(100, client_port=41_000), udp(200, client_port=42_000)])
    labels = Labels(
        malicious=np.array([1, 0, -1], dtype=np.int8),
        attack_class=np.array([CLASS_INDEX[AttackClass.LATERAL], 0, -1], dtype=np.int8),
        ton_class=np.full(3, -1, dtype=np.int8),
        detail=np.array([b"lateral:worm-1", b"benign:dns_outage", b"background"], dtype="S48"),
    )
    path = tmp_path / "conn.log"
    with path.open("w", encoding="utf-8") as out:
        assert write_conn_log([replace(flows, labels=labels)], out, is_labelled=True) == 3
    assert f"\t{LABEL_FIELDS[0]}\t{LABEL_FIELDS[1]}\n" in path.read_text()
    read = FlowBatch.concatenate(list(ZeekSource(path).batches()))
    assert read.labels is not None
    for name in ("malicious", "attack_class", "detail"):
        assert getattr(read.labels, name).tolist() == getattr(labels, name).tolist()
