"""Reads the flows of Suricata's EVE log, one JSON object per line.

In: an untrusted stream of lines. Out: ``FlowBatch`` columns, block by block.
Must never: stop for a bad line (it is counted and skipped), or make up what Suricata does not write.
Source: "Eve JSON Format" in the manual of Suricata 7.0; Zeek's conn.log reference for ``conn_state``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from thingwarden.domain.flow import FlowBatch
from thingwarden.ingest.cells import Cells
from thingwarden.ingest.conn import read_conn_cells
from thingwarden.ingest.lines import LineBlock
from thingwarden.ingest.log import LogSource
from thingwarden.ingest.recognise import Format
from thingwarden.ingest.zeek_json import record_from_line

_BATCH_ROWS: Final = 4_096
_FRAME_HEADER_BYTES: Final = 14
"""Suricata counts whole frames; without their Ethernet header remains what Zeek counts as IP bytes."""

_LEAST_IP_BYTES: Final = 20
_FIN, _SYN, _RST = 0x01, 0x02, 0x04
_SERVICES: Final = {"tls": "ssl", "krb5": "krb", "dnp3": "dnp3_tcp", "ikev2": "ipsec", "ike": "ipsec"}
"""Where Zeek has another name; all other names are the same or Suricata's own."""
_NO_SERVICE: Final = ("", "failed", "unknown")

Record = Mapping[str, Any]


class EveFlowSource(LogSource):
    """The events of type ``flow``; others are counted as ``other_events`` and are no rows."""

    format: Final = Format.EVE

    def batches(self) -> Iterator[FlowBatch]:
        """Yield the flows in the log's order, which is that of their ends, some thousands at a time.

        Raises:
            InputError: there were flows and none could be read.
            RequestError: the path cannot be opened.
        """
        for block in self._blocks():
            yield from self._read_block(block)
        counts = self._tally.counts
        if not counts.get("other_events") or counts["rows"] > counts.get("skipped_event", 0):
            self._tally.check_something_was_read()

    def _read_block(self, block: LineBlock) -> Iterator[FlowBatch]:
        texts = enumerate(block.content.split(b"\n"), start=block.first_line)
        numbered = ((line, record_from_line(text)) for line, text in texts if text.strip())
        while batch := list(itertools.islice(numbered, _BATCH_ROWS)):
            odd = [line for line, record in batch if record is None or "event_type" not in record]
            self._tally.skip("event", np.array(odd, dtype=np.int64))
            flows = [(line, record) for line, record in batch if record and record.get("event_type") == "flow"]
            other_count = len(batch) - len(odd) - len(flows)
            self._tally.counts["other_events"] = self._tally.counts.get("other_events", 0) + other_count
            if flows:
                yield from self._read_records(flows)

    def _read_records(self, batch: list[tuple[int, dict[str, Any]]]) -> Iterator[FlowBatch]:
        records = [record for _, record in batch]
        cells = {name: Cells.from_texts([_text(of(record)) for record in records]) for name, of in _COLUMNS.items()}
        read = read_conn_cells(cells, len(records))
        read.tally_into(self._tally, np.array([line for line, _ in batch], dtype=np.int64))
        if len(read.flows):
            yield read.flows


def _text(value: Any) -> bytes:
    """A cell; what is neither text nor number is nothing that a column can be."""
    if value is None:
        return b""
    return value.encode(errors="replace") if isinstance(value, str) else b"\x00"


def _inner(record: Record, name: str) -> Record:
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def _unix_s(value: Any) -> float | None:
    """Unix seconds of an ISO 8601 instant, UTC where it names no zone; None where it is none."""
    try:
        instant = datetime.fromisoformat(value)
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _start(record: Record) -> str:
    start_s = _unix_s(_inner(record, "flow").get("start"))
    return "-1" if start_s is None else repr(start_s)


