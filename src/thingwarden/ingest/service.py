"""Name the application protocol of a flow by the first bytes of its payload.

In: the first payload bytes of both sides, ports and protocol. Out: Zeek's service names, empty where unknown.
Must never: name a service by its port alone, where nothing of its payload was seen.
Source: RFC 1035, 2131, 5905, 9110, 8446, 4253, 2812, 959, 5321, 1939, 9051, 4511, 6120, 3261, 3411, 5424; OASIS MQTT
3.1.1 and 5.0; Modbus application protocol 1.1b3; IEEE 1815; MS-SMB2; MS-RDPBCGR; the tunnels' as in ``tunnels``.
"""

from __future__ import annotations

from collections.abc import Callable
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
_IRC_STARTS: Final = (b"NICK ", b"USER ", b"PASS ", b"STARTTLS")
_IRC_REPLIES: Final = (b":", b"NOTICE ", b"PING ", b"ERROR :")
"""FTP and POP3 also begin with USER or PASS; their replies do not begin so."""
_SMTP_STARTS: Final = (b"EHLO ", b"HELO ", b"ehlo ", b"helo ")
_FTP_STARTS: Final = (b"USER ", b"user ", b"AUTH ", b"FEAT")
_POP3_STARTS: Final = (b"USER ", b"CAPA", b"AUTH", b"APOP ", b"STLS")
_SIP_STARTS: Final = (b"INVITE sip:", b"REGISTER sip:", b"OPTIONS sip:", b"SUBSCRIBE sip:", b"NOTIFY sip:", b"SIP/2.0 ")
_LDAP_OPERATIONS: Final = (0x60, 0x63, 0x66, 0x68, 0x4A, 0x6C, 0x6E, 0x77)
"""Bind, search, modify, add, delete, rename, compare, extended."""
_MODBUS_PORT, _FTP_DATA_PORT, _SYSLOG_PORT = 502, 20, 514
_SNMP_PORTS: Final = (161, 162)
_TLS_HANDSHAKE: Final = 0x16
_MQTT_CONNECT: Final = 0x10
_MAX_DNS_QUESTIONS: Final = 16


def _port_set(*ports: int) -> npt.NDArray[np.bool_]:
    table = np.zeros(65536, dtype=np.bool_)
    table[list(ports)] = True
    return table


_IS_DNS_PORT: Final = _port_set(*_DNS_PORTS)
_IS_DHCP_PORT: Final = _port_set(*_DHCP_PORTS)
_IS_SNMP_PORT: Final = _port_set(*_SNMP_PORTS)
_IS_GTP_PORT: Final = _port_set(2152, 2123)
_IS_LDAP_OPERATION: Final = np.isin(np.arange(256), _LDAP_OPERATIONS)

SERVICES: Final = (
    "ayiya", "dhcp", "dnp3_tcp", "dns", "ftp", "ftp-data", "geneve", "gtpv1", "http", "imap", "irc", "ldap_tcp",
    "modbus", "mqtt", "ntp", "pop3", "rdp", "redis", "sip", "smb", "smtp", "snmp", "ssh", "ssl", "syslog", "teredo",
    "vxlan", "xmpp",
)  # fmt: skip
"""All names that ``name_services`` gives."""

Heads = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Signatures = Callable[[npt.NDArray[np.uint16], Heads, Heads], tuple[tuple[bytes, Mask], ...]]


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
        (b"sip", _starts(orig, *_SIP_STARTS)),
        (b"ssh", _starts(orig, b"SSH-") | _starts(resp, b"SSH-")),
        (b"http", _starts(orig, *_HTTP_STARTS) | _starts(resp, b"HTTP/1.")),
        (b"ssl", _is_tls(orig) | _is_tls(resp)),
        (b"mqtt", _is_mqtt(orig)),
        (b"irc", _starts(orig, *_IRC_STARTS) & _starts(resp, *_IRC_REPLIES)),
        (b"dns", is_dns_port & (_is_dns(orig[:, 2:]) | _is_dns(resp[:, 2:]))),
    )
    services = _select(len(ports), signatures)
    _name_rest(services, _rare_tcp, ports, orig, resp)
    return services


def _name_udp(
    ports: npt.NDArray[np.uint16], orig: Heads, resp: Heads, payload_bytes: npt.NDArray[np.int64]
) -> npt.NDArray[np.bytes_]:
    is_dns_port = _IS_DNS_PORT[ports].any(axis=1)
    is_ntp_port = (ports == _NTP_PORT).any(axis=1)
    signatures: tuple[tuple[bytes, Mask], ...] = (
        (b"dns", is_dns_port & (_is_dns(orig) | _is_dns(resp))),
        (b"ntp", is_ntp_port & (_is_ntp(orig, payload_bytes[:, 0]) | _is_ntp(resp, payload_bytes[:, 1]))),
        (b"sip", _starts(orig, *_SIP_STARTS)),
        (b"dhcp", _IS_DHCP_PORT[ports].all(axis=1) & (_is_bootp(orig) | _is_bootp(resp))),
    )
    services = _select(len(ports), signatures)
    _name_rest(services, _rare_udp, ports, orig, resp)
    return services


def _name_rest(
    services: npt.NDArray[np.bytes_], rare: Signatures, ports: npt.NDArray[np.uint16], orig: Heads, resp: Heads
) -> None:
    """Try the rarer signatures where no common one fitted: most flows never pay for them."""
    rows = np.flatnonzero(services == b"")
    if len(rows):
        services[rows] = _select(len(rows), rare(ports[rows], orig[rows], resp[rows]))


