"""Packets as columns: what metering needs to know of each, and nothing more.

In: columns that ``ingest.packets`` decoded. Out: ``PacketBatch``, frozen, all columns of equal length.
Must never: hold one Python object per packet, or payload beyond the few bytes that name a protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

PAYLOAD_HEAD_LENGTH: Final = 32
"""Bytes of payload kept per packet: DNS needs 12, TLS 6, MQTT CONNECT 8, an HTTP method 8."""

TCP_FIN: Final = 0x01
TCP_SYN: Final = 0x02
TCP_RST: Final = 0x04
TCP_ACK: Final = 0x10

PROTO_ICMP: Final = 1
PROTO_TCP: Final = 6
PROTO_UDP: Final = 17
PROTO_ICMP6: Final = 58

_DTYPES: Final = {
    "at_s": np.float64,
    "src_port": np.uint16,
    "dst_port": np.uint16,
    "proto": np.uint8,
    "ip_bytes": np.int64,
    "payload_bytes": np.int64,
    "tcp_flags": np.uint8,
    "tcp_seq": np.uint32,
    "tcp_ack": np.uint32,
    "tcp_receive_bytes": np.uint16,
    "src_mac": np.uint64,
    "dst_mac": np.uint64,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketBatch:
    """IP packets in the order of their capture, as columns of equal length n.

    Attributes:
        at_s: float64 (n,), Unix seconds.
        src_address, dst_address: uint64 (n, 2), high and low half; IPv4 as ::ffff:a.b.c.d.
        src_port, dst_port: uint16 (n,); for ICMP the type and the code, 0 where the protocol has no ports.
        proto: uint8 (n,), IANA protocol number.
        ip_bytes: int64 (n,), length from the first byte of the IP header, as the header says.
        payload_bytes: int64 (n,), bytes after the transport header, as the headers say.
        tcp_flags: uint8 (n,), the TCP flag byte; 0 for other protocols.
        tcp_seq, tcp_ack: uint32 (n,).
        tcp_receive_bytes: uint16 (n,), the advertised window, unscaled; 1 for other protocols.
        src_mac, dst_mac: uint64 (n,), link-layer addresses; 0 unknown.
        payload_head: uint8 (n, PAYLOAD_HEAD_LENGTH), first captured payload bytes, padded with zeros.
    """

    at_s: npt.NDArray[np.float64]
    src_address: npt.NDArray[np.uint64]
    dst_address: npt.NDArray[np.uint64]
    src_port: npt.NDArray[np.uint16]
    dst_port: npt.NDArray[np.uint16]
    proto: npt.NDArray[np.uint8]
    ip_bytes: npt.NDArray[np.int64]
    payload_bytes: npt.NDArray[np.int64]
    tcp_flags: npt.NDArray[np.uint8]
    tcp_seq: npt.NDArray[np.uint32]
    tcp_ack: npt.NDArray[np.uint32]
    tcp_receive_bytes: npt.NDArray[np.uint16]
    src_mac: npt.NDArray[np.uint64]
    dst_mac: npt.NDArray[np.uint64]
    payload_head: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, field.name)) for field in fields(self)}
        if len(lengths) != 1:
            raise ValueError(f"packet columns of unequal length: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.at_s)

    def take(self, rows: npt.NDArray[Any]) -> Self:
        """The packets at ``rows`` (indices or boolean mask), in that order."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return type(self)(**{field.name: getattr(self, field.name).take(rows, axis=0) for field in fields(self)})

    @classmethod
    def empty(cls) -> Self:
        """No packet."""
        columns: dict[str, npt.NDArray[Any]] = {name: np.zeros(0, dtype=dtype) for name, dtype in _DTYPES.items()}
        columns |= {name: np.zeros((0, 2), dtype=np.uint64) for name in ("src_address", "dst_address")}
        return cls(**columns, payload_head=np.zeros((0, PAYLOAD_HEAD_LENGTH), dtype=np.uint8))


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketsRead:
    """What a live source gave at one asking.

    Attributes:
        packets: none, or those that came; in the order of their capture.
        upto_s: Unix seconds; no packet that is read later is older, but for clocks that are set.
        is_over: whether the source has ended and nothing more will come.
    """

    packets: PacketBatch
    upto_s: float
    is_over: bool = False
