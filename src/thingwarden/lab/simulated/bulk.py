"""Many TCP segments at once: what a transfer of more than one segment looks like, worked out on arrays.

In: one side of a connection and how much it sends. Out: packets at the capture, and when the last byte arrives.
Must never: loop over the segments of a large transfer; only over the few rounds of its window and of its losses.
Source: RFC 5681, RFC 6582, RFC 9438; initial window of ten segments as Linux has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.packet import PAYLOAD_HEAD_LENGTH, TCP_ACK
from thingwarden.lab.simulated.capture import ROW, pack_rest
from thingwarden.lab.simulated.link import LOST

if TYPE_CHECKING:
    from thingwarden.lab.simulated.tcp import Side

_SPACING_S: Final = 2.5e-6
"""Between two segments that the kernel sends back to back."""
_KERNEL_S: Final = 6e-6
_MOST_SEGMENTS: Final = 400
_WINDOW_AFTER_LOSS: Final = 0.7
_LEAST_RETRY_S: Final = 0.2
_SELECTIVE_ACK_BYTES: Final = 12
_UNREAD_SEGMENTS_FIRST: Final = 5
_UNREAD_SEGMENTS: Final = 2
"""How many segments the kernel acknowledges in pairs before the program has read any of them: fewer later on."""
_READ_S: Final = 8e-5
"""What a program takes for reading much at once, beyond noticing that it has come."""
FIRST_WINDOW: Final = 10
_FEW: Final = 20
_LARGEST_BITS: Final = 12e-3
"""Of a packet of 1500 bytes, in millions."""
_FOLLOWING_S: Final = 1e-6
_PSH: Final = 0x08
_OPEN_WINDOW: Final = 502


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """What is to be sent, what it begins with, and when."""

    wire_bytes: int
    head: bytes
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """When the last segment was first sent, when all had arrived, and whether the last one is acknowledged at once."""

    sent_at_s: float
    arrived_at_s: float
    is_acknowledged: bool


def send_burst(side: Side, burst: Burst) -> Landing:
    """Send ``burst`` from ``side``, whose window grows or shrinks by what happens; both hosts are up."""
    count = -(-burst.wire_bytes // side.mss_bytes)
    if count <= _FEW:
        return send_few(side, burst, count)
    size_bytes = np.full(count, side.mss_bytes, dtype=np.int64)
    size_bytes[-1] = burst.wire_bytes - (count - 1) * side.mss_bytes
    is_first = side.segments_allowed == FIRST_WINDOW
    departs_s = _departures(side, burst.at_s, count)
    arrives_s = _fly(side, size_bytes, departs_s, burst.head)
    is_acknowledged = _acknowledge(side, size_bytes, arrives_s, is_first=is_first)
    return Landing(
        sent_at_s=float(departs_s[-1]) + _SPACING_S,
        arrived_at_s=float(arrives_s.max()),
        is_acknowledged=is_acknowledged,
    )


def send_few(side: Side, burst: Burst, count: int) -> Landing:
    """As ``send_burst`` for ``count`` segments, of which there are so few that a loop is quicker than arrays."""
    is_first = side.segments_allowed == FIRST_WINDOW
    spacing_s = _spacing_s(side)
    arrivals: list[tuple[float, int]] = []
    at_s, in_round = burst.at_s, 0
    for number in range(count):
        if in_round == side.segments_allowed:
            at_s, in_round = at_s + max(side.rtt_s, in_round * spacing_s), 0
            side.segments_allowed = min(2 * side.segments_allowed, _MOST_SEGMENTS)
        arrivals.append((_fly_one(side, burst, number, count, at_s + in_round * spacing_s), number))
        in_round += 1
    arrivals.sort()
    return Landing(
        sent_at_s=at_s + in_round * spacing_s,
        arrived_at_s=arrivals[-1][0],
        is_acknowledged=_acknowledge_few(side, arrivals, burst.wire_bytes, is_first=is_first),
    )


def _fly_one(side: Side, burst: Burst, number: int, count: int, at_s: float) -> float:
    """When one segment arrives at last; every attempt that reaches the capture is noted."""
    is_last = number == count - 1
    wire_bytes = burst.wire_bytes - number * side.mss_bytes if is_last else side.mss_bytes
    size_bytes = side.header_bytes + wire_bytes
    seq = (side.next_seq + number * side.mss_bytes) & 0xFFFF_FFFF
    outward, inward = side.host.outward, side.other.host.inward
    retry_s = side.rtt_s if number < count - 3 else _LEAST_RETRY_S + side.rtt_s
    seen_s = outward.cross_alone(at_s, size_bytes)
    if seen_s != LOST and not outward.overtakes:
        seen_s = side.last_seen_s = max(seen_s, side.last_seen_s + _FOLLOWING_S)
    while True:
        if seen_s != LOST:
            if side.lane:
                flags, head = (TCP_ACK | _PSH if is_last else TCP_ACK), burst.head if number == 0 else b""
                rest = pack_rest(
                    seen_s,
                    size_bytes,
                    wire_bytes,
                    flags,
                    seq,
                    side.received_to,
                    _OPEN_WINDOW,
                    head[:PAYLOAD_HEAD_LENGTH],
                )
                side.network.capture.rows.append(side.lane + rest)
            arrives_s = inward.cross_alone(seen_s, size_bytes)
            if arrives_s != LOST:
                return arrives_s
        side.segments_allowed = max(2, int(side.segments_allowed * _WINDOW_AFTER_LOSS))
        at_s, retry_s = at_s + retry_s, 2 * retry_s + _LEAST_RETRY_S
        seen_s = outward.cross_alone(at_s, size_bytes)


def _acknowledge_few(side: Side, arrivals: list[tuple[float, int]], wire_bytes: int, *, is_first: bool) -> bool:
    """As ``_acknowledge`` for segments in the order of their arrival."""
    other, count = side.other, len(arrivals)
    lag_s = _READ_S + side.network.lag_s() + other.more_lag_s
    allowed = _UNREAD_SEGMENTS_FIRST if is_first else _UNREAD_SEGMENTS
    began_s, since_read, lone_count, whole = arrivals[0][0], 0, 0, 0
    come = [False] * (count + 1)
    is_due, due_s = False, 0.0
    for place, (at_s, number) in enumerate(arrivals):
        before, come[number], since_read = whole, True, since_read + 1
        while come[whole]:
            whole += 1
        is_due = whole - before != 1 or (place % 2 == 1 and place < allowed)
        due_s = max(due_s, at_s + _KERNEL_S)
        read = int((at_s - began_s) / lag_s)
        if place + 1 == count or int((arrivals[place + 1][0] - began_s) / lag_s) != read:
            lone_count += since_read < 2
            if not is_due and (since_read >= 2 or lone_count % 2 == 0):
                is_due, due_s = True, max(due_s, began_s + (read + 1) * lag_s)
            since_read = 0
        if is_due:
            acknowledged_bytes = min(whole * side.mss_bytes, wire_bytes)
            _acknowledge_one(side, due_s, acknowledged_bytes, is_gap=whole == before)
    return is_due


def _acknowledge_one(side: Side, at_s: float, acknowledged_bytes: int, *, is_gap: bool) -> None:
    other = side.other
    size_bytes = side.header_bytes + (_SELECTIVE_ACK_BYTES if is_gap else 0)
    seen_s = other.host.outward.cross_alone(at_s, size_bytes)
    if seen_s != LOST and other.lane:
        ack = (side.next_seq + acknowledged_bytes) & 0xFFFF_FFFF
        rest = pack_rest(seen_s, size_bytes, 0, TCP_ACK, other.next_seq, ack, _OPEN_WINDOW, b"")
        side.network.capture.rows.append(other.lane + rest)


def _spacing_s(side: Side) -> float:
    """Seconds between two segments that follow each other: as the slowest link of the way lets them."""
    spacing_s = _SPACING_S
    for channel in (side.host.outward, side.other.host.inward):
        if channel.link is not None and channel.link.rate_mbps:
            spacing_s = max(spacing_s, _LARGEST_BITS / channel.link.rate_mbps)
    return spacing_s


def _departures(side: Side, at_s: float, count: int) -> npt.NDArray[np.float64]:
    """When each segment is first sent: the window's worth per round trip, at most as fast as the slowest link."""
    spacing_s = _spacing_s(side)
    departs_s = np.empty(count)
    done = 0
    while done < count:
        now = min(side.segments_allowed, count - done)
        departs_s[done : done + now] = at_s + np.arange(now) * spacing_s
        at_s += max(side.rtt_s, now * spacing_s)
        done += now
        if now == side.segments_allowed:
            side.segments_allowed = min(2 * side.segments_allowed, _MOST_SEGMENTS)
    return departs_s


