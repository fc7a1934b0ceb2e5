"""What every text log has in common."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.ingest.lines import MAX_LINE_BYTES
from thingwarden.ingest.log import LogSource
from thingwarden.ingest.recognise import BYTE_ORDER_MARK


def _contents(source: LogSource) -> list[bytes]:
    return [block.content for block in source._blocks()]


def test_the_byte_order_mark_goes_and_only_at_the_start() -> None:
    text = BYTE_ORDER_MARK + b"a\n" + BYTE_ORDER_MARK + b"b\n"
    assert b"".join(_contents(LogSource(Path("log"), io.BytesIO(text)))) == b"a\n" + BYTE_ORDER_MARK + b"b\n"


def test_a_line_that_is_too_long_is_counted() -> None:
    source = LogSource(Path("log"), io.BytesIO(b"a\n" + b"x" * (MAX_LINE_BYTES + 1) + b"\nb\n"))
    assert b"".join(_contents(source)).split() == [b"a", b"b"]
    assert source.counts["skipped_line_too_long"] == 1


def test_a_second_reading_counts_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * (MAX_LINE_BYTES + 1) + b"\nb\n")
    source = LogSource(path)
    first, second = _contents(source), _contents(source)
    assert first == second
    assert source.counts["skipped_line_too_long"] == 1


def test_a_path_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"none\.log"):
        _contents(LogSource(tmp_path / "none.log"))
