"""The resolver answers for the lab's names, with dnsmasq's sizes, and ignores what is no question."""

from __future__ import annotations

import pytest

from thingwarden.lab.behaviour.protocol.dns import TYPE_A, TYPE_AAAA, encode_query, find_address, resolve
from thingwarden.lab.simulated.resolver import answer_question
from thingwarden.lab.timeline import Planned, PowerOff, PowerOn
from thingwarden.lab.world import World
from wire_builder import address6_of, address_of, watch

NAMES = {"vendor.example": ("203.0.113.10", "2001:db8:100::a"), "plug.lan": ("10.77.0.31",)}


@pytest.mark.parametrize(
    ("name", "record", "address", "more_bytes"),
    [
        ("vendor.example", TYPE_A, "203.0.113.10", 16),
        ("VENDOR.example", TYPE_A, "203.0.113.10", 16),
        ("vendor.example", TYPE_AAAA, "2001:db8:100::a", 28),
        ("plug.lan", TYPE_AAAA, "", 0),
        ("nobody.example", TYPE_A, "", 0),
    ],
)
def test_known_names_are_answered(name: str, record: int, address: str, more_bytes: int) -> None:
    question = encode_query(77, name, record)
    answer = answer_question(question, NAMES)
    assert find_address(answer, record) == address
    assert len(answer) == len(question) + more_bytes
    assert answer[:2] == question[:2]
    assert (answer[3] & 0x0F == 3) == (name == "nobody.example")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\0" * 11,
        b"\0\1\x80\0\0\1\0\0\0\0\0\0\0\0\1\0\1",
        b"\0\1\1\0\0\1\0\0\0\0\0\0\x3fabc",
        b"\0\1\1\0\0\1" + b"\xff" * 40,
    ],
)
def test_what_is_no_question_is_not_answered(message: bytes) -> None:
    assert answer_question(message, NAMES) == b""


def test_hosts_find_services_and_each_other_by_either_version_of_ip() -> None:
    found: list[str] = []

    async def ask(world: World) -> None:
        found.append(await resolve(world, "vendor.example"))
        found.append(await resolve(world, "server.lan", wants_v6=True, is_over_v6=True))
        found.append(await resolve(world, "hub.lan"))

    async def be_still(world: World) -> None:
        pass

    seen = watch(client=ask, server=be_still, kinds={"server": "hub"})
    assert found == ["203.0.113.10", address6_of(1), address_of(1)]
    assert seen.flows.service.tolist().count(b"dns") == 3


def test_a_host_with_a_new_address_is_found_there() -> None:
    found: list[str] = []

    async def ask(world: World) -> None:
        await world.sleep(10.0)
        found.append(await resolve(world, "server.lan"))

    async def be_still(world: World) -> None:
        pass

    planned = (
        Planned(at_s=2.0, event="move-1", action=PowerOff(host="server")),
        Planned(at_s=4.0, event="move-1", action=PowerOn(host="server", address="10.77.0.99")),
    )
    watch(client=ask, server=be_still, planned=planned)
    assert found == ["10.77.0.99"]
