"""The client's four messages."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from play_builder import address_of, play
from thingwarden.lab.behaviour.protocol.dhcp import ACKNOWLEDGEMENT, DISCOVER, OFFER, decode, encode, request_lease
from thingwarden.lab.world import World

NUMBER = 0xCAFE0001
MAC = "02:77:00:00:01:00"


def _server_message(kind: int, number: int = NUMBER) -> bytes:
    options = b"\x63\x82\x53\x63" + bytes((53, 1, kind, 0, 54, 4, 10, 77, 0, 1, 255))
    return b"\x02\x01\x06\x00" + number.to_bytes(4, "big") + bytes(8) + bytes((10, 77, 0, 9)) + bytes(216) + options


def test_discovery_is_as_rfc_2131_says() -> None:
    message = encode(NUMBER, MAC, DISCOVER)
    assert message[:12] == bytes.fromhex("01010600cafe000100008000")
    assert message[28:34] == bytes.fromhex("027700000100")
    assert message[236:243] == bytes.fromhex("63825363350101")
    assert message[-1:] == b"\xff"


def test_offer_is_read() -> None:
    offer = decode(_server_message(OFFER), NUMBER)
    assert offer is not None
    assert (offer.address, offer.kind, offer.server) == (IPv4Address("10.77.0.9"), OFFER, IPv4Address("10.77.0.1"))


def test_message_of_another_transaction_is_none() -> None:
    assert decode(_server_message(ACKNOWLEDGEMENT, NUMBER + 1), NUMBER) is None
    assert decode(encode(NUMBER, MAC, DISCOVER), NUMBER) is None


@given(st.binary(max_size=60))
def test_cut_and_noisy_options_do_not_break_the_reader(noise: bytes) -> None:
    assert decode(_server_message(OFFER)[:240] + noise, NUMBER) is not None


def test_booting_host_gets_its_address() -> None:
    leased: list[str] = []

    async def boot(world: World) -> None:
        leased.append(await request_lease(world, host_name="thing"))

    play(booting=boot)
    assert leased == [address_of(0)]
