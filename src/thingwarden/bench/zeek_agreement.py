"""How near our metering comes to Zeek's: the same captures, field by field.

In: a folder with ``zeek-golden`` (Zeek's own regression traces with the conn.log it writes for each) and ``iot23``
(captures with the log that Zeek wrote for them). Out: agreement per trace and field, as Markdown.
Must never: count a flow as agreeing that only one side has.
"""

from __future__ import annotations

import gzip
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from thingwarden.domain.errors import ThingwardenError
from thingwarden.ingest.pcap import PcapSource
from thingwarden.serve.conn_log import FIELDS, UNSET, conn_log_rows

Row: TypeAlias = dict[str, str]
"""One line of a conn.log, value by field name."""

COMPARED: Final = (
    "conn_state", "history", "duration", "orig_bytes", "resp_bytes", "orig_pkts", "resp_pkts", "orig_ip_bytes",
    "resp_ip_bytes", "service",
)  # fmt: skip
_KEY: Final = ("id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto")
_NEEDED: Final = (*_KEY, "conn_state", "history", "orig_pkts")
_DURATION_TOLERANCE_S: Final = 2e-6
"""Zeek prints microseconds, cut from a double."""
_START_TOLERANCE_S: Final = 0.001
_CAPTURE_SUFFIXES: Final = (".pcap", ".pcapng", ".pcap.xz")
_IOT23_PAIRS: Final = (
    ("CTU-Honeypot-Capture-4-1", "2018-10-25-14-06-32-192.168.1.132.pcap.xz"),
    ("CTU-IoT-Malware-Capture-42-1", "2019-01-10-14-34-38-192.168.1.197.pcap.xz"),
)


@dataclass(slots=True)
class TraceAgreement:
    """One capture, Zeek's log against ours.

    Attributes:
        name: of the trace.
        zeek_count, our_count: flows in each log.
        tunnelled_count: of Zeek's flows, those it found inside a tunnel; not compared.
        matched_count: flows that both have, by 5-tuple with direction.
        flipped_count: flows that both have, with originator and responder exchanged; not matched.
        agreeing: matched flows by field whose values agree.
        differences: matched flows by (field, Zeek's value, our value).
        failure: why the trace could not be read; empty if it could.
    """

    name: str
    zeek_count: int = 0
    our_count: int = 0
    tunnelled_count: int = 0
    matched_count: int = 0
    flipped_count: int = 0
    agreeing: Counter[str] = field(default_factory=Counter)
    differences: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    failure: str = ""


@dataclass(slots=True)
class Agreement:
    """All traces: ``golden`` one per distinct capture, ``apart`` runs with another script configuration, ``iot23``."""

    golden: list[TraceAgreement]
    apart: list[str]
    iot23: list[TraceAgreement]


def measure_agreement(folder: Path) -> Agreement:
    """Meter every capture that has a Zeek log and compare.

    Args:
        folder: holds ``zeek-golden`` and ``iot23``.
    """
    golden: dict[str, TraceAgreement] = {}
    apart: list[str] = []
    for run in sorted(path for path in (folder / "zeek-golden").iterdir() if path.is_dir()):
        capture = next(path for path in sorted(run.iterdir()) if path.name.endswith(_CAPTURE_SUFFIXES))
        rows = list(_log_rows((run / "conn.log").read_bytes()))
        digest = hashlib.sha256(capture.read_bytes()).hexdigest()
        if not rows or any(name not in rows[0] for name in _NEEDED):
            apart.append(run.name)
        elif digest not in golden:
            golden[digest] = _compare(capture.name, rows, capture, by_time=False)
    iot23 = []
    for name, capture_name in _IOT23_PAIRS:
        rows = list(_log_rows(gzip.decompress((folder / "iot23" / name / "conn.log.labeled.gz").read_bytes())))
        iot23.append(_compare(name, rows, folder / "iot23" / name / capture_name, by_time=True))
    return Agreement(list(golden.values()), apart, iot23)


def _log_rows(log: bytes) -> Iterator[Row]:
    """Lines of a tab-separated conn.log; the header is ``#fields`` or, in IoT-23's, the first line."""
    names: list[str] = []
    for line in log.decode("utf-8", "replace").splitlines():
        if line.startswith("#fields"):
            names = line.split("\t")[1:]
        elif line.startswith("ts\t"):
            names = line.split("\t")
        elif line and not line.startswith("#"):
            yield dict(zip(names, line.split("\t"), strict=False))


def _our_rows(capture: Path) -> Iterator[Row]:
    for batch in PcapSource(capture).batches():
        for values in conn_log_rows(batch):
            yield dict(zip(FIELDS, values, strict=True))


def _compare(name: str, zeek: list[Row], capture: Path, *, by_time: bool) -> TraceAgreement:
    result = TraceAgreement(name, zeek_count=len(zeek))
    try:
        ours = list(_our_rows(capture))
    except ThingwardenError as error:
        result.failure = error.why
        return result
    result.our_count = len(ours)
    if by_time and ours:
        # The log of IoT-23's honeypot covers a longer capture than the one at hand.
        first_s, last_s = (pick(float(row["ts"]) for row in ours) for pick in (min, max))
        zeek = [row for row in zeek if first_s - 1 <= float(row["ts"]) <= last_s + 1]
        result.zeek_count = len(zeek)
    outer = [row for row in zeek if row.get("tunnel_parents", UNSET) in (UNSET, "(empty)")]
    result.tunnelled_count = len(zeek) - len(outer)
    for theirs, mine in _pair(outer, ours, by_time=by_time, result=result):
        result.matched_count += 1
        for column in COMPARED:
            if column not in theirs:
                continue
            if _is_equal(column, theirs[column], mine[column]):
                result.agreeing[column] += 1
            else:
                result.differences[column, theirs[column], mine[column]] += 1
    return result


def _pair(zeek: list[Row], ours: list[Row], *, by_time: bool, result: TraceAgreement) -> Iterator[tuple[Row, Row]]:
    """Rows that stand for the same flow: by 5-tuple, then by start where both have it, else by place."""
    available: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in ours:
        available[tuple(row[name] for name in _KEY)].append(row)
    for theirs in zeek:
        key = tuple(theirs[name] for name in _KEY)
        candidates = available.get(key, [])
        chosen = next((row for row in candidates if not by_time or _starts_with(row, theirs)), None)
        if chosen is not None:
            candidates.remove(chosen)
            yield theirs, chosen
        elif available.get((*key[2:4], *key[:2], key[4])):
            result.flipped_count += 1


def _starts_with(row: Row, other: Row) -> bool:
    return abs(float(row["ts"]) - float(other["ts"])) <= _START_TOLERANCE_S


def _is_equal(column: str, theirs: str, mine: str) -> bool:
    if column == "duration" and UNSET not in (theirs, mine):
        return abs(float(theirs) - float(mine)) <= _DURATION_TOLERANCE_S
    return theirs == mine
