"""Counted messages over TCP and UDP."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from play_builder import contacts, play
from thingwarden.lab.behaviour.protocol import session
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.world import World

CLOUD = SERVICES["vendor.example"].address


def test_wish_survives_the_wire_and_is_bounded() -> None:
    assert session.decode_wish(session.encode_wish(60, 200, 3, 50)) == (200, 3, 0.05)
    assert len(session.encode_wish(60, 1, 1, 0)) == 60
    assert session.decode_wish(session.encode_wish(9000, 9000, 10**6, 10**6)) == (1400, 4000, 65.535)


@given(st.binary(max_size=40))
def test_noise_is_no_wish(noise: bytes) -> None:
    wish = session.decode_wish(noise)
    assert wish is None or noise[1:4] == session.WISH_MARK


def test_turns_have_the_sizes_asked_for() -> None:
    async def device(world: World) -> None:
        stream = await world.connect(CLOUD, 80)
        await session.take_turn(stream, session.Turn(sent_bytes=500, answer_bytes=70_000))
        await session.take_turn(stream, session.Turn(sent_bytes=100_000, answer_bytes=0))
        await stream.close()

    flows = play(device=device)
    assert flows.orig_bytes.max() == 100_500 + 40
    assert flows.resp_bytes.max() == 70_000


@pytest.mark.parametrize(("ends", "resets", "state"), [(True, False, "SF"), (False, True, "RSTR")])
def test_server_ends_as_it_is_asked_to(ends: bool, resets: bool, state: str) -> None:
    async def device(world: World) -> None:
        stream = await world.connect(CLOUD, 80)
        await session.take_turn(stream, session.Turn(ends=ends, resets=resets))
        await stream.receive(10.0)
        await stream.close()

    assert contacts(play(device=device)) == [(6, 80, state, "")]


def test_server_pushes_into_an_open_session() -> None:
    async def device(world: World) -> None:
        stream = await world.connect(CLOUD, 80)
        await session.take_turn(stream, session.Turn(answer_bytes=10, push_every_ms=5000, push_bytes=1000))
        await session.idle(world, stream, 100.0)
        await stream.close()

    flows = play(120.0, device=device)
    assert 13_000 <= flows.resp_bytes.max() <= 30_000


def test_datagrams_come_as_wished_and_silence_ends_the_wait() -> None:
    came: list[int] = []

    async def device(world: World) -> None:
        socket = await world.open_datagrams()
        came.append(await session.ask_datagrams(socket, CLOUD, 443, session.encode_wish(1250, 1250, 200, 5),
                                                acknowledges=10))  # fmt: skip
        came.append(await session.ask_datagrams(socket, CLOUD, 443, session.encode_wish(60, 60, 0, 5)))
        socket.close()

    flows = play(device=device)
    assert came == [200, 0]
    assert contacts(flows) == [(17, 443, "SF", "")]
    assert flows.orig_packets[0] == 22
