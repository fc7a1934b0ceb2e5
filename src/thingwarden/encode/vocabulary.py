"""The fields of a word and the buckets of each field: everything that a model may ever read of a flow.

In: training flows, for the two fields whose tokens are learned. Out: ``Vocabulary``, which ships with the model.
Must never: hold an address, a host name, a raw port beyond its class or an absolute time.
Source: Zeek's conn.log for service, conn_state and history; IANA for the named ports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from thingwarden.domain.errors import ArtifactError
from thingwarden.domain.flow import CONN_STATES, FlowBatch

MASKED: Final = 0
"""Bucket of every field that is masked, unknown, or not part of this kind of word."""

RARE: Final = 1
"""Bucket of a learned field whose token was not in the training folds."""

NAMED_PORTS: Final = (
    7, 19, 20, 21, 22, 23, 25, 53, 67, 68, 69, 80, 81, 88, 102, 110, 111, 123, 135, 137, 138, 139, 143, 161, 179,
    389, 443, 445, 465, 500, 502, 514, 515, 554, 587, 631, 853, 873, 993, 995, 1080, 1433, 1723, 1883, 1900, 2222,
    2323, 3074, 3306, 3389, 3478, 4500, 4786, 5000, 5060, 5222, 5228, 5353, 5355, 5432, 5555, 5683, 5684, 5900,
    6379, 6667, 7547, 8000, 8008, 8009, 8080, 8081, 8443, 8883, 8888, 9000, 9100, 9200, 9999, 11211, 20000, 27017,
    37215, 44818, 47808, 49152, 51820, 52869,
)  # fmt: skip
"""Responder ports with a bucket of their own, because a protocol or a known worm lives there."""

PORT_RANGE_STARTS: Final = (0, 1, 1024, 5000, 10000, 20000, 32768, 49152)
"""Lower bounds of the buckets that take every other port."""

ICMP_TYPES: Final = (0, 3, 5, 8, 11, 128, 129, 133, 134, 135, 136, 143)
"""ICMP and ICMPv6 types with a bucket of their own; the rest share one."""

ORIG_PORT_CLASSES: Final = (
    "masked", "same_as_resp", "dns", "dhcp", "ntp", "ssdp", "mdns", "coap", "system", "registered", "ephemeral_linux",
    "ephemeral_high", "icmp",
)  # fmt: skip

PROTO_BUCKETS: Final = {6: 1, 17: 2, 1: 3, 58: 4, 2: 5, 132: 6}
PROTO_NAMES: Final = ("masked", "tcp", "udp", "icmp", "icmp6", "igmp", "sctp", "other")

PEER_KINDS: Final = (
    "masked", "same_lan", "private", "link_local", "internet", "multicast", "broadcast", "self", "unspecified",
    "gateway", "dns_server", "unknown",
)  # fmt: skip
"""By address, and the last three by what the peer was seen doing: see ``neighbours``."""

KINDS: Final = ("masked", "open", "close", "probe")
OPEN_KIND, CLOSE_KIND, PROBE_KIND = (KINDS.index(name) for name in ("open", "close", "probe"))

DIRECTIONS: Final = ("masked", "orig", "resp", "lan_orig", "lan_resp")
NOVELTIES: Final = ("masked", "known_channel", "known_peer", "known_service", "all_new")
SAME_SIZES: Final = ("masked", "first", "same", "same_orig", "same_resp", "differs")

GAP_EDGES_S: Final = (0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 61.0, 125.0, 310.0, 910.0, 3700.0, 15000.0)
"""Edges of the gap buckets; a little above the round periods that timers use, so that jitter stays in one bucket."""

RATIO_EDGES: Final = (0.05, 0.25, 0.5, 0.8, 0.95, 1.0526, 1.25, 2.0, 4.0, 20.0)
COUNT_EDGES: Final = (1, 2, 3, 5, 9, 17, 33, 65, 129, 1025)
RATE_EDGES: Final = (1, 2, 3, 4, 6, 9, 13, 19, 33, 65, 127)
SHARE_EDGES: Final = (1e-9, 0.1, 0.34, 0.67, 0.999)
DURATION_EDGES_S: Final = (0.0005, 0.002, 0.01, 0.05, 0.2, 0.5, 1.0, 2.0, 4.0, 10.0, 30.0, 70.0, 200.0, 900.0, 7200.0)
BYTE_EDGES: Final = (
    1, 9, 17, 25, 33, 41, 49, 57, 65, 81, 97, 129, 193, 257, 385, 513, 1025, 2049, 4097, 16385, 65537, 1048577,
    16777217,
)  # fmt: skip
PACKET_EDGES: Final = (1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 17, 33, 65, 257, 1025, 16385)

HISTORY_LETTERS: Final = b"SHADFRshadfr"
LEARNED_LIMIT: Final = 160
"""Most tokens of a learned field; the training folds at hand hold fewer than half."""


def _edge_size(edges: tuple[float, ...]) -> int:
    """Buckets of an edged field: masked, one below the first edge, one from each edge."""
    return len(edges) + 2


PORT_SIZE: Final = 1 + len(NAMED_PORTS) + len(PORT_RANGE_STARTS) + len(ICMP_TYPES) + 1

OPEN_FIELDS: Final[dict[str, int]] = {
    "kind": len(KINDS),
    "direction": len(DIRECTIONS),
    "proto": len(PROTO_NAMES),
    "resp_port": PORT_SIZE,
    "orig_port": len(ORIG_PORT_CLASSES),
    "peer_kind": len(PEER_KINDS),
    "device_gap": _edge_size(GAP_EDGES_S) + 1,
    "peer_gap": _edge_size(GAP_EDGES_S) + 1,
    "channel_gap": _edge_size(GAP_EDGES_S) + 1,
    "interval_ratio": _edge_size(RATIO_EDGES) + 1,
    "regular_count": _edge_size(COUNT_EDGES),
    "peer_contacts": _edge_size(COUNT_EDGES),
    "peer_failed": _edge_size(SHARE_EDGES) + 1,
    "peer_ports": _edge_size(COUNT_EDGES),
    "service_opens": _edge_size(COUNT_EDGES),
    "service_peers": _edge_size(COUNT_EDGES),
    "novelty": len(NOVELTIES),
    "fanout_1s": _edge_size(RATE_EDGES),
    "fanout_10s": _edge_size(RATE_EDGES),
    "fanout_60s": _edge_size(RATE_EDGES),
    "rate_1s": _edge_size(RATE_EDGES),
    "rate_10s": _edge_size(RATE_EDGES),
}
"""Fields of the opening word with their sizes, masked included; a gap, ratio or share has one more for "none yet"."""

CLOSE_FIELDS: Final[dict[str, int]] = {
    "conn_state": len(CONN_STATES),
    "duration": _edge_size(DURATION_EDGES_S),
    "orig_bytes": _edge_size(BYTE_EDGES),
    "resp_bytes": _edge_size(BYTE_EDGES),
    "orig_packets": _edge_size(PACKET_EDGES),
    "resp_packets": _edge_size(PACKET_EDGES),
    "same_size": len(SAME_SIZES),
}
"""Fields that only the closing word has, and as far as known the probe, beside ``service`` and ``history``."""

LEARNED_FIELDS: Final = ("service", "history")
FIELD_NAMES: Final = (*OPEN_FIELDS, *CLOSE_FIELDS, *LEARNED_FIELDS)
FIELD_INDEX: Final = {name: index for index, name in enumerate(FIELD_NAMES)}
RHYTHM_FIELDS: Final = tuple(list(OPEN_FIELDS)[list(OPEN_FIELDS).index("device_gap") :])
"""Fields that need time; masked where the source has none."""


_RETRAIN: Final = "retrain with `make model`"


def collapse_history(history: bytes) -> bytes:
    """Keep only the letters that every Zeek version writes the same way: handshake, data, end, in both cases."""
    return bytes(letter for letter in history if letter in HISTORY_LETTERS)


def collapse_service(service: bytes) -> bytes:
    """One name per combination of analysers, whatever the order in which Zeek confirmed them."""
    names = sorted(part for part in service.replace(b";", b",").split(b",") if part and part != b"-")
    return b",".join(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Buckets of every field; equal vocabularies encode equally.

    Attributes:
        services: learned tokens of ``service``; bucket = position + 2.
        histories: learned tokens of ``history``; bucket = position + 2.
    """

    services: tuple[bytes, ...]
    histories: tuple[bytes, ...]

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the F fields, in the order of ``WordBatch.fields``."""
        return FIELD_NAMES

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of buckets of each field, masked included."""
        learned = (len(self.services) + 2, len(self.histories) + 2)
        return (*OPEN_FIELDS.values(), *CLOSE_FIELDS.values(), *learned)

    @classmethod
    def fit(cls, batches: Iterable[FlowBatch], *, least_flows: int = 4) -> Self:
        """Learn the tokens of ``service`` and ``history`` that at least ``least_flows`` training flows show."""
        services: Counter[bytes] = Counter()
        histories: Counter[bytes] = Counter()
        for batch in batches:
            _count_tokens(services, batch.service, collapse_service)
            _count_tokens(histories, batch.history, collapse_history)
        return cls(services=_frequent(services, least_flows), histories=_frequent(histories, least_flows))

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable description, complete enough to refuse a model made for other buckets."""
        return {
            "fields": dict(zip(self.field_names, self.sizes, strict=True)),
            "services": [token.decode("latin-1") for token in self.services],
            "histories": [token.decode("latin-1") for token in self.histories],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Inverse of ``to_json``.

        Raises:
            ArtifactError: the document was made for other fields than this version encodes.
        """
        try:
            vocabulary = cls(
                services=tuple(token.encode("latin-1") for token in document["services"]),
                histories=tuple(token.encode("latin-1") for token in document["histories"]),
            )
        except (KeyError, TypeError, AttributeError, UnicodeError) as error:
            raise ArtifactError("vocabulary", f"holds no lists of tokens: {error!r}", _RETRAIN) from error
        if document.get("fields") != dict(zip(vocabulary.field_names, vocabulary.sizes, strict=True)):
            raise ArtifactError("vocabulary", "its fields differ from those that this version encodes", _RETRAIN)
        return vocabulary


def _count_tokens(counter: Counter[bytes], column: npt.NDArray[np.bytes_], collapse: Callable[[bytes], bytes]) -> None:
    tokens, counts = np.unique(column, return_counts=True)
    for token, count in zip(tokens.tolist(), counts.tolist(), strict=True):
        collapsed = collapse(token)
        if collapsed:
            counter[collapsed] += count


def _frequent(counter: Counter[bytes], least_flows: int) -> tuple[bytes, ...]:
    frequent = [token for token, count in counter.items() if count >= least_flows]
    return tuple(sorted(sorted(frequent), key=lambda token: -counter[token])[:LEARNED_LIMIT])
