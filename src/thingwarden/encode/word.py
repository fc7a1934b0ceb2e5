"""The fields of a word that its own flow shows, without any memory.

In: rows of a ``FlowBatch``. Out: uint8 columns of buckets.
Must never: use more for an opening word than the flow's first packet shows, or for a probe than was so far.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import CONN_STATE_CODE, HISTORY_LENGTH, UNKNOWN_COUNT, FlowBatch
from thingwarden.encode.address import hash_columns
from thingwarden.encode.vocabulary import (
    BYTE_EDGES,
    CLOSE_KIND,
    DIRECTIONS,
    DURATION_EDGES_S,
    FIELD_INDEX,
    FIELD_NAMES,
    ICMP_TYPES,
    NAMED_PORTS,
    OPEN_KIND,
    ORIG_PORT_CLASSES,
    PACKET_EDGES,
    PORT_RANGE_STARTS,
    PORT_SIZE,
    PROTO_BUCKETS,
    PROTO_NAMES,
    RARE,
    Vocabulary,
    collapse_history,
    collapse_service,
)

Buckets = npt.NDArray[np.uint8]

ANSWERED_STATES: Final = ("S1", "SF", "S2", "S3", "RSTO", "RSTR")
"""States in which both ends spoke, so that a count of zero was measured, not missing."""

FAILED_STATES: Final = ("S0", "REJ", "RSTOS0", "RSTRH", "SH", "SHR")
"""States in which the contact came to nothing."""

RESET_STATES: Final = ("RSTO", "RSTR", "RSTOS0", "RSTRH")

ICMP_PROTOS: Final = (1, 58)

CLOSE_DELAY_S: Final = {"SF": 5.0, "REJ": 5.0, "S0": 5.0, "RSTO": 0.1, "RSTR": 0.1, "RSTOS0": 0.1, "RSTRH": 0.1}
"""Seconds that Zeek waits after a TCP flow's last packet before it writes the row, by state.

Source: tcp_close_delay, tcp_attempt_delay, tcp_reset_delay in Zeek's init-bare.zeek.
"""

TCP_INACTIVITY_S: Final = 300.0
DATAGRAM_INACTIVITY_S: Final = 60.0


def code_mask(names: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """A table over connection-state codes: which are among ``names``."""
    mask = np.zeros(len(CONN_STATE_CODE), dtype=bool)
    mask[[CONN_STATE_CODE[name] for name in names]] = True
    return mask


_ANSWERED: Final = code_mask(ANSWERED_STATES)
_FAILED: Final = code_mask(FAILED_STATES)
_RESET: Final = code_mask(RESET_STATES)
_DELAY: Final = np.full(len(CONN_STATE_CODE), TCP_INACTIVITY_S)
for _name, _delay_s in CLOSE_DELAY_S.items():
    _DELAY[CONN_STATE_CODE[_name]] = _delay_s


def known_at_s(flows: FlowBatch) -> npt.NDArray[np.float64]:
    """When each flow's outcome is knowable, float64 (n,): its last packet plus the timeout of its state."""
    delay = np.where(flows.proto == 6, _DELAY[flows.conn_state], DATAGRAM_INACTIVITY_S)
    ended_at_s: npt.NDArray[np.float64] = flows.ended_at_s + delay
    return ended_at_s


def is_reset(flows: FlowBatch) -> npt.NDArray[np.bool_]:
    """Which flows stand reset, bool (n,): their outcome is knowable while a meter still waits for stragglers."""
    return np.asarray((flows.proto == 6) & _RESET[flows.conn_state])


def is_failed(flows: FlowBatch) -> npt.NDArray[np.bool_]:
    """Which contacts came to nothing, bool (n,)."""
    return _FAILED[flows.conn_state]


def edge_buckets(values: npt.NDArray[np.generic], edges: tuple[float, ...]) -> Buckets:
    """Bucket 1 below the first edge, then one from each edge on, uint8 (n,)."""
    return (_edge_array(edges).searchsorted(values, side="right") + 1).astype(np.uint8)