def _fly(
    side: Side, size_bytes: npt.NDArray[np.int64], departs_s: npt.NDArray[np.float64], head: bytes
) -> npt.NDArray[np.float64]:
    """When each segment arrives at last; every attempt that reaches the capture is noted."""
    rng = side.network.bulk_rng
    arrives_s = np.full(len(size_bytes), LOST)
    missing = np.arange(len(size_bytes))
    retry_s = side.rtt_s
    after_s = side.last_seen_s + _FOLLOWING_S
    while len(missing):
        packet_bytes = side.header_bytes + size_bytes[missing]
        seen_s = np.maximum(side.host.outward.cross_many(departs_s, packet_bytes, rng), after_s)
        is_seen = seen_s != LOST
        if is_seen.any():
            side.last_seen_s = max(side.last_seen_s, float(seen_s[is_seen].max()))
        _note_data(side, missing[is_seen], size_bytes, seen_s[is_seen], head)
        landed_s = np.full(len(missing), LOST)
        landed_s[is_seen] = side.other.host.inward.cross_many(seen_s[is_seen], packet_bytes[is_seen], rng)
        arrives_s[missing] = landed_s
        is_lost = landed_s == LOST
        if is_lost.any():
            side.segments_allowed = max(2, int(side.segments_allowed * _WINDOW_AFTER_LOSS))
        missing, departs_s = missing[is_lost], departs_s[is_lost]
        # Three later segments that arrive tell of a loss; at the tail, and for what is lost again, a timer does.
        is_tail = missing >= len(size_bytes) - 3
        departs_s = departs_s + np.where(is_tail | (retry_s > side.rtt_s), _LEAST_RETRY_S + retry_s, retry_s)
        retry_s = retry_s * 2 + 1e-3
    return arrives_s


