"""Which packets belong together: both directions of a 5-tuple, found by sorting.

In: packet columns, and the keys of the flows still open. Out: for each packet its key's rows side by side, in order.
Must never: let two different 5-tuples share a key, even where their hashes collide by chance or by intent.
Source: Zeek's connection keys; for ICMP the type and its counterpart stand for the ports, as Zeek has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from thingwarden.domain.packet import PROTO_ICMP, PROTO_ICMP6, PacketBatch

_ICMP_COUNTERPARTS: Final = ((0, 8), (13, 14), (15, 16), (17, 18), (9, 10))
_ICMP6_COUNTERPARTS: Final = ((128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145), (146, 147))
_NO_COUNTERPART: Final = -1
_ONE_WAY: Final = 256
"""Added to the protocol number of ICMP types that have no counterpart: direction is then part of the key."""


def _counterpart_table(pairs: tuple[tuple[int, int], ...]) -> npt.NDArray[np.int16]:
    table = np.full(256, _NO_COUNTERPART, dtype=np.int16)
    for one, other in pairs:
        table[one], table[other] = other, one
    return table


_COUNTERPARTS: Final = {
    PROTO_ICMP: _counterpart_table(_ICMP_COUNTERPARTS),
    PROTO_ICMP6: _counterpart_table(_ICMP6_COUNTERPARTS),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowKeys:
    """5-tuples without a direction, one per row.

    Attributes:
        address: uint64 (n, 4), lower endpoint's address (high, low half), then the upper endpoint's.
        port: uint16 (n, 2), lower and upper endpoint's port.
        kind: uint16 (n,), protocol number, and whether the key is one-way.
        digest: uint64 (n,), a hash of the others.
    """

    address: npt.NDArray[np.uint64]
    port: npt.NDArray[np.uint16]
    kind: npt.NDArray[np.uint16]
    digest: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.digest)

    @classmethod
    def empty(cls) -> Self:
        """No keys."""
        return cls.blank(0)

    @classmethod
    def blank(cls, count: int) -> Self:
        """Room for keys."""
        return cls(
            address=np.zeros((count, 4), dtype=np.uint64),
            port=np.zeros((count, 2), dtype=np.uint16),
            kind=np.zeros(count, dtype=np.uint16),
            digest=np.zeros(count, dtype=np.uint64),
        )

    @property
    def proto(self) -> npt.NDArray[np.uint8]:
        """Protocol numbers, uint8 (n,)."""
        return (self.kind & 0xFF).astype(np.uint8)

    def take(self, rows: npt.NDArray[np.int64]) -> Self:
        """The keys at ``rows`` (indices), in that order."""
        return type(self)(**{name: getattr(self, name).take(rows, axis=0) for name in self.__slots__})

    def put(self, rows: npt.NDArray[np.int64], other: FlowKeys) -> None:
        """Overwrite the keys at ``rows`` with the other's."""
        for name in self.__slots__:
            getattr(self, name)[rows] = getattr(other, name)

    def join(self, other: FlowKeys) -> Self:
        """These keys, then the other's."""
        return type(self)(
            **{name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in self.__slots__}
        )


def key_packets(packets: PacketBatch) -> tuple[FlowKeys, npt.NDArray[np.uint8]]:
    """The key of each packet, and from which endpoint it came: uint8 (n,), 0 the lower, 1 the upper."""
    src_port, dst_port, kind = _ports(packets)
    src, dst = packets.src_address, packets.dst_address
    is_upper = _is_above(src, src_port, dst, dst_port) & (kind < _ONE_WAY)
    swap = is_upper[:, None]
    address = np.hstack([np.where(swap, dst, src), np.where(swap, src, dst)])
    port = np.column_stack([np.where(is_upper, dst_port, src_port), np.where(is_upper, src_port, dst_port)])
    keys = FlowKeys(address=address, port=port, kind=kind, digest=_digest(address, port, kind))
    return keys, is_upper.astype(np.uint8)


