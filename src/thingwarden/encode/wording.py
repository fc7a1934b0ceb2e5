"""What a word says, in plain English: every bucket of every field, and the fields by topic.

In: buckets of a word. Out: text made of the vocabulary's own edges and names.
Must never: state an edge that is not the encoder's, or repeat a string that an attacker chose.
Source: Zeek's conn.log for the meaning of ``conn_state`` and ``history``; IANA for the names of ports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import CONN_STATES
from thingwarden.domain.span import format_span
from thingwarden.encode.vocabulary import (
    BYTE_EDGES,
    COUNT_EDGES,
    DIRECTIONS,
    DURATION_EDGES_S,
    FIELD_INDEX,
    GAP_EDGES_S,
    ICMP_TYPES,
    MASKED,
    NAMED_PORTS,
    NOVELTIES,
    ORIG_PORT_CLASSES,
    PACKET_EDGES,
    PEER_KINDS,
    PORT_RANGE_STARTS,
    PORT_SIZE,
    PROTO_NAMES,
    RARE,
    RATE_EDGES,
    RATIO_EDGES,
    SAME_SIZES,
    SHARE_EDGES,
    Vocabulary,
)

TOPICS: Final[dict[str, tuple[str, ...]]] = {
    "service": ("proto", "resp_port", "service"),
    "source_port": ("orig_port",),
    "peer": ("direction", "peer_kind"),
    "pace": ("rate_1s", "rate_10s", "device_gap"),
    "breadth": ("fanout_1s", "fanout_10s", "fanout_60s", "service_peers"),
    "ports": ("peer_ports",),
    "rhythm": ("channel_gap", "interval_ratio", "regular_count", "peer_gap"),
    "repeats": ("peer_contacts", "service_opens"),
    "failures": ("peer_failed",),
    "novelty": ("novelty",),
    "outcome": ("conn_state", "history"),
    "duration": ("duration",),
    "size": ("orig_bytes", "orig_packets", "resp_bytes", "resp_packets"),
    "same_size": ("same_size",),
}
"""Fields that say one thing belong together: with one of them hidden, the others would still tell it."""

UNTOLD: Final = ("kind",)
"""Fields of no topic: they say how the word came about, not what the device did."""

PORT_NAMES: Final = {
    7: "echo", 19: "chargen", 20: "FTP data", 21: "FTP", 22: "SSH", 23: "telnet", 25: "SMTP", 53: "DNS", 67: "DHCP",
    68: "DHCP", 69: "TFTP", 80: "HTTP", 88: "Kerberos", 102: "S7 and MMS", 110: "POP3", 111: "portmapper", 123: "NTP",
    135: "Windows RPC", 137: "NetBIOS", 138: "NetBIOS", 139: "NetBIOS", 143: "IMAP", 161: "SNMP", 179: "BGP",
    389: "LDAP", 443: "HTTPS", 445: "SMB", 465: "SMTP", 500: "IKE", 502: "Modbus", 514: "syslog", 515: "printing",
    554: "RTSP", 587: "SMTP", 631: "printing", 853: "DNS over TLS", 873: "rsync", 993: "IMAP", 995: "POP3",
    1080: "SOCKS", 1433: "SQL Server", 1723: "PPTP", 1883: "MQTT", 1900: "SSDP", 2222: "other SSH",
    2323: "other telnet", 3074: "Xbox Live", 3306: "MySQL", 3389: "remote desktop", 3478: "STUN", 4500: "IPsec",
    4786: "Smart Install", 5000: "UPnP", 5060: "SIP", 5222: "XMPP", 5228: "Google push", 5353: "mDNS", 5355: "LLMNR",
    5432: "PostgreSQL", 5555: "Android debugging", 5683: "CoAP", 5684: "CoAP", 5900: "VNC", 6379: "Redis",
    6667: "IRC", 7547: "router management", 8080: "HTTP", 8443: "HTTPS", 8883: "MQTT", 9100: "printing",
    9200: "Elasticsearch", 11211: "memcached", 20000: "DNP3", 27017: "MongoDB", 37215: "Huawei routers",
    44818: "EtherNet/IP", 47808: "BACnet", 51820: "WireGuard", 52869: "Realtek UPnP",
}  # fmt: skip
"""What lives on a port by custom; the rest of ``NAMED_PORTS`` goes by number."""

ICMP_NAMES: Final = {
    0: "echo reply", 3: "unreachable", 5: "redirect", 8: "echo request", 11: "time exceeded", 128: "echo request",
    129: "echo reply", 133: "router solicitation", 134: "router advertisement", 135: "neighbour solicitation",
    136: "neighbour advertisement", 143: "group report",
}  # fmt: skip

_ORIG_PORTS: Final = {
    "same_as_resp": "the same source port as the service's",
    "system": "a source port below 1024",
    "registered": "a source port from 1024 to 32767",
    "ephemeral_linux": "a source port from 32768 to 60999",
    "ephemeral_high": "a source port from 61000 on",
    "icmp": "no source port (ICMP)",
}
_PEERS: Final = {
    "same_lan": "a host of the same network",
    "private": "a private address of another network",
    "link_local": "a link-local address",
    "internet": "an internet address",
    "multicast": "a multicast group",
    "broadcast": "everyone on the network",
    "self": "itself",
    "unspecified": "no address yet",
    "gateway": "the gateway",
    "dns_server": "a name server",
    "unknown": "a local address never heard of before",
}
_NOVELTIES: Final = {
    "known_channel": "nothing new: this service of this address was used before",
    "known_peer": "a new service of a known address",
    "known_service": "a new address on a known service",
    "all_new": "a new address and a new service",
}
_SAME_SIZES: Final = {
    "first": "the first flow of its kind, so no size to compare",
    "same": "exactly as many bytes both ways as the flow before",
    "same_orig": "exactly as many bytes asked as in the flow before",
    "same_resp": "exactly as many bytes answered as in the flow before",
    "differs": "other sizes than the flow before",
}
_STATES: Final = {
    "S0": "no answer",
    "S1": "connected and not closed",
    "SF": "connected and closed in order",
    "REJ": "refused",
    "S2": "the originator closed, the responder did not",
    "S3": "the responder closed, the originator did not",
    "RSTO": "connected, then reset by the originator",
    "RSTR": "connected, then reset by the responder",
    "RSTOS0": "no answer, then reset by the originator",
    "RSTRH": "answered, then reset by the responder before it was complete",
    "SH": "closed by the originator without an answer",
    "SHR": "closed by the responder before it was complete",
    "OTH": "seen only in the middle",
}
_LETTERS: Final = {
    "S": "asks to connect", "H": "accepts", "A": "acknowledges", "D": "sends data", "F": "closes", "R": "resets",
}  # fmt: skip
"""What an end does, by letter; in upper case the originator, in lower case the responder."""
_DIRECTIONS: Final = {
    "orig": "the device contacts",
    "resp": "the device is contacted by",
    "lan_orig": "inside the network, the device contacts",
    "lan_resp": "inside the network, the device is contacted by",
}
_LETTERS_TOLD: Final = 4
_DIGITS: Final = 2
"""Digits of an edge that count: edges lie a little above the round periods that people know."""

_NO_GAP: Final = len(GAP_EDGES_S) + 2
_OUTBOUND: Final = frozenset(index for index, name in enumerate(DIRECTIONS) if name.endswith("orig"))


class Wording:
    """Words in plain English.

    Args:
        vocabulary: that the words were encoded with.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._fields: dict[str, Callable[[int], str]] = {
            **_FIELD_TEXTS,
            "service": partial(_service_text, [token.decode("latin-1") for token in vocabulary.services]),
            "history": partial(_history_text, [token.decode("latin-1") for token in vocabulary.histories]),
        }

    def bucket_text(self, field: str, bucket: int) -> str:
        """One field's bucket.

        Args:
            field: one of ``FIELD_NAMES``.
            bucket: of that field; ``MASKED`` gives "unknown".

        Raises:
            IndexError: the field has no such bucket.
        """
        return "unknown" if bucket == MASKED else self._fields[field](bucket)

    def topic_text(self, topic: str, word: npt.NDArray[np.uint8]) -> str:
        """What a word says on a topic; empty where it says nothing.

        Args:
            topic: one of ``TOPICS``.
            word: uint8 (F,).
        """
        buckets = {field: int(word[FIELD_INDEX[field]]) for field in TOPICS[topic]}
        if not any(buckets.values()):
            return ""
        is_outbound = int(word[FIELD_INDEX["direction"]]) in _OUTBOUND
        if topic == "breadth":
            return _breadth_text(buckets, is_outbound)
        if topic == "pace":
            return _pace_text(self, buckets, is_outbound)
        if topic == "size":
            return _size_text(buckets, is_outbound)
        if topic == "rhythm":
            return _rhythm_text(self, buckets)
        if topic == "service":
            reached = " ".join(self.bucket_text(field, buckets[field]) for field in TOPICS[topic][:2] if buckets[field])
            return f"{reached}, {self.bucket_text('service', buckets['service'])}" if buckets["service"] else reached
        if topic == "peer":
            return " ".join(self.bucket_text(field, bucket) for field, bucket in buckets.items() if bucket)
        if topic == "outcome":
            buckets = {"conn_state": buckets["conn_state"]} if buckets["conn_state"] else buckets
        return ", ".join(self.bucket_text(field, bucket) for field, bucket in buckets.items() if bucket)


