"""HL7 version 2 over MLLP: a monitor's observations to a ward's server, each acknowledged.

In: sizes. Out: messages between a start byte and an end mark.
Must never: carry anything about a person; values are filler.
Source: HL7 transport specification, minimal lower layer protocol, release 1.
"""

from __future__ import annotations

from typing import Final

from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.world import Stream, World

MLLP_PORT: Final = 2575
_START: Final = b"\x0b"
_END: Final = b"\x1c\r"
_IDLE_S: Final = 300.0
_LONGEST_BYTES: Final = 65536


def encode_observation(number: int, sender: str, segments: int) -> bytes:
    """An ORU^R01 message with ``segments`` observations."""
    lines = [f"MSH|^~\\&|{sender}|LAB|EMR|LAB|20260101||ORU^R01|{number}|P|2.5", "PID|||0000", "OBR|1"]
    lines += [f"OBX|{at + 1}|NM|VITAL-{at}||{60 + at}||||||F" for at in range(segments)]
    return _START + "\r".join(lines).encode() + b"\r" + _END


def encode_acknowledgement(number: int) -> bytes:
    """An ACK^R01 message."""
    return _START + f"MSH|^~\\&|EMR|LAB|||20260101||ACK^R01|{number}|P|2.5\rMSA|AA|{number}\r".encode() + _END


async def report(stream: Stream, number: int, sender: str, segments: int) -> None:
    """Send one message and wait for its acknowledgement.

    Raises:
        OSError: the server left or fell silent.
    """
    await stream.send(encode_observation(number, sender, segments))
    await Buffered(stream).until(_END, _LONGEST_BYTES, 10.0)


async def serve_records(world: World, stream: Stream) -> None:
    """Acknowledge messages until the monitor leaves."""
    source = Buffered(stream)
    number = 0
    while True:
        await source.until(_END, _LONGEST_BYTES, _IDLE_S)
        number += 1
        await world.sleep(world.rng.uniform(0.002, 0.02))
        await stream.send(encode_acknowledgement(number))
