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
        (b"USER anonymous\r\n", b"220 ready", ""),
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
