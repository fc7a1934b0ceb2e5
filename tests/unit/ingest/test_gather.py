"""Reads of a fixed width at many places."""

from __future__ import annotations

import numpy as np

from thingwarden.ingest.gather import macs, u8, u16, u32, u64_pairs, wide

BUFFER = np.arange(1, 41, dtype=np.uint8)
AT = np.array([0, 3], dtype=np.int64)


def test_numbers_are_read_big_endian_wherever_they_lie() -> None:
    assert u8(BUFFER, AT).tolist() == [1, 4]
    assert u16(BUFFER, AT).tolist() == [0x0102, 0x0405]
    assert u32(BUFFER, AT).tolist() == [0x01020304, 0x04050607]
    assert macs(BUFFER, AT).tolist() == [0x010203040506, 0x040506070809]
    assert u64_pairs(BUFFER, AT)[0].tolist() == [0x0102030405060708, 0x090A0B0C0D0E0F10]


def test_several_numbers_stand_side_by_side() -> None:
    assert wide(BUFFER, AT, 4, ">u2").tolist() == [[0x0102, 0x0304], [0x0405, 0x0607]]
