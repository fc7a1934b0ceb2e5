"""Parses columns of text cells without a Python object per cell.

In: ``Cells``, byte strings that lie in one buffer. Out: NumPy columns and, per cell, whether it could be read.
Must never: raise for what a cell holds; a cell that cannot be read is marked, and its value is meaningless.
Source: for the exactness of decimals, W. D. Clinger, "How to read floating point numbers accurately", PLDI 1990.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import words_from_address

PADDING_BYTES: Final = 64
"""Zero bytes behind the last cell, so that a fixed-width look at it stays inside the buffer."""

_NUMBER_WIDTH: Final = 18
"""Digits that an int64 surely holds."""

_EXACT_LIMIT: Final = 2**53
"""Integers up to here are exact as float64, so that mantissa / power of ten is rounded once: as ``float`` does."""

_ANY_NUMBER: Final = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_MAX_ADDRESS_BYTES: Final = 62
_MAPPED_PREFIX: Final = np.uint64(0xFFFF << 32)

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cells:
    """One column of n byte strings; one of length zero is unset.

    Attributes:
        buffer: uint8, holds all cells and ``PADDING_BYTES`` zeros at its end.
        starts: int64 (n,), offset of each cell.
        lengths: int64 (n,), bytes of each cell.
    """

    buffer: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def from_texts(cls, texts: Sequence[bytes]) -> Self:
        """Lay separate byte strings into one buffer."""
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        buffer = np.frombuffer(b"".join(texts) + bytes(PADDING_BYTES), dtype=np.uint8)
        return cls(buffer, np.cumsum(lengths) - lengths, lengths)

    @property
    def is_set(self) -> Bools:
        """bool (n,), whether the cell holds anything."""
        return self.lengths > 0

    def without(self, markers: Sequence[bytes]) -> Cells:
        """The same cells, those equal to one of ``markers`` (at most 64 bytes each) being unset."""
        lengths = self.lengths
        for marker in markers:
            rows = np.flatnonzero(self.lengths == len(marker))
            if len(rows) and 0 < len(marker) <= PADDING_BYTES:
                found = self._look(len(marker))[self.starts[rows]]
                is_marker = (found == np.frombuffer(marker, dtype=np.uint8)).all(axis=1)
                lengths = lengths.copy() if lengths is self.lengths else lengths
                lengths[rows[is_marker]] = 0
        return replace(self, lengths=lengths)

    def texts(self, rows: npt.NDArray[np.int64]) -> list[bytes]:
        """The cells at ``rows`` as bytes: for the rare ones that no column parser takes."""
        spans = zip(self.starts[rows].tolist(), self.lengths[rows].tolist(), strict=True)
        return [self.buffer[start : start + length].tobytes() for start, length in spans]

    def fixed_text(self, width_bytes: int) -> tuple[npt.NDArray[np.bytes_], Bools]:
        """Cells cut to ``width_bytes`` (at most 64), and whether what is kept is printable ASCII."""
        chars = self._chars(width_bytes)
        is_inside = np.arange(width_bytes) < self.lengths[:, None]
        is_readable: Bools = np.all(((chars >= 0x20) & (chars < 0x7F)) | ~is_inside, axis=1)
        return chars.view(f"S{width_bytes}").ravel(), is_readable

    def codes(self, table: Mapping[bytes, int], unknown: int) -> npt.NDArray[np.int64]:
        """The code of each cell, going by its first eight bytes; ``unknown`` where the table lacks it."""
        heads = self._chars(8).view(np.uint64).ravel()
        codes = np.full(len(self), unknown, dtype=np.int64)
        for name, code in table.items():
            codes[heads == np.array([name], dtype="S8").view(np.uint64)[0]] = code
        return codes

    def decimals(self) -> tuple[npt.NDArray[np.float64], Bools]:
        """Numbers, rounded as Python's ``float`` does; unset cells are NaN and readable."""
        by_place, is_digit = self._digits(_NUMBER_WIDTH + 1)
        is_dot = by_place == ord(".")
        mantissa = np.zeros(len(self), dtype=np.int64)
        fraction_digits = np.zeros(len(self), dtype=np.int64)
        dot_count = np.zeros(len(self), dtype=np.int64)
        for place, chars in enumerate(by_place):
            mantissa = np.where(is_digit[place], mantissa * 10 + (chars - np.uint8(48)), mantissa)
            fraction_digits += is_digit[place] & (dot_count > 0)
            dot_count += is_dot[place]
        digit_count = is_digit.sum(axis=0)
        is_plain = (
            (digit_count > 0)
            & (dot_count <= 1)
            & (digit_count + dot_count == self.lengths)
            & (digit_count <= _NUMBER_WIDTH)
            & (mantissa <= _EXACT_LIMIT)
        )
        values = mantissa / _POWERS_OF_TEN[fraction_digits]
        values[~is_plain] = np.nan
        is_readable = is_plain | ~self.is_set
        self._read_odd_numbers(values, is_readable)
        return values, is_readable

    def _read_odd_numbers(self, values: npt.NDArray[np.float64], is_readable: Bools) -> None:
        """Signs, exponents and more digits than fit, one by one."""
        rows = np.flatnonzero(~is_readable & (self.lengths <= PADDING_BYTES))
        for row, text in zip(rows.tolist(), self.texts(rows), strict=True):
            if _ANY_NUMBER.fullmatch(text):
                values[row] = float(text)
                is_readable[row] = bool(np.isfinite(values[row]))

    def addresses(self) -> tuple[npt.NDArray[np.uint64], Bools]:
        """Addresses as uint64 (n, 2), IPv4 as ::ffff:a.b.c.d; unset cells are not readable."""
        low, is_readable = self._dotted_quads()
        words = np.stack([np.zeros_like(low), low | _MAPPED_PREFIX], axis=1)
        rows = np.flatnonzero(~is_readable & self.is_set & (self.lengths <= _MAX_ADDRESS_BYTES))
        for row, text in zip(rows.tolist(), self.texts(rows), strict=True):
            parsed = _words_from_text(text)
            if parsed is not None:
                words[row] = parsed
                is_readable[row] = True
        return words, is_readable

    def _dotted_quads(self) -> tuple[npt.NDArray[np.uint64], Bools]:
        by_place, is_digit = self._digits(15)
        count = len(self)
        address, octet, octet_digits, dots = (np.zeros(count, dtype=np.int64) for _ in range(4))
        is_bad = (self.lengths < 7) | (self.lengths > 15)
        for place, chars in enumerate(by_place):
            here, is_dot = is_digit[place], chars == ord(".")
            is_bad |= here & (octet_digits == 1) & (octet == 0)  # a leading zero might mean octal
            octet = np.where(here, octet * 10 + (chars - np.uint8(48)), octet)
            octet_digits += here
            is_bad |= (is_dot & (octet_digits == 0)) | (octet > 255) | ~(here | is_dot | (place >= self.lengths))
            address = np.where(is_dot, address << 8 | octet, address)
            octet[is_dot] = octet_digits[is_dot] = 0
            dots += is_dot
        is_bad |= (dots != 3) | (octet_digits == 0)
        return (address << 8 | octet).astype(np.uint64), ~is_bad

    def _digits(self, width_bytes: int) -> tuple[npt.NDArray[np.uint8], Bools]:
        """Characters place by place, (places, n), and which are digits; only as many places as are in use."""
        longest = int(self.lengths.max(initial=1))
        by_place = np.ascontiguousarray(self._chars(min(width_bytes, max(longest, 1))).T)
        return by_place, (by_place - np.uint8(48)) < 10

    def _chars(self, width_bytes: int) -> npt.NDArray[np.uint8]:
        """The first bytes of each cell, zero behind its end, (n, width)."""
        chars = self._look(width_bytes)[self.starts]
        chars[np.arange(width_bytes) >= self.lengths[:, None]] = 0
        return chars

    def _look(self, width_bytes: int) -> npt.NDArray[Any]:
        return np.lib.stride_tricks.sliding_window_view(self.buffer, width_bytes)


_POWERS_OF_TEN: Final = 10.0 ** np.arange(_NUMBER_WIDTH + 2)


@lru_cache(maxsize=65_536)
def _words_from_text(text: bytes) -> tuple[int, int] | None:
    try:
        return words_from_address(ipaddress.ip_address(text.decode("ascii")))
    except ValueError:
        return None
