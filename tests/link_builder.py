"""Frames in which hosts say who is who on the link, for the tests of ingest and detection.

In: who says what. Out: ``Frame`` values, and the statements that are read from them.
Must never: use the code under test to make its input.
"""

from __future__ import annotations

import io
import ipaddress
import struct
from collections.abc import Iterable
from pathlib import Path

from packet_builder import Frame, pcap, udp_datagram
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.link_layer import LinkBatch
from thingwarden.ingest.pcap import PcapSource

BROADCAST = "ff:ff:ff:ff:ff:ff"
NOBODY = "00:00:00:00:00:00"


def mac_bytes(mac: str) -> bytes:
    """A MAC as it stands in a frame."""
    return bytes.fromhex(mac.replace(":", ""))


def arp(
    at_s: float,
    operation: int,
    own: tuple[str, str],
    other: tuple[str, str],
    *,
    tags: bytes = b"",
    sender: str = "",
    shape: tuple[int, int, int, int] = (1, 0x0800, 6, 4),
) -> Frame:
    """An ARP frame; ``own`` and ``other`` are MAC and IPv4 address of its sender and target."""
    ends = b"".join(mac_bytes(mac) + ipaddress.IPv4Address(address).packed for mac, address in (own, other))
    target = BROADCAST if other[0] == NOBODY else other[0]
    head = mac_bytes(target) + mac_bytes(sender or own[0]) + tags + b"\x08\x06"
    return Frame(at_s, head + struct.pack("!HHBBH", *shape, operation) + ends)


def asks(at_s: float, own: tuple[str, str], address: str) -> Frame:
    """A host asks who has an address."""
    return arp(at_s, 1, own, (NOBODY, address))


def answers(at_s: float, own: tuple[str, str], other: tuple[str, str]) -> Frame:
    """A host says that it has an address."""
    return arp(at_s, 2, own, other)


def announces(at_s: float, own: tuple[str, str]) -> Frame:
    """A host says to all that it has an address: gratuitous ARP."""
    return arp(at_s, 1, own, (NOBODY, own[1]))


def ipv6(mac: str, source: str, destination: str, body: bytes, *, proto: int = 58, hops: int = 255) -> bytes:
    """An Ethernet frame with an IPv6 packet."""
    head = struct.pack("!IHBB", 6 << 28, len(body), proto, hops)
    ends = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(destination).packed
    return mac_bytes("33:33:00:00:00:01") + mac_bytes(mac) + b"\x86\xdd" + head + ends + body


def option(kind: int, mac: str) -> bytes:
    """A link-layer address option."""
    return bytes([kind, 1]) + mac_bytes(mac)


def solicits(at_s: float, own: tuple[str, str], address: str) -> Frame:
    """A neighbour solicitation; from ``::`` it asks whether an address is free."""
    mac, source = own
    body = struct.pack("!BBHI", 135, 0, 0, 0) + ipaddress.IPv6Address(address).packed
    return Frame(at_s, ipv6(mac, source, "ff02::1", body + (b"" if source == "::" else option(1, mac))))


def advertises(
    at_s: float, own: tuple[str, str], destination: str = "ff02::1", *, flags: int = 0x20, hops: int = 255
) -> Frame:
    """A neighbour advertisement, by default an unsolicited one that overrides."""
    mac, address = own
    body = struct.pack("!BBHI", 136, 0, 0, flags << 24) + ipaddress.IPv6Address(address).packed + option(2, mac)
    return Frame(at_s, ipv6(mac, address, destination, body, hops=hops))


def offers_way_out(at_s: float, own: tuple[str, str], lifetime_s: int = 1800) -> Frame:
    """A router advertisement."""
    mac, source = own
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, lifetime_s, 0, 0) + option(1, mac)
    return Frame(at_s, ipv6(mac, source, "ff02::1", body))


def leases(at_s: float, own: tuple[str, str], *, message: int = 5, router: str = "", cut_bytes: int = 0) -> Frame:
    """What a DHCP server says, by default an acknowledgement."""
    mac, address = own
    server = ipaddress.IPv4Address(address).packed
    options = bytes([0, 53, 1, message, 54, 4]) + server
    options += bytes([3, 4]) + ipaddress.IPv4Address(router).packed if router else b""
    body = bytes([2, 1, 6, 0]) + bytes(232) + bytes.fromhex("63825363") + options + b"\xff"
    datagram = udp_datagram(67, 68, body)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 1, 0, 64, 17, 0) + server + b"\xff" * 4
    frame = mac_bytes(BROADCAST) + mac_bytes(mac) + b"\x08\x00" + head + datagram
    return Frame(at_s, frame[: len(frame) - cut_bytes])


def read(frames: Iterable[Frame], link_type: int = 1) -> tuple[LinkBatch, dict[str, int], FlowBatch]:
    """What frames say about the link, the counts of the file that they stand in, and its flows."""
    heard: list[LinkBatch] = []
    stream = io.BytesIO(pcap(frames, link_type=link_type))
    source = PcapSource(Path("made.pcap"), stream=stream, hear_link=heard.append)
    flows = FlowBatch.concatenate(list(source.batches()))
    return LinkBatch.concatenate(heard), dict(source.counts), flows
