"""Signed messages to one HTTP receiver, one at a time.

In: a message and its id. Out: the status that the receiver answered.
Must never: follow a redirect, speak in the clear beyond this machine unless told to, wait longer than its limit.
Source: Standard Webhooks 1.0 (headers webhook-*); draft-ietf-httpapi-idempotency-key-header-06.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from thingwarden.domain.errors import ConfigError, EnforcementError
from thingwarden.enforce.key import read_key

MAX_RESPONSE_BYTES: Final = 65_536
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Who is told.

    Attributes:
        url: https, or http to this machine.
        secret: file of the 32 bytes that messages are signed with.
        certificates: file of the authorities that may sign the receiver's certificate; None for the system's.
        may_be_plain: http to another machine is allowed.
    """

    url: str
    secret: Path
    certificates: Path | None = None
    may_be_plain: bool = False


class Courier:
    """Delivers to one receiver.

    Args:
        receiver: who is told.

    Raises:
        ConfigError: its address, its certificates or the secret are refused.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._url = _checked_url(receiver)
        self._secret = read_key(receiver.secret)
        self._tls = _tls_context(receiver) if self._url.scheme == "https" else None

    @property
    def host(self) -> str:
        """The receiver's name and port; without a password that the address may hold."""
        return self._url.netloc.rpartition("@")[2]

    def post(self, message_id: str, body: bytes, within_s: float) -> int:
        """Send the message once; the status that was answered, whatever it says.

        Args:
            message_id: the same each time that this message is sent.
            body: JSON.
            within_s: the longest that it takes, above 0; looking up the receiver's name may take longer.

        Raises:
            EnforcementError: there was no answer.
        """
        connection = self._connection(within_s)
        # The time limit of a socket starts anew with each byte; this one does not.
        cutter = threading.Timer(within_s, _cut, (connection,))
        cutter.daemon = True
        cutter.start()
        try:
            path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
            connection.request("POST", path, body, self._headers(message_id, body))
            response = connection.getresponse()
            response.read(MAX_RESPONSE_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise EnforcementError(f"webhook {self.host}", str(error) or type(error).__name__) from error
        finally:
            cutter.cancel()
            connection.close()
        return response.status

    def _connection(self, within_s: float) -> http.client.HTTPConnection:
        host = self._url.hostname or ""
        if self._tls is None:
            return http.client.HTTPConnection(host, self._url.port, timeout=within_s)
        return http.client.HTTPSConnection(host, self._url.port, timeout=within_s, context=self._tls)

    def _headers(self, message_id: str, body: bytes) -> dict[str, str]:
        at_s = str(int(time.time()))
        return {
            "Content-Type": "application/json",
            "User-Agent": "thingwarden",
            "Idempotency-Key": message_id,
            "webhook-id": message_id,
            "webhook-timestamp": at_s,
            "webhook-signature": sign_message(message_id, at_s, body, self._secret),
        }


def sign_message(message_id: str, at_s: str, body: bytes, secret: bytes) -> str:
    """The signature that a receiver compares with the header ``webhook-signature``."""
    signed = b".".join((message_id.encode(), at_s.encode(), body))
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def _checked_url(receiver: Receiver) -> SplitResult:
    what = "webhook's address"
    try:
        url = urlsplit(receiver.url)
        is_complete = bool(url.hostname) and url.port != 0 and receiver.url.isascii() and receiver.url.isprintable()
    except ValueError as error:
        raise ConfigError(what, str(error), "such as https://gateway.example/thingwarden") from error
    if url.scheme not in ("https", "http") or not is_complete or " " in receiver.url:
        raise ConfigError(what, f"{receiver.url!r} is none", "such as https://gateway.example/thingwarden")
    if url.username is not None or url.password is not None:
        raise ConfigError(what, "it holds a password, which would be shown", "messages are signed; drop it")
    if url.scheme == "http" and url.hostname not in _LOOPBACK and not receiver.may_be_plain:
        raise ConfigError(what, "http to another machine can be read and changed on the way", "use https")
    return url


def _tls_context(receiver: Receiver) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=receiver.certificates)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"certificates {receiver.certificates}", str(error), "a file in PEM format") from error


def _cut(connection: http.client.HTTPConnection) -> None:
    with suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)
