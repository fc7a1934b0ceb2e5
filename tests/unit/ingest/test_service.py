"""Services are named by payload, and by port only together with payload."""

from __future__ import annotations

import pytest

from packet_builder import Frame, meter, tcp, udp

DNS = bytes.fromhex("12340100000100000000000007657861")
NTP = bytes([0x23]) + bytes(47)
BOOTP = bytes([1, 1, 6, 0]) + bytes(236)
CLIENT_HELLO = bytes.fromhex("160301020001000 1fc0303".replace(" ", ""))
MQTT_CONNECT = bytes([0x10, 0x20, 0, 4]) + b"MQTT" + bytes(20)


def service(frames: list[Frame]) -> str:
    return meter(frames).service[0].decode()


@pytest.mark.parametrize(
    ("payload", "server_port", "name"),
    [
        (DNS, 53, "dns"),
        (DNS, 5353, "dns"),
        (DNS, 9999, ""),
        (b"\xff" * 20, 53, ""),
        (NTP, 123, "ntp"),
        (NTP[:20], 123, ""),
        (NTP, 9999, ""),
        (b"", 53, ""),
        (b"SIP/2.0 200 OK\r\n", 5060, "sip"),
        (bytes.fromhex("302902010104067075626c6963"), 161, "snmp"),
        (bytes.fromhex("302902010104067075626c6963"), 9999, ""),
        (b"<34>Oct 11 22:14:15 camera su", 514, "syslog"),
        (bytes.fromhex("0800000000000700") + bytes(20), 4789, "vxlan"),
        (bytes.fromhex("0000655800000700") + bytes(20), 6081, "geneve"),
        (bytes.fromhex("30ff001000000001") + bytes(20), 2152, "gtpv1"),
        (bytes.fromhex("3001001000000001") + bytes(20), 2152, ""),
        (bytes.fromhex("44521129") + bytes(40), 5072, "ayiya"),
        (bytes.fromhex("6000000000003b15") + bytes.fromhex("20010000") + bytes(30), 41_000, "teredo"),
    ],
)
def test_udp_services(payload: bytes, server_port: int, name: str) -> None:
    assert service([udp(0, payload, server_port=server_port)]) == name


def test_dhcp_needs_both_ports() -> None:
    assert service([udp(0, BOOTP, client_port=68, server_port=67)]) == "dhcp"
    assert service([udp(0, BOOTP, client_port=5000, server_port=67)]) == ""


@pytest.mark.parametrize(
    ("payload", "reply", "name"),
    [
        (b"GET / HTTP/1.1\r\n", b"", "http"),
        (b"", b"HTTP/1.1 200 OK\r\n", "http"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", b"", "ssh"),
        (b"", b"SSH-2.0-dropbear\r\n", "ssh"),
        (CLIENT_HELLO, b"", "ssl"),
        (MQTT_CONNECT, b"", "mqtt"),
        (b"\x10" + bytes(20), b"", ""),
        (b"NICK bot\r\n", b":irc.example NOTICE AUTH", "irc"),
        (b"USER anonymous\r\n", b"220 ready", "ftp"),
        (b"EHLO pi\r\n", b"220 mx ESMTP", "smtp"),
        (b"CAPA\r\n", b"+OK ready", "pop3"),
        (b"a CAPABILITY\r\n", b"* OK ready", "imap"),
        (b"<stream:stream xmlns", b"<?xml version='1.0'?>", "xmpp"),
        (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n", "redis"),
        (b"*hello", b"+PONG\r\n", ""),
        (b"\0\0\0\x45\xfeSMB\x40\0", b"", "smb"),
        (bytes.fromhex("030000130ee0000000000001000800"), bytes.fromhex("0300000b06d00000123400"), "rdp"),
        (bytes.fromhex("056405c001000004e921"), b"", "dnp3_tcp"),
        (bytes.fromhex("302a020101602502010304"), b"", "ldap_tcp"),
        (bytes.fromhex("30818c02010268818604"), b"", "ldap_tcp"),
        (bytes.fromhex("302a020101ff"), b"", ""),
        (b"OPTIONS sip:a@b SIP/2.0\r\n", b"", "sip"),
        (b"USER anonymous\r\n", b"", ""),
        (b"root\r\n", b"login: ", ""),
    ],
)
def test_tcp_services_at_any_port(payload: bytes, reply: bytes, name: str) -> None:
    frames = [tcp(0, "PA", 1, 1, payload), tcp(0.1, "PA", 1, 1 + len(payload), reply, from_client=False)]
    assert service(frames) == name


def test_dns_over_tcp_has_a_length_before_it() -> None:
    assert service([tcp(0, "PA", 1, 1, b"\x00\x20" + DNS, server_port=53)]) == "dns"
    assert service([tcp(0, "PA", 1, 1, b"\xff" * 20, server_port=53)]) == ""


def test_a_port_alone_names_nothing() -> None:
    assert service([tcp(0, "S", 1, server_port=80)]) == ""


@pytest.mark.parametrize(("port", "name"), [(502, "modbus"), (9999, "")])
def test_modbus_needs_its_port(port: int, name: str) -> None:
    assert service([tcp(0, "PA", 1, 1, bytes.fromhex("000100000006010300000001"), server_port=port)]) == name


def test_ftp_data_is_named_from_its_port() -> None:
    assert service([tcp(0, "PA", 1, 1, b"anything", client_port=20)]) == "ftp-data"
