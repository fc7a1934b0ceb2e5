"""Frames and capture files made by hand, for the tests of ingest.

In: what a test cares about of a packet. Out: ``Frame`` values, pcap files, the flows metered from them.
Must never: use the code under test to make its input.
"""

from __future__ import annotations

import io
import ipaddress
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from thingwarden.domain.flow import CONN_STATES, FlowBatch
from thingwarden.domain.packet import PacketBatch
from thingwarden.ingest.packets import PADDING_BYTES, FrameBatch, decode_frames
from thingwarden.ingest.pcap import PcapSource

START_S = 1_600_000_000
CLIENT, SERVER = "192.168.1.10", "203.0.113.5"
CLIENT_MAC, SERVER_MAC = bytes.fromhex("02000000000a"), bytes.fromhex("020000000005")
FLAG_BITS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16}


class Frame(NamedTuple):
    """Captured bytes and when, in seconds after ``START_S``."""

    at_s: float
    data: bytes


def ip_packet(src: str, dst: str, proto: int, body: bytes, *, fragment: int = 0, ident: int = 1) -> bytes:
    """An IPv4 or IPv6 packet, by the addresses."""
    source, target = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    if source.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(body), proto, 64) + source.packed + target.packed + body
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), ident, fragment, 64, proto, 0)
    return header + source.packed + target.packed + body


def ethernet(packet: bytes, *, from_client: bool = True, tags: bytes = b"") -> bytes:
    """An Ethernet frame around an IP packet; ``tags`` are EtherType and content of each tag before it."""
    ethertype = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
    macs = SERVER_MAC + CLIENT_MAC if from_client else CLIENT_MAC + SERVER_MAC
    return macs + tags + ethertype + packet


def tcp_segment(
    sport: int, dport: int, flags: str, seq: int = 0, ack: int = 0, payload: bytes = b"", receive_bytes: int = 512
) -> bytes:
    """A TCP segment without options."""
    bits = sum(FLAG_BITS[flag] for flag in flags)
    return struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 0x50, bits, receive_bytes, 0, 0) + payload


def udp_datagram(sport: int, dport: int, payload: bytes = b"") -> bytes:
    """A UDP datagram."""
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def tcp(
    at_s: float,
    flags: str,
    seq: int = 0,
    ack: int = 0,
    payload: bytes = b"",
    *,
    from_client: bool = True,
    receive_bytes: int = 512,
    client_port: int = 40_000,
    server_port: int = 9000,
) -> Frame:
    """A TCP frame between ``CLIENT`` and ``SERVER``."""
    src, dst, sport, dport = CLIENT, SERVER, client_port, server_port
    if not from_client:
        src, dst, sport, dport = dst, src, dport, sport
    segment = tcp_segment(sport, dport, flags, seq, ack, payload, receive_bytes)
    return Frame(at_s, ethernet(ip_packet(src, dst, 6, segment), from_client=from_client))


def udp(
    at_s: float, payload: bytes = b"x", *, from_client: bool = True, client_port: int = 40_000, server_port: int = 9000
) -> Frame:
    """A UDP frame between ``CLIENT`` and ``SERVER``."""
    src, dst, sport, dport = CLIENT, SERVER, client_port, server_port
    if not from_client:
        src, dst, sport, dport = dst, src, dport, sport
    packet = ip_packet(src, dst, 17, udp_datagram(sport, dport, payload))
    return Frame(at_s, ethernet(packet, from_client=from_client))


def icmp(at_s: float, kind: int, code: int = 0, payload: bytes = b"12345678", *, from_client: bool = True) -> Frame:
    """An ICMP frame between ``CLIENT`` and ``SERVER``."""
    src, dst = (CLIENT, SERVER) if from_client else (SERVER, CLIENT)
    body = struct.pack("!BBHI", kind, code, 0, 0) + payload
    return Frame(at_s, ethernet(ip_packet(src, dst, 1, body), from_client=from_client))


def conversation(at_s: float = 0.0, *, client_port: int = 40_000) -> list[Frame]:
    """A whole TCP connection: handshake, 5 bytes, 7 bytes, both FIN; relative numbers 100 and 900."""
    port = {"client_port": client_port}
    return [
        tcp(at_s, "S", 100, 0, **port),
        tcp(at_s + 0.1, "SA", 900, 101, from_client=False, **port),
        tcp(at_s + 0.2, "A", 101, 901, **port),
        tcp(at_s + 0.3, "PA", 101, 901, b"hello", **port),
        tcp(at_s + 0.4, "PA", 901, 106, b"goodbye", from_client=False, **port),
        tcp(at_s + 0.5, "FA", 106, 908, **port),
        tcp(at_s + 0.6, "FA", 908, 107, from_client=False, **port),
        tcp(at_s + 0.7, "A", 107, 909, **port),
    ]


def pcap(
    frames: Iterable[Frame], *, order: str = "<", nanoseconds: bool = False, link_type: int = 1, snap_bytes: int = 65535
) -> bytes:
    """A pcap file."""
    unit = 10**9 if nanoseconds else 10**6
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)]
    for frame in frames:
        data = frame.data[:snap_bytes]
        fraction = round(frame.at_s % 1 * unit)
        head = (START_S + int(frame.at_s), fraction, len(data), len(frame.data))
        parts += [struct.pack(f"{order}IIII", *head), data]
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block."""
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + size + body + size


def section(order: str = "<") -> bytes:
    """A pcapng section header block."""
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(order: str = "<", link_type: int = 1, options: bytes = b"") -> bytes:
    """A pcapng interface description block."""
    return block(1, struct.pack(f"{order}HHI", link_type, 0, 65535) + options, order)


def enhanced(units: int, data: bytes, order: str = "<", number: int = 0) -> bytes:
    """A pcapng enhanced packet block at ``units`` of its interface's clock."""
    head = struct.pack(f"{order}IIIII", number, units >> 32, units & 0xFFFFFFFF, len(data), len(data))
    return block(6, head + data + bytes(-len(data) % 4), order)


def decode(frames: list[bytes], link_type: int = 1) -> tuple[PacketBatch, dict[str, int]]:
    """The packets of frames, one second apart, and how many were left out by reason."""
    lengths = np.array([len(frame) for frame in frames], dtype=np.int64)
    batch = FrameBatch(
        buffer=np.frombuffer(b"".join(frames) + bytes(PADDING_BYTES), dtype=np.uint8),
        starts=np.cumsum(lengths) - lengths,
        captured_bytes=lengths,
        at_s=np.arange(len(frames), dtype=np.float64),
        link_type=link_type,
    )
    counts: Counter[str] = Counter()
    packets = decode_frames(batch, counts)
    return packets, {reason: count for reason, count in counts.items() if count}


def meter_file(data: bytes, name: str = "made.pcap") -> FlowBatch:
    """The flows of a capture file, by start."""
    flows = FlowBatch.concatenate(list(PcapSource(Path(name), stream=io.BytesIO(data)).batches()))
    return flows.take(flows.started_at_s.argsort(kind="stable"))


def meter(frames: Iterable[Frame]) -> FlowBatch:
    """The flows of these frames, by start."""
    return meter_file(pcap(frames))


def states(flows: FlowBatch) -> list[str]:
    """Zeek's conn_state of each flow."""
    return [CONN_STATES[code] for code in flows.conn_state]


def histories(flows: FlowBatch) -> list[str]:
    """The history of each flow."""
    return [value.decode() for value in flows.history]
