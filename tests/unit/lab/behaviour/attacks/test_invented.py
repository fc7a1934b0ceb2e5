"""Attacks that nobody has seen."""

from __future__ import annotations

import numpy as np
import pytest

from lab_act_builder import aims_of, begun_at_s, lan_address, peers_of, perform, states_of
from thingwarden.lab.behaviour.attacks.invented import InventedSettings

CAMERA = lan_address("camera")
ELSEWHERE = ("198.18.0.0/15",)


def test_ports_wrap_around_and_are_never_0() -> None:
    ports = InventedSettings(port=65_530, port_count=12, port_step=1).ports
    assert ports[5:7] == (65_535, 1)
    assert min(ports) >= 1


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("port", [17, 4444, 61_111])
def test_beacon_is_answered_at_any_port(transport: str, port: int) -> None:
    settings = {"transport": transport, "port": port, "port_count": 2, "period_s": 10.0, "jitter": 0.0}
    flows = perform("invented_beacon", settings, lasts_s=100.0)
    assert states_of(flows) == ["SF"] * 10
    assert set(flows.resp_port.tolist()) == {port, port + 1}
    assert np.diff(begun_at_s(flows)) == pytest.approx(10.0, abs=0.2)


@pytest.mark.parametrize("speaks", ["messages", "http", "lines", "nothing"])
def test_every_way_of_speaking_gets_on_with_a_control_host(speaks: str) -> None:
    settings = {"speaks": speaks, "turns": 3, "sent_bytes": 100, "answer_bytes": 400, "period_s": 10.0}
    flows = perform("invented_beacon", settings, lasts_s=50.0)
    assert set(states_of(flows)) == {"SF"}
    assert (flows.orig_bytes.min() > 250) == (speaks != "nothing")


def test_own_port_can_be_fixed() -> None:
    flows = perform("invented_beacon", {"own_port": 4099, "period_s": 30.0, "ending": "abort"}, lasts_s=100.0)
    assert set(flows.orig_port.tolist()) == {4099}


def test_sweep_asks_many_hosts() -> None:
    flows = perform("invented_sweep", {"targets": ELSEWHERE, "hosts": 200, "count": 150, "port_count": 1})
    assert len(flows) == 150
    assert len(peers_of(flows)) > 145
    assert set(states_of(flows)) == {"S0"}


def test_search_asks_many_ports_and_its_aim_names_none() -> None:
    settings = {"targets": (CAMERA,), "port": 70, "port_count": 60, "count": 60, "transport": "tcp"}
    flows = perform("invented_search", settings)
    assert sorted(flows.resp_port.tolist()) == list(range(70, 130))
    assert states_of(flows).count("REJ") == 59
    assert [aim.ports for aim in aims_of("invented_search", settings)] == [()]


def test_siege_repeats_one_dialogue() -> None:
    settings = {"targets": (CAMERA,), "port": 80, "speaks": "http", "count": 30, "period_s": 0.5, "spread": 0.0}
    flows = perform("invented_siege", settings)
    assert len(flows) == 30
    assert np.ptp(flows.orig_bytes) == 0


def test_surge_is_fast() -> None:
    settings = {"targets": ("203.0.113.80",), "port": 80, "count": 500, "period_s": 0.002}
    flows = perform("invented_surge", settings)
    assert len(flows) == 500
    assert begun_at_s(flows)[-1] < 2.0


def test_upload_is_large() -> None:
    flows = perform("invented_upload", {"sent_bytes": 700_000, "count": 2, "spread": 0.0, "period_s": 5.0})
    assert flows.orig_bytes.min() >= 700_000
