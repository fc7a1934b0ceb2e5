"""Name the application protocol of a flow by the first bytes of its payload.

In: the first payload bytes of both sides, ports and protocol. Out: Zeek's service names, empty where unknown.
Must never: name a service by its port alone, where nothing of its payload was seen.
Source: RFC 1035, 2131, 5905, 9110, 8446, 4253, 2812; OASIS MQTT 3.1.1 and 5.0.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import SERVICE_LENGTH
from thingwarden.domain.packet import PROTO_TCP, PROTO_UDP

_DNS_PORTS: Final = (53, 5353, 5355)
"""DNS, multicast DNS, LLMNR: one format, one name in Zeek's log."""
_NTP_PORT: Final = 123
_DHCP_PORTS: Final = (67, 68)
_HTTP_STARTS: Final = (
    b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"NOTIFY ", b"SUBSCRIBE ",
    b"HTTP/1.",
)  # fmt: skip
_IRC_STARTS: Final = (b"NICK ", b"USER ", b"PASS ")
_IRC_REPLIES: Final = (b":", b"NOTICE ", b"PING ", b"ERROR :")
"""FTP and POP3 also begin with USER or PASS; their replies do not begin so."""
_TLS_HANDSHAKE: Final = 0x16
_MQTT_CONNECT: Final = 0x10
_MAX_DNS_QUESTIONS: Final = 16


def _port_set(*ports: int) -> npt.NDArray[np.bool_]:
    table = np.zeros(65536, dtype=np.bool_)
    table[list(ports)] = True
    return table


_IS_DNS_PORT: Final = _port_set(*_DNS_PORTS)
_IS_DHCP_PORT: Final = _port_set(*_DHCP_PORTS)

Heads = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


def name_services(
    proto: npt.NDArray[np.uint8], ports: npt.NDArray[np.uint16], heads: Heads, payload_bytes: npt.NDArray[np.int64]
) -> npt.NDArray[np.bytes_]:
    """Zeek's service names.

    Args:
        proto: uint8 (n,).
        ports: uint16 (n, 2), originator's and responder's.
        heads: uint8 (n, 2, k), first payload bytes of each side, zeros where it sent none.
        payload_bytes: int64 (n, 2), of the whole flow.

    Returns:
        S24 (n,), empty where no signature fits.
    """
    services = np.zeros(len(proto), dtype=f"S{SERVICE_LENGTH}")
    has_payload = heads.any(axis=(1, 2))
    tcp = np.flatnonzero((proto == PROTO_TCP) & has_payload)
    udp = np.flatnonzero((proto == PROTO_UDP) & has_payload)
    services[tcp] = _name_tcp(ports[tcp], heads[tcp, 0], heads[tcp, 1])
    services[udp] = _name_udp(ports[udp], heads[udp, 0], heads[udp, 1], payload_bytes[udp])
    return services


def _name_tcp(ports: npt.NDArray[np.uint16], orig: Heads, resp: Heads) -> npt.NDArray[np.bytes_]:
    is_dns_port = _IS_DNS_PORT[ports].any(axis=1)
    # Over TCP two bytes of length precede the message.
    signatures: tuple[tuple[bytes, Mask], ...] = (
        (b"ssh", _starts(orig, b"SSH-") | _starts(resp, b"SSH-")),
        (b"http", _starts(orig, *_HTTP_STARTS) | _starts(resp, b"HTTP/1.")),
        (b"ssl", _is_tls(orig) | _is_tls(resp)),
        (b"mqtt", _is_mqtt(orig)),
        (b"irc", _starts(orig, *_IRC_STARTS) & _starts(resp, *_IRC_REPLIES)),
        (b"dns", is_dns_port & (_is_dns(orig[:, 2:]) | _is_dns(resp[:, 2:]))),
    )
    return _select(len(ports), signatures)


def _name_udp(
    ports: npt.NDArray[np.uint16], orig: Heads, resp: Heads, payload_bytes: npt.NDArray[np.int64]
) -> npt.NDArray[np.bytes_]:
    is_dns_port = _IS_DNS_PORT[ports].any(axis=1)
    is_ntp_port = (ports == _NTP_PORT).any(axis=1)
    signatures: tuple[tuple[bytes, Mask], ...] = (
        (b"dns", is_dns_port & (_is_dns(orig) | _is_dns(resp))),
        (b"ntp", is_ntp_port & (_is_ntp(orig, payload_bytes[:, 0]) | _is_ntp(resp, payload_bytes[:, 1]))),
        (b"dhcp", _IS_DHCP_PORT[ports].all(axis=1) & (_is_bootp(orig) | _is_bootp(resp))),
    )
    return _select(len(ports), signatures)


def _select(count: int, signatures: tuple[tuple[bytes, Mask], ...]) -> npt.NDArray[np.bytes_]:
    services = np.zeros(count, dtype=f"S{SERVICE_LENGTH}")
    for name, mask in reversed(signatures):
        services[mask] = name
    return services


def _starts(head: Heads, *prefixes: bytes) -> Mask:
    mask = np.zeros(len(head), dtype=np.bool_)
    for prefix in prefixes:
        mask |= (head[:, : len(prefix)] == np.frombuffer(prefix, dtype=np.uint8)).all(axis=1)
    return mask


def _is_tls(head: Heads) -> Mask:
    mask: Mask = (head[:, 0] == _TLS_HANDSHAKE) & (head[:, 1] == 3) & (head[:, 2] <= 4)
    return mask


def _is_mqtt(head: Heads) -> Mask:
    """CONNECT: the remaining length takes one to four bytes, then comes the protocol's name with its length."""
    named = np.zeros(len(head), dtype=np.bool_)
    for at in range(2, 6):
        named |= _starts(head[:, at:], b"\x00\x04MQTT", b"\x00\x06MQIsdp")
    mask: Mask = (head[:, 0] == _MQTT_CONNECT) & named
    return mask


def _is_dns(head: Heads) -> Mask:
    """A header whose opcode and counts can be: at least one record, few questions, reserved bit zero."""
    counts: npt.NDArray[Any] = head[:, 4:12:2].astype(np.int64) * 256 + head[:, 5:12:2]
    opcode = head[:, 2] >> 3 & 15
    reserved = head[:, 3] & 0x40
    mask: Mask = (opcode <= 6) & (reserved == 0) & (counts[:, 0] <= _MAX_DNS_QUESTIONS) & (counts.sum(axis=1) > 0)
    return mask


def _is_ntp(head: Heads, payload_bytes: npt.NDArray[np.int64]) -> Mask:
    version = head[:, 0] >> 3 & 7
    mode = head[:, 0] & 7
    is_control = mode >= 6
    mask: Mask = (version >= 1) & (version <= 4) & (mode >= 1) & ((payload_bytes >= 48) | is_control)
    return mask


def _is_bootp(head: Heads) -> Mask:
    """Operation, hardware type and its address length; the magic cookie lies behind what is kept of the payload."""
    mask: Mask = ((head[:, 0] == 1) | (head[:, 0] == 2)) & (head[:, 1] == 1) & (head[:, 2] == 6)
    return mask