def _rare_tcp(ports: npt.NDArray[np.uint16], orig: Heads, resp: Heads) -> tuple[tuple[bytes, Mask], ...]:
    return (
        (b"smtp", _starts(orig, *_SMTP_STARTS) & _starts(resp, b"220")),
        (b"ftp", _starts(orig, *_FTP_STARTS) & _starts(resp, b"220 ", b"220-", b"120 ")),
        (b"pop3", _starts(orig, *_POP3_STARTS) & _starts(resp, b"+OK")),
        (b"imap", _starts(resp, b"* OK", b"* PREAUTH")),
        (
            b"xmpp",
            (_starts(orig, b"<?xml ") & _starts(resp, b"<?xml ", b"<stream:")) | _starts(orig, b"<stream:stream"),
        ),
        (b"redis", _starts(orig, b"*") & _is_digit(orig[:, 1]) & _starts(resp, b"*", b"$", b"+", b"-", b":")),
        (b"smb", _starts(orig[:, 4:], b"\xffSMB", b"\xfeSMB")),
        (b"rdp", _starts(orig, b"\x03\x00") & (orig[:, 5] == 0xE0) & _starts(resp, b"\x03\x00") & (resp[:, 5] == 0xD0)),
        (b"dnp3_tcp", _starts(orig, b"\x05\x64") | _starts(resp, b"\x05\x64")),
        (b"modbus", (ports == _MODBUS_PORT).any(axis=1) & (_is_modbus(orig) | _is_modbus(resp))),
        (b"ldap_tcp", _is_ldap(orig)),
        (b"ftp-data", (ports == _FTP_DATA_PORT).any(axis=1)),
    )


def _rare_udp(ports: npt.NDArray[np.uint16], orig: Heads, resp: Heads) -> tuple[tuple[bytes, Mask], ...]:
    return (
        (b"snmp", _IS_SNMP_PORT[ports].any(axis=1) & (_is_snmp(orig) | _is_snmp(resp))),
        (b"syslog", (ports == _SYSLOG_PORT).any(axis=1) & _starts(orig, b"<") & _is_digit(orig[:, 1])),
        (b"vxlan", (ports == 4789).any(axis=1) & (orig[:, 0] == 0x08)),
        (b"geneve", (ports == 6081).any(axis=1) & (orig[:, 0] >> 6 == 0) & _is_geneve_inside(orig)),
        (b"gtpv1", _IS_GTP_PORT[ports].any(axis=1) & (orig[:, 0] >> 4 == 3) & (orig[:, 1] == 0xFF)),
        (b"teredo", (ports == 3544).any(axis=1) | _is_teredo(orig) | _is_teredo(resp)),
        (b"ayiya", (ports == 5072).any(axis=1) & ((orig[:, 3] == 41) | (orig[:, 3] == 4) | (orig[:, 3] == 59))),
    )


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


def _is_digit(byte: npt.NDArray[np.uint8]) -> Mask:
    mask: Mask = (byte >= ord("0")) & (byte <= ord("9"))
    return mask


def _is_modbus(head: Heads) -> Mask:
    """The header of Modbus/TCP: protocol 0, and a length that a message can have."""
    length = head[:, 4].astype(np.int64) * 256 + head[:, 5]
    mask: Mask = (head[:, 2] == 0) & (head[:, 3] == 0) & (length >= 2) & (length <= 254) & (head[:, 7] > 0)
    return mask


def _is_ldap(head: Heads) -> Mask:
    """A sequence in any form of its length, a message number, and an operation that a client may ask for."""
    is_long = head[:, 1] >= 0x80
    at = np.where(is_long, 2 + (head[:, 1] & 7).astype(np.int64), 2)
    row = np.arange(len(head))
    number_bytes = np.minimum(head[row, at + 1], 4).astype(np.int64)
    is_numbered = (head[row, at] == 2) & (head[row, at + 1] <= 4)
    mask: Mask = (head[:, 0] == 0x30) & is_numbered & _IS_LDAP_OPERATION[head[row, at + 2 + number_bytes]]
    return mask


def _is_snmp(head: Heads) -> Mask:
    mask = np.zeros(len(head), dtype=np.bool_)
    for at in (2, 3, 4):
        mask |= (head[:, at] == 2) & (head[:, at + 1] == 1) & (head[:, at + 2] <= 3)
    mask &= head[:, 0] == 0x30
    return mask


def _is_geneve_inside(head: Heads) -> Mask:
    ethertype = head[:, 2].astype(np.int64) * 256 + head[:, 3]
    mask: Mask = (ethertype == 0x6558) | (ethertype == 0x0800) | (ethertype == 0x86DD)
    return mask


def _is_teredo(head: Heads) -> Mask:
    """IPv6 from or to a Teredo address; of the receiver's the first eight bytes lie within what is kept."""
    mask: Mask = (head[:, 0] >> 4 == 6) & (
        _starts(head[:, 8:], b"\x20\x01\0\0") | _starts(head[:, 24:], b"\x20\x01\0\0")
    )
    return mask


def _is_bootp(head: Heads) -> Mask:
    """Operation, hardware type and its address length; the magic cookie lies behind what is kept of the payload."""
    mask: Mask = ((head[:, 0] == 1) | (head[:, 0] == 2)) & (head[:, 1] == 1) & (head[:, 2] == 6)
    return mask
