"""Read pcap and pcapng files as chunks of frames, without an object per packet.

In: a binary stream. Out: ``FrameBatch`` per chunk and link type.
Must never: hold more than one chunk and one record of the file, or believe a length field without a bound.
Source: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct, unpack_from
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.errors import InputError
from thingwarden.ingest.gather import Index
from thingwarden.ingest.link_header import LINK_TYPES
from thingwarden.ingest.packets import PADDING_BYTES, FrameBatch

CHUNK_BYTES: Final = 2 << 20
"""Some 25,000 small packets: the columns of a chunk then take below 10 MB."""

_READ_BYTES: Final = 64 << 10
"""Of a compressed stream that breaks, this much may be lost before the break."""

MAX_RECORD_BYTES: Final = 1 << 20
"""Four times the largest snapshot length that tcpdump allows; a larger record is a corrupt length field."""

_MICRO, _NANO, _MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
_PCAP_UNITS_PER_S: Final = {_MICRO: 10**6, _NANO: 10**9, _MODIFIED: 10**6}
_PCAP_HEADER_BYTES: Final = 24
_SECTION: Final = 0x0A0D0D0A
_SECTION_MAGIC: Final = 0x1A2B3C4D
_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 1, 2, 3, 6
_PACKET_HEADER_BYTES: Final = {_OLD_PACKET: 28, _SIMPLE_PACKET: 12, _ENHANCED_PACKET: 28}
_OPTION_TSRESOL, _OPTION_TSOFFSET = 9, 14
_EXPECTED: Final = "expected a pcap or pcapng file"
_HINT: Final = "Check how the file was written or copied; `capinfos FILE` tells what it is."


@dataclass(slots=True)
class CaptureReader:
    """A capture file, read once from start to end.

    Attributes:
        stream: the bytes, decompressed.
        name: what errors call the file.
        counts: grows by reason.
        notes: what a person should know about the file, such as where it was cut.
        is_growing: whether the stream is written while it is read: a chunk is then what is there, not ``CHUNK_BYTES``.
    """

    stream: BinaryIO
    name: str
    counts: Counter[str]
    notes: list[str] = field(default_factory=list)
    is_growing: bool = False
    _data: bytes = b""
    _offset_bytes: int = 0
    _at_end: bool = False
    _has_read: bool = False

    def frames(self) -> Iterator[list[FrameBatch]]:
        """Yield the frames chunk by chunk, one ``FrameBatch`` per link type that occurs in the chunk.

        Raises:
            InputError: the file is no capture, or its first record is corrupt, or a link type is not supported.
        """
        self._fill()
        if not self._data:
            raise InputError(self.name, f"empty file, {_EXPECTED}", _HINT)
        if len(self._data) < 4:
            raise InputError(self.name, f"{len(self._data)} bytes in all, {_EXPECTED}", _HINT)
        if int.from_bytes(self._data[:4], "big") == _SECTION:
            yield from _read_pcapng(self)
            return
        yield from _read_pcap(self)

    def _fill(self) -> None:
        """Have ``CHUNK_BYTES`` at hand, or all that is left; of a growing stream, more than before."""
        parts, missing = [self._data], CHUNK_BYTES - len(self._data)
        while missing > 0:
            part = self._read(min(missing, _READ_BYTES))
            if not part:
                self._at_end = True
                break
            parts.append(part)
            missing -= len(part)
            self._has_read = True
            if self.is_growing and sum(map(len, parts)) >= _PCAP_HEADER_BYTES:
                break
        self._data = b"".join(parts)

    def _read(self, count: int) -> bytes:
        """Read on; a compressed stream that breaks after its first bytes ends there, with a note."""
        try:
            return self.stream.read(count)
        except InputError as error:
            if not self._has_read:
                raise
            self.counts["truncated_file"] += 1
            self.notes.append(f"{error}; read up to there")
            return b""

    def _consume(self, count: int) -> None:
        self._data = self._data[count:]
        self._offset_bytes += count

    def _fail(self, at: int, why: str) -> InputError:
        return InputError(f"{self.name} at byte {self._offset_bytes + at}", why, _HINT)

    def _stop(self, at: int, reason: str, why: str) -> None:
        """Take note that reading ends before the file does."""
        self.counts[reason] += 1
        self.notes.append(f"{self.name} at byte {self._offset_bytes + at}: {why}; read up to there")


def _check_link_type(reader: CaptureReader, link_type: int) -> None:
    if link_type not in LINK_TYPES:
        known = ", ".join(str(number) for number in sorted(LINK_TYPES))
        raise InputError(
            reader.name, f"link type {link_type} is not supported, expected one of {known}", "Convert with editcap -T."
        )


def _padded(data: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data + bytes(PADDING_BYTES), dtype=np.uint8)


def _words(buffer: npt.NDArray[np.uint8], at: Index, count: int, order: str) -> npt.NDArray[Any]:
    """``count`` 32-bit words at each offset, int64 (n, count)."""
    words = np.lib.stride_tricks.sliding_window_view(buffer, 4 * count)
    return words[at].view(f"{order}u4").astype(np.int64)


# pcap


def _read_pcap(reader: CaptureReader) -> Iterator[list[FrameBatch]]:
    data = reader._data
    order, magic = "<", int.from_bytes(data[:4], "little")
    if magic not in _PCAP_UNITS_PER_S:
        order, magic = ">", int.from_bytes(data[:4], "big")
    if magic not in _PCAP_UNITS_PER_S:
        raise reader._fail(0, f"starts with {data[:4].hex()}, {_EXPECTED}")
    if len(data) < _PCAP_HEADER_BYTES:
        raise reader._fail(len(data), f"file header cut, expected {_PCAP_HEADER_BYTES} bytes")
    link_type = unpack_from(f"{order}I", data, 20)[0] & 0xFFFF
    _check_link_type(reader, link_type)
    reader._consume(_PCAP_HEADER_BYTES)
    if not reader._data:
        reader._fill()
    header_bytes = 24 if magic == _MODIFIED else 16
    while reader._data:
        starts, next_at, is_corrupt = _index_pcap(reader._data, header_bytes, Struct(f"{order}I"))
        if starts:
            yield [_pcap_frames(reader._data, starts, header_bytes, order, _PCAP_UNITS_PER_S[magic], link_type)]
        if is_corrupt:
            _end_pcap(reader, next_at, order, is_first=reader._offset_bytes + next_at == _PCAP_HEADER_BYTES)
            return
        reader._consume(next_at)
        if reader._at_end:
            if reader._data:
                reader._stop(0, "truncated_file", "the last record is cut")
            return
        reader._fill()


def _index_pcap(data: bytes, header_bytes: int, word: Struct) -> tuple[list[int], int, bool]:
    """Offsets of the whole records' headers, where the first other starts, whether that one is corrupt."""
    starts: list[int] = []
    append, unpack = starts.append, word.unpack_from
    at, last_header = 0, len(data) - header_bytes
    while at <= last_header:
        append(at)
        at += header_bytes + unpack(data, at + 8)[0]
    if at <= len(data):
        return starts, at, False
    at = starts.pop()
    return starts, at, unpack(data, at + 8)[0] > MAX_RECORD_BYTES


