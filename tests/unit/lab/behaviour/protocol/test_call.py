"""STUN and media over the relay."""

from __future__ import annotations

import pytest

from play_builder import contacts, play
from thingwarden.lab.behaviour.protocol import call
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.world import World

TRANSACTION = bytes(range(12))


def test_binding_is_as_rfc_8489_says() -> None:
    request = call.encode_binding(TRANSACTION)
    assert request.hex() == "000100002112a442" + TRANSACTION.hex()
    answer = call.answer_binding(request, 32_853)
    assert answer[:2] == b"\x01\x01"
    assert answer[4:20] == request[4:]
    assert answer[20:28].hex() == "002000080001a147"


def test_other_datagrams_are_no_binding() -> None:
    assert call.answer_binding(b"\0\1\0\0" + bytes(16), 1) == b""
    assert call.answer_binding(call.encode_binding(TRANSACTION)[:19], 1) == b""


def test_rtp_header_is_as_rfc_3550_says() -> None:
    assert call.encode_rtp(3, 10)[:4].hex() == "80000003"
    assert len(call.encode_rtp(3, 10)) == 22


def test_call_goes_both_ways_at_its_rate() -> None:
    async def phone(world: World) -> None:
        media = call.Media(packets_per_s=20.0, payload_bytes=100)
        await call.call(world, SERVICES["call.example"].address, call.STUN_PORT, media, 10.0)

    flows = play(phone=phone)
    assert contacts(flows) == [(17, 3478, "SF", "")]
    assert 180 <= flows.orig_packets[0] <= 225
    assert flows.resp_packets[0] >= 0.95 * flows.orig_packets[0]


def test_dead_relay_is_an_oserror() -> None:
    ended: list[float] = []

    async def phone(world: World) -> None:
        with pytest.raises(TimeoutError):
            await call.call(world, SERVICES["gone.example"].address, 3478, call.Media(), 10.0)
        ended.append(world.now_s())

    play(120.0, phone=phone)
    assert 20.0 < ended[0] < 60.0
