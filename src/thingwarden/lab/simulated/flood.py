"""hping3's floods, and the lab's own that forge a source for each packet, as packets.

In: a ``PacketFlood``. Out: packets, slice by slice of virtual time, and what their target says to them.
Must never: send more packets, or for longer, than the tool was told.
Source: hping3 3.0: source ports count up, window 512, no options, payload of X.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from thingwarden.domain.packet import PROTO_TCP, PROTO_UDP, TCP_ACK, TCP_SYN
from thingwarden.lab.prefix import SPOOFED
from thingwarden.lab.simulated.network import address_version, address_words
from thingwarden.lab.simulated.raw import ICMP_BYTES, Numbers, Shooter, Times, Volley
from thingwarden.lab.simulated.tcp import IP_BYTES, PLAIN_TCP_BYTES
from thingwarden.lab.simulated.udp import HEADER_BYTES, ICMP_PROTO
from thingwarden.lab.tool import PacketFlood

if TYPE_CHECKING:
    from thingwarden.lab.simulated.world import SimulatedWorld

_STARTS_S: Final = (0.03, 0.06)
_SLICE_S: Final = 0.5
_OVERHEAD_S: Final = 6e-5
_OVERHEAD_MORE_S: Final = 1.2e-4
"""What hping3 takes longer between two packets than it was told, at least and on average beyond."""
_TICK_S: Final = 0.0104
"""The lab's own forger sends what is due all these seconds."""
_WINDOW: Final = 512
_PAYLOAD: Final = b"X" * 32
_SPOOFED_WORD: Final = np.uint64(0xFFFF << 32 | int(SPOOFED.network_address))


@dataclass(frozen=True, slots=True)
class _Salvo:
    at_s: Times
    src_port: Numbers


async def send_flood(world: SimulatedWorld, tool: PacketFlood) -> None:
    """Send all packets, or as many as the time allows."""
    process = world.process
    proto = _proto(tool)
    shooter = Shooter(plane=process.plane, host=process.host, label=process.label_to(tool.target, proto, tool.port))
    rng = process.network.bulk_rng
    ends_s = world.now_s() + tool.lasts_s
    await world.sleep(float(rng.uniform(*_STARTS_S)))
    first_port, sent_count = int(rng.integers(1024, 3000)), 0
    next_s = world.now_s()
    while sent_count < tool.packet_count and next_s < ends_s:
        at_s = _moments(tool, rng, next_s)
        at_s = at_s[at_s < ends_s][: tool.packet_count - sent_count]
        src_port = (first_port + sent_count + np.arange(len(at_s))) % 65536
        if tool.is_spoofed:
            src_port = rng.integers(1024, 65536, len(at_s))
        _fire(shooter, tool, _Salvo(at_s, src_port), rng)
        sent_count += len(at_s)
        next_s += _SLICE_S
        await world.sleep(next_s - world.now_s())


def _moments(tool: PacketFlood, rng: np.random.Generator, begins_s: float) -> Times:
    """When the packets of one slice are sent."""
    if tool.is_spoofed:
        count = max(1, round(_SLICE_S * tool.packets_per_s))
        due_s = np.arange(count) / tool.packets_per_s
        ticks_s = np.ceil(due_s / _TICK_S) * _TICK_S
        return begins_s + ticks_s + np.arange(count) * 1e-6
    pause_s = 1.0 / tool.packets_per_s
    count = int(_SLICE_S / (pause_s + _OVERHEAD_S)) + 1
    steps_s = pause_s + _OVERHEAD_S + rng.exponential(_OVERHEAD_MORE_S, count)
    at_s = begins_s + np.cumsum(steps_s)
    return at_s[at_s < begins_s + _SLICE_S]


def _fire(shooter: Shooter, tool: PacketFlood, salvo: _Salvo, rng: np.random.Generator) -> None:
    count = len(salvo.at_s)
    if not count:
        return
    version = address_version(tool.target)
    proto = _proto(tool)
    header_bytes = {PROTO_TCP: IP_BYTES[version] + PLAIN_TCP_BYTES, PROTO_UDP: HEADER_BYTES[version]}
    volley = Volley(
        at_s=salvo.at_s,
        src_port=salvo.src_port if tool.kind != "icmp" else np.full(count, 8 if version == 4 else 128),
        dst_port=np.full(count, tool.port if tool.kind != "icmp" else 0),
        proto=proto,
        ip_bytes=header_bytes.get(proto, IP_BYTES[version] + ICMP_BYTES) + tool.payload_bytes,
        payload_bytes=tool.payload_bytes,
        flags={"syn": TCP_SYN, "ack": TCP_ACK}.get(tool.kind, 0),
        window_bytes=_WINDOW,
        seq=rng.integers(0, 2**32, count),
        ack=rng.integers(0, 2**32, count) if tool.kind == "ack" else 0,
        source=_sources(tool, rng, count),
        head=_PAYLOAD[: tool.payload_bytes],
    )
    fire = {
        "syn": shooter.fire_syns,
        "ack": shooter.fire_strays,
        "udp": shooter.fire_datagrams,
        "icmp": shooter.fire_echoes,
    }[tool.kind]
    fire(tool.target, volley)


def _sources(
    tool: PacketFlood, rng: np.random.Generator, count: int
) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]] | None:
    """Forged source addresses."""
    if tool.is_spoofed:
        low = _SPOOFED_WORD + rng.integers(1, SPOOFED.num_addresses - 1, count).astype(np.uint64)
        return np.column_stack([np.zeros(count, dtype=np.uint64), low])
    if tool.source:
        return np.tile(np.array(address_words(tool.source), dtype=np.uint64), (count, 1))
    return None


def _proto(tool: PacketFlood) -> int:
    version = address_version(tool.target)
    return {"udp": PROTO_UDP, "icmp": ICMP_PROTO[version]}.get(tool.kind, PROTO_TCP)