def _end_pcap(reader: CaptureReader, at: int, order: str, *, is_first: bool) -> None:
    captured = unpack_from(f"{order}I", reader._data, at + 8)[0]
    why = f"record claims {captured} bytes, expected at most {MAX_RECORD_BYTES}"
    if is_first:
        raise reader._fail(at, why)
    reader._stop(at, "corrupt_record", why)


def _pcap_frames(
    data: bytes, starts: list[int], header_bytes: int, order: str, units_per_s: int, link_type: int
) -> FrameBatch:
    buffer = _padded(data)
    at = np.array(starts, dtype=np.int64)
    header = _words(buffer, at, 4, order)  # (n, 4): seconds, fraction, captured, original
    return FrameBatch(
        buffer=buffer,
        starts=at + header_bytes,
        captured_bytes=header[:, 2],
        at_s=header[:, 0] + header[:, 1] / units_per_s,
        link_type=link_type,
    )


# pcapng


@dataclass(slots=True)
class _Interface:
    link_type: int
    snap_bytes: int
    units_per_s: int
    offset_s: int


@dataclass(slots=True)
class _Section:
    """What the blocks of one section share, and the time that a packet without one inherits."""

    order: str
    interfaces: list[_Interface] = field(default_factory=list)
    last_at_s: float = 0.0