def topic_columns() -> dict[str, list[int]]:
    """Columns of ``WordBatch.fields`` by topic."""
    return {topic: [FIELD_INDEX[field] for field in fields] for topic, fields in TOPICS.items()}


def _count(edges: Sequence[float], bucket: int) -> str:
    """Whole numbers that a bucket of ``edge_buckets`` holds: ``0``, ``2``, ``9 to 16``, ``1025 or more``."""
    low, high = _bounds(edges, bucket)
    if high is None:
        return f"{int(low):,} or more"
    last = int(high) - 1
    return f"{last:,}" if int(low) >= last else f"{int(low):,} to {last:,}"


def _bounds(edges: Sequence[float], bucket: int) -> tuple[float, float | None]:
    """Lower and upper limit of a bucket of ``edge_buckets``; None for no upper one."""
    if not 1 <= bucket <= len(edges) + 1:
        raise IndexError(f"bucket {bucket} is outside 1..{len(edges) + 1}")
    return (edges[bucket - 2] if bucket > 1 else 0.0), (edges[bucket - 1] if bucket <= len(edges) else None)


def _span(edges: Sequence[float], bucket: int) -> str:
    low, high = _bounds(edges, bucket)
    if high is None:
        return f"{format_span(low, _DIGITS)} or more"
    upto = format_span(high, _DIGITS)
    return f"{format_span(low, _DIGITS)} to {upto}" if low else f"less than {upto}"


