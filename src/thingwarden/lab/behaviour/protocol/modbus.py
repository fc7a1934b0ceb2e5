"""Modbus/TCP: reading and writing registers and coils, both sides.

In: function, address, values. Out: application frames.
Must never: serve more than the standard's 125 registers or 2000 coils at once.
Source: Modbus application protocol V1.1b3; Modbus messaging on TCP/IP V1.0b.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.world import Handler, Stream, World

MODBUS_PORT: Final = 502
READ_COILS: Final = 1
READ_REGISTERS: Final = 3
WRITE_REGISTER: Final = 6
WRITE_REGISTERS: Final = 16
MOST_REGISTERS: Final = 125
MOST_COILS: Final = 2000
_ILLEGAL_FUNCTION: Final = 1
_ILLEGAL_VALUE: Final = 3
_HEAD: Final = struct.Struct(">HHHB")
_LONGEST_FRAME: Final = 260
_IDLE_S: Final = 600.0


def encode_frame(number: int, unit: int, request: bytes) -> bytes:
    """Header and request or answer, of transaction ``number`` with ``unit``."""
    return _HEAD.pack(number & 0xFFFF, 0, len(request) + 1, unit) + request


def read_request(function: int, first: int, count: int) -> bytes:
    """Read ``count`` coils or registers from address ``first``."""
    return struct.pack(">BHH", function, first, count)


def write_request(first: int, values: Sequence[int]) -> bytes:
    """Write one register by function 6, several by function 16; values 0 to 65535."""
    if len(values) == 1:
        return struct.pack(">BHH", WRITE_REGISTER, first, values[0])
    data = struct.pack(f">{len(values)}H", *values)
    return struct.pack(">BHHB", WRITE_REGISTERS, first, len(values), len(data)) + data


async def transact(stream: Stream, number: int, unit: int, request: bytes, timeout_s: float = 5.0) -> bytes:
    """One request and its answer, without the header.

    Raises:
        OSError: the connection is gone, or the answer belongs to another request.
    """
    await stream.send(encode_frame(number, unit, request))
    answered, answer = await _read_frame(Buffered(stream), timeout_s)
    if answered[0] != number & 0xFFFF:
        raise ConnectionAbortedError("an answer to another request")
    return answer


async def _read_frame(source: Buffered, timeout_s: float) -> tuple[tuple[int, int], bytes]:
    number, protocol, length, unit = _HEAD.unpack(await source.exactly(_HEAD.size, timeout_s))
    if protocol != 0 or not 2 <= length <= _LONGEST_FRAME:
        raise ConnectionAbortedError("no Modbus")
    return (number, unit), await source.exactly(length - 1, timeout_s)


def answer_to(request: bytes, registers: dict[int, int]) -> bytes:
    """A device's answer to one request; ``registers`` by address are read and written."""
    function = request[0]
    if function not in (READ_COILS, READ_REGISTERS, WRITE_REGISTER, WRITE_REGISTERS) or len(request) < 5:
        return bytes((function | 0x80, _ILLEGAL_FUNCTION))
    first, value = struct.unpack_from(">HH", request, 1)
    if function == WRITE_REGISTER:
        registers[first] = value
        return request[:5]
    if value > (MOST_COILS if function == READ_COILS else MOST_REGISTERS):
        return bytes((function | 0x80, _ILLEGAL_VALUE))
    if function == READ_COILS:
        bits = sum((registers.get(first + at, 0) & 1) << at for at in range(value))
        return bytes((function, (value + 7) // 8)) + bits.to_bytes((value + 7) // 8, "little")
    if function == READ_REGISTERS:
        return bytes((function, 2 * value)) + b"".join(
            struct.pack(">H", registers.get(first + at, 0)) for at in range(value)
        )
    return _write_many(request, first, value, registers)


def _write_many(request: bytes, first: int, count: int, registers: dict[int, int]) -> bytes:
    if len(request) < 6 + 2 * count:
        return bytes((WRITE_REGISTERS | 0x80, _ILLEGAL_VALUE))
    for at, value in enumerate(struct.unpack_from(f">{count}H", request, 6)):
        registers[first + at] = value
    return request[:5]


def modbus_server(registers: dict[int, int]) -> Handler:
    """What serves a device's ``registers``."""

    async def serve(world: World, stream: Stream) -> None:
        source = Buffered(stream)
        while True:
            (number, unit), request = await _read_frame(source, _IDLE_S)
            await world.sleep(world.rng.uniform(0.001, 0.008))
            await stream.send(encode_frame(number, unit, answer_to(request, registers)))

    return serve
