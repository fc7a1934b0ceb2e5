"""nmap's scans: half open, whole, UDP, FIN, ping, versions; order, rate, retries and silence."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest

from thingwarden.lab.simulated.scan import expand_targets, parse_ports
from thingwarden.lab.tool import PortScan
from thingwarden.lab.world import Stream, World
from wire_builder import Seen, address6_of, address_of, watch

SCAN = PortScan(targets=(address_of(1),), ports="1-100", packets_per_s=200.0)


async def serve(world: World) -> None:
    """Ports 22 (which greets first) and 80 (which waits) are open."""

    async def greet(own: World, stream: Stream) -> None:
        await stream.send(b"SSH-2.0-test\r\n")
        await stream.receive(30.0)

    async def wait(own: World, stream: Stream) -> None:
        await stream.receive(30.0)
        await stream.send(b"HTTP/1.0 200 OK\r\n\r\n")

    await world.listen(22, greet)
    await world.listen(80, wait)


async def be_still(world: World) -> None:
    """A host without open ports."""


def scan(tool: PortScan, duration_s: float = 60.0) -> Seen:
    async def attack(world: World) -> None:
        await world.sleep(1.0)
        await world.use(tool)

    return watch(duration_s, attacker=attack, target=serve, other=be_still)


def tcp_states(seen: Seen) -> Counter[tuple[str, str]]:
    return Counter(state for state, proto in zip(seen.states(), _protos(seen), strict=True) if proto == 6)


def _protos(seen: Seen) -> list[int]:
    return [int(proto) for proto in seen.flows.proto[np.argsort(seen.flows.started_at_s, kind="stable")]]


@pytest.mark.parametrize("target", [address_of(1), address6_of(1)])
def test_a_half_open_scan_finds_what_is_open(target: str) -> None:
    seen = scan(dataclasses.replace(SCAN, targets=(target,)))
    assert tcp_states(seen) == {("REJ", "Sr"): 98, ("RSTO", "ShR"): 2}
    syns = seen.packets.take(seen.packets.tcp_flags == 0x02)
    assert len(set(syns.src_port.tolist())) == 1
    assert set((syns.ip_bytes - 40 if ":" not in target else syns.ip_bytes - 60).tolist()) == {4}
    assert float(syns.at_s[-1] - syns.at_s[0]) == pytest.approx(0.5, abs=0.1)


def test_ports_are_asked_in_random_order_unless_in_order() -> None:
    random_order = scan(SCAN).packets
    in_order = scan(dataclasses.replace(SCAN, is_ordered=True)).packets
    ports = [packets.dst_port[packets.tcp_flags == 0x02].tolist() for packets in (random_order, in_order)]
    assert ports[1] == list(range(1, 101))
    assert ports[0] != ports[1]
    assert sorted(ports[0]) == ports[1]


def test_whole_connections_are_reset_as_soon_as_they_stand() -> None:
    assert tcp_states(scan(dataclasses.replace(SCAN, technique="connect"))) == {("REJ", "Sr"): 98, ("RSTO", "ShAR"): 2}


def test_a_fin_is_answered_by_closed_ports_only_and_sent_twice_to_the_others() -> None:
    seen = scan(dataclasses.replace(SCAN, technique="fin"))
    fins = seen.packets.take(seen.packets.tcp_flags == 0x01)
    assert len(fins) == 102
    assert int((seen.packets.tcp_flags == 0x14).sum()) == 98


def test_hosts_that_do_not_answer_are_asked_once_more() -> None:
    seen = scan(dataclasses.replace(SCAN, targets=("198.18.3.4", "198.18.3.5"), ports="23"))
    assert [state for state, _ in seen.states()] == ["S0"] * 4
    assert float(np.ptp(seen.packets.at_s)) > 1.0


def test_neighbours_that_are_not_there_are_found_out_without_a_packet() -> None:
    seen = scan(dataclasses.replace(SCAN, targets=("10.77.0.0/28",), ports="23", packets_per_s=50.0))
    assert len(tcp_states(seen)) == 1
    assert sum(tcp_states(seen).values()) == 3


def test_udp_ports_are_asked_with_what_their_service_would_answer() -> None:
    seen = scan(dataclasses.replace(SCAN, technique="udp", ports="53,123,999", packets_per_s=20.0))
    udp = seen.packets.take(seen.packets.proto == 17)
    sizes = Counter(zip(udp.dst_port.tolist(), udp.payload_bytes.tolist(), strict=True))
    assert sizes == {(53, 12): 1, (53, 30): 1, (123, 48): 2, (999, 0): 1}
    assert int((seen.packets.proto == 1).sum()) == 5


def test_versions_are_asked_for_where_a_port_is_open() -> None:
    seen = scan(dataclasses.replace(SCAN, technique="version", ports="20-25,80"))
    states = Counter(state for state, _ in seen.states())
    assert states["REJ"] == 5
    assert states["RSTO"] == 2
    assert states["SF"] == 2
    greeted = seen.of_port(22).at_s
    asked = seen.of_port(80).at_s
    assert np.ptp(greeted) < 2.0
    assert 6.0 < np.ptp(asked) < 8.0


def test_beyond_the_gateway_a_ping_scan_asks_four_times() -> None:
    seen = scan(dataclasses.replace(SCAN, technique="ping", targets=("203.0.113.10", "198.18.0.1"), ports=""))
    assert Counter(seen.packets.proto.tolist()) == {1: 3 + 4, 6: 4 + 4}
    neighbours = scan(dataclasses.replace(SCAN, technique="ping", targets=("10.77.0.0/24",), ports=""))
    assert len(neighbours.packets) == 0


def test_it_ends_at_its_bound_in_time() -> None:
    seen = scan(dataclasses.replace(SCAN, ports="1-5000", lasts_s=3.0))
    assert 450 < sum(tcp_states(seen).values()) < 700


def test_targets_and_ports_are_spelt_as_nmap_wants_them() -> None:
    assert expand_targets(("10.77.0.8/30", "203.0.113.1")) == [
        "10.77.0.8", "10.77.0.9", "10.77.0.10", "10.77.0.11", "203.0.113.1",
    ]  # fmt: skip
    assert parse_ports("23,80-82") == [23, 80, 81, 82]
    assert parse_ports("") == []
