"""How fast packets become flows, on one core, from bytes of a capture to ``FlowBatch``.

In: how many packets. Out: packets per second of CPU time by kind of traffic, and peak memory.
Must never: time the making of its own traffic.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

START_S: Final = 1_700_000_000
REPEATS: Final = 3
"""The fastest counts: what else runs on the machine can only slow it down."""

PACKETS_PER_S: Final = 20_000
"""Rate of the made traffic: it decides how many flows are open at a time."""

_METER_SCRIPT: Final = """
import re, sys, time
from pathlib import Path
from thingwarden.ingest.pcap import PcapSource
source = PcapSource(Path(sys.argv[1]))
before_s = time.process_time()
flow_count = sum(len(batch) for batch in source.batches())
spent_s = time.process_time() - before_s
peak_kib = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
print(source.counts["packets"], flow_count, spent_s, peak_kib)
"""
_KIBIBYTES_PER_MIB: Final = 1024
_RECORD_HEADER_BYTES: Final = 16
_ADDRESS_AT: Final = {True: _RECORD_HEADER_BYTES + 14 + 12, False: _RECORD_HEADER_BYTES + 14 + 16}
"""Where in a record the client's address lies: the source of its own packets, the target of the others."""
_CLIENT, _SERVER = bytes([10, 0, 0, 0]), bytes([203, 0, 113, 5])
_SYN, _SYN_ACK, _ACK, _DATA, _FIN = 0x02, 0x12, 0x10, 0x18, 0x11


class _Packet(NamedTuple):
    """One packet of a template: who sends it, its protocol, transport header and payload."""

    from_client: bool
    proto: int
    body: bytes


@dataclass(frozen=True, slots=True)
class MeteringSpeed:
    """One measurement: what was metered, how fast in CPU time, and the peak resident memory of its process."""

    traffic: str
    packet_count: int
    flow_count: int
    packets_per_s: float
    peak_memory_mib: int


def measure_metering_speed(packet_count: int = 1_000_000) -> list[MeteringSpeed]:
    """Meter made traffic of three kinds: mixed IoT, long transfers, and a flood of SYNs from changing addresses."""
    templates = {"mixed": _mixed(), "transfer": _transfer(), "SYN flood": [_tcp(True, _SYN, 1, 0)]}
    return [_measure(traffic, _capture(template, packet_count)) for traffic, template in templates.items()]


def _measure(traffic: str, capture: bytes) -> MeteringSpeed:
    """Meter in a process of its own, so that the peak memory is the metering's alone."""
    with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
        file.write(capture)
        file.flush()
        runs = [_meter_file(file.name) for _ in range(REPEATS)]
    packet_count, flow_count, spent_s, peak_kib = min(runs, key=lambda run: run[2])
    speed = packet_count / spent_s
    return MeteringSpeed(traffic, int(packet_count), int(flow_count), speed, round(peak_kib / _KIBIBYTES_PER_MIB))


def _meter_file(path: str) -> tuple[float, ...]:
    """Packets, flows, seconds of CPU time, peak KiB."""
    command = [sys.executable, "-c", _METER_SCRIPT, path]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 our own script
    return tuple(float(word) for word in done.stdout.split())


def _tcp(from_client: bool, flags: int, seq: int, ack: int, payload: bytes = b"") -> _Packet:
    ports = (40_000, 443) if from_client else (443, 40_000)
    return _Packet(from_client, 6, struct.pack("!HHIIBBHHH", *ports, seq, ack, 0x50, flags, 512, 0, 0) + payload)


def _udp(from_client: bool, client_port: int, server_port: int, payload: bytes) -> _Packet:
    ports = (client_port, server_port) if from_client else (server_port, client_port)
    return _Packet(from_client, 17, struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload)


def _session(exchange_count: int, payload_bytes: int) -> list[_Packet]:
    """A TCP connection of ``exchange_count`` requests, each answered, and a clean close."""
    packets = [_tcp(True, _SYN, 0, 0), _tcp(False, _SYN_ACK, 0, 1), _tcp(True, _ACK, 1, 1)]
    for nth in range(exchange_count):
        sent = 1 + nth * payload_bytes
        packets.append(_tcp(True, _DATA, sent, sent, bytes(payload_bytes)))
        packets.append(_tcp(False, _DATA, sent, sent + payload_bytes, bytes(payload_bytes)))
    end = 1 + exchange_count * payload_bytes
    return [*packets, _tcp(True, _FIN, end, end), _tcp(False, _FIN, end, end + 1), _tcp(True, _ACK, end + 1, end + 1)]


def _mixed() -> list[_Packet]:
    """A sensor's minute: DNS, NTP, one connection, and two probes that nothing answers."""
    query = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + bytes(24)
    clock = bytes([0x23]) + bytes(47)
    return [
        *(_udp(from_client, 50_000, 53, query) for from_client in (True, False)),
        *(_udp(from_client, 123, 123, clock) for from_client in (True, False)),
        *_session(5, 120),
        *(
            _Packet(True, 6, struct.pack("!HHIIBBHHH", 41_000, port, 9, 0, 0x50, _SYN, 512, 0, 0))
            for port in (23, 2323)
        ),
    ]


def _transfer() -> list[_Packet]:
    return _session(500, 60)


def _capture(template: list[_Packet], packet_count: int) -> bytes:
    """A pcap of the template, repeated with another client address each time."""
    records = [_record(packet) for packet in template]
    rounds = -(-packet_count // len(template))
    rows = np.tile(np.frombuffer(b"".join(records), dtype=np.uint8), (rounds, 1))
    client = np.arange(rounds, dtype=">u4") + int.from_bytes(_CLIENT, "big")
    address = client.astype(">u4").view(np.uint8).reshape(-1, 4)
    at = 0
    for place, (packet, record) in enumerate(zip(template, records, strict=True)):
        at_us = (np.arange(rounds) * len(template) + place) * (1_000_000 // PACKETS_PER_S)
        stamp = np.column_stack([START_S + at_us // 1_000_000, at_us % 1_000_000]).astype("<u4")
        rows[:, at : at + 8] = stamp.view(np.uint8)
        client_at = at + _ADDRESS_AT[packet.from_client]
        rows[:, client_at : client_at + 4] = address
        at += len(record)
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + rows.tobytes()


def _record(packet: _Packet) -> bytes:
    ends = _CLIENT + _SERVER if packet.from_client else _SERVER + _CLIENT
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(packet.body), 1, 0, 64, packet.proto, 0)
    frame = bytes(12) + b"\x08\x00" + header + ends + packet.body
    return struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame


def render(speeds: list[MeteringSpeed]) -> str:
    """The measurements as Markdown."""
    lines = [
        "# Speed of metering",
        "",
        "Made by `thingwarden bench metering`: from a pcap file to finished flows,",
        "one core, CPU time, the fastest of three runs, each in a process of its own; memory is that",
        "process's peak resident size. The traffic is made by the measurement itself: *mixed* is DNS, NTP,",
        "short connections and unanswered probes; *transfer* is connections of 1,000 segments; *SYN flood* is",
        "one SYN from each of as many addresses.",
        "",
        "| traffic | packets | flows | packets/s | peak memory |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.traffic} | {each.packet_count:,} | {each.flow_count:,} | {each.packets_per_s:,.0f} |"
        f" {each.peak_memory_mib} MiB |"
        for each in speeds
    ]
    return "\n".join([*lines, ""])
