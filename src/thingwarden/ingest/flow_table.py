"""Flows that are still open: everything that metering must remember between chunks of packets.

In: what ``ingest.metering`` learnt of each flow. Out: the same, cut and joined; and ``FlowBatch`` rows of ended flows.
Must never: keep a packet, or grow with anything but the number of open flows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import HISTORY_LENGTH, Milestones
from thingwarden.domain.packet import PAYLOAD_HEAD_LENGTH
from thingwarden.ingest.flow_key import FlowKeys

SEQUENCED_CLASSES: Final = 3
"""SYN, FIN, RST: their history letters repeat where the sequence number is another."""


@dataclass(slots=True, kw_only=True)
class FlowTable:
    """Open flows as columns; a second axis of 2 is originator, responder.

    Attributes:
        keys: the 5-tuples.
        orig_is_upper: uint8 (n,), whether the key's upper endpoint is the originator.
        started_at_s, last_at_s: float64 (n,), first packet, and last that counts for the duration.
        expires_at_s: float64 (n,), when the flow ends unless a packet comes.
        tcp_state: int64 (n,), number in ``tcp_state.StateTable``.
        packets, ip_bytes, payload_bytes: int64 (n, 2).
        has_packet: bool (n, 2), whether the side has sent anything.
        start_seq: uint32 (n, 2), TCP sequence number of the (assumed) SYN.
        sent_bytes, acked_bytes: int64 (n, 2), highest sequence number sent and acknowledged, relative to the start.
        has_fin: bool (n, 2).
        history: uint8 (n, HISTORY_LENGTH), letters so far; history_count: int64 (n,), how many, also beyond the cut.
        letters_seen: uint32 (n,), one bit per side and class of letter.
        letter_seq: uint32 (n, 2, SEQUENCED_CLASSES), sequence number of the last SYN, FIN, RST.
        retransmit_count, zero_window_count, gap_count: int64 (n, 2).
        mac: uint64 (n, 2).
        payload_head: uint8 (n, 2, PAYLOAD_HEAD_LENGTH); has_head: bool (n, 2).
        milestones: how these flows stood earlier, a handful of rows for each at most.
    """

    keys: FlowKeys
    milestones: Milestones
    orig_is_upper: npt.NDArray[np.uint8]
    started_at_s: npt.NDArray[np.float64]
    last_at_s: npt.NDArray[np.float64]
    expires_at_s: npt.NDArray[np.float64]
    tcp_state: npt.NDArray[np.int64]
    packets: npt.NDArray[np.int64]
    ip_bytes: npt.NDArray[np.int64]
    payload_bytes: npt.NDArray[np.int64]
    has_packet: npt.NDArray[np.bool_]
    start_seq: npt.NDArray[np.uint32]
    sent_bytes: npt.NDArray[np.int64]
    acked_bytes: npt.NDArray[np.int64]
    has_fin: npt.NDArray[np.bool_]
    history: npt.NDArray[np.uint8]
    history_count: npt.NDArray[np.int64]
    letters_seen: npt.NDArray[np.uint32]
    letter_seq: npt.NDArray[np.uint32]
    retransmit_count: npt.NDArray[np.int64]
    zero_window_count: npt.NDArray[np.int64]
    gap_count: npt.NDArray[np.int64]
    mac: npt.NDArray[np.uint64]
    payload_head: npt.NDArray[np.uint8]
    has_head: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.started_at_s)

    @classmethod
    def empty(cls) -> Self:
        """No open flow."""
        return cls.blank(FlowKeys.empty())

    @classmethod
    def blank(cls, keys: FlowKeys) -> Self:
        """Flows of these keys of which nothing is known yet."""
        n = len(keys)
        columns: dict[str, Any] = {name: np.zeros((n, *shape), dtype) for name, (shape, dtype) in _COLUMNS.items()}
        return cls(keys=keys, milestones=Milestones.empty(), **columns)

    def take(self, rows: npt.NDArray[Any]) -> Self:
        """The flows at ``rows`` (indices or boolean mask), in that order; a copy."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        columns = {name: getattr(self, name).take(rows, axis=0) for name in _COLUMNS}
        return type(self)(keys=self.keys.take(rows), milestones=self.milestones.of_flows(rows), **columns)

    def put(self, rows: npt.NDArray[np.int64], other: FlowTable) -> None:
        """Overwrite everything but the keys of ``rows``, which have no milestones yet, with the flows of ``other``."""
        for name in _COLUMNS:
            getattr(self, name)[rows] = getattr(other, name)
        self.add_milestones(replace(other.milestones, flow=rows[other.milestones.flow]))

    def add_milestones(self, reached: Milestones) -> None:
        """Note how flows of this table stood, later than at any milestone noted before."""
        if len(reached):
            self.milestones = Milestones.join([self.milestones, reached])

    def join(self, other: FlowTable) -> Self:
        """These flows, then the other's."""
        columns = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in _COLUMNS}
        later = replace(other.milestones, flow=other.milestones.flow + len(self))
        return type(self)(
            keys=self.keys.join(other.keys), milestones=Milestones.join([self.milestones, later]), **columns
        )


_COLUMNS: Final[dict[str, tuple[tuple[int, ...], type]]] = {
    "orig_is_upper": ((), np.uint8),
    "started_at_s": ((), np.float64),
    "last_at_s": ((), np.float64),
    "expires_at_s": ((), np.float64),
    "tcp_state": ((), np.int64),
    "packets": ((2,), np.int64),
    "ip_bytes": ((2,), np.int64),
    "payload_bytes": ((2,), np.int64),
    "has_packet": ((2,), np.bool_),
    "start_seq": ((2,), np.uint32),
    "sent_bytes": ((2,), np.int64),
    "acked_bytes": ((2,), np.int64),
    "has_fin": ((2,), np.bool_),
    "history": ((HISTORY_LENGTH,), np.uint8),
    "history_count": ((), np.int64),
    "letters_seen": ((), np.uint32),
    "letter_seq": ((2, SEQUENCED_CLASSES), np.uint32),
    "retransmit_count": ((2,), np.int64),
    "zero_window_count": ((2,), np.int64),
    "gap_count": ((2,), np.int64),
    "mac": ((2,), np.uint64),
    "payload_head": ((2, PAYLOAD_HEAD_LENGTH), np.uint8),
    "has_head": ((2,), np.bool_),
}
assert set(_COLUMNS) == {each.name for each in fields(FlowTable)} - {"keys", "milestones"}
