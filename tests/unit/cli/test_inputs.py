"""Inputs as commands take them."""

from __future__ import annotations

from pathlib import Path

from thingwarden.cli.inputs import FORMAT_NAMES, format_from_name, left_out_counts, notes_of
from thingwarden.ingest.recognise import Format
from thingwarden.ingest.source import open_source

CONN_LOG = (
    "#separator \\x09\n#path\tconn\n"
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\n"
    "1.0\tC1\t10.0.0.5\t1\t10.0.0.1\t53\tudp\tSF\n"
    "1.0\tC2\tnonsense\t1\t10.0.0.1\t53\tudp\tSF\n"
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
    source = open_source(file)
    assert sum(len(batch) for batch in source.batches()) == 1
    assert notes_of(source) == [f"{file}: left out 1 skipped address"]
