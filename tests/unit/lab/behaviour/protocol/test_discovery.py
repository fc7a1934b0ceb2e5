"""mDNS and SSDP between neighbours."""

from __future__ import annotations

from play_builder import address_of, contacts, play
from thingwarden.lab.behaviour.protocol import discovery
from thingwarden.lab.world import World


def test_question_and_announcement_are_as_rfc_6762_says() -> None:
    question = discovery.encode_question(("_http._tcp",))
    assert question.hex() == "000000000001000000000000" + b"\x05_http\x04_tcp\x05local\x00".hex() + "000c0001"
    announcement = discovery.encode_announcement(discovery.Advertised(name="tv", text_bytes=300))
    assert announcement[:12].hex() == "000084000000000200000000"
    assert b"\x02tv\x05_http\x04_tcp\x05local\x00" in announcement
    assert bytes((255,)) + b"x" * 255 + bytes((45,)) + b"x" * 45 in announcement


def test_question_is_answered_by_who_offers_it() -> None:
    heard: list[bytes] = []

    async def printer(world: World) -> None:
        await discovery.take_part_in_mdns(
            world, discovery.Advertised(name="p", service="_ipp._tcp", every_s=5000.0, burst=1)
        )

    async def phone(world: World) -> None:
        socket = await world.open_datagrams(5353, (discovery.MDNS_GROUP,))
        await world.sleep(5.0)
        while True:
            await socket.send(discovery.MDNS_GROUP, 5353, discovery.encode_question(("_ipp._tcp",)))
            heard.append((await socket.receive(5.0))[2])
            await world.sleep(20.0)

    play(printer=printer, phone=phone)
    assert heard[:2] == [discovery.encode_announcement(discovery.Advertised(name="p", service="_ipp._tcp"))] * 2


def test_search_finds_those_that_fit() -> None:
    found: list[str] = []

    async def tv(world: World) -> None:
        await discovery.answer_searches(world, "tv", "upnp:rootdevice")

    async def lamp(world: World) -> None:
        await discovery.answer_searches(world, "lamp", "urn:light")

    async def phone(world: World) -> None:
        await world.sleep(1.0)
        found.extend(await discovery.search(world, "upnp:rootdevice"))
        found.append("and")
        found.extend(sorted(await discovery.search(world, tries=1)))

    play(tv=tv, lamp=lamp, phone=phone)
    assert found == [address_of(0), "and", address_of(0), address_of(1)]


def test_notification_goes_to_the_group() -> None:
    async def tv(world: World) -> None:
        await discovery.notify(world, "tv", ("upnp:rootdevice", "urn:a"), repeats=3)

    flows = play(tv=tv)
    assert contacts(flows) == [(17, 1900, "S0", "")]
    assert flows.orig_packets[0] == 6
