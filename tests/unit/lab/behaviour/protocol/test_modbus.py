"""Modbus frames as the specification's examples show them, and both sides of a connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from play_builder import address_of, contacts, play
from thingwarden.lab.behaviour.protocol import modbus
from thingwarden.lab.world import World


def test_requests_are_as_in_the_specification() -> None:
    assert modbus.read_request(modbus.READ_REGISTERS, 0x6B, 3).hex() == "03006b0003"
    assert modbus.read_request(modbus.READ_COILS, 0x13, 0x13).hex() == "0100130013"
    assert modbus.write_request(1, [3]).hex() == "0600010003"
    assert modbus.write_request(1, [0x0A, 0x0102]).hex() == "100001000204000a0102"
    assert modbus.encode_frame(0x1501, 255, bytes.fromhex("0300040001")).hex() == "1501000000" + "06ff0300040001"


def test_answers_are_as_in_the_specification() -> None:
    registers = {0x6B: 0x022B, 0x6C: 0, 0x6D: 0x64}
    assert modbus.answer_to(bytes.fromhex("03006b0003"), registers).hex() == "0306022b00000064"
    assert modbus.answer_to(bytes.fromhex("100001000204000a0102"), registers).hex() == "1000010002"
    assert (registers[1], registers[2]) == (0x0A, 0x0102)
    assert modbus.answer_to(bytes.fromhex("0600010003"), registers).hex() == "0600010003"
    assert modbus.answer_to(bytes.fromhex("0100000003"), {0: 1, 2: 1}).hex() == "010105"


def test_what_is_not_served_is_refused() -> None:
    assert modbus.answer_to(b"\x2b\x0e\x01\x00", {}).hex() == "ab01"
    assert modbus.answer_to(modbus.read_request(modbus.READ_REGISTERS, 0, 126), {}).hex() == "8303"
    assert modbus.answer_to(bytes.fromhex("100001000204000a"), {}).hex() == "9003"


@given(st.binary(min_size=1, max_size=20))
def test_no_request_breaks_a_device(request: bytes) -> None:
    assert 2 <= len(modbus.answer_to(request, {})) <= 259


def test_panel_reads_what_it_wrote() -> None:
    seen: list[str] = []

    async def controller(world: World) -> None:
        await world.listen(502, modbus.modbus_server({}))

    async def panel(world: World) -> None:
        stream = await world.connect(address_of(0), 502)
        await modbus.transact(stream, 1, 1, modbus.write_request(4, [7, 8]))
        seen.append((await modbus.transact(stream, 2, 1, modbus.read_request(3, 4, 2))).hex())
        await stream.close()

    assert contacts(play(controller=controller, panel=panel)) == [(6, 502, "SF", "modbus")]
    assert seen == ["030400070008"]


def test_other_protocols_are_shown_the_door() -> None:
    ended: list[bytes] = []

    async def controller(world: World) -> None:
        await world.listen(502, modbus.modbus_server({}))

    async def stranger(world: World) -> None:
        stream = await world.connect(address_of(0), 502)
        await stream.send(b"GET / HTTP/1.1\r\n\r\n")
        ended.append(await stream.receive(5.0))

    play(controller=controller, stranger=stranger)
    assert ended == [b""]


def test_answer_to_another_request_is_an_error() -> None:
    failed: list[str] = []

    async def controller(world: World) -> None:
        async def serve(_: World, stream: object) -> None:
            del stream
            raise OSError("never reached")

        await world.listen(502, serve)

    async def panel(world: World) -> None:
        stream = await world.connect(address_of(0), 502)
        with pytest.raises(OSError, match=r".*"):
            await modbus.transact(stream, 1, 1, modbus.read_request(3, 0, 1))
        failed.append("broken off")

    play(controller=controller, panel=panel)
    assert failed == ["broken off"]
