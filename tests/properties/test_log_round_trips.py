"""What is written as a log is what is read back, and text of any kind never ends in an unexpected error."""

from __future__ import annotations

import ipaddress
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import CONN_STATES, UNKNOWN_COUNT, FlowBatch, address_from_words
from thingwarden.ingest.cells import Cells
from thingwarden.ingest.recognise import Format
from thingwarden.ingest.source import open_source, read_flows

ON_DISK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

IN_MEMORY = settings(max_examples=50, deadline=None)

LATEST_S = 9e10
"""Larger timestamps are milliseconds in JSON."""

COUNTS = {
    "orig_bytes": "orig_bytes",
    "resp_bytes": "resp_bytes",
    "orig_pkts": "orig_packets",
    "resp_pkts": "resp_packets",
    "orig_ip_bytes": "orig_ip_bytes",
    "resp_ip_bytes": "resp_ip_bytes",
}

words = st.text(st.sampled_from("abcxyzSHADF09^,;"), min_size=1, max_size=24)
rows = st.fixed_dictionaries(
    {
        "ts": st.floats(0, LATEST_S),
        "id.orig_h": st.ip_addresses(),
        "id.orig_p": st.integers(0, 65_535),
        "id.resp_h": st.ip_addresses(),
        "id.resp_p": st.integers(0, 65_535),
        "proto": st.sampled_from(["tcp", "udp"]),
        "service": st.none() | words,
        "duration": st.none() | st.floats(0, 1e9),
        **{name: st.none() | st.integers(0, 2**53) for name in COUNTS},
        "conn_state": st.sampled_from(CONN_STATES[1:]),
        "history": st.none() | words,
        "uid": words,
    }
)


def as_tsv(table: list[dict[str, Any]]) -> str:
    lines = ["#separator \\x09", "#unset_field\t-", "#path\tconn", "#fields\t" + "\t".join(table[0])]
    lines += ["\t".join("-" if row[name] is None else str(row[name]) for name in table[0]) for row in table]
    return "\n".join(lines) + "\n"


def as_json(table: list[dict[str, Any]]) -> str:
    return "".join(
        json.dumps({key: value for key, value in row.items() if value is not None}, default=str) + "\n" for row in table
    )


def check_row(flows: FlowBatch, at: int, row: dict[str, Any]) -> None:
    assert flows.started_at_s[at] == row["ts"]
    for column, name in ((flows.orig_address, "id.orig_h"), (flows.resp_address, "id.resp_h")):
        assert address_from_words(*column[at].tolist()) == (getattr(row[name], "ipv4_mapped", None) or row[name])
    assert (flows.orig_port[at], flows.resp_port[at]) == (row["id.orig_p"], row["id.resp_p"])
    assert flows.duration_s[at] == row["duration"] or (row["duration"] is None and math.isnan(flows.duration_s[at]))
    for name, column_name in COUNTS.items():
        assert getattr(flows, column_name)[at] == (UNKNOWN_COUNT if row[name] is None else row[name])
    assert CONN_STATES[flows.conn_state[at]] == row["conn_state"]
    for name in ("service", "history", "uid"):
        assert getattr(flows, name)[at].decode() == (row[name] or "")


@ON_DISK
@given(table=st.lists(rows, min_size=1, max_size=5), as_text=st.sampled_from([as_tsv, as_json]))
def test_rows_written_are_flows_read(tmp_path: Path, table: list[dict[str, Any]], as_text: Any) -> None:
    path = tmp_path / "conn.log"
    path.write_text(as_text(table))
    source = open_source(path)
    flows = FlowBatch.concatenate(list(source.batches()))
    assert source.counts == {"rows": len(table), "flows": len(table)}
    for at, row in enumerate(table):
        check_row(flows, at, row)


@ON_DISK
@given(content=st.binary(max_size=400), format_=st.sampled_from(Format), row_count=st.integers(0, 2))
def test_any_bytes_are_flows_faults_or_an_input_error(
    tmp_path: Path, content: bytes, format_: Format, row_count: int
) -> None:
    header = b"#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\n"
    path = tmp_path / "any"
    path.write_bytes(header + b"1\t10.0.0.1\t1\t10.0.0.2\t2\ttcp\n" * row_count + content)
    try:
        assert len(read_flows(path, format_)) >= (row_count if format_ is Format.ZEEK_TSV else 0)
    except InputError as error:
        assert "any" in error.what


@IN_MEMORY
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 10**20), min_size=1, max_size=20))
def test_numbers_are_read_as_float_reads_them(numbers: list[float | int]) -> None:
    values, is_readable = Cells.from_texts([repr(number).encode() for number in numbers]).decimals()
    assert is_readable.all()
    assert values.tolist() == [float(repr(number)) for number in numbers]


@IN_MEMORY
@given(st.lists(st.text(st.sampled_from("0123456789.eE+-"), max_size=24).map(str.encode), min_size=1, max_size=20))
def test_what_is_read_as_a_number_is_one(texts: list[bytes]) -> None:
    values, is_readable = Cells.from_texts(texts).decimals()
    for text, value, is_number in zip(texts, values.tolist(), is_readable.tolist(), strict=True):
        if text and is_number:
            assert value == float(text)
        elif text:
            with pytest.raises((ValueError, OverflowError)):
                int(float(text))


@IN_MEMORY
@given(
    st.lists(
        st.ip_addresses().map(str) | st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", fullmatch=True),
        min_size=1,
        max_size=20,
    )
)
def test_addresses_are_read_as_ipaddress_reads_them(texts: list[str]) -> None:
    found, is_readable = Cells.from_texts([text.encode() for text in texts]).addresses()
    for text, pair, is_address in zip(texts, found.tolist(), is_readable.tolist(), strict=True):
        try:
            expected = ipaddress.ip_address(text)
        except ValueError:
            assert not is_address
            continue
        assert is_address
        assert address_from_words(*pair) == (getattr(expected, "ipv4_mapped", None) or expected)
