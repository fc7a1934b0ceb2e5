"""Inputs as commands take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingwarden.cli.inputs import FORMAT_NAMES, SourceChain, format_from_name, left_out_counts, open_inputs
from thingwarden.domain.errors import RequestError
from thingwarden.ingest.recognise import Format

CONN_LOG = (
    "#separator \\x09\n#path\tconn\n"
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\n"
    "1.0\tC1\t10.0.0.5\t1\t10.0.0.1\t53\tudp\tSF\n"
    "1.0\tC2\tnonsense\t1\t10.0.0.1\t53\tudp\tSF\n"
)

TON_TABLE = (
    "src_ip,src_port,dst_ip,dst_port,proto,service,duration,src_bytes,dst_bytes,conn_state,label,type\n"
    "192.168.1.31,40000,192.168.1.1,53,udp,dns,0.1,30,60,SF,0,normal\n"
)


def test_the_formats_offered_are_those_that_can_be_read() -> None:
    assert list(FORMAT_NAMES) == [known.value for known in Format]
    assert [format_from_name(name) for name in FORMAT_NAMES] == list(Format)
    assert format_from_name(None) is None


def test_what_was_used_is_not_counted_as_left_out() -> None:
    counts = {"rows": 5, "flows": 3, "skipped_port": 2, "skipped_text": 0}
    assert left_out_counts(counts) == {"skipped_port": 2}


def test_rows_left_out_are_told_with_file_and_reason(tmp_path: Path) -> None:
    file = tmp_path / "conn.log"
    file.write_text(CONN_LOG)
    (opened,) = open_inputs([file], None)
    assert sum(len(batch) for batch in SourceChain([opened]).batches()) == 1
    assert opened.notes == [f"{file}: left out 1 skipped address"]


def test_inputs_with_and_without_time_do_not_mix(tmp_path: Path) -> None:
    log, untimed = tmp_path / "conn.log", tmp_path / "ton.csv"
    log.write_text(CONN_LOG)
    untimed.write_text(TON_TABLE)
    with pytest.raises(RequestError, match="time") as refused:
        list(SourceChain(open_inputs([log, untimed], None)).batches())
    assert refused.value.what == str(untimed)


def test_standard_input_can_be_read_only_once() -> None:
    with pytest.raises(RequestError, match="more than once"):
        open_inputs([Path("-"), Path("-")], None)
