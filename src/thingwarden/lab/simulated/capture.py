"""What passes the gateway's switch, as packet columns, and metered into labelled flows.

In: packets in any order, each with the label of the act that caused it. Out: ``PacketBatch`` and ``FlowBatch``.
Must never: hand out a packet before everything earlier is known, or keep more than what is not settled yet.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import DETAIL_LENGTH, FlowBatch, Labels
from thingwarden.domain.packet import PAYLOAD_HEAD_LENGTH, PROTO_ICMP, PROTO_ICMP6, PacketBatch
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.ingest.flow_key import mix_words
from thingwarden.ingest.flow_table import FlowTable
from thingwarden.ingest.metering import finish_flows, meter_packets

ROW: Final = np.dtype(
    [
        ("src_address", "<u8", (2,)),
        ("dst_address", "<u8", (2,)),
        ("src_mac", "<u8"),
        ("dst_mac", "<u8"),
        ("src_port", "<u2"),
        ("dst_port", "<u2"),
        ("proto", "u1"),
        ("label", "<i4"),
        ("at_s", "<f8"),
        ("ip_bytes", "<u4"),
        ("payload_bytes", "<u4"),
        ("tcp_flags", "u1"),
        ("tcp_seq", "<u4"),
        ("tcp_ack", "<u4"),
        ("tcp_receive_bytes", "<u2"),
        ("payload_head", "u1", (PAYLOAD_HEAD_LENGTH,)),
    ]
)
"""One packet; what all packets of one direction of a flow share comes first."""

pack_lane: Final[Callable[..., bytes]] = struct.Struct("<QQQQQQHHBi").pack
"""Source, destination (high, low), MACs, ports, protocol, label: the first half of ``ROW``."""
pack_rest: Final[Callable[..., bytes]] = struct.Struct(f"<dIIBIIH{PAYLOAD_HEAD_LENGTH}s").pack
"""Instant, IP bytes, payload bytes, flags, sequence, acknowledgement, window, payload head: the second half."""

BENIGN_LABEL: Final = 0
_FORWARDS_S: Final = (1.2e-5, 6e-5)
"""What a host takes to send on what is not for it."""

Rows: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detour:
    """A host has stepped between two others: IPv4 packets between them cross the switch twice.

    Attributes:
        begins_s, ends_s: while this lasts.
        victim: halves of the address whose packets take the detour, those through the gateway as well.
        victim_mac, pretended_mac, through_mac: link-layer addresses of the three.
        label: of what takes the detour.
    """

    begins_s: float
    ends_s: float
    victim: tuple[int, int]
    victim_mac: int
    pretended_mac: int
    through_mac: int
    label: int

    def apply(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """The packets with those that took the detour seen twice."""
        is_mine = (rows["at_s"] >= self.begins_s) & (rows["at_s"] < self.ends_s)
        leaves = (rows["src_address"] == self.victim).all(axis=1) & (rows["dst_mac"] == self.pretended_mac)
        comes = (rows["dst_address"] == self.victim).all(axis=1) & (rows["src_mac"] == self.pretended_mac)
        is_mine &= leaves | comes
        if not is_mine.any():
            return rows
        first = rows.copy()
        first["label"][is_mine] = self.label
        again = first[is_mine]
        first["dst_mac"][is_mine] = self.through_mac
        again["src_mac"] = self.through_mac
        again["at_s"] += rng.uniform(*_FORWARDS_S, len(again))
        return np.concatenate([first, again])


class Capture:
    """Packets as they were seen, not yet in order.

    Attributes:
        rows: packed packets, one or several together, to be appended to.
        detours: under way, or to be applied still.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.rows: list[bytes] = []
        self.detours: list[Detour] = []
        self._kept = np.zeros(0, dtype=ROW)

    def add_block(self, block: Rows) -> None:
        """Note many packets at once, of dtype ``ROW``."""
        self.rows.append(block.tobytes())

    def take_until(self, at_s: float) -> Rows:
        """Remove and give the packets before ``at_s``, in order."""
        rows = np.frombuffer(b"".join(self.rows), dtype=ROW)
        self.rows.clear()
        for detour in self.detours:
            rows = detour.apply(rows, self._rng)
        self.detours = [detour for detour in self.detours if detour.ends_s >= at_s]
        # Those kept back from the last time have taken their detours already.
        rows = np.concatenate([self._kept, rows]) if len(self._kept) else rows
        order = np.argsort(rows["at_s"], kind="stable")
        count = int(np.searchsorted(rows["at_s"][order], at_s))
        self._kept = rows[order[count:]]
        return rows[order[:count]]


