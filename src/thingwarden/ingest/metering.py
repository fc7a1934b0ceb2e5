"""Meter packets into flows with the meaning that Zeek's conn.log gives them.

In: the open flows and a chunk of packets in the order of their capture. Out: the open flows after it, and those that
ended.
Must never: depend on where a capture is cut into chunks (up to ``MAX_OPEN_FLOWS``), read a clock, or change its
arguments.
Source: Zeek's conn.log and default timeouts; docs/results/zeek-agreement.md measures how near this comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import (
    HISTORY_LENGTH,
    MILESTONE_AGES_S,
    MILESTONE_PACKETS,
    FlowBatch,
    Milestones,
)
from thingwarden.domain.packet import (
    PROTO_TCP,
    PROTO_UDP,
    TCP_ACK,
    TCP_RST,
    TCP_SYN,
    PacketBatch,
)
from thingwarden.ingest.flow_key import FlowKeys, Grouping, group_packets, key_packets
from thingwarden.ingest.flow_rows import opening_columns, outcome_columns, standing_columns
from thingwarden.ingest.flow_table import FlowTable
from thingwarden.ingest.history import FlowPackets, append_history
from thingwarden.ingest.tcp_split import HANDSHAKE_IDLE_S, TcpPackets, split_connections
from thingwarden.ingest.tcp_state import Endpoint, events_from_flags, state_table
from thingwarden.ingest.tcp_stream import Segments, count_stream

IDLE_S: Final = 60.0
"""Zeek's inactivity timeout of UDP, ICMP and unknown protocols."""
assert IDLE_S == HANDSHAKE_IDLE_S

MAX_OPEN_FLOWS: Final = 50_000
"""Far above what a home or a plant has open at a time. Beyond, a flood is on: the flows that would end soonest
(half-open attempts before established connections) end at once, so that memory stays bounded."""

_TCP_SERVER_PORTS: Final = (
    21, 22, 23, 25, 53, 80, 81, 88, 110, 113, 135, 139, 143, 179, 389, 443, 445, 502, 513, 514, 563, 585, 587, 614,
    631, 636, 989, 990, 992, 993, 995, 1080, 1434, 1883, 3128, 3268, 3306, 3389, 5060, 5222, 5223, 5269, 5432, 6379,
    6666, 6667, 6668, 6669, 8000, 8080, 8888, 20000,
)  # fmt: skip
_UDP_SERVER_PORTS: Final = (
    53, 67, 68, 88, 123, 137, 161, 162, 389, 443, 514, 1812, 2123, 2152, 3389, 3544, 4011, 4789, 5060, 5072, 5353,
    5355, 6081, 20000,
)  # fmt: skip
"""Zeek's ``likely_server_ports``: where the first packet of a flow we did not see begin comes from one of these, its
sender is taken as the responder."""

_BROADCAST: Final = np.uint64(0xFFFF_FFFF_FFFF)


