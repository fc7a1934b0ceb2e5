"""What listens at the attackers' hosts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_act_builder import perform, schedule_of, states_of
from thingwarden.lab.behaviour.attacks.hostile import answer_query, expected_ports

CONTROL, SHOP = "198.51.100.66", "203.0.113.80"


def expected(act: str, **settings: object) -> tuple[str, ...]:
    return expected_ports(schedule_of(act, settings).planned)


def test_ports_of_attackers_hosts_are_expected() -> None:
    assert expected("c2_tcp", hop_ports=(1, 2)) == ("tcp/1", "tcp/2")
    assert expected("c2_tls", port=9443) == ("tls/9443",)
    assert expected("c2_udp", port=6881) == ("udp/6881",)
    assert expected("exfiltrate_bulk", way="tls", port=777) == ("tls/777",)
    assert expected("download", way="tftp") == ("udp/69",)
    assert expected("invented_beacon", port=7, port_count=3, transport="udp") == ("udp/7", "udp/8", "udp/9")


def test_ports_of_others_are_not() -> None:
    assert expected("flood_syn", targets=(SHOP,)) == ()
    assert expected("scan_horizontal", targets=("10.77.0.0/24",)) == ()


def test_nothing_beyond_what_is_expected_is_open() -> None:
    settings = {"targets": (CONTROL,), "port": 3000, "port_count": 50, "count": 50, "transport": "tcp"}
    assert set(states_of(perform("invented_search", settings))) == {"REJ"}


@pytest.mark.parametrize("port", [6667, 23, 4545, 48101])
def test_bots_usual_ports_are_open(port: int) -> None:
    settings = {"targets": (CONTROL,), "ports": (port,), "lingers_s": 0.1}
    assert states_of(perform("scan_slow", settings)) == ["SF"]


@given(st.binary(max_size=600))
def test_any_datagram_is_answered_within_a_datagram_or_not_at_all(datagram: bytes) -> None:
    answer = answer_query(datagram)
    assert len(answer) <= 1500
