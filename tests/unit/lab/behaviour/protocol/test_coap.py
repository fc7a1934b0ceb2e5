"""CoAP messages as the RFC says, and both sides of an exchange."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from play_builder import address_of, contacts, play
from thingwarden.lab.behaviour.protocol import coap
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.world import World


def test_get_is_as_in_rfc_7252_figure_16() -> None:
    message = coap.Message(
        kind=coap.CONFIRMABLE, code=coap.GET, number=0x7D34, options=((coap.URI_PATH, b"temperature"),)
    )
    assert coap.encode(message) == bytes.fromhex("40017d34bb") + b"temperature"


def test_long_options_are_extended() -> None:
    options = ((coap.URI_PATH, b"x" * 300), (2048, b"y" * 13))
    message = coap.Message(kind=coap.NON_CONFIRMABLE, code=coap.PUT, number=1, options=options, payload=b"p")
    raw = coap.encode(message)
    assert raw[4:7] == bytes.fromhex("be001f")
    assert coap.decode(raw) == message


@given(st.binary(max_size=60))
def test_nothing_that_comes_breaks_the_reader(noise: bytes) -> None:
    for raw in (noise, b"\x44\x01\0\1toke" + noise):
        message = coap.decode(raw)
        assert message is None or len(message.token) <= 8
        assert isinstance(coap.answer_to(raw, 20), bytes)


def test_confirmable_question_is_answered_in_its_acknowledgement() -> None:
    question = coap.Message(kind=coap.CONFIRMABLE, code=coap.GET, number=9, token=b"ab")
    answer = coap.decode(coap.answer_to(coap.encode(question), 5))
    assert answer is not None
    assert (answer.kind, answer.code, answer.number, answer.token, len(answer.payload)) == (2, 0x45, 9, b"ab", 5)
    assert coap.answer_to(coap.encode(coap.Message(kind=coap.RESET, code=0, number=9)), 5) == b""


def test_neighbour_is_asked_and_observed() -> None:
    seen: list[int] = []

    async def sensor(world: World) -> None:
        await coap.serve_coap(world, await world.open_datagrams(5683), 30, notify_every_s=5.0)

    async def hub(world: World) -> None:
        socket = await world.open_datagrams()
        answer = await coap.request(world, socket, address_of(0), 5683, coap.GET, "sensors/temp", observes=True)
        seen.append(answer.code)
        for _ in range(3):
            notification = coap.decode((await socket.receive(10.0))[2])
            assert notification is not None
            seen.append(notification.code)

    play(sensor=sensor, hub=hub)
    assert seen == [coap.CONTENT] * 4


def test_unanswered_question_is_repeated_as_often_as_the_standard_says() -> None:
    async def sensor(world: World) -> None:
        socket = await world.open_datagrams()
        with pytest.raises(TimeoutError):
            await coap.request(world, socket, SERVICES["gone.example"].address, 5683, coap.PUT, "a", 10)
        raise OSError("over")

    flows = play(120.0, sensor=sensor)
    assert contacts(flows) == [(17, 5683, "S0", "")]
    assert flows.orig_packets[0] == 5
