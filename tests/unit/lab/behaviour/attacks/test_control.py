"""Bots' contact with their owners."""

from __future__ import annotations

import numpy as np
import pytest

from lab_act_builder import begun_at_s, peers_of, perform, states_of
from thingwarden.lab.behaviour.attacks.control import CONTROL_2

DEAD = "198.51.100.200"
SERVICE = {"c2_irc": b"irc", "c2_http": b"http", "c2_tls": b"ssl", "c2_tcp": b"", "c2_mqtt": b"mqtt"}


@pytest.mark.parametrize("act", sorted(SERVICE))
def test_beacons_keep_their_period(act: str) -> None:
    settings = {"period_s": 30.0, "jitter": 0.05, "is_kept": False}
    flows = perform(act, settings, lasts_s=900.0)
    assert 28 <= len(flows) <= 32
    assert set(states_of(flows)) == {"SF"}
    assert set(flows.service.tolist()) == {SERVICE[act]}
    gaps = np.diff(begun_at_s(flows))
    assert np.mean(gaps) == pytest.approx(30.0, rel=0.05)
    assert np.std(gaps) < 4.0


@pytest.mark.parametrize("act", ["c2_irc", "c2_tcp", "c2_http", "c2_mqtt", "c2_tls"])
def test_kept_connection_is_one_long_flow(act: str) -> None:
    flows = perform(act, {"period_s": 20.0, "is_kept": True}, lasts_s=300.0)
    assert len(flows) == 1
    assert flows.duration_s[0] > 250.0


def test_two_bytes_come_back() -> None:
    flows = perform("c2_tcp", {"sent_bytes": 2, "spread": 0.0, "period_s": 60.0, "is_kept": True}, lasts_s=600.0)
    assert 20 <= flows.orig_bytes[0] <= 26
    assert flows.orig_bytes[0] == flows.resp_bytes[0]


def test_dead_control_is_called_all_the_same() -> None:
    settings = {"targets": (DEAD,), "period_s": 20.0, "jitter": 0.0, "patience_s": 2.0}
    flows = perform("c2_tcp", settings, lasts_s=200.0)
    assert states_of(flows) == ["S0"] * 10


def test_bot_turns_to_the_next_host_where_one_fails() -> None:
    settings = {"targets": (DEAD, CONTROL_2), "period_s": 30.0, "jitter": 0.0, "tries": 2, "retry_s": 3.0}
    flows = perform("c2_tcp", settings, lasts_s=300.0)
    assert peers_of(flows) == {DEAD, CONTROL_2}
    assert states_of(flows)[:2] == ["S0", "SF"]
    assert states_of(flows).count("SF") == 10


def test_ports_are_hopped_over_and_all_answered() -> None:
    settings = {"hop_ports": (4001, 14_002, 44_003), "period_s": 10.0, "jitter": 0.0}
    flows = perform("c2_tcp", settings, lasts_s=120.0)
    assert flows.resp_port.tolist() == [4001, 14_002, 44_003] * 4
    assert set(states_of(flows)) == {"SF"}


def test_drawn_port_is_answered_over_tls() -> None:
    flows = perform("c2_tls", {"port": 31_234, "period_s": 30.0, "jitter": 0.0, "speaks": "messages"}, lasts_s=100.0)
    assert set(states_of(flows)) == {"SF"}
    assert set(flows.service.tolist()) == {b"ssl"}


def test_turns_lengthen_the_contact() -> None:
    one, five = (
        perform("c2_tcp", {"turns": turns, "gap_s": 2.0, "period_s": 60.0, "jitter": 0.0}, lasts_s=50.0)
        for turns in (1, 5)
    )
    assert one.duration_s[0] < 1.0
    assert five.duration_s[0] == pytest.approx(8.0, rel=0.4)
    assert five.orig_bytes[0] > 4 * one.orig_bytes[0]


def test_bot_sleeps_by_night() -> None:
    settings = {"period_s": 600.0, "jitter": 0.0, "night_from_hour": 1.0, "night_h": 5.0}
    flows = perform("c2_tcp", settings, lasts_s=10 * 3600.0, starts_at_hour=0.0)
    hours = begun_at_s(flows) / 3600.0
    assert not ((hours > 1.01) & (hours < 5.9)).any()
    assert 28 <= len(flows) <= 32


@pytest.mark.parametrize("is_kept", [True, False])
def test_datagrams_are_answered(is_kept: bool) -> None:
    flows = perform("c2_udp", {"period_s": 20.0, "is_kept": is_kept, "jitter": 0.0}, lasts_s=200.0)
    assert set(states_of(flows)) == {"SF"}
    assert len(flows) == (1 if is_kept else 10)


def test_peers_are_mostly_gone() -> None:
    settings = {"period_s": 30.0, "peers": 20, "known_share": 0.2, "is_kept": True, "patience_s": 1.0}
    flows = perform("c2_p2p", settings, lasts_s=300.0)
    states = states_of(flows)
    assert states.count("S0") > 60
    assert 1 <= states.count("SF") <= 40