def _acknowledge(
    side: Side, size_bytes: npt.NDArray[np.int64], arrives_s: npt.NDArray[np.float64], *, is_first: bool
) -> bool:
    """Note the acknowledgements of segments that arrive so; whether the last segment is acknowledged with them."""
    other, count = side.other, len(arrives_s)
    order = np.argsort(arrives_s, kind="stable")
    order_s = arrives_s[order]
    place = np.empty(count, dtype=np.int64)
    place[order] = np.arange(count)
    done = np.searchsorted(np.maximum.accumulate(place), np.arange(count), side="right")
    lag_s = _READ_S + side.network.lag_s() + other.more_lag_s
    allowed = _UNREAD_SEGMENTS_FIRST if is_first else _UNREAD_SEGMENTS
    rows, due_s = _due(order_s, done, lag_s, allowed)
    is_last_due = bool(len(rows)) and int(rows[-1]) == count - 1
    advance = np.diff(done, prepend=0)[rows]
    packet_bytes = side.header_bytes + np.where(advance == 0, _SELECTIVE_ACK_BYTES, 0)
    seen_s = other.host.outward.cross_many(due_s, packet_bytes, side.network.bulk_rng)
    ends = np.concatenate([[0], np.cumsum(size_bytes)])[done[rows]]
    is_seen = seen_s != LOST
    if other.lane and is_seen.any():
        block = _block(other, seen_s[is_seen])
        block["ip_bytes"] = packet_bytes[is_seen]
        block["tcp_flags"] = TCP_ACK
        block["tcp_seq"] = other.next_seq
        block["tcp_ack"] = (side.next_seq + ends[is_seen]) & 0xFFFF_FFFF
        side.network.capture.add_block(block)
    return is_last_due


def _due(
    order_s: npt.NDArray[np.float64], done: npt.NDArray[np.int64], lag_s: float, allowed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Which arrivals are acknowledged, and when.

    The kernel acknowledges a gap, and what fills it, at once; else the first segments in pairs, and then, each time
    the program has read, what has come since if that is more than one segment.
    """
    count = len(order_s)
    advance = np.diff(done, prepend=0)
    read = np.floor((order_s - order_s[0]) / lag_s).astype(np.int64)
    reads = np.flatnonzero(np.append(read[1:] != read[:-1], True))
    since = np.diff(reads, prepend=-1)
    is_lone = since < 2
    lone_number = np.cumsum(is_lone)
    reads = reads[~is_lone | (lone_number % 2 == 0)]
    is_due = advance != 1
    is_due[1 : min(allowed, count) : 2] = True
    due_s = order_s + _KERNEL_S
    is_read = np.zeros(count, dtype=np.bool_)
    is_read[reads] = ~is_due[reads]
    is_due |= is_read
    begins_s = order_s[0] + read * lag_s
    due_s = np.where(is_read, np.maximum(due_s, begins_s + lag_s), due_s)
    rows = np.flatnonzero(is_due)
    return rows, np.maximum.accumulate(due_s[rows])


def _note_data(
    side: Side,
    segments: npt.NDArray[np.int64],
    size_bytes: npt.NDArray[np.int64],
    seen_s: npt.NDArray[np.float64],
    head: bytes,
) -> None:
    if not side.lane or not len(segments):
        return
    block = _block(side, seen_s)
    block["ip_bytes"] = side.header_bytes + size_bytes[segments]
    block["payload_bytes"] = size_bytes[segments]
    block["tcp_flags"] = np.where(segments == len(size_bytes) - 1, TCP_ACK | _PSH, TCP_ACK)
    block["tcp_seq"] = (side.next_seq + segments * side.mss_bytes) & 0xFFFF_FFFF
    block["tcp_ack"] = side.received_to
    if segments[0] == 0:
        start = head[:PAYLOAD_HEAD_LENGTH].ljust(PAYLOAD_HEAD_LENGTH, b"\0")
        block["payload_head"][0] = np.frombuffer(start, dtype=np.uint8)
    side.network.capture.add_block(block)


def _block(side: Side, seen_s: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    row = side.lane + pack_rest(0.0, 0, 0, 0, 0, 0, _OPEN_WINDOW, b"")
    block = np.repeat(np.frombuffer(row, dtype=ROW), len(seen_s))
    block["at_s"] = seen_s
    return block