@cache
def _edge_array(edges: tuple[float, ...]) -> npt.NDArray[np.float64]:
    return np.array(edges, dtype=np.float64)


def _port_table() -> Buckets:
    table = np.zeros(65536, dtype=np.uint8)
    for position, start in enumerate(PORT_RANGE_STARTS):
        table[start:] = 1 + len(NAMED_PORTS) + position
    for position, port in enumerate(NAMED_PORTS):
        table[port] = 1 + position
    return table


_PORT_BUCKET: Final = _port_table()
_IS_ICMP: Final = np.isin(np.arange(256), ICMP_PROTOS)
_ICMP_BASE: Final = 1 + len(NAMED_PORTS) + len(PORT_RANGE_STARTS)
_ICMP_BUCKET: Final = np.full(65536, PORT_SIZE - 1, dtype=np.uint8)
_ICMP_BUCKET[list(ICMP_TYPES)] = _ICMP_BASE + np.arange(len(ICMP_TYPES))

_PROTO_BUCKET: Final = np.full(256, PROTO_NAMES.index("other"), dtype=np.uint8)
for _proto, _bucket in PROTO_BUCKETS.items():
    _PROTO_BUCKET[_proto] = _bucket

_ORIG_CLASS: Final = {name: bucket for bucket, name in enumerate(ORIG_PORT_CLASSES)}


def _orig_port_table() -> Buckets:
    table = np.full(65536, _ORIG_CLASS["ephemeral_high"], dtype=np.uint8)
    table[:61000] = _ORIG_CLASS["ephemeral_linux"]
    table[:32768] = _ORIG_CLASS["registered"]
    table[:1024] = _ORIG_CLASS["system"]
    for port, name in ((53, "dns"), (67, "dhcp"), (68, "dhcp"), (123, "ntp"), (1900, "ssdp"), (5353, "mdns")):
        table[port] = _ORIG_CLASS[name]
    table[5683] = _ORIG_CLASS["coap"]
    return table


_ORIG_PORT_BUCKET: Final = _orig_port_table()


def open_buckets(flows: FlowBatch, direction: Buckets, peer_kind: Buckets) -> Buckets:
    """The fields of opening words that need no memory, uint8 (n, F); the others stay masked."""
    words = np.zeros((len(flows), len(FIELD_NAMES)), dtype=np.uint8)
    icmp = _IS_ICMP[flows.proto]
    words[:, FIELD_INDEX["kind"]] = OPEN_KIND
    words[:, FIELD_INDEX["direction"]] = direction
    words[:, FIELD_INDEX["proto"]] = _PROTO_BUCKET[flows.proto]
    words[:, FIELD_INDEX["resp_port"]] = np.where(icmp, _ICMP_BUCKET[flows.orig_port], _PORT_BUCKET[flows.resp_port])
    orig = np.where(flows.orig_port == flows.resp_port, _ORIG_CLASS["same_as_resp"], _ORIG_PORT_BUCKET[flows.orig_port])
    words[:, FIELD_INDEX["orig_port"]] = np.where(icmp, _ORIG_CLASS["icmp"], orig)
    words[:, FIELD_INDEX["peer_kind"]] = peer_kind
    return words


