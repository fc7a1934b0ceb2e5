"""MQTT packets as the standard says, sessions with a broker of the cloud."""

from __future__ import annotations

import pytest

from play_builder import contacts, play
from thingwarden.lab.behaviour.protocol import mqtt
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.world import World

CLOUD = SERVICES["mqtt-cloud.example"].address


@pytest.mark.parametrize(
    ("length", "encoded"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16_383, "ff7f"), (16_384, "808001"), (2_097_152, "80808001")],
)
def test_remaining_length_is_as_the_standards_table(length: int, encoded: str) -> None:
    assert mqtt.encode_length(length).hex() == encoded


def test_packets_are_as_the_standard_says() -> None:
    assert mqtt.encode_connect("a", 60).hex() == "100d00044d5154540402003c000161"
    assert mqtt.encode_connect("a", 60, is_clean=False, password="p").hex() == (
        "101300044d51545404c0003c0001610001610001" + "70"
    )
    assert mqtt.encode_publish("t", b"hi").hex() == "3005000174" + "6869"
    assert mqtt.encode_publish("t", b"hi", number=7).hex() == "32070001740007" + "6869"
    assert mqtt.encode_subscribe(1, ("a/b",), 1).hex() == "820800010003612f6201"
    assert mqtt.encode_packet(mqtt.PINGREQ, b"").hex() == "c000"
    assert mqtt.encode_packet(mqtt.DISCONNECT, b"").hex() == "e000"


def test_device_logs_in_subscribes_publishes_and_leaves() -> None:
    kinds: list[int] = []

    async def device(world: World) -> None:
        session = mqtt.Session(await world.connect(CLOUD, 1883), 60)
        await session.log_in("thing")
        await session.subscribe(("push/0/0/thing",))
        kinds.append(await session.handle_next(5.0))
        await session.publish("a", b"1")
        await session.publish("a", b"2", qos=1)
        await session.await_acknowledgement()
        await session.ping()
        kinds.append(await session.handle_next(5.0))
        await session.log_out()

    flows = play(device=device)
    assert kinds == [mqtt.SUBACK, mqtt.PINGRESP]
    assert contacts(flows) == [(6, 1883, "SF", "mqtt")]


def test_quiet_session_is_kept_alive_by_pings_and_hears_pushes() -> None:
    rested: list[float] = []

    async def device(world: World) -> None:
        session = mqtt.Session(await world.connect(CLOUD, 8883, tls_name="mqtt-cloud.example"), 20)
        await session.log_in("thing")
        await session.subscribe(("push/30/200/thing",))
        await mqtt.rest(world, session, 600.0)
        rested.append(world.now_s())
        await session.log_out()

    flows = play(700.0, device=device)
    assert rested[0] >= 600.0
    assert flows.resp_bytes.max() > 10 * 200


def test_broker_closes_a_session_that_breaks_its_promise() -> None:
    ended: list[float] = []

    async def device(world: World) -> None:
        session = mqtt.Session(await world.connect(CLOUD, 1883), 10)
        await session.log_in("thing")
        with pytest.raises(OSError, match="finished"):
            await session.handle_next(100.0)
        ended.append(world.now_s())

    play(device=device)
    assert 15.0 <= ended[0] < 16.0


def test_nonsense_is_no_packet() -> None:
    refused: list[str] = []

    async def device(world: World) -> None:
        stream = await world.connect(CLOUD, 1883)
        await stream.send(b"\x10" + b"\xff" * 40)
        assert await stream.receive(10.0) == b""
        refused.append("closed")

    play(device=device)
    assert refused == ["closed"]
