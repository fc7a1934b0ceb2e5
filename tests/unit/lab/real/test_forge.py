"""Forged packets: sources inside the prefix meant for them, checksums that receivers accept."""

from __future__ import annotations

import random
import struct
from ipaddress import IPv4Address
from typing import Literal

import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.lab.prefix import SPOOFED
from thingwarden.lab.real.forge import flood_spoofed, forge_packet
from thingwarden.lab.tool import PacketFlood


def words_sum(data: bytes) -> int:
    """The Internet checksum's sum (RFC 1071), which is 0xFFFF over data that carries a right one."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize(
    ("kind", "proto", "bytes_after"), [("syn", 6, 20), ("ack", 6, 20), ("udp", 17, 8), ("icmp", 1, 8)]
)
@pytest.mark.parametrize("payload_bytes", [0, 33])
def test_packets_are_sound(
    kind: Literal["syn", "ack", "udp", "icmp"], proto: int, bytes_after: int, payload_bytes: int
) -> None:
    tool = PacketFlood(target="10.77.0.21", kind=kind, port=81, payload_bytes=payload_bytes, is_spoofed=True)
    rng = random.Random(3)
    packets = [forge_packet(tool, rng) for _ in range(50)]
    assert len({packet[12:16] for packet in packets}) == 50
    for packet in packets:
        assert IPv4Address(packet[12:16]) in SPOOFED
        assert packet[16:20] == IPv4Address("10.77.0.21").packed
        assert packet[9] == proto
        content = packet[20:]
        assert len(content) == bytes_after + payload_bytes
        pseudo = b"" if proto == 1 else packet[12:20] + struct.pack(">BBH", 0, proto, len(content))
        assert words_sum(pseudo + content) == 0xFFFF
        if proto != 1:
            assert struct.unpack_from(">H", content, 2) == (81,)


async def _flood(target: str) -> None:
    await flood_spoofed(PacketFlood(target=target, is_spoofed=True), random.Random(1))


def test_a_target_outside_is_refused_before_any_socket_is_made() -> None:
    with pytest.raises(RequestError, match="outside"):
        _flood("9.9.9.9").send(None)
