"""Packets that are written down and read again are the same packets."""

from __future__ import annotations

import random
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path

import numpy as np

from thingwarden.domain.flow import words_from_address
from thingwarden.domain.packet import PAYLOAD_HEAD_LENGTH, PacketBatch
from thingwarden.ingest.pcap import PcapSource
from thingwarden.lab.packet_file import PacketFile

HEAD_BYTES = {6: 32, 17: 8, 1: 8, 58: 8}


def packets() -> PacketBatch:
    """Sixty packets of four protocols and both IP versions."""
    rng = random.Random(7)
    count = 60
    proto = np.array([(6, 17, 1, 6, 17, 58)[i % 6] for i in range(count)], dtype=np.uint8)
    is_v6 = np.arange(count) % 6 >= 3
    payload_bytes = np.array([rng.choice((0, 5, 900)) for _ in range(count)])
    heads = np.array([HEAD_BYTES[int(number)] for number in proto]) + np.where(is_v6, 40, 20)
    is_tcp = proto == 6
    ports = np.array([rng.randrange(1, 250) for _ in range(count)], dtype=np.uint16)
    ends = {True: ("2001:db8:77::15", "2001:db8:100::50"), False: ("10.77.0.21", "203.0.113.80")}
    addresses = [[words_from_address(ip_address(ends[bool(v6)][side])) for v6 in is_v6] for side in (0, 1)]
    head = np.zeros((count, PAYLOAD_HEAD_LENGTH), dtype=np.uint8)
    head[payload_bytes == 900] = rng.randrange(1, 256)
    head[payload_bytes == 5, :5] = 77
    return PacketBatch(
        at_s=1_800_000_000.0 + np.arange(count) / 8,
        src_address=np.array(addresses[0], dtype=np.uint64),
        dst_address=np.array(addresses[1], dtype=np.uint64),
        src_port=ports,
        dst_port=ports[::-1].copy(),
        proto=proto,
        ip_bytes=heads + payload_bytes,
        payload_bytes=payload_bytes,
        tcp_flags=(np.where(is_tcp, 0x18, 0)).astype(np.uint8),
        tcp_seq=(is_tcp * 4_000_000_000).astype(np.uint32),
        tcp_ack=(is_tcp * 17).astype(np.uint32),
        tcp_receive_bytes=np.where(is_tcp, 512, 1).astype(np.uint16),
        src_mac=np.full(count, 0x027700000015, dtype=np.uint64),
        dst_mac=np.full(count, 0x027700000001, dtype=np.uint64),
        payload_head=head,
    )


def test_packets_survive(tmp_path: Path) -> None:
    written = packets()
    path = tmp_path / "written.pcap"
    with path.open("wb") as sink:
        file = PacketFile(sink, snap_bytes=192)
        file.write(written.take(np.arange(20)))
        file.write(written.take(np.arange(20, 60)))
    (read,) = PcapSource(path).packets()
    for field in fields(PacketBatch):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(written, field.name), err_msg=field.name)


def test_records_are_cut_and_keep_their_length(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    with path.open("wb") as sink:
        PacketFile(sink, snap_bytes=96).write(packets())
    assert path.stat().st_size <= 24 + 60 * (16 + 96)
    (read,) = PcapSource(path).packets()
    np.testing.assert_array_equal(read.ip_bytes, packets().ip_bytes)