def _named(names: Sequence[str], texts: dict[str, str], bucket: int) -> str:
    name = names[bucket]
    return texts.get(name, name.replace("_", " "))


def _counted(edges: Sequence[float], singular: str, plural: str, bucket: int) -> str:
    count = _count(edges, bucket)
    return f"{'no' if count == '0' else count} {singular if count == '1' else plural}"


def _gap_text(never: str, since: str, bucket: int) -> str:
    """A gap, or that there was nothing before: the last bucket."""
    return never if bucket == _NO_GAP else f"{_span(GAP_EDGES_S, bucket)} {since}"


def _ratio_text(bucket: int) -> str:
    if bucket == len(RATIO_EDGES) + 2:
        return "too few flows to this service for an interval"
    low, high = _bounds(RATIO_EDGES, bucket)
    share = f"{low:.3g} or more" if high is None else f"{low:.3g} to {high:.3g}" if low else f"less than {high:.3g}"
    return f"{share} times the interval before"


def _share_text(bucket: int) -> str:
    if bucket == len(SHARE_EDGES) + 2:
        return "no contact with this address has ended yet"
    low, high = _bounds(SHARE_EDGES, bucket)
    if high is None:
        return "all contacts with this address came to nothing"
    if not low:
        return "no contact with this address came to nothing"
    return f"{low:.0%} to {high:.0%} of the contacts with this address came to nothing"


