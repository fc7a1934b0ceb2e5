"""Turns the columns of a connection log, still text, into flows.

In: ``Cells`` by Zeek's column name, unset ones emptied. Out: ``FlowBatch`` and, per row, why it cannot be one.
Must never: guess a value; what is not given stays unknown, and what makes no sense drops its row.
Source: Zeek's conn.log reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import (
    CONN_STATE_CODE,
    DETAIL_LENGTH,
    HISTORY_LENGTH,
    SERVICE_LENGTH,
    UID_LENGTH,
    UNKNOWN_COUNT,
    FlowBatch,
    Labels,
)
from thingwarden.domain.taxonomy import CLASS_INDEX, class_from_detail
from thingwarden.ingest.cells import Bools, Cells
from thingwarden.ingest.tally import RowTally

LATEST_S: Final = 253_402_300_799.0
"""The last second of the year 9999, beyond which no calendar library goes."""

MAX_COUNT: Final = 2.0**53
"""Beyond, a count is no longer exact as float64, and no connection carries 9 petabytes."""

_RESERVED_PROTO: Final = 255
_ICMP: Final = 1
_ICMP6: Final = 58

_PROTO_BY_NAME: Final = {
    b"tcp": 6, b"udp": 17, b"icmp": _ICMP, b"icmp6": _ICMP6, b"ipv6-icm": _ICMP6, b"sctp": 132, b"igmp": 2,
    b"gre": 47, b"esp": 50, b"ah": 51, b"ipip": 4, b"ipv6": 41, b"ospf": 89, b"pim": 103,
}  # fmt: skip
"""By the first eight letters. Zeek writes ``icmp`` for ICMPv6 too; the addresses tell."""

_MAC_LENGTH: Final = 17
_MAC: Final = re.compile(rb"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")

_STATE_BY_NAME: Final = {name.encode(): code for name, code in CONN_STATE_CODE.items()}
_LOCAL_BY_NAME: Final = {b"T": 1, b"F": 0}

_COUNT_COLUMNS: Final = {
    "orig_bytes": "orig_bytes",
    "resp_bytes": "resp_bytes",
    "orig_pkts": "orig_packets",
    "resp_pkts": "resp_packets",
    "orig_ip_bytes": "orig_ip_bytes",
    "resp_ip_bytes": "resp_ip_bytes",
}

REQUIRED_COLUMNS: Final = ("ts", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto")
LABEL_COLUMN: Final = "label"
DETAIL_COLUMN: Final = "detailed-label"

USED_COLUMNS: Final = frozenset(
    (*REQUIRED_COLUMNS, *_COUNT_COLUMNS, "uid", "service", "duration", "conn_state", "local_orig", "local_resp",
     "history", "ip_proto", "orig_l2_addr", "resp_l2_addr", LABEL_COLUMN, DETAIL_COLUMN)
)  # fmt: skip

_SYNONYMS: Final = {
    "id_orig_h": "id.orig_h",
    "id_orig_p": "id.orig_p",
    "id_resp_h": "id.resp_h",
    "id_resp_p": "id.resp_p",
    "detailedlabel": DETAIL_COLUMN,
    "detailed_label": DETAIL_COLUMN,
}


def column_name(name: str) -> str:
    """Zeek's own name for a column, where a known setting or dataset spells it otherwise."""
    return _SYNONYMS.get(name, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnRows:
    """Flows of the readable rows, in order, and the faults of the others.

    Attributes:
        flows: one flow per readable row.
        is_read: bool (n,), which rows became flows.
        faults: by reason, indices of the rows skipped for it; no row twice.
    """

    flows: FlowBatch
    is_read: Bools
    faults: Mapping[str, npt.NDArray[np.int64]]

    def tally_into(self, tally: RowTally, line_numbers: npt.NDArray[np.int64]) -> None:
        """Count the rows, whose lines are ``line_numbers`` (int64 (n,))."""
        tally.add_flows(len(self.flows))
        for reason, rows in self.faults.items():
            tally.skip(reason, line_numbers[rows])


def read_conn_cells(cells: Mapping[str, Cells], row_count: int, labels: Labels | None = None) -> ConnRows:
    """Read the columns of ``row_count`` rows.

    Args:
        cells: by Zeek's column name; all of ``REQUIRED_COLUMNS``, though ``ts`` may be absent (the flows are then
            not timed).
        row_count: rows in each column.
        labels: ground truth of all rows, where the source has it.
    """
    reader = _ConnReader(cells, row_count)
    columns = reader.read_columns()
    flows = FlowBatch.unknown(row_count, **columns, labels=labels, is_timed="ts" in cells)
    is_read = ~reader.is_faulty
    if reader.faults:
        flows = flows.take(np.flatnonzero(is_read))
    return ConnRows(flows=flows, is_read=is_read, faults=reader.faults)


def labels_from_cells(cells: Mapping[str, Cells]) -> Labels | None:
    """Stratosphere's labels: ``Malicious`` 1, ``Benign`` 0, anything else (``Background``, unset) -1.

    Returns:
        The labels of all rows, or None where there is no label column.
    """
    if LABEL_COLUMN not in cells:
        return None
    label = cells[LABEL_COLUMN].fixed_text(DETAIL_LENGTH)[0]
    detail = cells[DETAIL_COLUMN].fixed_text(DETAIL_LENGTH)[0] if DETAIL_COLUMN in cells else np.zeros_like(label)
    code_by_pair: dict[tuple[bytes, bytes], int] = {}
    pairs = zip(label.tolist(), detail.tolist(), strict=True)
    codes = np.array([code_by_pair.setdefault(pair, len(code_by_pair)) for pair in pairs], dtype=np.int64)
    verdicts = [_MALICIOUS_BY_LABEL.get(name.lower(), -1) for name, _ in code_by_pair]
    details = [_detail_text(*pair) for pair in code_by_pair]
    classes = [
        CLASS_INDEX[class_from_detail(verdict == 1, text)] if verdict >= 0 else -1
        for verdict, text in zip(verdicts, details, strict=True)
    ]
    return Labels(
        malicious=np.array(verdicts, dtype=np.int8)[codes],
        attack_class=np.array(classes, dtype=np.int8)[codes],
        ton_class=np.full(len(label), -1, dtype=np.int8),
        detail=np.array([text.encode() for text in details], dtype=f"S{DETAIL_LENGTH}")[codes],
    )


_MALICIOUS_BY_LABEL: Final = {b"malicious": 1, b"benign": 0}


def _detail_text(label: bytes, detail: bytes) -> str:
    return (detail or label).decode("ascii", errors="replace").replace("\ufffd", "?")


class _ConnReader:
    """Reads column after column, noting for each row the first fault found."""

    def __init__(self, cells: Mapping[str, Cells], row_count: int) -> None:
        self._cells = cells
        self._row_count = row_count
        self.is_faulty: Bools = np.zeros(row_count, dtype=np.bool_)
        self.faults: dict[str, npt.NDArray[np.int64]] = {}

    def read_columns(self) -> dict[str, npt.NDArray[Any]]:
        columns: dict[str, npt.NDArray[Any]] = {}
        if "ts" in self._cells:
            columns["started_at_s"] = self._number("ts", "timestamp", LATEST_S, is_required=True)
        columns["orig_address"] = self._address("id.orig_h")
        columns["resp_address"] = self._address("id.resp_h")
        columns["orig_port"] = self._port("id.orig_p")
        columns["resp_port"] = self._port("id.resp_p")
        columns["proto"] = self._protocol(columns["orig_address"])
        columns["duration_s"] = self._number("duration", "duration", LATEST_S)
        for source, target in _COUNT_COLUMNS.items():
            columns[target] = self._count(source)
        columns["conn_state"] = self._code("conn_state", _STATE_BY_NAME, 0).astype(np.uint8)
        columns["orig_is_local"] = self._code("local_orig", _LOCAL_BY_NAME, -1).astype(np.int8)
        columns["resp_is_local"] = self._code("local_resp", _LOCAL_BY_NAME, -1).astype(np.int8)
        columns["history"] = self._text("history", HISTORY_LENGTH)
        columns["service"] = self._text("service", SERVICE_LENGTH)
        columns["uid"] = self._text("uid", UID_LENGTH)
        columns["orig_mac"] = self._mac("orig_l2_addr")
        columns["resp_mac"] = self._mac("resp_l2_addr")
        return columns

    def _note(self, reason: str, is_faulty: Bools) -> None:
        is_new = is_faulty & ~self.is_faulty
        if is_new.any():
            self.is_faulty |= is_new
            rows = np.flatnonzero(is_new)
            known = self.faults.get(reason)
            self.faults[reason] = rows if known is None else np.sort(np.concatenate([known, rows]))

    def _number(self, name: str, reason: str, highest: float, is_required: bool = False) -> npt.NDArray[np.float64]:
        """Numbers from 0 to ``highest``, NaN where not given."""
        if name not in self._cells:
            return np.full(self._row_count, np.nan)
        values, is_readable = self._cells[name].decimals()
        is_given = self._cells[name].is_set
        is_sound = is_readable & (values >= 0) & (values <= highest)
        self._note(reason, ~is_sound if is_required else is_given & ~is_sound)
        return values

    def _whole(self, name: str, reason: str, highest: float, is_required: bool = False) -> npt.NDArray[np.int64]:
        """Whole numbers from 0 to ``highest``, ``UNKNOWN_COUNT`` where not given or faulty."""
        values = self._number(name, reason, highest, is_required)
        self._note(reason, np.isfinite(values) & (values != np.floor(values)))
        is_sound = (values >= 0) & (values <= highest)
        return np.where(is_sound, values, UNKNOWN_COUNT).astype(np.int64)

    def _count(self, name: str) -> npt.NDArray[np.int64]:
        return self._whole(name, "count", MAX_COUNT)

    def _port(self, name: str) -> npt.NDArray[np.uint16]:
        return self._whole(name, "port", 65_535, is_required=True).astype(np.uint16)

    def _address(self, name: str) -> npt.NDArray[np.uint64]:
        words, is_readable = self._cells[name].addresses()
        self._note("address", ~is_readable)
        return words

    def _protocol(self, address: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
        proto = self._code("proto", {**_PROTO_BY_NAME, b"unknown_": _RESERVED_PROTO}, -1)
        number = self._cells["proto"].decimals()[0] if (proto < 0).any() else np.full(len(proto), np.nan)
        is_number = (proto < 0) & (number >= 0) & (number <= 255) & (number == np.floor(number))
        proto[is_number] = number[is_number].astype(np.int64)
        self._note("protocol", proto < 0)
        if "ip_proto" in self._cells:
            stated = self._whole("ip_proto", "protocol", 255)
            proto = np.where((proto == _RESERVED_PROTO) & (stated >= 0), stated, proto)
        is_ipv4 = (address[:, 0] == 0) & (address[:, 1] >> np.uint64(32) == 0xFFFF)
        proto[(proto == _ICMP) & ~is_ipv4] = _ICMP6
        return proto.astype(np.uint8)

    def _code(self, name: str, table: Mapping[bytes, int], unknown: int) -> npt.NDArray[np.int64]:
        if name not in self._cells:
            return np.full(self._row_count, unknown, dtype=np.int64)
        return self._cells[name].codes(table, unknown)

    def _text(self, name: str, width_bytes: int) -> npt.NDArray[np.bytes_]:
        if name not in self._cells:
            return np.zeros(self._row_count, dtype=f"S{width_bytes}")
        column, is_readable = self._cells[name].fixed_text(width_bytes)
        self._note("text", ~is_readable)
        return column

    def _mac(self, name: str) -> npt.NDArray[np.uint64]:
        if name not in self._cells:
            return np.zeros(self._row_count, dtype=np.uint64)
        column, inverse = np.unique(self._text(name, _MAC_LENGTH), return_inverse=True)
        is_sound = np.array([not text or _MAC.fullmatch(text) is not None for text in column.tolist()], dtype=np.bool_)
        values = [int(text.replace(b":", b"") or b"0", 16) if is_mac else 0
                  for text, is_mac in zip(column.tolist(), is_sound, strict=True)]  # fmt: skip
        self._note("address", ~is_sound[inverse])
        return np.array(values, dtype=np.uint64)[inverse]
