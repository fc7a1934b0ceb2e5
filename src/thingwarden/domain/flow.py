"""Flows as columns: the one shape in which traffic travels through the hot path.

In: columns that ``ingest`` made from packets or logs. Out: ``FlowBatch``, frozen, all columns of equal length.
Must never: hold one Python object per flow.
Source: Zeek's conn.log for the names and the meaning of ``conn_state`` and ``history``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from thingwarden.domain.address import IpAddress
from thingwarden.domain.errors import InputError

CONN_STATES: Final = (
    "-", "S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH",
)  # fmt: skip
"""Zeek's connection states; the index is the code in ``FlowBatch.conn_state``, 0 is unknown."""

CONN_STATE_CODE: Final = {name: code for code, name in enumerate(CONN_STATES)}

UNKNOWN_COUNT: Final = -1
"""A byte or packet count that the source did not give."""

HISTORY_LENGTH: Final = 24
SERVICE_LENGTH: Final = 24
UID_LENGTH: Final = 24
DETAIL_LENGTH: Final = 48

MILESTONE_PACKETS: Final = (4, 16, 64, 256)
MILESTONE_AGES_S: Final = (1.0, 10.0, 60.0)
"""A flow still open is looked at when its n-th packet comes, and at its first packet of at least that age."""

MOST_MILESTONES: Final = len(MILESTONE_PACKETS) + len(MILESTONE_AGES_S)

