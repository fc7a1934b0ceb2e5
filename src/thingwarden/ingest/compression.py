"""Opens a file as a stream of plain bytes, whether it is compressed or not.

In: the path of an untrusted file, or ``-`` for standard input. Out: a buffered binary stream.
Must never: hold more than a few MiB of output, or unpack a bomb to its end.
Sources: RFC 1952 (gzip), the .xz file format 1.2.1, RFC 8878 (zstd).
"""

from __future__ import annotations

import io
import lzma
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

import zstandard

from thingwarden.domain.errors import InputError, RequestError

STANDARD_INPUT: Final = Path("-")

BUFFER_BYTES: Final = 256 * 1024
"""Size of the returned stream's buffer: one ``peek`` at its start shows this much, or the whole of a shorter file."""

MAX_OUTPUT_BYTES: Final = 64 * 1024**3
"""Cap on what one compressed file may unpack to: a week of a busy home uplink; more must be unpacked by hand."""

MAX_RATIO: Final = 200
"""Output bytes per input byte. The steepest of 544 public files (a constant sensor's log, xz) has 60; zeros have 229
at gzip's fastest setting and above 1,000 elsewhere."""

RATIO_FLOOR_BYTES: Final = 64 * 1024**2
"""The ratio is judged from here on: below, even a bomb does no harm and a tiny repetitive file is legitimate."""

MAX_DECODER_BYTES: Final = 128 * 1024**2
"""Memory one decoder may ask for: ``xz -9`` needs 65 MiB, zstd's own default limit is a 128 MiB window."""

_SOURCE_READ_BYTES: Final = 64 * 1024
_ZSTD_SLICE_BYTES: Final = 512
"""A zstd decoder cannot be told to stop early, and 4 input bytes can yield 128 KiB: so 16 MiB at most per slice."""


class _Decoder(Protocol):
    """One gzip member, xz stream or zstd frame."""

    @property
    def is_finished(self) -> bool: ...
    @property
    def leftover(self) -> bytes: ...
    def decode(self, data: bytes, limit_bytes: int) -> bytes: ...


class _GzipDecoder:
    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def is_finished(self) -> bool:
        return self._inflater.eof

    @property
    def leftover(self) -> bytes:
        return self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail

    def decode(self, data: bytes, limit_bytes: int) -> bytes:
        return self._inflater.decompress(data, limit_bytes)


class _XzDecoder:
    def __init__(self) -> None:
        self._decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MAX_DECODER_BYTES)

    @property
    def is_finished(self) -> bool:
        return self._decompressor.eof

    @property
    def leftover(self) -> bytes:
        return self._decompressor.unused_data

    def decode(self, data: bytes, limit_bytes: int) -> bytes:
        return self._decompressor.decompress(data, limit_bytes)


class _ZstdDecoder:
    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_DECODER_BYTES).decompressobj()
        self._unread = b""

    @property
    def is_finished(self) -> bool:
        return self._decompressor.eof

    @property
    def leftover(self) -> bytes:
        return self._decompressor.unused_data + self._unread

    def decode(self, data: bytes, limit_bytes: int) -> bytes:
        chunks: list[bytes] = []
        start = produced = 0
        while start < len(data) and produced < limit_bytes and not self._decompressor.eof:
            chunks.append(self._decompressor.decompress(data[start : start + _ZSTD_SLICE_BYTES]))
            produced += len(chunks[-1])
            start += _ZSTD_SLICE_BYTES
        self._unread = data[start:]
        return b"".join(chunks)


_DECODERS: Final[tuple[tuple[str, bytes, Callable[[], _Decoder]], ...]] = (
    ("gzip", b"\x1f\x8b", _GzipDecoder),
    ("xz", b"\xfd7zXZ\x00", _XzDecoder),
    ("zstd", b"\x28\xb5\x2f\xfd", _ZstdDecoder),
)

_DECODE_ERRORS: Final = (zlib.error, lzma.LZMAError, zstandard.ZstdError)


