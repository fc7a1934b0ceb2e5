"""Asking for the time."""

from __future__ import annotations

from play_builder import contacts, play
from thingwarden.lab.behaviour.protocol.ntp import CLIENT_HEADS, MESSAGE_BYTES, ask_time, encode_answer, encode_request
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.world import World


def test_request_is_version_4_from_a_client_with_its_stamp_last() -> None:
    request = encode_request(0x0102030405060708)
    assert request == b"\x23" + bytes(39) + bytes(range(1, 9))
    assert all(len(encode_request(0, head)) == MESSAGE_BYTES and head[0] & 7 == 3 for head in CLIENT_HEADS)


def test_answer_returns_the_clients_stamp_and_counts_from_1900() -> None:
    answer = encode_answer(encode_request(77), 10.5)
    assert len(answer) == MESSAGE_BYTES
    assert answer[0] & 7 == 4
    assert answer[24:32] == (77).to_bytes(8, "big")
    assert answer[40:48] == (3_976_214_410).to_bytes(4, "big") + b"\x80\0\0\0"


def test_server_tells_the_time_by_both_families() -> None:
    told: list[float] = []
    server = SERVICES["time.example"]

    async def ask(world: World) -> None:
        told.append(await ask_time(world, server.address, is_from_123=True))
        told.append(await ask_time(world, server.address6, head=CLIENT_HEADS[2]))

    flows = play(asker=ask)
    assert [int(at) for at in told] == [3_976_214_400] * 2
    assert contacts(flows) == [(17, 123, "SF", "ntp")] * 2
