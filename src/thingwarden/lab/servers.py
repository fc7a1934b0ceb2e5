"""What answers in the lab: the internet's services, the telnet login of a cheap camera, a device's web page.

In: connections from inside the lab. Out: answers of plausible size and delay.
Must never: run anything that a client sent.
"""

# ruff: noqa: S311  random numbers here shape traffic and guard nothing

from __future__ import annotations

import random
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from thingwarden.lab.wire import NTP_SERVER, RTSP_PORT, time_answer

_IDLE_S: Final = 40.0
_BODY_BYTES: Final = {
    "/firmware": 3_000,
    "/weather": 900,
    "/page": 24_000,
    "/segment": 60_000,
    "/snapshot": 9_000,
    "/bins/arm7": 60_000,
}
_TELNET_LOGIN: Final = (b"root", b"xc3511")
"""One of Mirai's published factory passwords; what the guess must find."""


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


def serve_tcp(port: int, answer: Callable[[socket.socket], None], *, context: ssl.SSLContext | None = None) -> None:
    """Answer each connection to ``port`` in a thread of its own, until the process ends."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                self.request.settimeout(_IDLE_S)
                client = context.wrap_socket(self.request, server_side=True) if context else self.request
                answer(client)
                if isinstance(client, ssl.SSLSocket):
                    # Without a goodbye from both sides the kernel ends every session by a reset.
                    client.unwrap().close()
            except OSError:
                return  # a peer that leaves early is daily life

    server = _Server(("", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def serve_internet(certificate: Path, key: Path, control_port: int) -> None:
    """Run every server of the internet namespace; returns once all listen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(certificate), str(key))
    serve_tcp(80, answer_http)
    serve_tcp(443, answer_http, context=context)
    serve_tcp(RTSP_PORT, answer_rtsp)
    serve_tcp(control_port, answer_control)
    threading.Thread(target=_serve_ntp, daemon=True).start()


def _serve_ntp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((NTP_SERVER, 123))
        while True:
            request, peer = server.recvfrom(512)
            if len(request) >= 48:
                server.sendto(time_answer(request, time.time()), peer)


def answer_http(client: socket.socket) -> None:
    """One request, one answer whose size goes by the path, then close."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < 65536:
        chunk = client.recv(4096)
        if not chunk:
            return
        head += chunk
    head, _, body = head.partition(b"\r\n\r\n")
    _drain(client, _content_length(head) - len(body))
    time.sleep(random.uniform(0.004, 0.06))
    path = head.split(b" ", 2)[1].decode("ascii", "replace") if head.count(b" ") >= 2 else "/"
    payload = random.randbytes(_body_bytes(path))
    client.sendall(b"HTTP/1.1 200 OK\r\nServer: lab\r\nContent-Length: %d\r\n\r\n" % len(payload) + payload)


def _body_bytes(path: str) -> int:
    for prefix, count in _BODY_BYTES.items():
        if path.startswith(prefix):
            return count if prefix.startswith("/bins") else int(count * random.uniform(0.5, 1.5))
    return 60


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length" and value.strip().isdigit():
            return int(value)
    return 0


def _drain(client: socket.socket, count: int) -> None:
    while count > 0:
        chunk = client.recv(65536)
        if not chunk:
            return
        count -= len(chunk)


def answer_rtsp(client: socket.socket) -> None:
    """Say OK to each request, swallow the interleaved media, end at TEARDOWN."""
    number = 0
    while data := client.recv(65536):
        is_last = b"TEARDOWN " in data
        if is_last or data.startswith((b"OPTIONS ", b"ANNOUNCE ", b"SETUP ", b"RECORD ")):
            number += 1
            client.sendall(b"RTSP/1.0 200 OK\r\nCSeq: %d\r\nSession: 12345678\r\n\r\n" % number)
        if is_last:
            return


def answer_control(client: socket.socket) -> None:
    """A command-and-control host: greets, answers each line shortly."""
    client.sendall(b":irc NOTICE AUTH :ok\r\n")
    while data := client.recv(1024):
        time.sleep(random.uniform(0.02, 0.08))
        client.sendall(b"PONG :ok\r\n" if data.startswith(b"PING") else b":irc 001 bot :wait\r\n")


def answer_telnet(client: socket.socket) -> None:
    """A BusyBox-like login: negotiates, lets three guesses through a connection, knows one password."""
    client.sendall(b"\xff\xfd\x01\xff\xfd\x1f\xff\xfb\x01\xff\xfb\x03camera login: ")
    for _ in range(3):
        user = _telnet_line(client)
        client.sendall(user + b"\r\nPassword: ")
        password = _telnet_line(client)
        time.sleep(random.uniform(0.3, 0.8))  # the login's own delay
        if (user, password) == _TELNET_LOGIN:
            client.sendall(b"\r\n\r\nBusyBox v1.19.4 (2015-03-02) built-in shell (ash)\r\n\r\n# ")
            while _telnet_line(client) not in (b"", b"exit"):
                client.sendall(b"ash: not found\r\n# ")
            return
        client.sendall(b"\r\nLogin incorrect\r\ncamera login: ")


def _telnet_line(client: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < 512:
        chunk = client.recv(256)
        if not chunk:
            raise ConnectionResetError("the client left")
        line += chunk
    position = 0
    while line[position : position + 1] == b"\xff":
        position += 3
    return line[position:].strip()
