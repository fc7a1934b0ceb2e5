"""Frames of a busy network and of attackers in it, made from a seed, for measuring how soon an attack is cut.

In: how many flows a second, for how long; which attacker does what. Out: frames and when each is to be sent.
Must never: name an address outside the lab, or be used to judge what a model can tell apart.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.lab.prefix import GATEWAY_MAC, INTERNET, LAN

CROWD_COUNT: Final = 2500
"""Devices whose flows are the background: two flows a second each at 5,000 in all."""

CROWD: Final = IPv4Network("172.16.0.0/16")
"""Their addresses, which nobody routes: frames of the crowd are heard by who listens, and taken by nobody."""

FIRST_ATTACKER: Final = 190
MOST_ATTACKERS: Final = 60
"""Each attack comes from a device that did nothing before, so that each needs evidence of its own."""

_SERVER_COUNT: Final = 20
_RESOLVER_COUNT: Final = 200
_DATAGRAM_RATIO: Final = 0.08
"""A UDP flow is open for a minute, a closed TCP flow for five seconds: so 5,000 flows a second stay below the 50,000
that the meter keeps open."""
_ROUND_TRIP_S: Final = 0.01
_SYN, _SYN_ACK, _PUSH, _FIN = 0x02, 0x12, 0x18, 0x19
_ETHERNET: Final = struct.Struct("!6s6sH")
_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
_TCP: Final = struct.Struct("!HHIIBBHHH")
_UDP: Final = struct.Struct("!HHHH")
_GATEWAY_MAC: Final = bytes.fromhex(GATEWAY_MAC.replace(":", ""))
_NOBODY_MAC: Final = bytes.fromhex("0277fffffffe")
"""The crowd's other end on the link: heard by who listens, taken by nobody, so that no answer adds to the load."""

_QUERY: Final = bytes.fromhex("12340100000100000000000003746177076578616d706c650000010001")
_ANSWER: Final = bytes.fromhex("12348180000100010000000003746177076578616d706c650000010001c00c00010001000000")
_REQUEST: Final = bytes.fromhex("1603010200010001fc0303") + bytes(189)
_RESPONSE: Final = bytes.fromhex("160303007a020000760303") + bytes(139)
"""The first bytes of a TLS handshake, enough to name it."""


@dataclass(frozen=True, slots=True)
class Sending:
    """Frames in the order of their sending; ``at_s`` float64, ascending seconds after the beginning."""

    frames: list[bytes]
    at_s: npt.NDArray[np.float64]


def crowd_frames(flows_per_s: float, span_s: float, seed: int = 0) -> Sending:
    """Ordinary short flows of ``CROWD_COUNT`` devices with their usual servers: look-ups and small requests.

    Both directions are made by one sender; nobody answers.
    """
    rng = np.random.default_rng(seed)
    count = int(flows_per_s * span_s)
    began_s = np.sort(rng.uniform(0.0, span_s, count))
    device = rng.integers(0, CROWD_COUNT, count)
    is_datagram = rng.random(count) < _DATAGRAM_RATIO
    frames: list[bytes] = []
    at_s: list[float] = []
    rows = zip(began_s.tolist(), device.tolist(), is_datagram.tolist(), range(count), strict=True)
    for start_s, host, is_udp, number in rows:
        exchange = _look_up(host, number) if is_udp else _request(host, number)
        for place, frame in enumerate(exchange):
            frames.append(frame)
            at_s.append(start_s + place * _ROUND_TRIP_S)
    order = np.argsort(at_s, kind="stable")
    return Sending([frames[row] for row in order.tolist()], np.array(at_s)[order])


def flood_frames(attacker: int, packets_per_s: float, span_s: float) -> Sending:
    """SYNs of one device to one service of the internet, as fast as told; the sequence number counts them."""
    victim = INTERNET[0][80]
    count = int(packets_per_s * span_s)
    return _attack(attacker, packets_per_s, [(victim, 1024 + number % 60_000, 80) for number in range(count)])


