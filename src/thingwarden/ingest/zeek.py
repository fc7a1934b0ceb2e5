"""Reads Zeek's conn.log in its tab-separated form, with or without ``#`` header, plain or labelled.

In: an untrusted stream of lines. Out: ``FlowBatch`` columns, block by block.
Must never: hold an object per row, or stop for a bad line; it is counted and skipped.
Sources: Zeek's ASCII log writer; IoT-23, which ships its label columns behind three spaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import FlowBatch
from thingwarden.ingest.cells import PADDING_BYTES, Cells
from thingwarden.ingest.conn import (
    LABEL_COLUMN,
    REQUIRED_COLUMNS,
    USED_COLUMNS,
    column_name,
    labels_from_cells,
    read_conn_cells,
)
from thingwarden.ingest.log import LogSource
from thingwarden.ingest.recognise import Format

LABEL_GAP: Final = b"   "
"""IoT-23's label columns stand behind three spaces inside the last tab-separated cell."""

_NEWLINE: Final = 0x0A
_CARRIAGE_RETURN: Final = 0x0D
_COMMENT: Final = ord("#")
_COMMENT_LINE: Final = re.compile(rb"\n(#[^\n]*)")
_MAX_COLUMNS: Final = 512
_MAX_HEADER_CHANGES: Final = 1_000
"""Rotated logs in one file repeat their header and change nothing; more changes only serve to waste time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeekHeader:
    """What the ``#`` lines so far say.

    Attributes:
        separator: one byte between cells.
        unset: what stands for a value that is not there.
        empty: what stands for an empty set.
        columns: Zeek's names in order; empty before ``#fields``.
    """

    separator: bytes = b"\t"
    unset: bytes = b"-"
    empty: bytes = b"(empty)"
    columns: tuple[str, ...] = ()

    def after(self, line: bytes) -> ZeekHeader:
        """The header once ``line``, which starts with ``#``, is known; other directives change nothing."""
        line = line.rstrip(b"\r")
        if line.startswith(b"#separator "):
            return replace(self, separator=_separator_from_text(line[len(b"#separator ") :]))
        directive, _, value = line.partition(self.separator)
        match directive:
            case b"#unset_field":
                return replace(self, unset=value)
            case b"#empty_field":
                return replace(self, empty=value)
            case b"#fields":
                return replace(self, columns=columns_from_line(value, self.separator))
        return self

    @property
    def is_labelled(self) -> bool:
        """Whether the rows carry ground truth."""
        return LABEL_COLUMN in self.columns


def columns_from_line(line: bytes, separator: bytes) -> tuple[str, ...]:
    """Column names, those behind three spaces being columns of their own; at most 512 are kept."""
    cells = line.replace(LABEL_GAP, separator).split(separator, _MAX_COLUMNS)[:_MAX_COLUMNS]
    return tuple(column_name(cell.strip().decode("latin-1")) for cell in cells)


def _separator_from_text(text: bytes) -> bytes:
    escaped = re.fullmatch(rb"\\x([0-9a-fA-F]{2})", text)
    return bytes.fromhex(escaped[1].decode()) if escaped else text[:1] or b"\t"