def _port_text(bucket: int) -> str:
    place = bucket - 1
    if place < len(NAMED_PORTS):
        port = NAMED_PORTS[place]
        return f"port {port} ({PORT_NAMES[port]})" if port in PORT_NAMES else f"port {port}"
    place -= len(NAMED_PORTS)
    if place < len(PORT_RANGE_STARTS):
        first = PORT_RANGE_STARTS[place]
        last = ([*PORT_RANGE_STARTS, 65536])[place + 1] - 1
        return f"port {first}" if first == last else f"another port from {first} to {last}"
    place -= len(PORT_RANGE_STARTS)
    if place < len(ICMP_TYPES):
        return f"type {ICMP_TYPES[place]} ({ICMP_NAMES[ICMP_TYPES[place]]})"
    if bucket != PORT_SIZE - 1:
        raise IndexError(f"bucket {bucket} is outside 1..{PORT_SIZE - 1}")
    return "another ICMP type"


def _orig_port_text(bucket: int) -> str:
    name = ORIG_PORT_CLASSES[bucket]
    return _ORIG_PORTS.get(name) or f"the source port of {name.upper()}"


def _service_text(tokens: Sequence[str], bucket: int) -> str:
    """Tokens come from training, never from the traffic at hand."""
    if bucket == RARE:
        return "an application protocol not met in training"
    return f"speaks {tokens[bucket - RARE - 1].upper().replace(',', ' and ')}"


def _history_text(tokens: Sequence[str], bucket: int) -> str:
    if bucket == RARE:
        return "a course not met in training"
    letters = tokens[bucket - RARE - 1]
    said = [
        f"the {'originator' if letter.isupper() else 'responder'} {_LETTERS[letter.upper()]}"
        for letter in letters[:_LETTERS_TOLD]
    ]
    return ", ".join(said) + (", and so on" if len(letters) > _LETTERS_TOLD else "")


_FIELD_TEXTS: Final[dict[str, Callable[[int], str]]] = {
    "kind": lambda bucket: ("", "a flow begins", "a flow has ended", "a flow goes on")[bucket],
    "direction": partial(_named, DIRECTIONS, _DIRECTIONS),
    "proto": lambda bucket: PROTO_NAMES[bucket].upper() if PROTO_NAMES[bucket] != "other" else "another protocol",
    "resp_port": _port_text,
    "orig_port": _orig_port_text,
    "peer_kind": partial(_named, PEER_KINDS, _PEERS),
    "device_gap": partial(_gap_text, "the device's first word", "after the device's last word"),
    "peer_gap": partial(_gap_text, "the first contact with this address", "after the last contact with this address"),
    "channel_gap": partial(
        _gap_text, "the first flow to this service of this address", "after the last flow to this service"
    ),
    "interval_ratio": _ratio_text,
    "regular_count": partial(_counted, COUNT_EDGES, "even interval in a row", "even intervals in a row"),
    "peer_contacts": partial(
        _counted, COUNT_EDGES, "earlier contact with this address", "earlier contacts with this address"
    ),
    "peer_failed": _share_text,
    "peer_ports": partial(_counted, COUNT_EDGES, "service of this address used", "services of this address used"),
    "service_opens": partial(
        _counted, COUNT_EDGES, "earlier contact with this service", "earlier contacts with this service"
    ),
    "service_peers": partial(_counted, COUNT_EDGES, "address on this service", "addresses on this service"),
    "novelty": partial(_named, NOVELTIES, _NOVELTIES),
    "fanout_1s": partial(_counted, RATE_EDGES, "new address within 1 s", "new addresses within 1 s"),
    "fanout_10s": partial(_counted, RATE_EDGES, "new address within 10 s", "new addresses within 10 s"),
    "fanout_60s": partial(_counted, RATE_EDGES, "new address within 1 min", "new addresses within 1 min"),
    "rate_1s": partial(_counted, RATE_EDGES, "flow within 1 s", "flows within 1 s"),
    "rate_10s": partial(_counted, RATE_EDGES, "flow within 10 s", "flows within 10 s"),
    "conn_state": partial(_named, CONN_STATES, _STATES),
    "duration": lambda bucket: f"lasted {_span(DURATION_EDGES_S, bucket)}",
    "orig_bytes": partial(_counted, BYTE_EDGES, "byte asked", "bytes asked"),
    "resp_bytes": partial(_counted, BYTE_EDGES, "byte answered", "bytes answered"),
    "orig_packets": partial(_counted, PACKET_EDGES, "packet asked", "packets asked"),
    "resp_packets": partial(_counted, PACKET_EDGES, "packet answered", "packets answered"),
    "same_size": partial(_named, SAME_SIZES, _SAME_SIZES),
}