def scan_frames(attacker: int, packets_per_s: float, span_s: float) -> Sending:
    """SYNs of one device to ever other hosts of the internet for telnet; the sequence number counts them."""
    count = int(packets_per_s * span_s)
    hosts = [INTERNET[number // 200 % 2][20 + number % 200] for number in range(count)]
    return _attack(attacker, packets_per_s, [(host, 1024 + number % 60_000, 23) for number, host in enumerate(hosts)])


def attacker_mac(attacker: int) -> bytes:
    """The link-layer address of an attacker, by its number."""
    return bytes.fromhex("0277ee0000") + bytes([attacker])


def attacker_address(attacker: int) -> IPv4Address:
    """The address of an attacker, by its number below ``MOST_ATTACKERS``."""
    return LAN[FIRST_ATTACKER + attacker]


def attack_number(frame: bytes) -> tuple[int, int] | None:
    """Which attacker's how-manyth packet a frame of the uplink carries; None of anything else.

    The gateway may have changed the addresses on the way; the sequence number stays.
    """
    if len(frame) < 54 or frame[12:14] != b"\x08\x00" or frame[23] != 6 or frame[47] != _SYN:
        return None
    sequence = int.from_bytes(frame[38:42], "big")
    return sequence >> 16, sequence & 0xFFFF


def _attack(attacker: int, packets_per_s: float, aims: list[tuple[IPv4Address, int, int]]) -> Sending:
    source, mac = attacker_address(attacker), attacker_mac(attacker)
    frames = [
        _frame(mac, _GATEWAY_MAC, source, host, 6, _segment(sport, dport, _SYN, attacker << 16 | number))
        for number, (host, sport, dport) in enumerate(aims)
    ]
    return Sending(frames, np.arange(len(aims)) / packets_per_s)


def _crowd_mac(host: int) -> bytes:
    return bytes.fromhex("0277cc00") + host.to_bytes(2, "big")


def _look_up(host: int, number: int) -> Iterator[bytes]:
    source, mac, port = CROWD[256 + host], _crowd_mac(host), 32_768 + number % 28_000
    resolver = CROWD[1 + host % _RESOLVER_COUNT]
    yield _frame(mac, _NOBODY_MAC, source, resolver, 17, _datagram(port, 53, _QUERY))
    yield _frame(_NOBODY_MAC, mac, resolver, source, 17, _datagram(53, port, _ANSWER))


def _request(host: int, number: int) -> Iterator[bytes]:
    source, mac, port = CROWD[256 + host], _crowd_mac(host), 32_768 + number % 28_000
    server = INTERNET[1][10 + host % _SERVER_COUNT]
    mine, theirs = number & 0xFFFFFF, 7_000_000 + number
    asked, told = mine + 1 + len(_REQUEST), theirs + 1 + len(_RESPONSE)
    steps = (
        (True, _SYN, mine, 0, b""),
        (False, _SYN_ACK, theirs, mine + 1, b""),
        (True, _PUSH, mine + 1, theirs + 1, _REQUEST),
        (False, _FIN, theirs + 1, asked, _RESPONSE),
        (True, _FIN, asked, told + 1, b""),
    )
    for is_own, flags, seq, ack, payload in steps:
        if is_own:
            yield _frame(mac, _NOBODY_MAC, source, server, 6, _segment(port, 443, flags, seq, ack, payload))
        else:
            yield _frame(_NOBODY_MAC, mac, server, source, 6, _segment(443, port, flags, seq, ack, payload))


def _frame(src_mac: bytes, dst_mac: bytes, src: IPv4Address, dst: IPv4Address, proto: int, body: bytes) -> bytes:
    header = _IPV4.pack(0x45, 0, 20 + len(body), 0, 0x4000, 64, proto, 0, src.packed, dst.packed)
    return _ETHERNET.pack(dst_mac, src_mac, 0x0800) + _with_sum(header) + _with_transport_sum(body, src, dst, proto)


def _segment(sport: int, dport: int, flags: int, seq: int, ack: int = 0, payload: bytes = b"") -> bytes:
    return _TCP.pack(sport, dport, seq, ack, 0x50, flags, 64_240, 0, 0) + payload


def _datagram(sport: int, dport: int, payload: bytes) -> bytes:
    return _UDP.pack(sport, dport, 8 + len(payload), 0) + payload


def _with_sum(header: bytes) -> bytes:
    return header[:10] + _checksum(header).to_bytes(2, "big") + header[12:]


def _with_transport_sum(body: bytes, src: IPv4Address, dst: IPv4Address, proto: int) -> bytes:
    """TCP with its checksum, which a victim's kernel asks for; UDP goes without, as it may."""
    if proto != 6:
        return body
    pseudo = src.packed + dst.packed + struct.pack("!HH", proto, len(body))
    total = _checksum(pseudo + body + bytes(len(body) % 2))
    return body[:16] + total.to_bytes(2, "big") + body[18:]


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
