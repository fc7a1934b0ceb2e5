"""The lists of ports name each once, the most common first."""

from __future__ import annotations

from thingwarden.lab.simulated.scan_ports import DATAGRAM_SIZES, TCP_PORTS, UDP_PORTS


def test_ports_are_named_once_and_are_ports() -> None:
    for ports in (TCP_PORTS, UDP_PORTS):
        assert len(ports) == len(set(ports)) > 1000
        assert all(0 < port < 65536 for port in ports)


def test_the_most_common_come_first() -> None:
    assert {80, 23, 443, 22} < set(TCP_PORTS[:10])
    assert {161, 137, 123} < set(UDP_PORTS[:10])


def test_questions_fit_a_packet() -> None:
    assert all(0 <= size_bytes < 1400 for sizes in DATAGRAM_SIZES.values() for size_bytes in sizes)
