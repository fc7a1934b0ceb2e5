"""What every text log has in common: it is opened safely, read in blocks of whole lines, and its rows are counted.

In: a path or a stream. Out: ``LineBlock``s without a byte order mark; ``counts``.
Must never: leave a line that was too long uncounted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from thingwarden.ingest.compression import display_name, open_stream
from thingwarden.ingest.lines import BLOCK_BYTES, LineBlock, LineReader
from thingwarden.ingest.recognise import BYTE_ORDER_MARK
from thingwarden.ingest.tally import RowTally


class LogSource:
    """A text log of flows; each format says how its rows are read.

    Args:
        path: the log, compressed or not; ``-`` is standard input.
        stream: read this instead of opening ``path``; it can then be read only once.
        block_bytes: read at a time.
    """

    def __init__(self, path: Path, stream: BinaryIO | None = None, *, block_bytes: int = BLOCK_BYTES) -> None:
        self._path = path
        self._name = display_name(path)
        self._stream = stream
        self._block_bytes = block_bytes
        self._tally = RowTally(self._name)

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows read so far, flows made of them, and rows skipped by reason."""
        return self._tally.counts

    def _blocks(self) -> Iterator[LineBlock]:
        """Count anew and yield the log's lines in order.

        Raises:
            RequestError: the path cannot be opened.
        """
        self._tally = RowTally(self._name)
        with self._stream or open_stream(self._path) as stream:
            for block in LineReader(stream, self._block_bytes).blocks():
                self._tally.skip("line_too_long", np.full(block.too_long_count, block.first_line))
                if block.first_line == 1:
                    block = replace(block, content=block.content.removeprefix(BYTE_ORDER_MARK))
                yield block