def _read_pcapng(reader: CaptureReader) -> Iterator[list[FrameBatch]]:
    section = _Section("<")
    while reader._data:
        blocks, next_at, stopped = _index_blocks(reader, section)
        frames = _pcapng_frames(reader, section, blocks) if blocks else []
        if frames:
            yield frames
        if stopped:
            return
        reader._consume(next_at)
        if reader._at_end and next_at == 0:
            if reader._data:
                reader._stop(0, "truncated_file", "the last block is cut")
            return
        reader._fill()


def _index_blocks(reader: CaptureReader, section: _Section) -> tuple[list[tuple[int, int]], int, bool]:
    """Offset and type of the whole packet blocks up to the next section; where to go on; whether reading ends."""
    data, last = reader._data, len(reader._data)
    blocks: list[tuple[int, int]] = []
    at = 0
    pair = Struct(f"{section.order}II")
    while at + 12 <= last:
        kind, length = pair.unpack_from(data, at)
        if kind == _SECTION:
            if blocks:
                return blocks, at, False
            _start_section(reader, section, at)
            pair = Struct(f"{section.order}II")
            length = pair.unpack_from(data, at)[1]
        if length < 12 or length % 4 or length > MAX_RECORD_BYTES:
            _end_pcapng(reader, at, length)
            return blocks, at, True
        if at + length > last:
            break
        if kind in _PACKET_HEADER_BYTES:
            if length >= _PACKET_HEADER_BYTES[kind] + 4:
                blocks.append((at, kind))
            else:
                reader.counts["malformed_block"] += 1
        elif kind == _INTERFACE:
            section.interfaces.append(_interface(reader, section.order, at, length))
        at += length
    return blocks, at, False


def _end_pcapng(reader: CaptureReader, at: int, length: int) -> None:
    why = f"block of {length} bytes, expected a multiple of 4 from 12 to {MAX_RECORD_BYTES}"
    if reader._offset_bytes + at == 0:
        raise reader._fail(at, why)
    reader._stop(at, "corrupt_record", why)


def _start_section(reader: CaptureReader, section: _Section, at: int) -> None:
    magic = reader._data[at + 8 : at + 12]
    for order, name in (("<", "little"), (">", "big")):
        if int.from_bytes(magic, name) == _SECTION_MAGIC:  # type: ignore[arg-type]
            section.order = order
            section.interfaces.clear()
            return
    raise reader._fail(at + 8, f"byte-order magic {magic.hex()}, expected 1a2b3c4d in either order")


def _interface(reader: CaptureReader, order: str, at: int, length: int) -> _Interface:
    if length < 20:
        raise reader._fail(at, f"interface block of {length} bytes, expected at least 20")
    link_type, _, snap_bytes = unpack_from(f"{order}HHI", reader._data, at + 8)
    interface = _Interface(link_type, snap_bytes or MAX_RECORD_BYTES, 10**6, 0)
    option_at, end = at + 16, at + length - 4
    while option_at + 4 <= end:
        code, option_bytes = unpack_from(f"{order}HH", reader._data, option_at)
        option_at += 4
        if code == 0 or option_at + option_bytes > end:
            break
        if code == _OPTION_TSRESOL and option_bytes == 1:
            interface.units_per_s = _units_per_s(reader, option_at)
        elif code == _OPTION_TSOFFSET and option_bytes == 8:
            interface.offset_s = unpack_from(f"{order}q", reader._data, option_at)[0]
        option_at += (option_bytes + 3) & ~3
    return interface