def _telling_span(buckets: Sequence[int]) -> int:
    """Which of several spans, shortest first, says it best: the first that holds half as many as the longest."""
    lows = [_bounds(RATE_EDGES, bucket)[0] if bucket else 0.0 for bucket in buckets]
    return next(place for place, low in enumerate(lows) if 2 * low >= max(lows))


def _breadth_text(buckets: dict[str, int], is_outbound: bool) -> str:
    fields = ("fanout_1s", "fanout_10s", "fanout_60s")
    field = fields[_telling_span([buckets[name] for name in fields])]
    told = [_FIELD_TEXTS[field](buckets[field])] if buckets[field] else []
    if buckets["service_peers"]:
        told.append(f"{_FIELD_TEXTS['service_peers'](buckets['service_peers'])} so far")
    return f"{'reaches' if is_outbound else 'is reached by'} {', '.join(told)}"


def _pace_text(wording: Wording, buckets: dict[str, int], is_outbound: bool) -> str:
    fields = ("rate_1s", "rate_10s")
    field = fields[_telling_span([buckets[name] for name in fields])]
    told = (
        [f"{'begins' if is_outbound else 'is asked for'} {_FIELD_TEXTS[field](buckets[field])}"]
        if buckets[field]
        else []
    )
    if buckets["device_gap"]:
        told.append(wording.bucket_text("device_gap", buckets["device_gap"]))
    return ", ".join(told)


def _rhythm_text(wording: Wording, buckets: dict[str, int]) -> str:
    gap, run = buckets["channel_gap"], buckets["regular_count"]
    if run > 1 and gap not in (MASKED, _NO_GAP):
        return f"every {_span(GAP_EDGES_S, gap)}, evenly ({wording.bucket_text('regular_count', run)})"
    fields = ("channel_gap", "interval_ratio", "peer_gap")
    shown = ("channel_gap", "peer_gap") if gap == _NO_GAP else fields[:2] if gap else fields
    return ", ".join(wording.bucket_text(field, buckets[field]) for field in shown if buckets[field])


def _size_text(buckets: dict[str, int], is_outbound: bool) -> str:
    """Bytes and packets as the device sees them."""
    told = []
    for verb, end in (("sends", "orig" if is_outbound else "resp"), ("receives", "resp" if is_outbound else "orig")):
        counts = (("bytes", BYTE_EDGES, "byte"), ("packets", PACKET_EDGES, "packet"))
        parts = [
            _counted(edges, noun, f"{noun}s", buckets[f"{end}_{unit}"])
            for unit, edges, noun in counts
            if buckets[f"{end}_{unit}"]
        ]
        if parts:
            told.append(f"{verb} {' in '.join(parts)}")
    return ", ".join(told)