class LabelBook:
    """Numbers for what an act's packets are labelled with; 0 is benign life."""

    def __init__(self) -> None:
        self._classes = [CLASS_INDEX[AttackClass.BENIGN]]
        self._details = [AttackClass.BENIGN.value.encode()]

    def add(self, attack_class: AttackClass, detail: bytes) -> int:
        """A number for packets of this class and detail."""
        self._classes.append(CLASS_INDEX[attack_class])
        self._details.append(detail)
        return len(self._classes) - 1

    def labels(self, numbers: npt.NDArray[np.int64]) -> Labels:
        """Ground truth for flows labelled by ``numbers``."""
        attack_class = np.array(self._classes, dtype=np.int8)[numbers]
        return Labels(
            malicious=(attack_class != CLASS_INDEX[AttackClass.BENIGN]).astype(np.int8),
            attack_class=attack_class,
            ton_class=np.full(len(numbers), -1, dtype=np.int8),
            detail=np.array(self._details, dtype=f"S{DETAIL_LENGTH}")[numbers],
        )


class Meter:
    """Flows of a capture, labelled by their first packet.

    Args:
        book: what the labels of the packets mean.
        began_at_s: Unix seconds of the capture's second 0.
    """

    def __init__(self, book: LabelBook, began_at_s: float) -> None:
        self._book = book
        self._began_at_s = began_at_s
        self._table = FlowTable.empty()
        self._marks = np.zeros(0, dtype=[("digest", "<u8"), ("at_s", "<f8"), ("label", "<i4")])

    def push(self, rows: Rows) -> FlowBatch:
        """Meter the next packets, in order; the flows that ended."""
        packets = packets_from_rows(rows, self._began_at_s)
        self._note_labels(packets, rows["label"])
        self._table, ended = meter_packets(self._table, packets)
        return self._label(ended)

    def finish(self) -> FlowBatch:
        """The flows still open."""
        ended = self._label(finish_flows(self._table))
        self._table = FlowTable.empty()
        return ended

    def _note_labels(self, packets: PacketBatch, label: npt.NDArray[np.int32]) -> None:
        marked = np.flatnonzero(label != BENIGN_LABEL)
        open_since_s = float(self._table.started_at_s.min()) if len(self._table) else np.inf
        kept = self._marks[self._marks["at_s"] >= open_since_s]
        fresh = np.zeros(len(marked), dtype=self._marks.dtype)
        if len(marked):
            part = packets.take(marked)
            fresh["digest"] = _digest(
                part.at_s, part.src_address, part.dst_address, part.src_port, part.dst_port, part.proto
            )
            fresh["at_s"], fresh["label"] = part.at_s, label[marked]
        self._marks = np.concatenate([kept, fresh])

    def _label(self, flows: FlowBatch) -> FlowBatch:
        digest = _digest(
            flows.started_at_s, flows.orig_address, flows.resp_address, flows.orig_port, flows.resp_port, flows.proto
        )
        numbers = np.zeros(len(flows), dtype=np.int64)
        if len(self._marks) and len(flows):
            order = np.argsort(self._marks["digest"], kind="stable")
            known = self._marks["digest"][order]
            place = np.minimum(np.searchsorted(known, digest), len(known) - 1)
            found = known[place] == digest
            numbers[found] = self._marks["label"][order][place[found]]
        return replace(flows, labels=self._book.labels(numbers))


def packets_from_rows(rows: Rows, began_at_s: float) -> PacketBatch:
    """The columns of captured packets, their instants as Unix seconds in whole microseconds, as a capture has them."""
    return PacketBatch(
        at_s=np.round(rows["at_s"] * 1e6) / 1e6 + began_at_s,
        src_address=np.ascontiguousarray(rows["src_address"]),
        dst_address=np.ascontiguousarray(rows["dst_address"]),
        src_port=np.ascontiguousarray(rows["src_port"]),
        dst_port=np.ascontiguousarray(rows["dst_port"]),
        proto=np.ascontiguousarray(rows["proto"]),
        ip_bytes=rows["ip_bytes"].astype(np.int64),
        payload_bytes=rows["payload_bytes"].astype(np.int64),
        tcp_flags=np.ascontiguousarray(rows["tcp_flags"]),
        tcp_seq=np.ascontiguousarray(rows["tcp_seq"]),
        tcp_ack=np.ascontiguousarray(rows["tcp_ack"]),
        tcp_receive_bytes=np.ascontiguousarray(rows["tcp_receive_bytes"]),
        src_mac=np.ascontiguousarray(rows["src_mac"]),
        dst_mac=np.ascontiguousarray(rows["dst_mac"]),
        payload_head=np.ascontiguousarray(rows["payload_head"]),
    )


def _digest(
    at_s: npt.NDArray[np.float64],
    one: npt.NDArray[np.uint64],
    other: npt.NDArray[np.uint64],
    one_port: npt.NDArray[np.uint16],
    other_port: npt.NDArray[np.uint16],
    proto: npt.NDArray[np.uint8],
) -> npt.NDArray[np.uint64]:
    """Equal for both directions of a packet or flow that began at one instant; of ICMP the ports do not count."""
    has_ports = ~np.isin(proto, (PROTO_ICMP, PROTO_ICMP6))
    ends = [
        mix_words(mix_words(address[:, 0]) ^ address[:, 1] ^ ((port * has_ports).astype(np.uint64) << np.uint64(32)))
        for address, port in ((one, one_port), (other, other_port))
    ]
    return mix_words(mix_words(ends[0] + ends[1]) ^ np.ascontiguousarray(at_s).view(np.uint64) ^ proto)
