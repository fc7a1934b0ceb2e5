"""Cuts an untrusted text stream into blocks of whole lines.

In: a binary stream. Out: ``LineBlock``, some MiB of whole lines each.
Must never: hold a line longer than ``MAX_LINE_BYTES``; such a line becomes an empty one and is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np

BLOCK_BYTES: Final = 1024**2
"""Read at a time: some 7,000 flows. Four times as much is no faster, and a block of nothing but separators costs
some 80 bytes of memory per byte."""

MAX_LINE_BYTES: Final = 1024**2
"""A conn.log line has some 200 bytes; whatever exceeds a MiB is no flow."""

_NEWLINE: Final = 0x0A


@dataclass(frozen=True, slots=True, kw_only=True)
class LineBlock:
    """Whole lines, each ended by a newline.

    Attributes:
        content: the bytes; lines that were too long are empty.
        first_line: number of the first line in the stream, from 1.
        too_long_count: how many lines of this block were emptied.
    """

    content: bytes
    first_line: int
    too_long_count: int


class LineReader:
    """Reads a stream to its end in ``LineBlock``s; a last line without newline counts as a line."""

    def __init__(self, stream: BinaryIO, block_bytes: int = BLOCK_BYTES) -> None:
        self._stream = stream
        self._block_bytes = block_bytes
        self._next_line = 1

    def blocks(self) -> Iterator[LineBlock]:
        """Yield the lines in order."""
        carried = b""
        is_skipping = False
        while chunk := self._stream.read(self._block_bytes):
            if is_skipping:
                chunk = chunk[chunk.find(b"\n") :] if b"\n" in chunk else b""
                is_skipping = not chunk
            content = carried + chunk
            whole_bytes = content.rfind(b"\n") + 1
            carried = content[whole_bytes:]
            too_long_count = 0
            if len(carried) > MAX_LINE_BYTES:
                carried, is_skipping, too_long_count = b"", True, 1
            if whole_bytes or too_long_count:
                yield self._block(content[:whole_bytes], too_long_count)
        if carried:
            yield self._block(carried + b"\n", 0)

    def _block(self, content: bytes, too_long_count: int) -> LineBlock:
        ends = np.flatnonzero(np.frombuffer(content, dtype=np.uint8) == _NEWLINE)
        lengths = np.diff(ends, prepend=-1) - 1
        if len(lengths) and lengths.max() > MAX_LINE_BYTES:
            lines = content.split(b"\n")
            content = b"\n".join(b"" if len(line) > MAX_LINE_BYTES else line for line in lines)
            too_long_count += int((lengths > MAX_LINE_BYTES).sum())
        block = LineBlock(content=content, first_line=self._next_line, too_long_count=too_long_count)
        self._next_line += len(ends)
        return block