class _DecompressedStream(io.RawIOBase):
    """Decodes as far as it is read, member after member, within the bounds above."""

    def __init__(self, source: BinaryIO, name: str, kind: str, new_decoder: Callable[[], _Decoder]) -> None:
        self._source = source
        self._name = name
        self._kind = kind
        self._new_decoder = new_decoder
        self._decoder = new_decoder()
        self._input = b""
        self._ready = b""
        self._consumed_bytes = 0
        self._produced_bytes = 0
        self._failure: InputError | None = None

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._source.close()
        super().close()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill ``buffer`` as far as the data goes; what came before a fault is still delivered, the fault next time."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and self._failure is None:
            try:
                chunk = self._ready or self._decode(len(view) - filled)
            except InputError as error:
                self._failure = error
                break
            if not chunk:
                break
            taken = min(len(chunk), len(view) - filled)
            view[filled : filled + taken] = chunk[:taken]
            self._ready = chunk[taken:]
            filled += taken
        if not filled and self._failure is not None:
            raise self._failure
        return filled

    def _decode(self, limit_bytes: int) -> bytes:
        """The next decoded bytes, empty at the end of the last member."""
        while True:
            if self._decoder.is_finished and not self._starts_next_member():
                return b""
            is_exhausted = not self._input and not self._refill()
            try:
                chunk = self._decoder.decode(self._input, limit_bytes)
            except (*_DECODE_ERRORS, MemoryError) as error:
                raise self._fault(f"is corrupt or needs too much memory ({error})") from error
            self._input = self._decoder.leftover
            self._produced_bytes += len(chunk)
            if chunk:
                self._check_bounds()
                return chunk
            if is_exhausted and not self._decoder.is_finished:
                raise self._fault("ends before its end marker: it was cut short")

    def _starts_next_member(self) -> bool:
        """Skip zero padding; begin the next member if there is one."""
        self._input = self._input.lstrip(b"\x00")
        while not self._input and self._refill():
            self._input = self._input.lstrip(b"\x00")
        if not self._input:
            return False
        self._decoder = self._new_decoder()
        return True

    def _refill(self) -> bool:
        self._input = self._source.read(_SOURCE_READ_BYTES)
        self._consumed_bytes += len(self._input)
        return bool(self._input)

    def _check_bounds(self) -> None:
        if self._produced_bytes > MAX_OUTPUT_BYTES:
            raise self._fault(f"unpacks to more than {MAX_OUTPUT_BYTES:,} bytes", "unpack it by hand if you trust it")
        used_bytes = max(self._consumed_bytes - len(self._input), 1)
        if self._produced_bytes > max(RATIO_FLOOR_BYTES, MAX_RATIO * used_bytes):
            raise self._fault(
                f"unpacks to more than {MAX_RATIO} times its size: it looks like a decompression bomb",
                "unpack it by hand if you trust it",
            )

    def _fault(self, why: str, hint: str = "compress or copy the file again") -> InputError:
        offset = self._consumed_bytes - len(self._input)
        return InputError(self._name, f"{self._kind} data {why}, near compressed byte {offset:,}", hint)


class _PipeStream(io.RawIOBase):
    """A pipe that hands out full buffers, so that the first look at it sees as much as of a file."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        chunk = self._source.read(len(view))
        view[: len(chunk)] = chunk
        return len(chunk)


def open_stream(path: Path) -> BinaryIO:
    """Open ``path`` as plain bytes; gzip, xz and zstd are recognised by content and unpacked while reading.

    Args:
        path: a regular file or pipe; ``-`` is standard input.

    Returns:
        A buffered stream that only reads forward; close it after use. Reading it raises ``InputError`` (naming
        the file, the compressed byte offset and what was wrong) where compressed data is cut, corrupt or a bomb.

    Raises:
        RequestError: the path does not exist, is a folder or may not be read.
    """
    name = display_name(path)
    source = _open_raw(path)
    head = source.peek(8)
    for kind, magic, new_decoder in _DECODERS:
        if head.startswith(magic):
            raw = _DecompressedStream(source, name, kind, new_decoder)
            return io.BufferedReader(raw, buffer_size=BUFFER_BYTES)
    return source


def display_name(path: Path) -> str:
    """What messages call the input."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def _open_raw(path: Path) -> io.BufferedReader:
    if path == STANDARD_INPUT:
        return io.BufferedReader(_PipeStream(sys.stdin.buffer), buffer_size=BUFFER_BYTES)
    try:
        source = cast(io.BufferedReader, path.open("rb", buffering=BUFFER_BYTES))
    except IsADirectoryError as error:
        raise RequestError(
            str(path), "is a folder", "name the files in it, for instance with a shell pattern"
        ) from error
    except FileNotFoundError as error:
        raise RequestError(str(path), "does not exist", "check the path") from error
    except OSError as error:
        raise RequestError(str(path), error.strerror or str(error), "check the path and its permissions") from error
    return source if source.seekable() else io.BufferedReader(_PipeStream(source), buffer_size=BUFFER_BYTES)
