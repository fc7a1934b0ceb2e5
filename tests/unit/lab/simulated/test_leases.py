"""The DHCP server gives each host its address, and strangers none."""

from __future__ import annotations

import pytest

from thingwarden.lab.behaviour.protocol.dhcp import (
    ACKNOWLEDGEMENT,
    DISCOVER,
    OFFER,
    REQUEST,
    decode,
    encode,
    request_lease,
)
from thingwarden.lab.simulated.leases import answer_client
from thingwarden.lab.timeline import Planned, PowerOff, PowerOn
from thingwarden.lab.world import World
from wire_builder import watch

MAC = "02:77:00:00:01:00"
LEASES = {MAC: "10.77.0.21"}


@pytest.mark.parametrize(("kind", "answered"), [(DISCOVER, OFFER), (REQUEST, ACKNOWLEDGEMENT)])
def test_a_known_client_is_answered(kind: int, answered: int) -> None:
    answer = answer_client(encode(7, MAC, kind), LEASES)
    offer = decode(answer, 7)
    assert offer is not None
    assert (str(offer.address), offer.kind, str(offer.server)) == ("10.77.0.21", answered, "10.77.0.1")
    assert len(answer) >= 300


@pytest.mark.parametrize(
    "message",
    [b"", b"\x01" * 250, encode(7, "02:00:00:00:00:99", DISCOVER), encode(7, MAC, OFFER), encode(7, MAC, 1)[:241]],
)
def test_strangers_and_nonsense_are_not(message: bytes) -> None:
    assert answer_client(message, LEASES) == b""


def test_a_booting_host_gets_the_address_that_it_is_to_have() -> None:
    leased: list[str] = []

    async def boot(world: World) -> None:
        if world.me.is_booting:
            leased.append(await request_lease(world))

    planned = (
        Planned(at_s=2.0, event="move-1", action=PowerOff(host="host")),
        Planned(at_s=4.0, event="move-1", action=PowerOn(host="host", address="10.77.0.99")),
    )
    seen = watch(host=boot, planned=planned)
    assert leased == ["10.77.0.99"]
    assert b"dhcp" in seen.flows.service.tolist()