class ZeekSource(LogSource):
    """A conn.log in Zeek's tab-separated form."""

    format: Final = Format.ZEEK_TSV

    def batches(self) -> Iterator[FlowBatch]:
        """Yield the flows in the log's order, some 7,000 at a time.

        Raises:
            InputError: a header lacks what a connection log needs, or no row of the log could be read.
            RequestError: the path cannot be opened.
        """
        header = ZeekHeader()
        change_count = 0
        for block in self._blocks():
            line = block.first_line
            for segment_header, segment in _segments(block.content, header):
                change_count += segment_header != header
                if change_count > _MAX_HEADER_CHANGES:
                    raise self._restless_header(line)
                header = segment_header
                yield from self._read_segment(header, segment, line)
                line += segment.count(b"\n")
        self._tally.check_something_was_read()

    def _read_segment(self, header: ZeekHeader, content: bytes, first_line: int) -> Iterator[FlowBatch]:
        """Read rows of one header, content being whole lines."""
        rows = _TableRows(header, content, first_line)
        if (len(rows.lines) or len(rows.odd_lines)) and not set(REQUIRED_COLUMNS).issubset(header.columns):
            raise self._missing_columns(header, first_line)
        self._tally.skip("columns", rows.odd_lines)
        if not len(rows.lines):
            return
        cells = rows.cells()
        read = read_conn_cells(cells, len(rows.lines), labels_from_cells(cells))
        read.tally_into(self._tally, rows.lines)
        if len(read.flows):
            yield read.flows

    def _restless_header(self, line: int) -> InputError:
        return InputError(
            f"{self._name}, line {line}",
            f"the header has changed more than {_MAX_HEADER_CHANGES:,} times: expected one, or few",
            "split the log by its headers",
        )

    def _missing_columns(self, header: ZeekHeader, line: int) -> InputError:
        missing = [name for name in REQUIRED_COLUMNS if name not in header.columns]
        return InputError(
            f"{self._name}, line {line}",
            f"the header lacks {', '.join(missing)}: expected the columns of a Zeek conn.log",
            "write the log with Zeek's own column names",
        )


def _segments(content: bytes, header: ZeekHeader) -> Iterator[tuple[ZeekHeader, bytes]]:
    """Cut whole lines where a ``#`` line, or a first line that names the columns, changes what the rows mean."""
    if not header.columns and not content.startswith(b"#"):
        names = columns_from_line(content.split(b"\n", 1)[0], header.separator)
        if set(REQUIRED_COLUMNS).issubset(names):
            header = replace(header, columns=names)
            content = b"#" + content
    begin = 0
    if content.startswith(b"#") or b"\n#" in content:
        for comment in _COMMENT_LINE.finditer(b"\n" + content):
            changed = header.after(comment[1])
            if changed != header:
                yield header, content[begin : comment.start()]
                header, begin = changed, comment.start()
    yield header, content[begin:]


class _TableRows:
    """Where the cells of a block of lines lie.

    Attributes:
        lines: int64 (n,), line numbers of the rows that have all their cells.
        odd_lines: int64, line numbers of those that do not; comments and empty lines are neither.
    """

    def __init__(self, header: ZeekHeader, content: bytes, first_line: int) -> None:
        if header.is_labelled:
            content = content.replace(LABEL_GAP, header.separator)
        self._header = header
        self._buffer = np.frombuffer(content + bytes(PADDING_BYTES), dtype=np.uint8)
        body = self._buffer[: len(content)]
        cuts = np.flatnonzero((body == header.separator[0]) | (body == _NEWLINE))
        self._cuts = np.concatenate([np.array([-1]), cuts])  # cell i lies between cuts i and i + 1
        line_ends = np.flatnonzero(body[cuts] == _NEWLINE)
        cell_counts = np.diff(line_ends, prepend=-1)
        line_starts = self._cuts[line_ends - cell_counts + 1] + 1
        is_row = (self._buffer[line_starts] != _COMMENT) & (cuts[line_ends] - line_starts > 0)
        is_row &= self._buffer[line_starts] != _CARRIAGE_RETURN
        is_whole = cell_counts == len(header.columns)
        self._last_cells = line_ends[is_row & is_whole]
        self.lines: npt.NDArray[np.int64] = np.flatnonzero(is_row & is_whole) + first_line
        self.odd_lines: npt.NDArray[np.int64] = np.flatnonzero(is_row & ~is_whole) + first_line

    def cells(self) -> dict[str, Cells]:
        """The columns that flows are made of, by name."""
        count = len(self._header.columns)
        markers = [self._header.unset, self._header.empty]
        return {
            name: self._column(self._last_cells - (count - 1 - place)).without(markers)
            for place, name in enumerate(self._header.columns)
            if name in USED_COLUMNS
        }

    def _column(self, cell: npt.NDArray[np.int64]) -> Cells:
        starts, ends = self._cuts[cell] + 1, self._cuts[cell + 1]
        is_windows = (ends > starts) & (self._buffer[ends - 1] == _CARRIAGE_RETURN)
        return Cells(self._buffer, starts, ends - starts - is_windows)
