"""TLS 1.3 as its sizes and first bytes show on the wire; nothing is encrypted, for nobody reads it.

In: one side of a TCP connection. Out: ``TlsStream``, a ``Stream``.
Must never: put a byte of plaintext into a payload head.
Source: RFC 8446; sizes measured with OpenSSL 3 and the lab's certificate, a P-256 key that signs itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from thingwarden.lab.simulated.tcp import Side

_RECORD_BYTES: Final = 16384
_OVERHEAD_BYTES: Final = 22
"""Header, content type and tag of a record."""
_HELLO_BYTES: Final = 517
_FINISHED_BYTES: Final = 80
_TICKETS_BYTES: Final = 510
_NOTIFY_BYTES: Final = 24
_ALERT_BYTES: Final = 7
_CLIENT_HELLO: Final = bytes.fromhex("160301020001") + b"\0\x01\xfc\x03\x03"
_SERVER_HELLO: Final = bytes.fromhex("160303007a02")
_FINISHED: Final = bytes.fromhex("140303000101170303")
_TICKETS: Final = bytes.fromhex("17030300fa")
_NOTIFY: Final = bytes.fromhex("1703030013")
_ALERT: Final = bytes.fromhex("15030300020228")
_SIGNING_S: Final = (0.0004, 0.0012)
_CHECKING_S: Final = (0.0006, 0.0013)
"""What a process takes for its part of the handshake, at least and at most."""

_RECORD_LAG_S: Final = 8e-5
"""What a program takes more to notice data that are encrypted."""

_FLIGHT_BYTES: Final = 765
_NAME_BYTES: Final = 2
"""ServerHello to Finished with a certificate that names nobody, and what a name takes beyond itself."""


class TlsStream:
    """TLS over one side of a connection.

    Args:
        side: of the TCP connection.
    """

    __slots__ = ("_side",)

    def __init__(self, side: Side) -> None:
        self._side = side

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the other side."""
        return self._side.peer_name

    async def send(self, data: bytes) -> None:
        """As ``Stream.send``."""
        if not data:
            return
        record_count = -(-len(data) // _RECORD_BYTES)
        first_bytes = min(len(data), _RECORD_BYTES) + _OVERHEAD_BYTES - 5
        head = b"\x17\x03\x03" + first_bytes.to_bytes(2, "big")
        await self._side.send_as(data, len(data) + record_count * _OVERHEAD_BYTES, head)

    async def receive(self, timeout_s: float | None = None) -> bytes:
        """As ``Stream.receive``."""
        return await self._side.receive(timeout_s)

    async def finish(self) -> None:
        """Say close_notify, then FIN; receiving goes on."""
        self._notify()
        self._side.send_fin()

    async def close(self) -> None:
        """As ``finish``, and read no more."""
        self.say_goodbye()

    def say_goodbye(self) -> None:
        """As ``close``, for callers that cannot wait."""
        self._notify()
        self._side.say_goodbye()

    def abort(self) -> None:
        """Reset the connection."""
        self._side.abort()

    def _notify(self) -> None:
        side = self._side
        if not (side.sent_fin or side.is_gone or side.is_closed):
            side.transmit(b"", _NOTIFY_BYTES, _NOTIFY)


def flight_bytes(names: Iterable[str]) -> int:
    """What a server's answer to a greeting takes, with a certificate for these host names."""
    return _FLIGHT_BYTES + sum(len(name) + _NAME_BYTES for name in names)


async def greet_server(side: Side, timeout_s: float) -> TlsStream:
    """The client's part of the handshake.

    Raises:
        OSError: the other side speaks no TLS, or is gone.
    """
    clock, rng = side.network.clock, side.network.rng
    side.more_lag_s = _RECORD_LAG_S
    gives_up_s = clock.now_s + timeout_s
    await side.send_as(_CLIENT_HELLO, _HELLO_BYTES, _CLIENT_HELLO)
    answer = await side.receive(gives_up_s - clock.now_s)
    if not answer.startswith(_SERVER_HELLO):
        if not side.sent_fin:
            side.transmit(_ALERT, _ALERT_BYTES, _ALERT)
        side.say_goodbye()
        raise OSError("the other side speaks no TLS")
    await clock.sleep(rng.uniform(*_CHECKING_S))
    await side.send_as(_FINISHED, _FINISHED_BYTES, _FINISHED)
    return TlsStream(side)


async def greet_client(side: Side, timeout_s: float) -> TlsStream:
    """The server's part of the handshake.

    Raises:
        OSError: the other side speaks no TLS, or is gone.
    """
    clock, rng = side.network.clock, side.network.rng
    side.more_lag_s = _RECORD_LAG_S
    gives_up_s = clock.now_s + timeout_s
    hello = await side.receive(timeout_s)
    if not hello.startswith(_CLIENT_HELLO):
        if not side.sent_fin:
            side.transmit(_ALERT, _ALERT_BYTES, _ALERT)
        side.say_goodbye()
        raise OSError("the other side speaks no TLS")
    await clock.sleep(rng.uniform(*_SIGNING_S))
    size_bytes = side.network.tls_flight_bytes + rng.choice((-1, 0, 0, 1))
    await side.send_as(_SERVER_HELLO, size_bytes, _SERVER_HELLO)
    finished = await side.receive(gives_up_s - clock.now_s)
    if not finished.startswith(_FINISHED):
        side.say_goodbye()
        raise OSError("the other side broke off the handshake")
    if len(finished) > len(_FINISHED):
        side.unread.append(finished[len(_FINISHED) :])
    await side.send_as(b"", _TICKETS_BYTES, _TICKETS)
    return TlsStream(side)
