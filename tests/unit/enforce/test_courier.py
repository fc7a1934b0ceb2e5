"""Signed messages to a real HTTP receiver."""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from enforcer_builder import KEY
from receiver_builder import receive, write_secret
from thingwarden.domain.errors import ConfigError, EnforcementError
from thingwarden.enforce.courier import Courier, Receiver

BODY = b'{"data":{"decision_id":"0123456789ab"},"type":"decision.apply"}'


def test_a_message_carries_its_id_instant_and_signature(tmp_path: Path) -> None:
    with receive() as receiver:
        courier = Courier(Receiver(url=receiver.url, secret=write_secret(tmp_path)))
        assert courier.post("0123456789ab", BODY, 5.0) == 204
    ((headers, body),) = receiver.messages
    assert body["data"]["decision_id"] == headers["idempotency-key"] == headers["webhook-id"] == "0123456789ab"
    signed = b"0123456789ab." + headers["webhook-timestamp"].encode() + b"." + BODY
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_a_redirect_is_answered_to_the_caller_and_not_followed(tmp_path: Path) -> None:
    with receive() as receiver:
        receiver.statuses = [307]
        courier = Courier(Receiver(url=receiver.url, secret=write_secret(tmp_path)))
        assert courier.post("a", BODY, 5.0) == 307
        assert len(receiver.messages) == 1


def test_where_nobody_listens_is_an_error_that_names_the_host(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    courier = Courier(Receiver(url=f"http://127.0.0.1:{port}/", secret=write_secret(tmp_path)))
    with pytest.raises(EnforcementError, match=f"webhook 127.0.0.1:{port}: .*refused"):
        courier.post("a", BODY, 1.0)


def test_an_answer_that_drips_is_cut_off_in_time(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            for letter in b"HTTP/1.1 200 OK\r\n" * 4:
                time.sleep(0.1)
                try:
                    connection.send(bytes([letter]))
                except OSError:
                    return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    courier = Courier(Receiver(url=f"http://127.0.0.1:{listener.getsockname()[1]}/", secret=write_secret(tmp_path)))
    before_s = time.monotonic()
    with pytest.raises(EnforcementError):
        courier.post("a", BODY, 0.4)
    assert time.monotonic() - before_s < 1.0
    thread.join(5)
    listener.close()


def test_a_certificate_is_checked(tmp_path: Path) -> None:
    both, certificate = tmp_path / "both.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", both, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    both.write_bytes(both.read_bytes() + certificate.read_bytes())
    secret = write_secret(tmp_path)
    with receive(both) as receiver:
        known = Courier(Receiver(url=receiver.url, secret=secret, certificates=certificate))
        assert known.post("a", BODY, 5.0) == 204
        with pytest.raises(EnforcementError, match="CERTIFICATE_VERIFY_FAILED"):
            Courier(Receiver(url=receiver.url, secret=secret)).post("b", BODY, 5.0)
    assert len(receiver.messages) == 1


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://192.0.2.7/x", "http to another machine"),
        ("http://localhost.example/x", "http to another machine"),
        ("https://user:word@gateway.example/", "password"),
        ("ftp://gateway.example/", "is none"),
        ("https:///x", "is none"),
        ("https://gateway.example/a b", "is none"),
        ("https://gateway.example/\r\nX-Evil: 1", "is none"),
        ("https://gateway.example:99999/", "Port out of range"),
        ("https://[::1/", "Invalid IPv6"),
    ],
)
def test_an_address_that_should_not_be_told_is_refused(tmp_path: Path, url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Courier(Receiver(url=url, secret=write_secret(tmp_path)))


def test_http_to_another_machine_can_be_allowed(tmp_path: Path) -> None:
    secret = write_secret(tmp_path)
    assert Courier(Receiver(url="http://192.0.2.7/x", secret=secret, may_be_plain=True)).host == "192.0.2.7"


def test_certificates_that_are_none_are_refused(tmp_path: Path) -> None:
    secret = write_secret(tmp_path)
    with pytest.raises(ConfigError, match="certificates"):
        Courier(Receiver(url="https://gateway.example/", secret=secret, certificates=secret))