def _port_set(ports: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    table = np.zeros(65536, dtype=np.bool_)
    table[list(ports)] = True
    return table


_IS_TCP_SERVER: Final = _port_set(_TCP_SERVER_PORTS)
_IS_UDP_SERVER: Final = _port_set(_UDP_SERVER_PORTS)


def meter_packets(table: FlowTable, packets: PacketBatch) -> tuple[FlowTable, FlowBatch]:
    """Meter one chunk of packets.

    Args:
        table: the flows open before.
        packets: in the order of capture; times may step back a little.

    Returns:
        The flows open after, and the flows that ended, in the order of their last packet.
    """
    if not len(packets):
        return table, FlowBatch.empty()
    chunk = follow_packets(table, packets)
    return _part(table, chunk, float(packets.at_s.max()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """Flows that had packets in a chunk, as they stand after it; k flows, those of one key in order of time.

    Attributes:
        flows: as they stand; of their milestones those of before and those reached in this chunk.
        source: int64 (k,), row of the open flow that goes on, -1 where one begins.
        first_packet: int64 (k,), place in the chunk of the flow's first packet in it.
        first_mac: uint64 (k, 2), link-layer addresses of originator and responder in that packet; 0 unknown.
        is_last: bool (k,), whether no later flow of the same key begins in this chunk.
        replaced: int64, rows of open flows whose key's next packet began another flow: they are over.
    """

    flows: FlowTable
    source: npt.NDArray[np.int64]
    first_packet: npt.NDArray[np.int64]
    first_mac: npt.NDArray[np.uint64]
    is_last: npt.NDArray[np.bool_]
    replaced: npt.NDArray[np.int64]


def follow_packets(table: FlowTable, packets: PacketBatch) -> Followed:
    """Count a chunk's packets into flows: those that go on, and those that begin.

    Args:
        table: the flows open before, at least those that share a key with a packet; not changed.
        packets: at least one, in the order of capture.
    """
    keys, is_upper = key_packets(packets)
    grouping = group_packets(table.keys, keys)
    sorted_packets = packets.take(grouping.order)
    is_upper = is_upper[grouping.order]
    is_flipped = _is_flipped(sorted_packets)
    begins, state, expires_at_s = _split(table, sorted_packets, grouping, is_upper, is_flipped)
    flow = np.cumsum(begins | grouping.is_first) - 1
    flows = _open_flows(table, keys, grouping, begins, is_upper, is_flipped, sorted_packets, flow)
    is_last = np.append(flow[1:] != flow[:-1], True)
    placed = _Placed(
        packets=sorted_packets,
        flow=flow,
        is_resp=is_upper ^ flows.orig_is_upper[flow],
        state=state,
        state_before=_states_before(flows, flow, state),
        is_flipped=is_flipped & begins,
    )
    _count_with_milestones(flows, placed)
    flows.tcp_state, flows.expires_at_s = state[is_last], expires_at_s[is_last]
    starts = np.flatnonzero(begins | grouping.is_first)
    return Followed(
        flows=flows,
        source=np.where(begins[starts], -1, grouping.open_row[starts]),
        first_packet=grouping.order[starts],
        first_mac=_first_macs(sorted_packets, starts, placed.is_resp[starts]),
        is_last=np.append(grouping.is_first[1:], True)[is_last],
        replaced=grouping.open_row[begins & (grouping.open_row >= 0)],
    )


def finish_flows(table: FlowTable) -> FlowBatch:
    """End all open flows: the capture is over."""
    return _end(table)


def _is_flipped(packets: PacketBatch) -> npt.NDArray[np.bool_]:
    """Whether a flow that began with this packet would have its sender as responder, by Zeek's guess from ports."""
    flags = packets.tcp_flags & (TCP_SYN | TCP_ACK)
    is_tcp, is_udp = packets.proto == PROTO_TCP, packets.proto == PROTO_UDP
    from_server = np.where(is_tcp, _IS_TCP_SERVER[packets.src_port], is_udp & _IS_UDP_SERVER[packets.src_port])
    to_server = np.where(is_tcp, _IS_TCP_SERVER[packets.dst_port], is_udp & _IS_UDP_SERVER[packets.dst_port])
    is_lower_port = is_tcp & ((flags & TCP_SYN) == 0) & (packets.src_port < packets.dst_port)
    is_plain_syn = is_tcp & (flags == TCP_SYN)
    is_to_all = packets.dst_address[:, 1] == np.uint64(0xFFFF_FFFF_FFFF)
    flipped: npt.NDArray[np.bool_] = from_server & ~is_plain_syn & (~to_server | is_lower_port) & ~is_to_all
    return flipped


def _split(
    table: FlowTable,
    packets: PacketBatch,
    grouping: Grouping,
    is_upper: npt.NDArray[np.uint8],
    is_flipped: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Whether each packet begins a flow, the TCP state after it, and when its flow then ends for want of packets."""
    at_s, open_row = packets.at_s, grouping.open_row
    before_s = np.concatenate([at_s[:1], at_s[:-1]])
    has_open = open_row >= 0
    expires_before_s = before_s + IDLE_S
    expires_before_s[has_open] = table.expires_at_s[open_row[has_open]]
    begins = (grouping.is_first & ~has_open) | (at_s >= expires_before_s)
    state = np.zeros(len(packets), dtype=np.int64)
    expires_at_s = at_s + IDLE_S
    tcp = np.flatnonzero(packets.proto == PROTO_TCP)
    if len(tcp):
        row = open_row[tcp]
        known = _open_connections(table, row)
        begins[tcp], state[tcp], expires_at_s[tcp] = split_connections(
            TcpPackets(
                is_first=grouping.is_first[tcp],
                at_s=at_s[tcp],
                event=events_from_flags(packets.tcp_flags[tcp], packets.payload_bytes[tcp]) | is_upper[tcp],
                is_flipped=is_flipped[tcp],
                seq=packets.tcp_seq[tcp],
                ack=packets.tcp_ack[tcp],
                **known,
            )
        )
    return begins, state, expires_at_s


def _open_connections(table: FlowTable, row: npt.NDArray[np.int64]) -> dict[str, Any]:
    """What is known of the open flows at ``row``; nothing where it is -1."""
    has_open = row >= 0
    known: dict[str, Any] = {
        "open_state": np.zeros(len(row), dtype=np.int64),
        "open_expires_at_s": np.zeros(len(row)),
        "open_orig_is_upper": np.zeros(len(row), dtype=np.uint8),
        "open_start_seq": np.zeros((len(row), 2), dtype=np.uint32),
    }
    source: dict[str, npt.NDArray[Any]] = {
        "open_state": table.tcp_state,
        "open_expires_at_s": table.expires_at_s,
        "open_orig_is_upper": table.orig_is_upper,
        "open_start_seq": table.start_seq,
    }
    for name, column in source.items():
        known[name][has_open] = column[row[has_open]]
    return known


def _open_flows(
    table: FlowTable,
    keys: FlowKeys,
    grouping: Grouping,
    begins: npt.NDArray[np.bool_],
    is_upper: npt.NDArray[np.uint8],
    is_flipped: npt.NDArray[np.bool_],
    packets: PacketBatch,
    flow: npt.NDArray[np.int64],
) -> FlowTable:
    """One row per flow of this chunk: new ones, and those continued from ``table``."""
    starts = np.flatnonzero(begins | grouping.is_first)
    flows = FlowTable.blank(keys.take(grouping.order[starts]))
    flows.orig_is_upper = is_upper[starts] ^ is_flipped[starts]
    flows.started_at_s = packets.at_s[starts].copy()
    flows.last_at_s = packets.at_s[starts].copy()
    is_continued = ~begins[starts]
    flows.put(np.flatnonzero(is_continued), table.take(grouping.open_row[starts[is_continued]]))
    return flows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """Packets sorted by flow, each with its place in it; columns of length n.

    Attributes:
        packets: within a flow in the order of capture.
        flow: int64, row of the flow.
        is_resp: uint8, whether the responder sent it.
        state, state_before: int64, the TCP state after and before it.
        is_flipped: bool, where a flow begins whose direction was guessed the other way round.
    """

    packets: PacketBatch
    flow: npt.NDArray[np.int64]
    is_resp: npt.NDArray[np.uint8]
    state: npt.NDArray[np.int64]
    state_before: npt.NDArray[np.int64]
    is_flipped: npt.NDArray[np.bool_]

    def take(self, rows: npt.NDArray[np.int64]) -> _Placed:
        columns = {name: getattr(self, name)[rows] for name in self.__slots__ if name != "packets"}
        return _Placed(packets=self.packets.take(rows), **columns)


def _states_before(
    flows: FlowTable, flow: npt.NDArray[np.int64], state: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    before = np.concatenate([[0], state[:-1]])
    is_first = _begins(flow)
    before[is_first] = flows.tcp_state[flow[is_first]]
    return before


def _first_macs(
    packets: PacketBatch, starts: npt.NDArray[np.int64], is_resp: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint64]:
    """Originator's and responder's link-layer address in the packets ``starts``; a broadcast is nobody's."""
    to = np.where(packets.dst_mac[starts] == _BROADCAST, np.uint64(0), packets.dst_mac[starts])
    macs = np.column_stack([packets.src_mac[starts], to])  # (k, 2): sender, receiver
    return np.where(is_resp[:, None] != 0, macs[:, ::-1], macs)


def _count_with_milestones(flows: FlowTable, placed: _Placed) -> None:
    """Add the packets to ``flows``, stopping wherever a flow reaches a milestone to note how it stands."""
    is_stop = _find_milestones(flows, placed)
    # The stops before a packet, less those before its flow's first packet: which stretch of its flow it is in.
    stretch: npt.NDArray[np.int64] = np.cumsum(is_stop) - is_stop
    first = np.flatnonzero(_begins(placed.flow))
    stretch -= np.repeat(stretch[first], np.diff(np.append(first, len(stretch))))
    stretch_count = int(stretch.max()) + 1
    if stretch_count == 1 and not is_stop.any():
        _count(flows, placed)
        return
    for number in range(stretch_count):
        rows = np.flatnonzero(stretch == number)
        _count(flows, placed if len(rows) == len(stretch) else placed.take(rows))
        reached = rows[is_stop[rows]]
        flows.tcp_state[placed.flow[reached]] = placed.state[reached]
        flows.add_milestones(_note_milestones(flows, placed.flow[reached]))


def _find_milestones(flows: FlowTable, placed: _Placed) -> npt.NDArray[np.bool_]:
    """Which packets bring their flow to a milestone: a number of packets, or an age; not once both ends have closed."""
    flow, at_s = placed.flow, placed.packets.at_s
    is_first = _begins(flow)
    starts = np.flatnonzero(is_first)
    within = np.arange(len(flow)) - np.repeat(starts, np.diff(np.append(starts, len(flow))))
    nth = within + 1 + flows.packets.sum(axis=1)[flow]
    is_stop = np.zeros(len(flow), dtype=np.bool_)
    for count in MILESTONE_PACKETS:
        is_stop |= nth == count
    is_open = ~state_table().both_closed[placed.state_before]
    age_s = at_s - flows.started_at_s[flow]
    age_before_s = flows.last_at_s - flows.started_at_s
    for least_s in MILESTONE_AGES_S:
        old = np.flatnonzero((age_s >= least_s) & is_open)
        old = old[age_before_s[flow[old]] < least_s]
        is_stop[old[_begins(flow[old])]] = True
    return is_stop & is_open


def _note_milestones(flows: FlowTable, rows: npt.NDArray[np.int64]) -> Milestones:
    """How the flows at ``rows`` (ascending) stand now."""
    standing = flows.take(rows)
    outcome = standing_columns(standing)
    return Milestones(
        flow=rows,
        elapsed_s=standing.last_at_s - standing.started_at_s,
        orig_bytes=outcome["orig_bytes"],
        resp_bytes=outcome["resp_bytes"],
        orig_packets=outcome["orig_packets"],
        resp_packets=outcome["resp_packets"],
        conn_state=outcome["conn_state"],
        history_letters=np.minimum(standing.history_count, HISTORY_LENGTH).astype(np.uint8),
        has_service=outcome["service"] != b"",
    )


def _count(flows: FlowTable, placed: _Placed) -> None:
    """Add the packets to ``flows``."""
    packets, flow, is_resp, state_before = placed.packets, placed.flow, placed.is_resp, placed.state_before
    is_first = _begins(flow)
    table = state_table()
    me = np.take_along_axis(table.endpoint[state_before], is_resp[:, None].astype(np.int64), axis=1)[:, 0]
    peer = np.take_along_axis(table.endpoint[state_before], 1 - is_resp[:, None].astype(np.int64), axis=1)[:, 0]
    _count_time(flows, packets.at_s, flow, is_first, table.both_closed[state_before])
    _count_sizes(flows, packets, flow * 2 + is_resp)
    event = events_from_flags(packets.tcp_flags, packets.payload_bytes)
    is_retransmit = _count_tcp(flows, packets, flow, is_resp, event, me == Endpoint.RESET)
    is_zero_window = (packets.tcp_receive_bytes == 0) & ((packets.tcp_flags & TCP_RST) == 0)
    is_zero_window &= (peer != Endpoint.CLOSED) & (me != Endpoint.RESET)
    append_history(
        flows,
        FlowPackets(
            flow=flow,
            is_resp=is_resp,
            proto=packets.proto,
            event=event,
            seq_end=(packets.tcp_seq + packets.payload_bytes).astype(np.uint32),
            is_zero_window=is_zero_window,
            is_retransmit=is_retransmit,
            has_gap=np.zeros(len(packets), dtype=np.bool_),
            is_flipped=placed.is_flipped,
        ),
    )
    _note_first(flows, packets, flow, is_resp)


def _count_tcp(
    flows: FlowTable,
    packets: PacketBatch,
    flow: npt.NDArray[np.int64],
    is_resp: npt.NDArray[np.uint8],
    event: npt.NDArray[np.uint8],
    is_after_reset: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Advance the sequence numbers; whether each packet retransmits."""
    is_retransmit = np.zeros(len(packets), dtype=np.bool_)
    tcp = np.flatnonzero(packets.proto == PROTO_TCP)
    segments = Segments(
        flow=flow[tcp],
        is_resp=is_resp[tcp],
        event=event[tcp],
        seq=packets.tcp_seq[tcp],
        ack=packets.tcp_ack[tcp],
        payload_bytes=packets.payload_bytes[tcp],
        is_after_reset=is_after_reset[tcp],
    )
    is_retransmit[tcp] = count_stream(flows, segments)
    return is_retransmit


def _count_time(
    flows: FlowTable,
    at_s: npt.NDArray[np.float64],
    flow: npt.NDArray[np.int64],
    is_first: npt.NDArray[np.bool_],
    is_over: npt.NDArray[np.bool_],
) -> None:
    """The last packet before both sides had closed ends the duration."""
    last = np.maximum.reduceat(np.where(is_over, -np.inf, at_s), np.flatnonzero(is_first))
    touched = flow[is_first]
    flows.last_at_s[touched] = np.maximum(flows.last_at_s[touched], last)


def _count_sizes(flows: FlowTable, packets: PacketBatch, code: npt.NDArray[np.int64]) -> None:
    """``code`` is twice the flow's row plus the side."""
    n = len(flows)
    flows.packets += np.bincount(code, minlength=2 * n).reshape(n, 2)
    for total, column in ((flows.ip_bytes, packets.ip_bytes), (flows.payload_bytes, packets.payload_bytes)):
        total += np.bincount(code, weights=column, minlength=2 * n).reshape(n, 2).astype(np.int64)


def _note_first(
    flows: FlowTable, packets: PacketBatch, flow: npt.NDArray[np.int64], is_resp: npt.NDArray[np.uint8]
) -> None:
    """Keep each side's link-layer address and first payload."""
    for side in (0, 1):
        rows = np.flatnonzero(is_resp == side)
        rows = rows[_begins(flow[rows])]
        rows = rows[~flows.has_packet[flow[rows], side]]
        here = flow[rows]
        flows.mac[here, side] = packets.src_mac[rows]
        is_unknown = flows.mac[here, 1 - side] == 0
        is_single = packets.dst_mac[rows] != _BROADCAST
        given = is_unknown & is_single
        flows.mac[here[given], 1 - side] = packets.dst_mac[rows[given]]
        flows.has_packet[here, side] = True
        rows = np.flatnonzero((is_resp == side) & (packets.payload_bytes > 0))
        rows = rows[_begins(flow[rows])]
        rows = rows[~flows.has_head[flow[rows], side]]
        flows.payload_head[flow[rows], side] = packets.payload_head[rows]
        flows.has_head[flow[rows], side] = True


def _begins(flow: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    first = np.ones(len(flow), dtype=np.bool_)
    first[1:] = flow[1:] != flow[:-1]
    return first


def _part(table: FlowTable, chunk: Followed, now_s: float) -> tuple[FlowTable, FlowBatch]:
    """Keep what may still grow; end what cannot."""
    flows = chunk.flows
    is_continued = np.zeros(len(table), dtype=np.bool_)
    is_continued[chunk.source[chunk.source >= 0]] = True
    stays = table.expires_at_s > now_s
    stays[is_continued] = False
    stays[chunk.replaced] = False
    is_open = chunk.is_last & (flows.expires_at_s > now_s)
    _evict(table, stays, flows, is_open)
    ended = table.take(~(stays | is_continued)).join(flows.take(~is_open))
    return table.take(stays).join(flows.take(is_open)), _end(ended)


def _evict(table: FlowTable, stays: npt.NDArray[np.bool_], flows: FlowTable, is_open: npt.NDArray[np.bool_]) -> None:
    """End the flows that would end soonest where more than ``MAX_OPEN_FLOWS`` are open; clears them in the masks."""
    excess = int(stays.sum() + is_open.sum()) - MAX_OPEN_FLOWS
    if excess <= 0:
        return
    old, new = np.flatnonzero(stays), np.flatnonzero(is_open)
    expiry_s = np.concatenate([table.expires_at_s[old], flows.expires_at_s[new]])
    soonest = np.argpartition(expiry_s, excess - 1)[:excess]
    stays[old[soonest[soonest < len(old)]]] = False
    is_open[new[soonest[soonest >= len(old)] - len(old)]] = False


def _end(flows: FlowTable) -> FlowBatch:
    """Rows of ``FlowBatch`` for flows that are over, in the order of their last packet."""
    batch = FlowBatch.unknown(
        len(flows),
        **opening_columns(flows),
        **outcome_columns(flows),
        orig_mac=flows.mac[:, 0],
        resp_mac=flows.mac[:, 1],
        milestones=flows.milestones,
    )
    return batch.take(np.argsort(flows.last_at_s, kind="stable"))
