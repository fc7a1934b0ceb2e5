"""Packets that programs make are answered by the kernels that they meet, as kernels answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from thingwarden.domain.packet import PROTO_ICMP, PROTO_TCP, PROTO_UDP, TCP_ACK, TCP_FIN, TCP_SYN
from thingwarden.lab.condition import find_condition
from thingwarden.lab.simulated.capture import Rows
from thingwarden.lab.simulated.clock import Clock
from thingwarden.lab.simulated.network import Network, Place, address_words
from thingwarden.lab.simulated.raw import Shooter, Volley
from thingwarden.lab.simulated.tcp import Side
from thingwarden.lab.simulated.udp import DatagramPlane

TARGET = "10.77.0.21"


def ignore(side: Side) -> None:
    """Nobody is ever let in by these packets."""
    raise AssertionError("a connection was made")


class Range:
    """An attacker and a target with ports 23 and 80 open."""

    def __init__(self) -> None:
        self.network = Network(Clock(), find_condition("wired"), "1")
        attacker = self.network.add_host("attacker", Place.LAN, "02:77:00:00:00:66", ("10.77.0.66",))
        self.target = self.network.add_host("target", Place.LAN, "02:77:00:00:00:21", (TARGET,))
        self.target.listeners.update({23: ignore, 80: ignore})
        self.shooter = Shooter(plane=DatagramPlane(self.network), host=attacker, label=5)

    def rows(self, until_s: float = 100.0) -> Rows:
        self.network.clock.run_until(until_s)
        return self.network.capture.take_until(until_s)


@pytest.fixture
def range_() -> Range:
    return Range()


def volley(*ports: int, flags: int = TCP_SYN, proto: int = PROTO_TCP) -> Volley:
    return Volley(
        at_s=1.0 + 0.01 * np.arange(len(ports)),
        src_port=np.full(len(ports), 50000),
        dst_port=np.array(ports),
        proto=proto,
        ip_bytes=44,
        flags=flags,
        window_bytes=1024,
        seq=1000,
    )


def test_syns_are_accepted_or_refused_and_acceptance_is_taken_back(range_: Range) -> None:
    answered = range_.shooter.fire_syns(TARGET, volley(22, 23))
    rows = range_.rows()
    assert answered.tolist() == [True, True]
    assert rows["tcp_flags"].tolist() == [TCP_SYN, 0x14, TCP_SYN, 0x12, 0x04]
    assert rows["ip_bytes"].tolist() == [44, 40, 44, 44, 40]
    assert rows["tcp_ack"].tolist()[1] == 1001
    assert rows["tcp_seq"].tolist()[4] == 1001
    assert set(rows["label"].tolist()) == {5}


def test_forged_syns_are_answered_into_the_void_again_and_again(range_: Range) -> None:
    source = np.tile(np.array(address_words("198.18.0.9"), dtype=np.uint64), (2, 1))
    range_.shooter.fire_syns(TARGET, replace(volley(80, 80), source=source))
    rows = range_.rows()
    answers = rows[rows["tcp_flags"] == 0x12]
    assert len(answers) == 2 * 6
    assert (answers["dst_address"] == source[0]).all()
    assert not (rows["tcp_flags"] == 0x04).any()


def test_only_so_many_half_open_connections_are_remembered(range_: Range) -> None:
    count = 300
    source = np.tile(np.array(address_words("198.18.0.9"), dtype=np.uint64), (count, 1))
    range_.shooter.fire_syns(TARGET, replace(volley(*[80] * count), source=source))
    rows = range_.rows()
    assert int((rows["tcp_flags"] == 0x12).sum()) == count + 5 * 128


def test_stray_segments_are_reset_but_a_fin_at_an_open_port_is_not(range_: Range) -> None:
    assert range_.shooter.fire_strays(TARGET, volley(22, 23, flags=TCP_ACK)).tolist() == [True, True]
    assert range_.shooter.fire_strays(TARGET, volley(22, 23, flags=TCP_FIN)).tolist() == [True, False]


def test_datagrams_to_closed_ports_are_complained_about_until_the_limit(range_: Range) -> None:
    answered = range_.shooter.fire_datagrams(TARGET, volley(*range(1000, 1010), flags=0, proto=PROTO_UDP))
    rows = range_.rows()
    assert int(answered.sum()) == 6
    complaints = rows[rows["proto"] == PROTO_ICMP]
    assert complaints["ip_bytes"].tolist() == [28 + 44] * 6
    assert complaints["payload_bytes"].tolist() == [44] * 6


def test_echoes_are_answered(range_: Range) -> None:
    echo = Volley(
        at_s=np.array([1.0]), src_port=np.array([8]), dst_port=np.array([0]), proto=PROTO_ICMP, ip_bytes=84,
        payload_bytes=56,
    )  # fmt: skip
    assert range_.shooter.fire_echoes(TARGET, echo).tolist() == [True]
    rows = range_.rows()
    assert (rows["src_port"].tolist(), rows["ip_bytes"].tolist()) == ([8, 0], [84, 84])


def test_a_missing_neighbour_costs_no_packet_and_a_missing_host_beyond_no_answer(range_: Range) -> None:
    assert not range_.shooter.fire_syns("10.77.0.200", volley(23)).any()
    assert not range_.shooter.fire_syns("198.18.0.1", volley(23)).any()
    rows = range_.rows()
    assert rows["tcp_flags"].tolist() == [TCP_SYN]


def test_one_volley_may_go_to_many_that_nobody_has(range_: Range) -> None:
    targets = np.array([address_words(f"198.18.0.{number}") for number in (1, 2, 3)], dtype=np.uint64)
    range_.shooter.fire_syns("198.18.0.1", replace(volley(23, 23, 23), destination=targets))
    assert (range_.rows()["dst_address"] == targets).all()


def test_without_power_or_with_silent_ports_there_is_no_answer(range_: Range) -> None:
    range_.target.silent_ports = {22: None}
    assert range_.shooter.fire_syns(TARGET, volley(22, 23)).tolist() == [False, True]
    range_.target.is_up = False
    range_.target.down_since_s = 0.0
    assert not range_.shooter.fire_syns(TARGET, volley(22, 23)).any()