class Outcome(NamedTuple):
    """What became of n flows, or had so far, in columns as ``FlowBatch`` has them."""

    duration_s: npt.NDArray[np.float64]
    orig_bytes: npt.NDArray[np.int64]
    resp_bytes: npt.NDArray[np.int64]
    orig_packets: npt.NDArray[np.int64]
    resp_packets: npt.NDArray[np.int64]
    conn_state: npt.NDArray[np.uint8]
    service: npt.NDArray[np.bytes_]
    history: npt.NDArray[np.bytes_]

    @classmethod
    def of(cls, flows: FlowBatch) -> Self:
        """How the flows ended."""
        return cls(*(getattr(flows, name) for name in cls._fields))

    @classmethod
    def so_far(cls, flows: FlowBatch, rows: npt.NDArray[np.int64]) -> Self:
        """How the flows stood at ``rows`` of their milestones."""
        assert flows.milestones is not None
        noted = flows.milestones.at(rows)
        letters = np.ascontiguousarray(flows.history[noted.flow]).view(np.uint8).reshape(-1, HISTORY_LENGTH)
        letters = np.where(np.arange(HISTORY_LENGTH) < noted.history_letters[:, None], letters, np.uint8(0))
        return cls(
            duration_s=np.where(noted.elapsed_s > 0, noted.elapsed_s, np.nan),
            orig_bytes=noted.orig_bytes,
            resp_bytes=noted.resp_bytes,
            orig_packets=noted.orig_packets,
            resp_packets=noted.resp_packets,
            conn_state=noted.conn_state,
            service=np.where(noted.has_service, flows.service[noted.flow], np.bytes_(b"")),
            history=np.ascontiguousarray(letters).view(f"S{HISTORY_LENGTH}").reshape(-1),
        )


def add_outcome(words: Buckets, flows: Outcome, vocabulary: Vocabulary, kind: int = CLOSE_KIND) -> None:
    """Turn opening words into closing words or probes in place: kind, and the fields that only an outcome shows."""
    answered = _ANSWERED[flows.conn_state]
    words[:, FIELD_INDEX["kind"]] = kind
    words[:, FIELD_INDEX["conn_state"]] = flows.conn_state
    duration_s = np.where(np.isnan(flows.duration_s), UNKNOWN_COUNT, flows.duration_s)
    words[:, FIELD_INDEX["duration"]] = _measured(edge_buckets(duration_s, DURATION_EDGES_S), duration_s, answered)
    for name, edges in (
        ("orig_bytes", BYTE_EDGES),
        ("resp_bytes", BYTE_EDGES),
        ("orig_packets", PACKET_EDGES),
        ("resp_packets", PACKET_EDGES),
    ):
        column = getattr(flows, name)
        words[:, FIELD_INDEX[name]] = _measured(edge_buckets(column, edges), column, answered)
    words[:, FIELD_INDEX["service"]] = learned_buckets(flows.service, vocabulary.services, collapse_service)
    words[:, FIELD_INDEX["history"]] = learned_buckets(flows.history, vocabulary.histories, collapse_history)


def _measured(buckets: Buckets, values: npt.NDArray[np.generic], answered: npt.NDArray[np.bool_]) -> Buckets:
    """The buckets where something was measured: more than nothing, or nothing in a dialogue that both ends spoke in."""
    known = np.asarray(values)
    return np.where((known > 0) | ((known == 0) & answered), buckets, 0).astype(np.uint8)


def learned_buckets(
    column: npt.NDArray[np.bytes_], tokens: tuple[bytes, ...], collapse: Callable[[bytes], bytes]
) -> Buckets:
    """Bucket of each learned token: 0 where the flow has none, 1 where training never saw it, uint8 (n,)."""
    halves = np.ascontiguousarray(column).view(np.uint64).reshape(len(column), column.itemsize // 8)
    _, first, inverse = np.unique(hash_columns(*halves.T), return_index=True, return_inverse=True)  # faster than text
    position = _positions(tokens)
    buckets = [position.get(token, RARE) if token else 0 for token in map(collapse, column[first].tolist())]
    return np.array(buckets, dtype=np.uint8)[inverse]


@cache
def _positions(tokens: tuple[bytes, ...]) -> dict[bytes, int]:
    return {token: bucket for bucket, token in enumerate(tokens, start=RARE + 1)}


def directions(is_orig: npt.NDArray[np.bool_], both_local: npt.NDArray[np.bool_]) -> Buckets:
    """Bucket of ``DIRECTIONS``: who began the flow, and whether both ends are of this network, uint8 (n,)."""
    base = np.where(both_local, DIRECTIONS.index("lan_orig"), DIRECTIONS.index("orig"))
    return (base + ~is_orig).astype(np.uint8)
