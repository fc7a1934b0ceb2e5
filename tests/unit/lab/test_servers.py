"""The lab's servers, spoken to over a socket pair."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from thingwarden.lab.servers import answer_control, answer_http, answer_rtsp, answer_telnet


@contextmanager
def talking_to(answer: Callable[[socket.socket], None]) -> Iterator[socket.socket]:
    """A client whose other end is answered in a thread."""
    client, server = socket.socketpair()

    def run() -> None:
        with server:
            try:
                answer(server)
            except OSError:
                return

    thread = threading.Thread(target=run)
    thread.start()
    client.settimeout(5)
    try:
        yield client
    finally:
        client.close()
        thread.join(5)
        assert not thread.is_alive()


def read_until(client: socket.socket, end: bytes) -> bytes:
    seen = b""
    while not seen.endswith(end):
        chunk = client.recv(4096)
        assert chunk, f"closed after {seen!r}"
        seen += chunk
    return seen


def log_in(client: socket.socket, user: bytes, password: bytes) -> None:
    read_until(client, b"login: ")
    client.sendall(user + b"\r\n")
    read_until(client, b"Password: ")
    client.sendall(password + b"\r\n")


def test_http_answers_with_the_length_that_it_states() -> None:
    with talking_to(answer_http) as client:
        client.sendall(b"POST /heartbeat HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody")
        head, _, body = b"".join(iter(lambda: client.recv(4096), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert f"Content-Length: {len(body)}".encode() in head


def test_telnet_opens_for_one_password_only() -> None:
    with talking_to(answer_telnet) as client:
        log_in(client, b"root", b"admin")
        assert b"Login incorrect" in read_until(client, b"login: ")
        client.sendall(b"root\r\n")
        read_until(client, b"Password: ")
        client.sendall(b"xc3511\r\n")
        assert b"BusyBox" in read_until(client, b"# ")


def test_telnet_hangs_up_after_three_guesses() -> None:
    with talking_to(answer_telnet) as client:
        for _ in range(3):
            log_in(client, b"admin", b"wrong")
        read_until(client, b"login: ")
        assert client.recv(10) == b""


def test_rtsp_swallows_media_and_ends_at_teardown() -> None:
    with talking_to(answer_rtsp) as client:
        client.sendall(b"OPTIONS rtsp://video.example/in RTSP/1.0\r\n\r\n")
        read_until(client, b"\r\n\r\n")
        client.sendall(b"$\0\0\x04data" + b"TEARDOWN rtsp://video.example/in RTSP/1.0\r\n\r\n")
        assert read_until(client, b"\r\n\r\n").startswith(b"RTSP/1.0 200")
        assert client.recv(10) == b""


def test_control_greets_and_answers_pings() -> None:
    with talking_to(answer_control) as client:
        read_until(client, b"ok\r\n")
        client.sendall(b"PING :k\r\n")
        assert read_until(client, b"\r\n") == b"PONG :ok\r\n"
