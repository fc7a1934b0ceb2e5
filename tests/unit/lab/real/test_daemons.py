"""The lab's resolver, broker, capture and certificate, in a network of two hosts."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab_host_builder import lan_host
from thingwarden.domain.errors import ConfigError
from thingwarden.ingest.pcap import PcapSource
from thingwarden.lab.real.daemons import (
    LanCapture,
    Resolver,
    make_certificate,
    start_broker,
    start_daemon,
    tool_versions,
)
from thingwarden.lab.real.network import Lab

HOSTS = (replace(lan_host("centre", 2), kind="hub"), lan_host("plug", 31))

RESOLVE = """
import socket, struct, sys
name, kind = sys.argv[1], int(sys.argv[2])
labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(5)
    question = labels + b"\\0" + struct.pack(">HH", kind, 1)
    client.sendto(struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + question, ("10.77.0.1", 53))
    answer = client.recv(2048)
size = 4 if kind == 1 else 16
family = socket.AF_INET if kind == 1 else socket.AF_INET6
print(answer[3] & 15, socket.inet_ntop(family, answer[-size:]) if answer[7] else "-")
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab with a resolver and a certificate."""
    with Lab(HOSTS) as made:
        yield made


@pytest.fixture(scope="module")
def resolver(lab: Lab) -> Resolver:
    """A running one."""
    made = Resolver(lab, HOSTS)
    made.start()
    return made


def ask(lab: Lab, name: str, kind: int = 1) -> str:
    """Response code and last address that the plug gets."""
    return lab.run("plug", [sys.executable, "-c", RESOLVE, name, str(kind)]).strip()


@pytest.mark.root
def test_names_are_known_by_both_versions_and_others_do_not_exist(lab: Lab, resolver: Resolver) -> None:
    assert ask(lab, "vendor.example") == "0 203.0.113.10"
    assert ask(lab, "vendor.example", 28) == "0 2001:db8:100::a"
    assert ask(lab, "hub.lan") == "0 10.77.0.2"
    assert ask(lab, "nowhere.example") == "3 -"
    assert ask(lab, "control.invalid") == "3 -"


@pytest.mark.root
def test_a_host_that_moves_is_found(lab: Lab, resolver: Resolver) -> None:
    assert ask(lab, "plug.lan") == "0 10.77.0.31"
    resolver.move("plug", "10.77.0.99")
    for _ in range(50):
        if ask(lab, "plug.lan") == "0 10.77.0.99":
            return
    raise AssertionError(ask(lab, "plug.lan"))


@pytest.mark.root
def test_the_broker_answers_plain_and_over_tls(lab: Lab, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, HOSTS)
    start_broker(lab, "centre", certificate, key)
    connect = "import socket, ssl, sys\nplain = socket.create_connection(('10.77.0.2', int(sys.argv[1])), 5)\n"
    secure = "context = ssl.create_default_context(cafile=sys.argv[2])\n"
    secure += "plain = context.wrap_socket(plain, server_hostname='hub.lan')\n"
    talk = "plain.sendall(bytes.fromhex('100d00044d51545404020005000178'))\nprint(plain.recv(4).hex())\n"
    for code, port in ((connect + talk, 1883), (connect + secure + talk, 8883)):
        assert lab.run("plug", [sys.executable, "-c", code, str(port), str(certificate)]).strip() == "20020000"


@pytest.mark.root
def test_the_capture_sees_what_neighbours_send_each_other(lab: Lab) -> None:
    capture = LanCapture(lab, snap_bytes=96)
    send = "import socket\nfor _ in range(20): socket.socket(2, 2).sendto(b'x' * 500, ('10.77.0.2', 9))"
    lab.run("plug", [sys.executable, "-c", send])
    assert capture.stop() == 0
    packets = [packet for packet in PcapSource(capture.path).packets() if len(packet)]
    lengths = packets[0].ip_bytes[packets[0].proto == 17]
    assert (lengths == 528).sum() == 20


@pytest.mark.root
def test_a_daemon_that_does_not_start_is_told(lab: Lab) -> None:
    with pytest.raises(ConfigError, match="no such luck"):
        start_daemon(lab, "plug", ["sh", "-c", "echo no such luck"], "ready", log=lab.scratch / "luckless.log")


def test_the_certificate_is_for_every_name(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, HOSTS)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    text = subprocess.run(
        ["openssl", "x509", "-in", str(certificate), "-noout", "-text"], capture_output=True, text=True, check=True
    ).stdout
    for name in ("vendor.example", "control.invalid", "hub.lan", "plug.lan"):
        assert f"DNS:{name}" in text


def test_every_program_says_its_version() -> None:
    versions = tool_versions()
    assert "Nmap version" in versions["nmap"]
    assert all(versions.values())
