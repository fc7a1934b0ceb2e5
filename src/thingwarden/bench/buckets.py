"""Buckets of a word's fields in words, so that a report can say what gives a world away.

In: a field, a bucket, the vocabulary. Out: a short text.
Must never: name a bucket that the field does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from thingwarden.domain.flow import CONN_STATES
from thingwarden.encode.vocabulary import (
    BYTE_EDGES,
    COUNT_EDGES,
    DIRECTIONS,
    DURATION_EDGES_S,
    FIELD_INDEX,
    FIELD_NAMES,
    GAP_EDGES_S,
    ICMP_TYPES,
    KINDS,
    MASKED,
    NAMED_PORTS,
    NOVELTIES,
    ORIG_PORT_CLASSES,
    PACKET_EDGES,
    PEER_KINDS,
    PORT_RANGE_STARTS,
    PROTO_NAMES,
    RATE_EDGES,
    RATIO_EDGES,
    SAME_SIZES,
    SHARE_EDGES,
    Vocabulary,
)

_EDGES: Final[dict[str, tuple[float, ...]]] = {
    **dict.fromkeys(("device_gap", "peer_gap", "channel_gap"), GAP_EDGES_S),
    **dict.fromkeys(("regular_count", "peer_contacts", "peer_ports", "service_opens", "service_peers"), COUNT_EDGES),
    **dict.fromkeys(("fanout_1s", "fanout_10s", "fanout_60s", "rate_1s", "rate_10s"), RATE_EDGES),
    **dict.fromkeys(("orig_bytes", "resp_bytes"), BYTE_EDGES),
    **dict.fromkeys(("orig_packets", "resp_packets"), PACKET_EDGES),
    "interval_ratio": RATIO_EDGES,
    "peer_failed": SHARE_EDGES,
    "duration": DURATION_EDGES_S,
}
_NAMES: Final[dict[str, Sequence[str]]] = {
    "kind": KINDS,
    "direction": DIRECTIONS,
    "proto": PROTO_NAMES,
    "orig_port": ORIG_PORT_CLASSES,
    "peer_kind": PEER_KINDS,
    "novelty": NOVELTIES,
    "conn_state": CONN_STATES,
    "same_size": SAME_SIZES,
}
_PORTS: Final = (
    *(str(port) for port in NAMED_PORTS),
    *(f"ports from {start}" for start in PORT_RANGE_STARTS),
    *(f"ICMP {number}" for number in ICMP_TYPES),
    "ICMP, other",
)


def name_bucket(field: str, bucket: int, vocabulary: Vocabulary) -> str:
    """What a bucket stands for: an edge from which it begins, or a name.

    Raises:
        ValueError: the field has no such bucket.
    """
    if not 0 <= bucket < vocabulary.sizes[FIELD_INDEX[field]]:
        raise ValueError(f"{field} has no bucket {bucket}")
    if bucket == MASKED:
        return "none"
    if field in _NAMES:
        return _NAMES[field][bucket]
    if field == "resp_port":
        return _PORTS[bucket - 1]
    if field in _EDGES:
        return _edge_name(_EDGES[field], bucket)
    tokens = vocabulary.services if field == "service" else vocabulary.histories
    return "rare" if bucket == 1 else tokens[bucket - 2].decode("latin-1")


def name_word(buckets: Sequence[int], vocabulary: Vocabulary, fields: Sequence[str] = FIELD_NAMES) -> str:
    """A word as text: ``fields`` with what their buckets stand for, the empty ones left out."""
    named = ((field, name_bucket(field, buckets[FIELD_INDEX[field]], vocabulary)) for field in fields)
    return ", ".join(f"{field} {name}" for field, name in named if name != "none")


def _edge_name(edges: tuple[float, ...], bucket: int) -> str:
    if bucket == len(edges) + 2:
        return "none yet"
    return f"below {edges[0]:g}" if bucket == 1 else f"from {edges[bucket - 2]:g}"
