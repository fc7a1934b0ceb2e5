"""hping3's floods: as many packets as told, at the pace it manages, with its ports and answers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from thingwarden.lab.tool import PacketFlood
from thingwarden.lab.world import Stream, World
from wire_builder import Seen, address_of, text_of, watch

FLOOD = PacketFlood(target=address_of(1), port=80, packet_count=1000, packets_per_s=200.0)


async def serve(world: World) -> None:
    """A web server."""

    async def answer(own: World, stream: Stream) -> None:
        raise AssertionError("a flood opened a connection")

    await world.listen(80, answer)


def flood(tool: PacketFlood) -> Seen:
    async def attack(world: World) -> None:
        await world.sleep(1.0)
        await world.use(tool)

    return watch(60.0, attacker=attack, target=serve)


def test_a_syn_flood_is_accepted_and_taken_back() -> None:
    seen = flood(FLOOD)
    assert seen.states(80) == [("RSTO", "ShR")] * 1000
    packets = seen.of_port(80)
    syns = packets.take(packets.tcp_flags == 0x02)
    assert (np.diff(syns.src_port.astype(np.int64)) == 1).all()
    assert set(syns.ip_bytes.tolist()) == {40}
    assert 5.0 < float(syns.at_s[-1] - syns.at_s[0]) < 7.5


def test_an_ack_flood_is_reset() -> None:
    assert flood(dataclasses.replace(FLOOD, kind="ack")).states(80) == [("RSTRH", "Ar")] * 1000


def test_a_udp_flood_carries_its_payload() -> None:
    seen = flood(dataclasses.replace(FLOOD, kind="udp", port=9, payload_bytes=512))
    packets = seen.of_port(9)
    assert (len(packets), set(packets.ip_bytes.tolist())) == (1000, {540})
    assert bytes(packets.payload_head[0][:4]) == b"XXXX"
    assert int((seen.packets.proto == 1).sum()) < 20


def test_an_echo_flood_is_echoed() -> None:
    seen = flood(dataclasses.replace(FLOOD, kind="icmp", payload_bytes=56))
    assert (seen.packets.proto == 1).sum() == 2000
    assert len(seen.flows) == 1


def test_forged_sources_are_the_labs_own_and_never_twice_the_same_for_long() -> None:
    seen = flood(dataclasses.replace(FLOOD, is_spoofed=True, packet_count=200))
    packets = seen.of_port(80)
    sources = {text_of(words) for words in packets.src_address[packets.tcp_flags == 0x02]}
    assert len(sources) > 190
    prefix = [text.startswith(("198.18.", "198.19.")) for text in sources]
    assert all(prefix)


def test_a_reflection_asks_in_another_ones_name() -> None:
    seen = flood(dataclasses.replace(FLOOD, kind="udp", port=53, source="203.0.113.80", packet_count=50))
    packets = seen.of_port(53)
    assert {text_of(words) for words in packets.src_address} == {"203.0.113.80"}


@pytest.mark.parametrize("change", [{"lasts_s": 2.0}, {"packet_count": 350}])
def test_it_ends_at_its_bound_in_count_or_time(change: dict[str, float]) -> None:
    seen = flood(dataclasses.replace(FLOOD, **change))  # type: ignore[arg-type]
    assert 250 <= len(seen.states(80)) <= 400
