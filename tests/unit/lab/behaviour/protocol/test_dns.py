"""Questions to the resolver and what is read from its answers."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from play_builder import play
from thingwarden.lab.behaviour.protocol.dns import TYPE_A, TYPE_AAAA, encode_query, find_address, resolve
from thingwarden.lab.world import World

QUERY = bytes.fromhex("1234010000010000000000000676656e646f72076578616d706c650000010001")


def _answer(*records: tuple[int, bytes]) -> bytes:
    head = struct.pack(">HHHHHH", 0x1234, 0x8180, 1, len(records), 0, 0)
    body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data for kind, data in records)
    return head + QUERY[12:] + body


def test_question_is_as_rfc_1035_says() -> None:
    assert encode_query(0x1234, "vendor.example", TYPE_A) == QUERY


def test_first_address_of_the_asked_type_is_taken() -> None:
    answer = _answer((5, b"\x01a\x00"), (TYPE_A, bytes((203, 0, 113, 10))), (TYPE_A, bytes((203, 0, 113, 11))))
    assert find_address(answer, TYPE_A) == "203.0.113.10"
    assert find_address(answer, TYPE_AAAA) == ""


@given(st.binary(max_size=80))
def test_nothing_that_comes_breaks_the_reader(noise: bytes) -> None:
    assert isinstance(find_address(noise, TYPE_A), str)
    assert isinstance(find_address(_answer((TYPE_A, b"\x01\x02\x03\x04"))[: len(noise)] + noise, TYPE_AAAA), str)


def test_gateway_answers_by_both_families_and_denies_what_it_does_not_know() -> None:
    seen: list[str] = []

    async def ask(world: World) -> None:
        seen.append(await resolve(world, "vendor.example"))
        seen.append(await resolve(world, "vendor.example", wants_v6=True))
        with pytest.raises(OSError, match="no address"):
            await resolve(world, "nobody.example")
        seen.append("done")

    play(asker=ask)
    assert seen == ["203.0.113.10", "2001:db8:100::a", "done"]
