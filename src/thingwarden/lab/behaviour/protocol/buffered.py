"""Reading lines and counted bytes from a stream that hands over whatever came.

In: a ``Stream``. Out: lines, exact counts, and how many bytes were passed over.
Must never: keep more than it was asked for plus one chunk.
"""

from __future__ import annotations

from typing import Final

from thingwarden.lab.world import Stream

DEFAULT_TIMEOUT_S: Final = 30.0


class Buffered:
    """The receiving side of a stream with what has come too early."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._held = b""

    async def until(self, mark: bytes, most_bytes: int = 65536, timeout_s: float | None = DEFAULT_TIMEOUT_S) -> bytes:
        """Everything up to and with ``mark``.

        Raises:
            OSError: the other side finished or fell silent first, or sent ``most_bytes`` without it.
        """
        while (at := self._held.find(mark)) < 0:
            if len(self._held) > most_bytes:
                raise ConnectionAbortedError("the other side sends no end")
            self._held += await self._more(timeout_s)
        taken, self._held = self._held[: at + len(mark)], self._held[at + len(mark) :]
        return taken

    async def exactly(self, count: int, timeout_s: float | None = DEFAULT_TIMEOUT_S) -> bytes:
        """``count`` bytes.

        Raises:
            OSError: the other side finished or fell silent first.
        """
        while len(self._held) < count:
            self._held += await self._more(timeout_s)
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    async def skip(self, count: int, timeout_s: float | None = DEFAULT_TIMEOUT_S) -> None:
        """Pass over ``count`` bytes.

        Raises:
            OSError: the other side finished or fell silent first.
        """
        while len(self._held) < count:
            count -= len(self._held)
            self._held = await self._more(timeout_s)
        self._held = self._held[count:]

    async def peek(self, timeout_s: float | None = DEFAULT_TIMEOUT_S) -> bytes:
        """What has come and is not read yet, at least one byte.

        Raises:
            OSError: the other side finished or fell silent first.
        """
        if not self._held:
            self._held = await self._more(timeout_s)
        return self._held

    async def _more(self, timeout_s: float | None) -> bytes:
        chunk = await self.stream.receive(timeout_s)
        if not chunk:
            raise ConnectionResetError("the other side finished")
        return chunk