def _duration(record: Record) -> str | None:
    """From the first packet to the last, as Zeek has it: unset for a single packet."""
    flow = _inner(record, "flow")
    start_s, end_s = _unix_s(flow.get("start")), _unix_s(flow.get("end"))
    packets = (_whole(flow.get("pkts_toserver")) or 0) + (_whole(flow.get("pkts_toclient")) or 0)
    return None if start_s is None or end_s is None or packets < 2 else f"{end_s - start_s:.6f}"


def _whole(value: Any, base: int = 10) -> int | None:
    """A number as ``record_from_line`` leaves it, or as hexadecimal text; None where it is none."""
    try:
        return int(value, base)
    except (TypeError, ValueError):
        return None


def _port(record: Record, name: str, icmp_name: str) -> Any:
    return record.get(icmp_name, "0") if name not in record else record[name]


def _protocol(record: Record) -> Any:
    name = record.get("proto")
    return name.lower() if isinstance(name, str) else name


def _service(record: Record) -> Any:
    name = record.get("app_proto")
    if name is None or name in _NO_SERVICE:
        return None
    return _SERVICES.get(name, name) if isinstance(name, str) else name


def _ip_bytes(record: Record, side: str) -> Any:
    flow = _inner(record, "flow")
    stated = flow.get(f"bytes_{side}")
    frame_bytes, packets = _whole(stated), _whole(flow.get(f"pkts_{side}"))
    if frame_bytes is None or packets is None:
        return stated
    ip_bytes = frame_bytes - _FRAME_HEADER_BYTES * packets
    return str(ip_bytes if ip_bytes >= _LEAST_IP_BYTES * packets else frame_bytes)


def _state(record: Record) -> str | None:
    """Zeek's ``conn_state``, of TCP from the flags that each side has sent."""
    flow, proto = _inner(record, "flow"), _protocol(record)
    has_reply = bool(_whole(flow.get("pkts_toclient")))
    if proto == "udp":
        return "SF" if has_reply else "S0"
    if proto != "tcp":
        return "OTH"
    tcp = _inner(record, "tcp")
    sent, answered = _whole(tcp.get("tcp_flags_ts"), 16), _whole(tcp.get("tcp_flags_tc"), 16)
    return None if sent is None or answered is None else _tcp_state(sent, answered, has_reply)


def _tcp_state(sent: int, answered: int, has_reply: bool) -> str:
    if not sent & _SYN:
        return "SHR" if answered & _SYN and answered & _FIN and not sent & _RST else "OTH"
    if not has_reply:
        return "RSTOS0" if sent & _RST else "SH" if sent & _FIN else "S0"
    if not answered & _SYN:
        return "REJ" if answered & _RST else "OTH"
    if answered & _RST or sent & _RST:
        return "RSTR" if answered & _RST and not sent & _RST else "RSTO"
    is_closed = bool(sent & _FIN), bool(answered & _FIN)
    return {(True, True): "SF", (True, False): "S2", (False, True): "S3", (False, False): "S1"}[is_closed]


def _mac(record: Record, name: str) -> Any:
    found = _inner(record, "ether").get(name)
    return found[0] if isinstance(found, list) and found else None


_COLUMNS: Final[dict[str, Callable[[Record], Any]]] = {
    "ts": _start,
    "uid": lambda record: record.get("flow_id"),
    "id.orig_h": lambda record: record.get("src_ip"),
    "id.orig_p": lambda record: _port(record, "src_port", "icmp_type"),
    "id.resp_h": lambda record: record.get("dest_ip"),
    "id.resp_p": lambda record: _port(record, "dest_port", "icmp_code"),
    "proto": _protocol,
    "service": _service,
    "duration": _duration,
    "conn_state": _state,
    "orig_pkts": lambda record: _inner(record, "flow").get("pkts_toserver"),
    "resp_pkts": lambda record: _inner(record, "flow").get("pkts_toclient"),
    "orig_ip_bytes": lambda record: _ip_bytes(record, "toserver"),
    "resp_ip_bytes": lambda record: _ip_bytes(record, "toclient"),
    "orig_l2_addr": lambda record: _mac(record, "src_macs"),
    "resp_l2_addr": lambda record: _mac(record, "dest_macs"),
}
