"""Payload bytes by TCP sequence numbers, and what the numbers betray: retransmission.

In: TCP packets sorted by flow. Out: highest sequence numbers per flow and side, which packets retransmit.
Must never: loop over packets, or trust a reset's sequence number that jumps.
Source: Zeek counts bytes by sequence number, so lost packets count and retransmitted ones do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.ingest.flow_table import FlowTable
from thingwarden.ingest.tcp_state import EVENT_ACK, EVENT_FIN, EVENT_RST, EVENT_SYN

MAX_RESET_JUMP_BYTES: Final = 1 << 20
"""A reset further from the last sequence number is not believed, as in Zeek."""

_SEGMENT_STRIDE: Final = 1 << 42
_CLIP: Final = 1 << 40
"""Relative numbers stay within 1 TB, so that one running maximum can serve all flows at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """TCP packets sorted by flow; columns of length n.

    Attributes:
        flow: int64, row in the table.
        is_resp: uint8.
        event: uint8, ``EVENT_`` bits without the side.
        seq, ack: uint32.
        payload_bytes: int64.
        is_after_reset: bool, whether the sender had already reset.
    """

    flow: npt.NDArray[np.int64]
    is_resp: npt.NDArray[np.uint8]
    event: npt.NDArray[np.uint8]
    seq: npt.NDArray[np.uint32]
    ack: npt.NDArray[np.uint32]
    payload_bytes: npt.NDArray[np.int64]
    is_after_reset: npt.NDArray[np.bool_]


def count_stream(flows: FlowTable, segments: Segments) -> npt.NDArray[np.bool_]:
    """Advance each flow's sequence numbers.

    Returns:
        bool (n,), whether the packet brings only payload that was already sent.
    """
    is_retransmit = np.zeros(len(segments.flow), dtype=np.bool_)
    first_place = np.where(flows.has_packet, -1, len(segments.flow))
    for side in (0, 1):
        rows = np.flatnonzero(segments.is_resp == side)
        flow = segments.flow[rows]
        is_new = _begins(flow) & ~flows.has_packet[flow, side]
        first_place[flow[is_new], side] = rows[is_new]
        _advance_side(flows, segments, rows, side, is_retransmit)
        fin = (segments.event[rows] & EVENT_FIN) != 0
        flows.has_fin[flow[fin], side] = True
    for side in (0, 1):
        _acknowledge(flows, segments, side, first_place[:, side])
    return is_retransmit


def _begins(flow: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    first = np.ones(len(flow), dtype=np.bool_)
    first[1:] = flow[1:] != flow[:-1]
    return first


def _advance_side(
    flows: FlowTable,
    segments: Segments,
    rows: npt.NDArray[np.int64],
    side: int,
    is_retransmit: npt.NDArray[np.bool_],
) -> None:
    """Follow one side's sequence numbers; ``rows`` are its packets."""
    rows = rows[~segments.is_after_reset[rows]]
    if not len(rows):
        return
    flow, event = segments.flow[rows], segments.event[rows]
    is_syn, is_reset = (event & EVENT_SYN) != 0, (event & EVENT_RST) != 0
    payload = np.where(is_reset, 0, segments.payload_bytes[rows])
    end = (segments.seq[rows] + payload + is_syn + ((event & EVENT_FIN) != 0)).astype(np.uint32)
    is_first = _begins(flow)
    is_known = flows.has_packet[flow, side] & is_first
    starts_anew = (is_first & ~is_known) | (is_syn & ~is_first) | (is_syn & is_known)
    start = np.where(starts_anew, segments.seq[rows] - (~is_syn).astype(np.uint32), 0).astype(np.uint32)
    flows.start_seq[flow[starts_anew], side] = start[starts_anew]  # the last of a flow wins
    before = np.concatenate([end[:1], end[:-1]])
    before[is_known] = flows.start_seq[flow[is_known], side] + flows.sent_bytes[flow[is_known], side].astype(np.uint32)
    before[starts_anew] = start[starts_anew]
    step = (end - before).astype(np.int32).astype(np.int64)
    # A wild reset must not move the numbers, nor the packet after it be measured from there.
    is_wild = is_reset & ~starts_anew & (np.abs(step) > MAX_RESET_JUMP_BYTES)
    if is_wild.any():
        _advance_side(flows, segments, rows[~is_wild], side, is_retransmit)
        return
    begins = is_first | starts_anew
    base = np.where(is_known & ~starts_anew, flows.sent_bytes[flow, side], 0)
    relative = _running_sum(step, begins) + base[np.maximum.accumulate(np.where(begins, np.arange(len(rows)), 0))]
    highest, highest_before = _running_maximum(relative, begins, np.where(starts_anew, 1, base))
    is_retransmit[rows] = (payload > 0) & (relative <= highest_before)
    is_last = np.append(is_first[1:], True)
    flows.sent_bytes[flow[is_last], side] = highest[is_last]


def _running_sum(step: npt.NDArray[np.int64], begins: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    total = np.cumsum(step)
    starts = np.flatnonzero(begins)
    offset = total[starts] - step[starts]
    return total - np.repeat(offset, np.diff(np.append(starts, len(step))))


def _running_maximum(
    value: npt.NDArray[np.int64], begins: npt.NDArray[np.bool_], floor: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Maximum so far within each run, with and without the value itself; a run begins at ``floor``."""
    run = np.cumsum(begins) * _SEGMENT_STRIDE
    clipped = np.clip(value, -_CLIP, _CLIP)
    highest = np.maximum.accumulate(np.where(begins, np.maximum(clipped, floor), clipped) + run) - run
    before = np.concatenate([floor[:1], highest[:-1]])
    return highest, np.where(begins, floor, before)


def _acknowledge(flows: FlowTable, segments: Segments, side: int, first_place: npt.NDArray[np.int64]) -> None:
    """How much of ``side``'s stream its peer acknowledged; an acknowledgement before its first packet is ignored."""
    has_ack = ((segments.event & (EVENT_ACK | EVENT_RST)) == EVENT_ACK) & (segments.ack != 0)
    rows = np.flatnonzero((segments.is_resp != side) & has_ack)
    flow = segments.flow[rows]
    counts = rows > first_place[flow]
    rows, flow = rows[counts], flow[counts]
    if not len(rows):
        return
    ack, is_first = segments.ack[rows], _begins(flow)
    before = np.concatenate([ack[:1], ack[:-1]])
    known = flows.acked_bytes[flow[is_first], side]
    before[is_first] = flows.start_seq[flow[is_first], side] + known.astype(np.uint32)
    step = (ack - before).astype(np.int32).astype(np.int64)
    step[is_first] += known
    starts = np.flatnonzero(is_first)
    reached = np.maximum.reduceat(_running_sum(step, is_first), starts)
    flows.acked_bytes[flow[starts], side] = np.maximum(known, reached)


def stream_bytes(flows: FlowTable) -> npt.NDArray[np.int64]:
    """Payload bytes by sequence numbers, int64 (n, 2): the highest number less the SYN's and the FIN's place."""
    reached = np.maximum(flows.sent_bytes, flows.acked_bytes)
    reached = np.maximum(reached - 1, 0)
    payload_bytes: npt.NDArray[np.int64] = np.where(flows.has_fin & (reached > 0), reached - 1, reached)
    return payload_bytes
