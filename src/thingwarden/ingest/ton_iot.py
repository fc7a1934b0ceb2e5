"""Reads TON_IoT's network table: flows with labels, most releases without time.

In: an untrusted CSV stream. Out: ``FlowBatch`` columns; ``is_timed`` only where the table has a ``ts`` column.
Must never: repair a value; this source writes 0 for what it does not know, and 0 it stays.
Source: TON_IoT network datasets (N. Moustafa and others, UNSW Canberra), made from Zeek's logs.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import DETAIL_LENGTH, FlowBatch, Labels
from thingwarden.domain.taxonomy import CLASS_INDEX, TON_CLASSES, class_from_ton
from thingwarden.ingest.cells import Cells
from thingwarden.ingest.conn import read_conn_cells
from thingwarden.ingest.log import LogSource
from thingwarden.ingest.recognise import TON_COLUMNS, Format

_ZEEK_NAME: Final = {
    "ts": "ts",
    "src_ip": "id.orig_h",
    "src_port": "id.orig_p",
    "dst_ip": "id.resp_h",
    "dst_port": "id.resp_p",
    "proto": "proto",
    "service": "service",
    "duration": "duration",
    "src_bytes": "orig_bytes",
    "dst_bytes": "resp_bytes",
    "conn_state": "conn_state",
    "src_pkts": "orig_pkts",
    "src_ip_bytes": "orig_ip_bytes",
    "dst_pkts": "resp_pkts",
    "dst_ip_bytes": "resp_ip_bytes",
}

_UNSET: Final = (b"-",)
_BATCH_ROWS: Final = 16_384


class TonIotSource(LogSource):
    """A TON_IoT network table."""

    format: Final = Format.TON_IOT

    def batches(self) -> Iterator[FlowBatch]:
        """Yield the flows in the table's order, at most 16,384 at a time.

        Raises:
            InputError: the header lacks a needed column, or no row could be read.
            RequestError: the path cannot be opened.
        """
        lines = self._lines()
        header = self._header(next(lines, (1, b""))[1])
        while batch := list(itertools.islice(lines, _BATCH_ROWS)):
            yield from self._read_rows(header, batch)
        self._tally.check_something_was_read()

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Numbered lines that hold anything. A quoted cell may not span lines: TON_IoT has none that does."""
        for block in self._blocks():
            for line, text in enumerate(block.content.split(b"\n"), start=block.first_line):
                if text.strip():
                    yield line, text

    def _header(self, line: bytes) -> list[str]:
        header = [name.strip().decode("latin-1") for name in _split(line)]
        missing = sorted(TON_COLUMNS.difference(header))
        if missing:
            raise InputError(
                f"{self._name}, line 1",
                f"the header lacks {', '.join(missing)}: expected the columns of TON_IoT's network table",
                "check that the file is its train_test_network table",
            )
        return header

    def _read_rows(self, header: list[str], batch: list[tuple[int, bytes]]) -> Iterator[FlowBatch]:
        split = [(line, _split(text)) for line, text in batch]
        rows = [(line, cells) for line, cells in split if len(cells) == len(header)]
        odd = [line for line, cells in split if len(cells) != len(header)]
        self._tally.skip("columns", np.array(odd, dtype=np.int64))
        if not rows:
            return
        table = dict(zip(header, zip(*(cells for _, cells in rows), strict=True), strict=True))
        if "service" in table:
            table["service"] = tuple(text.replace(b";", b",") for text in table["service"])  # as Zeek joins them
        cells = {
            zeek_name: Cells.from_texts(table[name]).without(_UNSET)
            for name, zeek_name in _ZEEK_NAME.items()
            if name in table
        }
        read = read_conn_cells(cells, len(rows), _labels(table))
        read.tally_into(self._tally, np.array([line for line, _ in rows], dtype=np.int64))
        if len(read.flows):
            yield read.flows


def _split(line: bytes) -> list[bytes]:
    """The cells of one CSV line; none where it cannot be one."""
    line = line.rstrip(b"\r")
    if b'"' not in line:
        return line.split(b",")
    try:
        return [cell.encode() for cell in next(csv.reader([line.decode(errors="replace")]))]
    except csv.Error:
        return []


def _labels(table: Mapping[str, tuple[bytes, ...]]) -> Labels | None:
    """Ground truth by the columns ``label`` (0 or 1) and ``type``; either may be absent, both absent is None."""
    if "label" not in table and "type" not in table:
        return None
    count = len(next(iter(table.values())))
    details, row_type = np.unique(np.array(table.get("type", (b"",) * count)), return_inverse=True)
    names = [name.decode("ascii", errors="replace").strip().lower() for name in details.tolist()]
    by_type = np.array([-1 if name not in TON_CLASSES else int(name != "normal") for name in names], dtype=np.int8)
    malicious = by_type[row_type]
    if "label" in table:
        verdicts = np.char.strip(np.array(table["label"]))
        malicious = np.select([verdicts == b"1", verdicts == b"0"], [1, 0], -1).astype(np.int8)
    classes = np.array([CLASS_INDEX[class_from_ton(name)] for name in names], dtype=np.int8)
    ton_classes = np.array([TON_CLASSES.index(name) if name in TON_CLASSES else -1 for name in names], dtype=np.int8)
    return Labels(
        malicious=malicious,
        attack_class=np.where(malicious < 0, np.int8(-1), np.where(malicious == 0, np.int8(0), classes[row_type])),
        ton_class=ton_classes[row_type],
        detail=np.array([name.encode(errors="replace") for name in names], dtype=f"S{DETAIL_LENGTH}")[row_type],
    )
