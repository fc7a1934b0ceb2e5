"""The enforcer's process around its warden: a unix socket, served to several cores by one thread.

In: connections of permitted users, and their sealed orders. Out: receipts.
Must never: wait for a client, read an order before the last one's answer was taken, keep more than a message of anyone.
Source: unix(7), SOCK_SEQPACKET and SO_PEERCRED.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from thingwarden.domain.errors import ConfigError, EnforcementError, RequestError, ThingwardenError
from thingwarden.enforce.channel import MAX_ORDER_BYTES, encode_answers, encode_error, encode_hello
from thingwarden.enforce.warden import BUSY_TICK_S, Channel, Warden

SOCKET_MODE: Final = 0o660
MAX_CLIENTS: Final = 8
ANSWER_TAKEN_WITHIN_S: Final = 5.0
"""A client that does not take its answer for this long is dropped."""

_CREDENTIALS: Final = struct.Struct("3i")
_BACKLOG: Final = 16
_LOOK_AGAIN_S: Final = 1.0


@dataclass(slots=True)
class _Client:
    connection: socket.socket
    channel: Channel
    heard_at_s: float
    unsent: Iterator[bytes] = field(default_factory=lambda: iter(()))
    message: bytes | None = None


class EnforcerService:
    """Listens, and hands each order to the warden in turn.

    Args:
        warden: judges and carries out.
        path: of the socket; a dead one there is replaced.
        uids: users who may connect, besides root and the process's own.
        gid: group that may connect; None for the process's own.
        say: takes one line about what goes on.

    Raises:
        ConfigError: the socket cannot be made, or somebody listens there.
    """

    def __init__(
        self,
        warden: Warden,
        path: Path,
        *,
        uids: frozenset[int] = frozenset(),
        gid: int | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._warden = warden
        self._uids = uids | {0, os.geteuid()}
        self._say = say
        self._path = path
        self._clients: dict[int, _Client] = {}
        self._stops = False
        self._listener = _listen(path, gid)
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for item in (self._listener, self._wake_receiver):
            item.setblocking(False)
            self._selector.register(item, selectors.EVENT_READ)

    def stop(self) -> None:
        """Leave ``run`` soon; may be called by a signal's handler or another thread."""
        self._stops = True
        with suppress(OSError):
            self._wake_sender.send(b"x")

    def stop_on_signals(self) -> None:
        """Stop on SIGTERM and SIGINT."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            self.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handle)

    def run(self) -> None:
        """Serve until ``stop``."""
        due_at_s = 0.0
        while not self._stops:
            for key, _ in self._selector.select(self._wait_s(due_at_s)):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.data, _Client):
                    self._serve(key.data)
                    due_at_s = min(due_at_s, time.monotonic() + BUSY_TICK_S)
            self._drop_unresponsive()
            if time.monotonic() >= due_at_s:
                due_at_s = time.monotonic() + self._tick()

    def close(self) -> None:
        """Close every connection and remove the socket."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._listener.close()
        self._wake_receiver.close()
        self._wake_sender.close()
        self._selector.close()
        self._path.unlink(missing_ok=True)

    def _wait_s(self, due_at_s: float) -> float:
        has_unsent = any(client.message is not None for client in self._clients.values())
        return min(max(0.0, due_at_s - time.monotonic()), _LOOK_AGAIN_S if has_unsent else float("inf"))

    def _tick(self) -> float:
        try:
            return self._warden.tick()
        except ThingwardenError as error:
            self._say(f"{error.what}: {error.why}")
            return _LOOK_AGAIN_S

    def _drop_unresponsive(self) -> None:
        late_s = time.monotonic() - ANSWER_TAKEN_WITHIN_S
        for client in [item for item in self._clients.values() if item.message is not None]:
            if client.heard_at_s < late_s:
                self._say("a client did not take its answer and was dropped")
                self._drop(client)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        uid = _CREDENTIALS.unpack(credentials)[1]
        if uid not in self._uids:
            self._say(f"user {uid} may not give orders; the connection was closed")
            connection.close()
            return
        if len(self._clients) >= MAX_CLIENTS:
            self._drop(min(self._clients.values(), key=lambda item: (item.channel.number > 0, item.heard_at_s)))
        client = _Client(connection, self._warden.open_channel(), time.monotonic())
        self._clients[connection.fileno()] = client
        self._selector.register(connection, selectors.EVENT_READ, client)
        self._send(client, iter((encode_hello(self._warden.hello(client.channel)),)))

    def _serve(self, client: _Client) -> None:
        """One step: send on, or take one order."""
        if client.connection.fileno() < 0:
            return
        if client.message is not None:
            self._flush(client)
            return
        try:
            sealed = client.connection.recv(MAX_ORDER_BYTES + 1)
        except BlockingIOError:
            return
        except OSError:
            sealed = b""
        if not sealed:
            self._drop(client)
            return
        client.heard_at_s = time.monotonic()
        try:
            self._send(client, encode_answers(self._warden.handle(client.channel, sealed)))
        except EnforcementError as error:
            self._send(client, iter((encode_error(f"{error.what}: {error.why}"),)))
        except RequestError as error:
            self._say(f"order refused: {error}")
            self._send(client, iter((encode_error(str(error)),)))
            self._drop(client)

    def _send(self, client: _Client, messages: Iterator[bytes]) -> None:
        client.unsent = messages
        client.message = next(messages, None)
        self._flush(client)

    def _flush(self, client: _Client) -> None:
        """Send as much as the client takes; while something is left, no order of it is read."""
        try:
            while client.message is not None:
                client.connection.send(client.message)
                client.heard_at_s = time.monotonic()
                client.message = next(client.unsent, None)
        except BlockingIOError:
            self._selector.modify(client.connection, selectors.EVENT_WRITE, client)
        except OSError:
            self._drop(client)
        else:
            self._selector.modify(client.connection, selectors.EVENT_READ, client)

    def _drop(self, client: _Client) -> None:
        if client.connection.fileno() < 0:
            return
        self._clients.pop(client.connection.fileno())
        self._selector.unregister(client.connection)
        client.connection.close()


def _listen(path: Path, gid: int | None) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        if _is_alive(path):
            raise ConfigError(f"socket {path}", "another enforcer listens there", "stop that one first")
        path.unlink(missing_ok=True)
        umask = os.umask(0o777 & ~SOCKET_MODE)
        try:
            listener.bind(str(path))
        finally:
            os.umask(umask)
        if gid is not None:
            os.chown(path, -1, gid)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(f"socket {path}", error.strerror or str(error), "check folder and permission") from error
    except ConfigError:
        listener.close()
        raise
    return listener


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True
