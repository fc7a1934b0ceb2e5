"""Zeek's conn.log in JSON, flat or nested, with any of Zeek's timestamps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import FlowBatch, address_from_words
from thingwarden.ingest.zeek_json import ZeekJsonSource, record_from_line

RECORD: dict[str, Any] = {
    "ts": 1664462456.755299,
    "uid": "C5xhsO",
    "id.orig_h": "172.16.1.11",
    "id.orig_p": 40042,
    "id.resp_h": "8.8.8.8",
    "id.resp_p": 53,
    "proto": "udp",
    "service": "dns",
    "duration": 0.012166976928710938,
    "orig_bytes": 0,
    "resp_bytes": 111,
    "conn_state": "SHR",
    "local_orig": True,
    "local_resp": False,
    "history": "Cd",
    "orig_pkts": 0,
    "resp_ip_bytes": 139,
}


def source_of(tmp_path: Path, *lines: str | bytes | dict[str, Any]) -> ZeekJsonSource:
    path = tmp_path / "conn.json"
    texts = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
    path.write_bytes(b"".join((text.encode() if isinstance(text, str) else text) + b"\n" for text in texts))
    return ZeekJsonSource(path)


def read(tmp_path: Path, *lines: str | bytes | dict[str, Any]) -> FlowBatch:
    return FlowBatch.concatenate(list(source_of(tmp_path, *lines).batches()))


def test_every_column_arrives(tmp_path: Path) -> None:
    flows = read(tmp_path, RECORD)
    assert flows.started_at_s.tolist() == [1664462456.755299]
    assert flows.duration_s.tolist() == [0.012166976928710938]
    assert (flows.orig_port[0], flows.resp_port[0], flows.proto[0]) == (40042, 53, 17)
    assert str(address_from_words(*flows.resp_address[0].tolist())) == "8.8.8.8"
    assert (flows.orig_bytes[0], flows.resp_bytes[0], flows.resp_packets[0]) == (0, 111, -1)
    assert (flows.orig_is_local[0], flows.resp_is_local[0]) == (1, 0)
    assert (flows.history[0], flows.service[0], flows.uid[0]) == (b"Cd", b"dns", b"C5xhsO")
    assert flows.labels is None


def test_endpoints_may_be_nested(tmp_path: Path) -> None:
    nested = {name: value for name, value in RECORD.items() if not name.startswith("id.")}
    nested["id"] = {name[3:]: value for name, value in RECORD.items() if name.startswith("id.")}
    assert read(tmp_path, nested).orig_port.tolist() == [40042]


def test_flat_nested_and_underscored_rows_may_mix(tmp_path: Path) -> None:
    underscored = {name.replace("id.", "id_"): value for name, value in RECORD.items()}
    assert read(tmp_path, RECORD, underscored).resp_port.tolist() == [53, 53]


@pytest.mark.parametrize(
    "text",
    [
        "1664462456.755299",
        "1664462456755.299",
        '"2022-09-29T14:40:56.755299Z"',
        '"2022-09-29T14:40:56.755299"',
        '"2022-09-29T16:40:56.755299+02:00"',
        "1.664462456755299e9",
    ],
)
def test_every_timestamp_that_zeek_writes(tmp_path: Path, text: str) -> None:
    line = json.dumps(RECORD | {"ts": 0}).replace('"ts": 0', f'"ts": {text}')
    assert read(tmp_path, line).started_at_s[0] == pytest.approx(1664462456.755299, abs=1e-6)


def test_labels_where_the_rows_have_them(tmp_path: Path) -> None:
    labelled = [RECORD | {"label": "Malicious", "detailedlabel": "DDoS"}, RECORD | {"label": "Benign"}, RECORD]
    labels = read(tmp_path, *labelled).labels
    assert labels is not None
    assert labels.malicious.tolist() == [1, 0, -1]
    assert labels.detail.tolist() == [b"DDoS", b"Benign", b""]


BAD_LINES = [b"{", b"[1]", b"5", b'"text"', b"null", b"\xff\xfe{}", b'{"a":' * 50_000, b"{} trailing", b"\0\0\0"]


def test_lines_that_are_no_object_are_counted(tmp_path: Path) -> None:
    source = source_of(tmp_path, RECORD, *BAD_LINES, b"", RECORD)
    assert sum(map(len, source.batches())) == 2
    assert source.counts == {"rows": 2 + len(BAD_LINES), "flows": 2, "skipped_json": len(BAD_LINES)}


BAD_VALUES: list[tuple[str, Any, str]] = [
    ("ts", "NaN", "timestamp"),
    ("ts", [1], "timestamp"),
    ("ts", True, "timestamp"),
    ("ts", None, "timestamp"),
    ("id.orig_p", 70000, "port"),
    ("id.orig_h", {"a": 1}, "address"),
    ("orig_bytes", -1, "count"),
    ("orig_bytes", 10**400, "count"),
    ("duration", 1e308, "duration"),
    ("history", "\u0000", "text"),
]


@pytest.mark.parametrize(("name", "value", "reason"), BAD_VALUES)
def test_values_out_of_range_drop_their_row(tmp_path: Path, name: str, value: Any, reason: str) -> None:
    source = source_of(tmp_path, RECORD, RECORD | {name: value})
    assert sum(map(len, source.batches())) == 1
    assert source.counts == {"rows": 2, "flows": 1, f"skipped_{reason}": 1}


def test_a_lone_surrogate_is_replaced(tmp_path: Path) -> None:
    assert read(tmp_path, RECORD | {"service": "\ud800"}).service.tolist() == [b"?"]


def test_not_a_number_is_no_timestamp(tmp_path: Path) -> None:
    source = source_of(tmp_path, RECORD, json.dumps(RECORD | {"ts": float("nan"), "duration": float("inf")}))
    assert sum(map(len, source.batches())) == 1
    assert source.counts["skipped_timestamp"] == 1


def test_rows_without_addresses_only_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 1: none of 2 rows"):
        read(tmp_path, {"a": 1}, {"b": 2})


def test_records_keep_numbers_as_written() -> None:
    assert record_from_line(b'{"a": 1.50, "b": 10000000000000000000001}') == {
        "a": "1.50",
        "b": "10000000000000000000001",
    }


@pytest.mark.data
def test_the_nmap_scan_log_reads_whole(data_folder: Path) -> None:
    source = ZeekJsonSource(data_folder / "lan-mixed" / "002-nmap-scan" / "conn.log.gz")
    assert sum(map(len, source.batches())) == 4504
    assert source.counts == {"rows": 4504, "flows": 4504}