def _ports(
    packets: PacketBatch,
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Ports as the key has them: for ICMP the type and its counterpart, or the code where there is none."""
    dst_port = packets.dst_port
    kind = packets.proto.astype(np.uint16)
    for proto, table in _COUNTERPARTS.items():
        rows = np.flatnonzero(packets.proto == proto)
        if not len(rows):
            continue
        counterpart = table[packets.src_port[rows] & 0xFF]
        has_one = counterpart != _NO_COUNTERPART
        dst_port = dst_port.copy()
        dst_port[rows[has_one]] = counterpart[has_one].astype(np.uint16)
        kind[rows[~has_one]] += _ONE_WAY
    return packets.src_port, dst_port, kind


def _is_above(
    src: npt.NDArray[np.uint64],
    src_port: npt.NDArray[np.uint16],
    dst: npt.NDArray[np.uint64],
    dst_port: npt.NDArray[np.uint16],
) -> npt.NDArray[np.bool_]:
    same_high, same_low = src[:, 0] == dst[:, 0], src[:, 1] == dst[:, 1]
    by_low = (src[:, 1] > dst[:, 1]) | (same_low & (src_port > dst_port))
    above: npt.NDArray[np.bool_] = (src[:, 0] > dst[:, 0]) | (same_high & by_low)
    return above


def _digest(
    address: npt.NDArray[np.uint64], port: npt.NDArray[np.uint16], kind: npt.NDArray[np.uint16]
) -> npt.NDArray[np.uint64]:
    ports = port[:, 0].astype(np.uint64) << np.uint64(32) | port[:, 1].astype(np.uint64) << np.uint64(16) | kind
    value = ports
    for column in range(address.shape[1]):
        value = mix_words(value ^ address[:, column])
    return value


def mix_words(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spread each 64-bit word over all its bits (the finisher of splitmix64)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Packets sorted by key, within a key in the order of capture.

    Attributes:
        order: int64 (n,), the packet at each sorted place.
        is_first: bool (n,), whether a sorted place begins a key.
        open_row: int64 (n,), at the first place of each key the row of the open flow with that key, -1 none.
    """

    order: npt.NDArray[np.int64]
    is_first: npt.NDArray[np.bool_]
    open_row: npt.NDArray[np.int64]


def group_packets(open_keys: FlowKeys, keys: FlowKeys) -> Grouping:
    """Sort packets by key and match keys with the open flows, of which each key has at most one."""
    joined = open_keys.join(keys)
    digest = joined.digest
    order = np.argsort(digest, kind="stable")
    is_same = digest[order[1:]] == digest[order[:-1]]
    if not _agree(joined, order[1:][is_same], order[:-1][is_same]):
        order, is_same = _group_exactly(joined)
    is_first = np.concatenate([[True], ~is_same]) if len(order) else np.zeros(0, dtype=np.bool_)
    is_open = order < len(open_keys)
    # An open flow sorts before the packets of its key, so a packet behind one begins its key.
    behind_open = np.concatenate([[-1], np.where(is_open[:-1] & is_same, order[:-1], -1)])[: len(order)]
    is_packet = ~is_open
    return Grouping(
        order=order[is_packet] - len(open_keys),
        is_first=(is_first | (behind_open >= 0))[is_packet],
        open_row=behind_open[is_packet],
    )


def _agree(keys: FlowKeys, one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> bool:
    return all(
        np.array_equal(getattr(keys, name)[one], getattr(keys, name)[other]) for name in ("address", "port", "kind")
    )


def _group_exactly(keys: FlowKeys) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Sort by the whole key; needed only where two keys have one digest."""
    columns = [keys.kind, *keys.port.T, *keys.address.T]
    order = np.lexsort(columns)
    is_same = np.ones(max(len(order) - 1, 0), dtype=np.bool_)
    for column in columns:
        is_same &= column[order[1:]] == column[order[:-1]]
    return order, is_same