def _units_per_s(reader: CaptureReader, at: int) -> int:
    exponent = reader._data[at]
    base, power = (2, exponent & 0x7F) if exponent & 0x80 else (10, exponent)
    if base**power >= 1 << 63:
        raise reader._fail(at, f"timestamp resolution of {base}^-{power} s, expected at least 2^-62 s")
    return int(base**power)


def _pcapng_frames(reader: CaptureReader, section: _Section, blocks: list[tuple[int, int]]) -> list[FrameBatch]:
    """One ``FrameBatch`` per link type; packets of unknown interfaces and lengths are counted and left out."""
    buffer = _padded(reader._data)
    table = np.array(blocks, dtype=np.int64)
    at, kind = table[:, 0], table[:, 1]
    header = _words(buffer, at, 7, section.order)  # (n, 7): type, length, interface, high, low, captured, original
    is_simple = kind == _SIMPLE_PACKET
    is_old = kind == _OLD_PACKET
    old_interface = _old_interface(buffer, at, section.order)
    interface = np.select([is_simple, is_old], [0, old_interface], header[:, 2])
    is_known = interface < len(section.interfaces)
    reader.counts["unknown_interface"] += int(len(is_known) - is_known.sum())
    if not is_known.any():
        return []
    number = np.where(is_known, interface, 0)
    snap_bytes = np.array([each.snap_bytes for each in section.interfaces])[number]
    head_bytes = np.where(is_simple, 12, 28)
    room = header[:, 1] - head_bytes - 4
    captured = np.where(is_simple, np.minimum(np.minimum(header[:, 2], snap_bytes), room), header[:, 5])
    is_sound = is_known & (captured <= room)
    reader.counts["malformed_block"] += int((is_known & (captured > room)).sum())
    at_s = _block_times(section, header, number, is_simple)
    link_types = np.array([each.link_type for each in section.interfaces])[number]
    return [
        _frames_of_link(reader, buffer, at + head_bytes, captured, at_s, int(link_type), link_types, is_sound)
        for link_type in np.unique(link_types[is_sound])
    ]


def _old_interface(buffer: npt.NDArray[np.uint8], at: Index, order: str) -> Index:
    pairs = np.lib.stride_tricks.sliding_window_view(buffer, 2)
    return pairs[at + 8].view(f"{order}u2")[:, 0].astype(np.int64)


def _frames_of_link(
    reader: CaptureReader,
    buffer: npt.NDArray[np.uint8],
    starts: Index,
    captured_bytes: Index,
    at_s: npt.NDArray[np.float64],
    link_type: int,
    link_types: Index,
    is_sound: npt.NDArray[np.bool_],
) -> FrameBatch:
    _check_link_type(reader, link_type)
    rows = np.flatnonzero((link_types == link_type) & is_sound)
    return FrameBatch(
        buffer=buffer,
        starts=starts[rows],
        captured_bytes=captured_bytes[rows],
        at_s=at_s[rows],
        link_type=link_type,
    )


def _block_times(
    section: _Section, header: npt.NDArray[Any], interface: Index, is_simple: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Unix seconds per block; a simple packet block has no time and takes that of the packet before it."""
    units_per_s = np.array([each.units_per_s for each in section.interfaces], dtype=np.uint64)[interface]
    offset_s = np.array([each.offset_s for each in section.interfaces], dtype=np.int64)[interface]
    units = header[:, 3].astype(np.uint64) << np.uint64(32) | header[:, 4].astype(np.uint64)
    at_s = (units // units_per_s).astype(np.float64) + offset_s + (units % units_per_s) / units_per_s
    if is_simple.any():
        source = np.maximum.accumulate(np.where(is_simple, -1, np.arange(len(at_s))))
        at_s = np.where(source >= 0, at_s[source], section.last_at_s)
    section.last_at_s = float(at_s[-1])
    return at_s
