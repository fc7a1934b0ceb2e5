"""Sweeps over hosts and ports."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from lab_act_builder import aims_of, begun_at_s, lan_address, peers_of, perform, states_of, tools_of
from thingwarden.lab.tool import PortScan

ELSEWHERE = ("198.18.0.0/15",)
CAMERA = lan_address("camera")


@pytest.mark.parametrize("rate", [2.0, 40.0, 300.0])
def test_random_scan_keeps_its_rate_and_finds_nobody_elsewhere(rate: float) -> None:
    settings = {"targets": ELSEWHERE, "probes_per_s": rate, "count": 120}
    flows = perform("scan_random", settings, lasts_s=200.0)
    assert len(flows) == 120
    assert set(states_of(flows)) == {"S0"}
    assert np.mean(np.diff(begun_at_s(flows))) == pytest.approx(1 / rate, rel=0.35)
    assert len(peers_of(flows)) > 115


def test_random_scan_asks_both_ports_in_their_shares() -> None:
    settings = {"targets": ELSEWHERE, "port": 23, "second_port": 2323, "second_share": 0.3, "count": 400}
    ports = Counter(perform("scan_random", settings).resp_port.tolist())
    assert ports.keys() == {23, 2323}
    assert 80 < ports[2323] < 160


@pytest.mark.parametrize(("patience_s", "tries"), [(0.5, 1), (1.5, 2), (3.5, 4)])
def test_unanswered_probe_is_repeated_by_the_kernel(patience_s: float, tries: int) -> None:
    flows = perform("scan_random", {"targets": ELSEWHERE, "count": 20, "patience_s": patience_s})
    assert set(flows.orig_packets.tolist()) == {tries}


@pytest.mark.parametrize(("port", "state"), [(80, "RSTO"), (81, "REJ")])
def test_random_scan_is_let_in_or_refused_on_the_lan(port: int, state: str) -> None:
    settings = {"targets": (CAMERA,), "port": port, "second_port": port, "count": 8, "is_abrupt": True}
    assert states_of(perform("scan_random", settings)) == [state]


def test_slow_scan_takes_its_time() -> None:
    settings = {"targets": (CAMERA,), "period_s": 30.0, "jitter": 0.0}
    flows = perform("scan_slow", settings, lasts_s=400.0)
    assert len(flows) == 14
    assert all(gap >= 29.0 for gap in np.diff(begun_at_s(flows)))
    assert len(set(flows.resp_port.tolist())) == 14
    assert "REJ" in states_of(flows)


def test_slow_scan_asks_what_it_finds() -> None:
    settings = {"targets": (CAMERA,), "ports": (80,), "is_asking": True, "lingers_s": 0.2}
    flows = perform("scan_slow", settings)
    assert states_of(flows) == ["SF"]
    assert flows.service.tolist() == [b"http"]


@pytest.mark.parametrize(
    ("act", "technique"),
    [
        ("scan_horizontal", "syn"),
        ("scan_vertical", "syn"),
        ("scan_version", "version"),
        ("scan_udp", "udp"),
        ("scan_ping", "ping"),
    ],
)
def test_nmap_is_told_what_and_how_fast(act: str, technique: str) -> None:
    (tool,) = tools_of(act, {"targets": (CAMERA,), "probes_per_s": 33.0, "lasts_s": 4000.0})
    assert isinstance(tool, PortScan)
    assert (tool.technique, tool.packets_per_s, tool.targets) == (technique, 33.0, (CAMERA,))
    assert tool.lasts_s == 600.0


def test_sweep_draws_hosts_from_wide_prefixes() -> None:
    (tool,) = tools_of("scan_horizontal", {"targets": ELSEWHERE, "count": 50, "port": 8080})
    assert isinstance(tool, PortScan)
    assert len(set(tool.targets)) == 50
    assert tool.ports == "8080"
    assert all(one.startswith(("198.18.", "198.19.")) for one in tool.targets)


def test_search_for_hosts_is_meant_by_what_nmap_asks_and_by_nothing_else() -> None:
    aims = aims_of("scan_ping", {"targets": (CAMERA, "2001:db8:77::/120")})
    assert {(aim.peer, aim.proto, aim.ports) for aim in aims} == {
        (CAMERA, 1, ()),
        ("2001:db8:77::/120", 58, ()),
        (CAMERA, 6, (80, 443)),
        ("2001:db8:77::/120", 6, (80, 443)),
    }


def test_order_is_kept_where_wanted() -> None:
    (tool,) = tools_of("scan_ping", {"targets": ("10.77.0.0/28",), "is_ordered": True})
    assert isinstance(tool, PortScan)
    numbers = [int(one.rsplit(".", 1)[1]) for one in tool.targets]
    assert all(later - earlier == 1 for earlier, later in itertools.pairwise(numbers))
