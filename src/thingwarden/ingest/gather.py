"""Reads numbers of a fixed width at many places of one buffer at once.

In: bytes, and where to read; the caller vouches that each read ends inside the buffer. Out: columns.
Must never: loop over the places.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Bytes: TypeAlias = npt.NDArray[np.uint8]
Index: TypeAlias = npt.NDArray[np.int64]


def u8(buffer: Bytes, at: Index) -> Index:
    """One byte at each place, int64 (n,)."""
    return buffer[at].astype(np.int64)


def wide(buffer: Bytes, at: Index, width: int, dtype: str) -> npt.NDArray[Any]:
    """``width`` bytes at each place as numbers of ``dtype``, (n, width // their size)."""
    return np.lib.stride_tricks.sliding_window_view(buffer, width)[at].view(dtype)


def u16(buffer: Bytes, at: Index) -> Index:
    """Two bytes, big-endian, int64 (n,)."""
    return wide(buffer, at, 2, ">u2")[:, 0].astype(np.int64)


def u32(buffer: Bytes, at: Index) -> npt.NDArray[np.uint32]:
    """Four bytes, big-endian, uint32 (n,)."""
    return wide(buffer, at, 4, ">u4")[:, 0].astype(np.uint32)


def u64_pairs(buffer: Bytes, at: Index) -> npt.NDArray[np.uint64]:
    """Sixteen bytes, big-endian, uint64 (n, 2): an IPv6 address."""
    return wide(buffer, at, 16, ">u8").astype(np.uint64)


def macs(buffer: Bytes, at: Index) -> npt.NDArray[np.uint64]:
    """Six bytes, big-endian, uint64 (n,); two bytes behind them are read and left."""
    return (wide(buffer, at, 8, ">u8")[:, 0] >> np.uint64(16)).astype(np.uint64)
