"""Observations and their acknowledgements."""

from __future__ import annotations

from play_builder import address_of, contacts, play
from thingwarden.lab.behaviour.protocol import hl7
from thingwarden.lab.world import World


def test_message_is_framed_as_mllp_says() -> None:
    message = hl7.encode_observation(3, "m1", 2)
    assert message.startswith(b"\x0bMSH|^~\\&|m1|")
    assert message.endswith(b"\r\x1c\r")
    assert message.count(b"\rOBX|") == 2
    assert b"MSA|AA|3\r" in hl7.encode_acknowledgement(3)


def test_each_observation_is_acknowledged_in_one_connection() -> None:
    counted: list[int] = []

    async def ward(world: World) -> None:
        await world.listen(hl7.MLLP_PORT, hl7.serve_records)

    async def monitor(world: World) -> None:
        stream = await world.connect(address_of(0), hl7.MLLP_PORT)
        for number in range(20):
            await hl7.report(stream, number, "m1", 6)
            counted.append(number)
            await world.sleep(1.0)
        await stream.close()

    assert contacts(play(ward=ward, monitor=monitor)) == [(6, 2575, "SF", "")]
    assert len(counted) == 20
