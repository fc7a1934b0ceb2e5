"""Reads Zeek's conn.log as JSON, one object per line.

In: an untrusted stream of lines. Out: ``FlowBatch`` columns, block by block.
Must never: stop for a bad line; it is counted and skipped.
Source: Zeek's JSON log writer, whose timestamps are Unix seconds, milliseconds or ISO 8601.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from thingwarden.domain.flow import FlowBatch
from thingwarden.ingest.cells import Cells
from thingwarden.ingest.conn import REQUIRED_COLUMNS, USED_COLUMNS, column_name, labels_from_cells, read_conn_cells
from thingwarden.ingest.lines import LineBlock
from thingwarden.ingest.log import LogSource
from thingwarden.ingest.recognise import Format

_BATCH_ROWS: Final = 4_096
"""Objects held at a time, so that a block of the shortest lines costs no more than one of real ones."""

_EARLIEST_MILLISECONDS: Final = 1e11
"""As seconds this is the year 5138, as milliseconds 1973: larger timestamps are milliseconds."""

_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
"""Leaves numbers as they are written: their range is judged where their column is read."""

_TEXT_BY_BOOL: Final = {True: b"T", False: b"F"}


class ZeekJsonSource(LogSource):
    """A conn.log in JSON lines."""

    format: Final = Format.ZEEK_JSON

    def batches(self) -> Iterator[FlowBatch]:
        """Yield the flows in the log's order, some thousands at a time.

        Raises:
            InputError: no row of the log could be read.
            RequestError: the path cannot be opened.
        """
        for block in self._blocks():
            yield from self._read_block(block)
        self._tally.check_something_was_read()

    def _read_block(self, block: LineBlock) -> Iterator[FlowBatch]:
        texts = enumerate(block.content.split(b"\n"), start=block.first_line)
        numbered = ((line, record_from_line(text)) for line, text in texts if text.strip())
        while batch := list(itertools.islice(numbered, _BATCH_ROWS)):
            yield from self._read_records(batch)

    def _read_records(self, batch: list[tuple[int, dict[str, Any] | None]]) -> Iterator[FlowBatch]:
        odd = [line for line, record in batch if record is None]
        self._tally.skip("json", np.array(odd, dtype=np.int64))
        records = [record for _, record in batch if record is not None]
        if records:
            lines = np.array([line for line, record in batch if record is not None], dtype=np.int64)
            cells = _cells_from_records(records)
            read = read_conn_cells(cells, len(records), labels_from_cells(cells))
            read.tally_into(self._tally, lines)
            if len(read.flows):
                yield read.flows


def record_from_line(line: bytes) -> dict[str, Any] | None:
    """One JSON object by Zeek's column names, numbers as text; None if the line is anything else."""
    try:
        record = _DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    endpoints = record.get("id")
    if isinstance(endpoints, dict):
        record |= {f"id.{name}": value for name, value in endpoints.items()}
    return record


def _cells_from_records(records: list[dict[str, Any]]) -> dict[str, Cells]:
    """The columns that flows are made of; the required ones always, the others where a record has them."""
    spellings: dict[str, list[str]] = {name: [] for name in REQUIRED_COLUMNS}
    for key in sorted(set().union(*records)):
        if column_name(key) in USED_COLUMNS:
            spellings.setdefault(column_name(key), []).append(key)
    cells = {}
    for name, keys in spellings.items():
        to_bytes = _timestamp_text if name == "ts" else _text
        cells[name] = Cells.from_texts([to_bytes(value) for value in _values(records, keys)])
    return cells


def _values(records: list[dict[str, Any]], keys: list[str]) -> list[Any]:
    if len(keys) == 1:
        return [record.get(keys[0]) for record in records]
    return [next((record[key] for key in keys if key in record), None) for record in records]


def _text(value: Any) -> bytes:
    """The cell that the tab-separated log would hold; a list or object is nothing that a column can be."""
    if isinstance(value, str):
        return value.encode(errors="replace")
    if value is None:
        return b""
    return _TEXT_BY_BOOL[value] if isinstance(value, bool) else b"\x00"


def _timestamp_text(value: Any) -> bytes:
    """Unix seconds as text, from seconds, milliseconds or ISO 8601 (UTC where it names no zone)."""
    text = _text(value)
    try:
        number = float(text)
    except ValueError:
        return _iso_timestamp_text(text)
    return repr(number / 1000).encode() if number >= _EARLIEST_MILLISECONDS else text


def _iso_timestamp_text(text: bytes) -> bytes:
    try:
        instant = datetime.fromisoformat(text.decode("ascii"))
    except ValueError:
        return text
    return repr((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()).encode()
