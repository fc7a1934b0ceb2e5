"""Blocks of whole lines, however the stream is cut."""

from __future__ import annotations

import io

import pytest

from thingwarden.ingest.lines import MAX_LINE_BYTES, LineReader


def blocks(content: bytes, block_bytes: int) -> list[tuple[int, bytes, int]]:
    reader = LineReader(io.BytesIO(content), block_bytes)
    return [(block.first_line, block.content, block.too_long_count) for block in reader.blocks()]


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7, 100])
def test_lines_come_back_whole_and_numbered(block_bytes: int) -> None:
    found = blocks(b"one\ntwo\n\nfour", block_bytes)
    assert b"".join(content for _, content, _ in found) == b"one\ntwo\n\nfour\n"
    for first_line, content, _ in found:
        assert b"one\ntwo\n\nfour\n".split(b"\n")[first_line - 1 :][0] == content.split(b"\n")[0]


def test_an_empty_stream_has_no_block() -> None:
    assert blocks(b"", 10) == []


@pytest.mark.parametrize("block_bytes", [1000, MAX_LINE_BYTES // 2, MAX_LINE_BYTES * 4])
@pytest.mark.parametrize(("ending", "expected"), [(b"\nlast\n", b"\nlast\n"), (b"\nlast", b"\nlast\n"), (b"\n", b"\n")])
def test_a_line_too_long_is_emptied_and_counted_alike_in_any_block(
    block_bytes: int, ending: bytes, expected: bytes
) -> None:
    found = blocks(b"first\n" + b"x" * (MAX_LINE_BYTES + 5000) + ending, block_bytes)
    assert b"".join(content for _, content, _ in found) == b"first\n" + expected
    assert sum(count for *_, count in found) == 1


def test_the_longest_allowed_line_is_kept() -> None:
    line = b"x" * MAX_LINE_BYTES
    assert b"".join(content for _, content, _ in blocks(line + b"\n", 4096)) == line + b"\n"


def test_a_line_too_long_without_an_end_is_counted_once() -> None:
    found = blocks(b"first\n" + b"x" * (3 * MAX_LINE_BYTES), 100_000)
    assert b"".join(content for _, content, _ in found) == b"first\n"
    assert sum(count for *_, count in found) == 1
