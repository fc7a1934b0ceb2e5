"""A real HTTP receiver of plans on loopback, for tests: checks signatures, keeps what is in force, can misbehave.

In: the statuses that it shall answer. Out: what it was told.
Must never: listen beyond loopback.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from enforcer_builder import KEY
from thingwarden.enforce.courier import sign_message


@dataclass
class PlanReceiver:
    """What it was told, and how it answers.

    Attributes:
        url: where it listens.
        messages: each with its headers, in order.
        held: ids of the decisions that it was told to apply and not to undo.
        statuses: of the next answers; 204 when used up.
        pause_s: before each answer.
    """

    url: str = ""
    messages: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    statuses: list[int] = field(default_factory=list)
    pause_s: float = 0.0

    def kinds(self) -> list[str]:
        """The types of the messages."""
        return [body["type"] for _, body in self.messages]

    def take(self, headers: dict[str, str], text: bytes) -> int:
        """Take one message; the status to answer."""
        signature = sign_message(headers["webhook-id"], headers["webhook-timestamp"], text, KEY)
        if headers["webhook-signature"] != signature or abs(time.time() - int(headers["webhook-timestamp"])) > 60:
            return 401
        body = json.loads(text)
        self.messages.append((headers, body))
        status = self.statuses.pop(0) if self.statuses else 204
        if status < 300:
            change = self.held.discard if body["type"] == "decision.undo" else self.held.add
            change(body["data"]["decision_id"])
        return status

    def wait_until(self, is_so: Any, within_s: float = 5.0) -> None:
        """Wait until a condition holds; fail where it does not in time."""
        deadline_s = time.monotonic() + within_s
        while not is_so():
            assert time.monotonic() < deadline_s, f"told {self.kinds()}, held {self.held}"
            time.sleep(0.01)


@contextmanager
def receive(certificate: Path | None = None, pause_s: float = 0.0) -> Iterator[PlanReceiver]:
    """A receiver that listens; with the certificate and its key in one file, by https."""
    receiver = PlanReceiver(pause_s=pause_s)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.take({name.lower(): value for name, value in self.headers.items()}, text)
            time.sleep(receiver.pause_s)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", receiver.url + "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    receiver.url = f"{scheme}://localhost:{server.server_port}/plans"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def write_secret(folder: Path) -> Path:
    """The file of the secret that a receiver expects."""
    file = folder / "secret"
    file.write_bytes(KEY)
    file.chmod(0o600)
    return file
