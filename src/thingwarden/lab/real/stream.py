"""TCP connections of the real world, plain and over TLS, as behaviours see them.

In: connected sockets. Out: ``PlainStream`` and ``TlsStream``.
Must never: end a connection in an orderly way when its process is killed: a device without power says no goodbye.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Final

_FAREWELL_S: Final = 5.0
"""How long a closed connection waits for the other side's FIN before it is given up."""
_UNREAD_BYTES: Final = 1 << 18
_CHUNK_BYTES: Final = 1 << 16
_RESET: Final = struct.pack("ii", 1, 0)
_ORDERLY: Final = struct.pack("ii", 0, 0)


class PlainStream(asyncio.Protocol):
    """One side of a TCP connection.

    Args:
        on_made: called once the connection stands.
    """

    def __init__(self, on_made: Callable[[PlainStream], None] = lambda _: None) -> None:
        self._on_made = on_made
        self._transport: asyncio.Transport
        self._peer = ("", 0)
        self._unread = bytearray()
        self._news = asyncio.Event()
        self._may_send = asyncio.Event()
        self._has_ended = self._is_finished = self._is_closing = False
        self._error: OSError | None = None

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the other side."""
        return self._peer

    async def send(self, data: bytes) -> None:
        """Send all of ``data``; returns when the kernel has it.

        Raises:
            OSError: the connection is gone.
        """
        self._require_open()
        self._transport.write(data)
        await self._may_send.wait()
        self._require_open()

    async def receive(self, timeout_s: float | None = None) -> bytes:
        """What has come; empty once the other side has finished.

        Raises:
            TimeoutError: nothing came within ``timeout_s``.
            OSError: the connection was reset.
        """
        async with asyncio.timeout(timeout_s):
            while not self._unread and not self._has_ended:
                self._news.clear()
                await self._news.wait()
        if not self._unread and self._error is not None:
            raise self._error
        data = bytes(self._unread)
        self._unread.clear()
        if not self._has_ended:
            self._transport.resume_reading()
        return data

    async def finish(self) -> None:
        """Send FIN; receiving goes on."""
        self._finish()

    async def close(self) -> None:
        """Finish, and let what still comes pass unread until the other side finishes too."""
        self.say_goodbye()

    def say_goodbye(self) -> None:
        """As ``close``, for callers that cannot wait."""
        self._finish()
        self._is_closing = True
        if self._has_ended:
            self._transport.close()
        else:
            self._transport.resume_reading()
            asyncio.get_running_loop().call_later(_FAREWELL_S, self._transport.abort)

    def abort(self) -> None:
        """Reset the connection."""
        self._set_linger(_RESET)
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"{transport!r} is no stream")
        self._transport = transport
        self._peer = transport.get_extra_info("peername")[:2]
        self._may_send.set()
        # Nothing is kept back here, so that `send` waits as long as a blocking socket would.
        transport.set_write_buffer_limits(high=0)
        self._set_linger(_RESET)
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._is_closing:
            return
        self._unread += data
        if len(self._unread) > _UNREAD_BYTES:
            self._transport.pause_reading()
        self._news.set()

    def eof_received(self) -> bool:
        """Called by asyncio; what it answers keeps the other direction open."""
        self._has_ended = True
        self._news.set()
        return not self._is_closing

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if not self._is_closing:
            self._error = exc if isinstance(exc, OSError) else ConnectionResetError("the connection was given up")
        self._has_ended = True
        self._news.set()
        self._may_send.set()

    def pause_writing(self) -> None:
        """Called by asyncio."""
        self._may_send.clear()

    def resume_writing(self) -> None:
        """Called by asyncio."""
        self._may_send.set()

    def _require_open(self) -> None:
        if self._error is not None:
            raise self._error
        if self._is_finished:
            raise BrokenPipeError("sending after the end")

    def _finish(self) -> None:
        if self._is_finished or self._error is not None:
            return
        self._is_finished = True
        self._set_linger(_ORDERLY)
        with contextlib.suppress(OSError):
            self._transport.write_eof()

    def _set_linger(self, value: bytes) -> None:
        with contextlib.suppress(OSError):
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, value)


class TlsStream:
    """TLS over a plain stream; half-closing works as it does without.

    Args:
        context: with the certificate of a server, or the authority that a client trusts.
        server_name: what the server must prove to be; None on the server's side.
    """

    def __init__(self, plain: PlainStream, context: ssl.SSLContext, server_name: str | None) -> None:
        self._plain = plain
        self._from_wire, self._to_wire = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._from_wire, self._to_wire, server_side=server_name is None, server_hostname=server_name
        )

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the other side."""
        return self._plain.peer

    async def shake_hands(self) -> None:
        """Agree on keys.

        Raises:
            OSError: the other side is not who it should be, or gone.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill(None)
            except ssl.SSLError:
                await self._flush()  # the alert that says why
                raise
            else:
                await self._flush()
                return

    async def send(self, data: bytes) -> None:
        """As ``Stream.send``."""
        self._tls.write(data)
        await self._flush()

    async def receive(self, timeout_s: float | None = None) -> bytes:
        """As ``Stream.receive``."""
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    return self._tls.read(_CHUNK_BYTES)
                except ssl.SSLWantReadError:
                    await self._fill(None)
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return b""

    async def finish(self) -> None:
        """Say close_notify, then FIN; receiving goes on."""
        await self._notify()
        await self._plain.finish()

    async def close(self) -> None:
        """As ``finish``, and read no more."""
        await self._notify()
        await self._plain.close()

    def abort(self) -> None:
        """Reset the connection."""
        self._plain.abort()

    async def _notify(self) -> None:
        with contextlib.suppress(OSError):
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            await self._flush()

    async def _flush(self) -> None:
        if self._to_wire.pending:
            await self._plain.send(self._to_wire.read())

    async def _fill(self, timeout_s: float | None) -> None:
        data = await self._plain.receive(timeout_s)
        if data:
            self._from_wire.write(data)
        else:
            self._from_wire.write_eof()