_MAPPED_PREFIX: Final = 0xFFFF << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Ground truth beside a ``FlowBatch``, one entry per flow.

    Attributes:
        malicious: int8 (n,), 1 malicious, 0 benign, -1 not to be used (background, known mislabelled).
        attack_class: int8 (n,), index into ``taxonomy.CLASSES``, -1 unknown.
        ton_class: int8 (n,), index into ``taxonomy.TON_CLASSES``, -1 where the source is not TON_IoT.
        detail: S48 (n,), the raw label.
    """

    malicious: npt.NDArray[np.int8]
    attack_class: npt.NDArray[np.int8]
    ton_class: npt.NDArray[np.int8]
    detail: npt.NDArray[np.bytes_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestones:
    """Flows as they stood while they were still open, as columns of equal length m.

    Rows of one flow stand together, in time order and at most ``MOST_MILESTONES``. What never changes back is told by
    how far it had come: a history only grows, and a service once named keeps its name.

    Attributes:
        flow: int64 (m,), row of the flow in its batch; never falls.
        elapsed_s: float64 (m,), seconds since the flow's first packet, at least 0.
        orig_bytes, resp_bytes: int64 (m,), payload bytes so far; ``UNKNOWN_COUNT`` where no time has passed.
        orig_packets, resp_packets: int64 (m,), packets so far.
        conn_state: uint8 (m,), index into ``CONN_STATES``: the flow's state had it ended here.
        history_letters: uint8 (m,), letters of the flow's history so far, at most ``HISTORY_LENGTH``.
        has_service: bool (m,), whether the flow's service could be named.
    """

    flow: npt.NDArray[np.int64]
    elapsed_s: npt.NDArray[np.float64]
    orig_bytes: npt.NDArray[np.int64]
    resp_bytes: npt.NDArray[np.int64]
    orig_packets: npt.NDArray[np.int64]
    resp_packets: npt.NDArray[np.int64]
    conn_state: npt.NDArray[np.uint8]
    history_letters: npt.NDArray[np.uint8]
    has_service: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        for name, dtype in MILESTONE_DTYPES.items():
            column = getattr(self, name)
            if len(column) != len(self.flow) or column.dtype != dtype:
                raise InputError(
                    f"column milestones.{name}",
                    f"expected {len(self.flow)} values of {dtype}, found {len(column)} of {column.dtype}",
                )

    def __len__(self) -> int:
        return len(self.flow)

    def at(self, rows: npt.NDArray[Any]) -> Self:
        """The milestones at ``rows`` (indices or boolean mask), in that order, of the same flows as before."""
        return type(self)(**{name: getattr(self, name)[rows] for name in MILESTONE_DTYPES})

    def of_flows(self, rows: npt.NDArray[np.int64]) -> Self:
        """What remains when of the flows those at ``rows`` are taken, in that order; a flow may be taken twice."""
        if not len(self):
            return self
        first, beyond = (np.searchsorted(self.flow, rows, side=side) for side in ("left", "right"))
        counts = beyond - first
        flow = np.repeat(np.arange(len(rows)), counts)
        within = np.arange(len(flow)) - np.repeat(np.cumsum(counts) - counts, counts)
        taken = self.at(np.repeat(first, counts) + within)
        return replace(taken, flow=flow)

    @classmethod
    def join(cls, parts: Sequence[Milestones]) -> Self:
        """Milestones of flows numbered alike, part after part; within a flow the earlier part comes first."""
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in MILESTONE_DTYPES}
        joined = cls(**columns)
        if (np.diff(joined.flow) >= 0).all():
            return joined
        return joined.at(np.argsort(joined.flow, kind="stable"))

    @classmethod
    def empty(cls) -> Self:
        """No milestone."""
        return cls(**{name: np.zeros(0, dtype=dtype) for name, dtype in MILESTONE_DTYPES.items()})


MILESTONE_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "flow": np.dtype(np.int64),
    "elapsed_s": np.dtype(np.float64),
    "orig_bytes": np.dtype(np.int64),
    "resp_bytes": np.dtype(np.int64),
    "orig_packets": np.dtype(np.int64),
    "resp_packets": np.dtype(np.int64),
    "conn_state": np.dtype(np.uint8),
    "history_letters": np.dtype(np.uint8),
    "has_service": np.dtype(np.bool_),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowBatch:
    """Flows in the order of their source, as columns of equal length n.

    Attributes:
        started_at_s: float64 (n,), Unix seconds of the first packet; 0 where ``is_timed`` is false.
        duration_s: float64 (n,), seconds from first to last packet; NaN unknown.
        proto: uint8 (n,), IANA protocol number.
        orig_address, resp_address: uint64 (n, 2), high and low half of the IPv6 address; IPv4 as ::ffff:a.b.c.d.
        orig_port, resp_port: uint16 (n,); for ICMP the type and code, as Zeek writes them.
        orig_bytes, resp_bytes: int64 (n,), payload bytes; ``UNKNOWN_COUNT`` where not given.
        orig_packets, resp_packets: int64 (n,); ``UNKNOWN_COUNT`` where not given.
        orig_ip_bytes, resp_ip_bytes: int64 (n,), bytes with IP headers; ``UNKNOWN_COUNT`` where not given.
        conn_state: uint8 (n,), index into ``CONN_STATES``.
        history: S24 (n,), Zeek's history, cut; empty unknown.
        service: S24 (n,), application protocol in Zeek's names; empty unknown.
        orig_mac, resp_mac: uint64 (n,), link-layer address; 0 unknown.
        orig_is_local, resp_is_local: int8 (n,), as the source says; -1 where it does not.
        uid: S24 (n,), the source's id of the flow; empty where it has none.
        labels: ground truth, or None.
        is_timed: whether ``started_at_s`` means anything; without time no history can be built.
        milestones: how the flows stood while they were open; None where the source tells only how they ended.
    """

    started_at_s: npt.NDArray[np.float64]
    duration_s: npt.NDArray[np.float64]
    proto: npt.NDArray[np.uint8]
    orig_address: npt.NDArray[np.uint64]
    resp_address: npt.NDArray[np.uint64]
    orig_port: npt.NDArray[np.uint16]
    resp_port: npt.NDArray[np.uint16]
    orig_bytes: npt.NDArray[np.int64]
    resp_bytes: npt.NDArray[np.int64]
    orig_packets: npt.NDArray[np.int64]
    resp_packets: npt.NDArray[np.int64]
    orig_ip_bytes: npt.NDArray[np.int64]
    resp_ip_bytes: npt.NDArray[np.int64]
    conn_state: npt.NDArray[np.uint8]
    history: npt.NDArray[np.bytes_]
    service: npt.NDArray[np.bytes_]
    orig_mac: npt.NDArray[np.uint64]
    resp_mac: npt.NDArray[np.uint64]
    orig_is_local: npt.NDArray[np.int8]
    resp_is_local: npt.NDArray[np.int8]
    uid: npt.NDArray[np.bytes_]
    labels: Labels | None = None
    is_timed: bool = True
    milestones: Milestones | None = None

    def __post_init__(self) -> None:
        count = len(self.started_at_s)
        for name, dtype in COLUMN_DTYPES.items():
            column = getattr(self, name)
            if len(column) != count or column.dtype != dtype:
                raise InputError(
                    f"column {name}",
                    f"expected {count} values of {dtype}, found {len(column)} of {column.dtype}",
                )

    def __len__(self) -> int:
        return len(self.started_at_s)

    @property
    def ended_at_s(self) -> npt.NDArray[np.float64]:
        """Unix seconds of the last packet, float64 (n,); the start where the duration is unknown."""
        return self.started_at_s + np.nan_to_num(self.duration_s)

    def take(self, rows: npt.NDArray[Any]) -> FlowBatch:
        """The flows at ``rows`` (indices or boolean mask), in that order."""
        picked = {name: getattr(self, name)[rows] for name in COLUMN_DTYPES}
        labels = self.labels
        if labels is not None:
            labels = Labels(**{field.name: getattr(labels, field.name)[rows] for field in fields(Labels)})
        milestones = self.milestones
        if milestones is not None:
            indices = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows % max(len(self), 1)
            milestones = milestones.of_flows(indices)
        return replace(self, labels=labels, milestones=milestones, **picked)

    @classmethod
    def concatenate(cls, batches: Sequence[FlowBatch]) -> Self:
        """Join batches in order; labels survive only where every batch has them."""
        if not batches:
            return cls.empty()
        columns = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in COLUMN_DTYPES}
        labelled = [batch.labels for batch in batches if batch.labels is not None]
        labels = None
        if len(labelled) == len(batches):
            labels = Labels(
                **{
                    field.name: np.concatenate([getattr(label, field.name) for label in labelled])
                    for field in fields(Labels)
                }
            )
        is_timed = all(batch.is_timed for batch in batches)
        return cls(**columns, labels=labels, is_timed=is_timed, milestones=join_milestones(batches))

    @classmethod
    def empty(cls) -> Self:
        """A batch of no flows."""
        return cls.unknown(0)

    @classmethod
    def unknown(cls, count: int, **columns: Any) -> Self:
        """A batch of ``count`` flows whose columns, unless given, say that nothing is known."""
        return cls(**{**_unknown_columns(count), **columns})


COLUMN_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "started_at_s": np.dtype(np.float64),
    "duration_s": np.dtype(np.float64),
    "proto": np.dtype(np.uint8),
    "orig_address": np.dtype(np.uint64),
    "resp_address": np.dtype(np.uint64),
    "orig_port": np.dtype(np.uint16),
    "resp_port": np.dtype(np.uint16),
    "orig_bytes": np.dtype(np.int64),
    "resp_bytes": np.dtype(np.int64),
    "orig_packets": np.dtype(np.int64),
    "resp_packets": np.dtype(np.int64),
    "orig_ip_bytes": np.dtype(np.int64),
    "resp_ip_bytes": np.dtype(np.int64),
    "conn_state": np.dtype(np.uint8),
    "history": np.dtype(f"S{HISTORY_LENGTH}"),
    "service": np.dtype(f"S{SERVICE_LENGTH}"),
    "orig_mac": np.dtype(np.uint64),
    "resp_mac": np.dtype(np.uint64),
    "orig_is_local": np.dtype(np.int8),
    "resp_is_local": np.dtype(np.int8),
    "uid": np.dtype(f"S{UID_LENGTH}"),
}

_UNKNOWN_FILL: Final[dict[str, Any]] = {
    "duration_s": np.nan,
    "orig_is_local": -1,
    "resp_is_local": -1,
    **{name: UNKNOWN_COUNT for name in COLUMN_DTYPES if name.endswith(("_bytes", "_packets"))},
}


def _unknown_columns(count: int) -> dict[str, npt.NDArray[Any]]:
    columns: dict[str, npt.NDArray[Any]] = {}
    for name, dtype in COLUMN_DTYPES.items():
        shape = (count, 2) if name.endswith("_address") else (count,)
        columns[name] = (
            np.full(shape, _UNKNOWN_FILL.get(name, 0), dtype=dtype)
            if dtype.kind != "S"
            else np.zeros(shape, dtype=dtype)
        )
    return columns


def join_milestones(batches: Sequence[FlowBatch]) -> Milestones | None:
    """The milestones of the flows of all batches in order; None where no batch has any."""
    parts, row = [], 0
    for batch in batches:
        if batch.milestones is not None:
            parts.append(replace(batch.milestones, flow=batch.milestones.flow + row))
        row += len(batch)
    return Milestones.join(parts) if parts else None


def words_from_address(address: IpAddress) -> tuple[int, int]:
    """The high and low 64 bits of an address, IPv4 as ::ffff:a.b.c.d."""
    value = int(address)
    if address.version == 4:
        return 0, _MAPPED_PREFIX | value
    return value >> 64, value & 0xFFFF_FFFF_FFFF_FFFF


def address_from_words(high: int, low: int) -> IpAddress:
    """Inverse of ``words_from_address``."""
    if int(high) == 0 and int(low) >> 32 == 0xFFFF:
        return ipaddress.IPv4Address(int(low) & 0xFFFF_FFFF)
    return ipaddress.IPv6Address(int(high) << 64 | int(low))
