"""Write flows as Zeek's conn.log, so that every tool that reads Zeek reads ours.

In: ``FlowBatch``. Out: tab-separated text with Zeek's header, which ``zeek.py`` reads back.
Must never: invent a value that the flow does not have; what is unknown is ``-``.
Sources: docs.zeek.org, conn.log and its mac-logging policy for the link-layer columns; IoT-23 for the two of labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TextIO

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import CONN_STATES, UNKNOWN_COUNT, FlowBatch, address_from_words
from thingwarden.domain.packet import PROTO_ICMP, PROTO_ICMP6, PROTO_TCP, PROTO_UDP

UNSET: Final = "-"

_FIELDS: Final = (
    ("ts", "time"), ("uid", "string"), ("id.orig_h", "addr"), ("id.orig_p", "port"), ("id.resp_h", "addr"),
    ("id.resp_p", "port"), ("proto", "enum"), ("service", "string"), ("duration", "interval"),
    ("orig_bytes", "count"), ("resp_bytes", "count"), ("conn_state", "string"), ("local_orig", "bool"),
    ("local_resp", "bool"), ("missed_bytes", "count"), ("history", "string"), ("orig_pkts", "count"),
    ("orig_ip_bytes", "count"), ("resp_pkts", "count"), ("resp_ip_bytes", "count"),
    ("tunnel_parents", "set[string]"), ("ip_proto", "count"), ("orig_l2_addr", "string"), ("resp_l2_addr", "string"),
)  # fmt: skip
FIELDS: Final = tuple(name for name, _ in _FIELDS)
"""Names of the columns, in order."""
LABEL_FIELDS: Final = ("label", "detailed-label")
"""What a labelled log has behind them."""

_PROTO_NAMES: Final = {PROTO_TCP: "tcp", PROTO_UDP: "udp", PROTO_ICMP: "icmp", PROTO_ICMP6: "icmp"}
_OTHER_PROTO: Final = "unknown_transport"
_BOOLS: Final = {1: "T", 0: "F"}
_LABELS: Final = {1: "Malicious", 0: "Benign"}
_UNUSED_LABEL: Final = "Background"


def write_conn_log(batches: Iterable[FlowBatch], out: TextIO, *, is_labelled: bool = False) -> int:
    """Write all flows, header and closing line included.

    Args:
        batches: flows, in the order in which to write them.
        out: text stream; lines end in a newline.
        is_labelled: whether the two columns of ground truth follow; every batch has labels then.

    Returns:
        How many flows were written.
    """
    columns = [*_FIELDS, *((name, "string") for name in LABEL_FIELDS if is_labelled)]
    out.write("#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n")
    out.write("#fields\t" + "\t".join(name for name, _ in columns) + "\n")
    out.write("#types\t" + "\t".join(kind for _, kind in columns) + "\n")
    count = 0
    for batch in batches:
        for line in _labelled_rows(batch) if is_labelled else conn_log_rows(batch):
            out.write("\t".join(line) + "\n")
        count += len(batch)
    return count


def _labelled_rows(batch: FlowBatch) -> Iterator[tuple[str, ...]]:
    labels = batch.labels
    assert labels is not None, "a labelled log of flows without labels"
    names = [_LABELS.get(value, _UNUSED_LABEL) for value in labels.malicious.tolist()]
    for row, name, detail in zip(conn_log_rows(batch), names, _texts(labels.detail), strict=True):
        yield *row, name, detail


def conn_log_rows(batch: FlowBatch) -> Iterator[tuple[str, ...]]:
    """The values of each flow as text, in the order of ``FIELDS``."""
    unset = [UNSET] * len(batch)
    return zip(
        [f"{value:.6f}" if batch.is_timed else UNSET for value in batch.started_at_s.tolist()],
        _texts(batch.uid),
        _addresses(batch.orig_address),
        [str(value) for value in batch.orig_port.tolist()],
        _addresses(batch.resp_address),
        [str(value) for value in batch.resp_port.tolist()],
        [_PROTO_NAMES.get(value, _OTHER_PROTO) for value in batch.proto.tolist()],
        _texts(batch.service),
        [UNSET if np.isnan(value) else f"{value:.6f}" for value in batch.duration_s.tolist()],
        _counts(batch.orig_bytes),
        _counts(batch.resp_bytes),
        [CONN_STATES[value] for value in batch.conn_state.tolist()],
        [_BOOLS.get(value, UNSET) for value in batch.orig_is_local.tolist()],
        [_BOOLS.get(value, UNSET) for value in batch.resp_is_local.tolist()],
        unset,
        _texts(batch.history),
        _counts(batch.orig_packets),
        _counts(batch.orig_ip_bytes),
        _counts(batch.resp_packets),
        _counts(batch.resp_ip_bytes),
        unset,
        [str(value) for value in batch.proto.tolist()],
        _macs(batch.orig_mac),
        _macs(batch.resp_mac),
        strict=True,
    )


def _texts(column: npt.NDArray[np.bytes_]) -> list[str]:
    return [value.decode("ascii", "replace") or UNSET for value in column.tolist()]


def _counts(column: npt.NDArray[np.int64]) -> list[str]:
    return [UNSET if value == UNKNOWN_COUNT else str(value) for value in column.tolist()]


def _addresses(column: npt.NDArray[np.uint64]) -> list[str]:
    return [str(address_from_words(high, low)) for high, low in column.tolist()]


def _macs(column: npt.NDArray[np.uint64]) -> list[str]:
    return [value.to_bytes(6, "big").hex(":") if value else UNSET for value in column.tolist()]
