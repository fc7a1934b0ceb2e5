"""Floods of packets, connections and requests."""

from __future__ import annotations

import numpy as np
import pytest

from lab_act_builder import aims_of, begun_at_s, lan_address, perform, states_of, tools_of
from thingwarden.lab.tool import PacketFlood

SHOP, PORTAL = "203.0.113.80", "203.0.113.35"
CAMERA = lan_address("camera")


@pytest.mark.parametrize("kind", ["syn", "ack", "udp", "icmp"])
def test_hping_is_told_what_and_how_much(kind: str) -> None:
    settings = {"targets": (SHOP,), "count": 900, "packets_per_s": 300.0, "payload_bytes": 100, "lasts_s": 9000.0}
    (tool,) = tools_of(f"flood_{kind}", settings)
    assert tool == PacketFlood(
        target=SHOP, kind=tool.kind, port=80, packet_count=900, packets_per_s=300.0, payload_bytes=100, lasts_s=600.0
    )
    assert tool.kind == kind


def test_targets_share_the_count() -> None:
    tools = tools_of("flood_syn", {"targets": (SHOP, PORTAL), "count": 900, "lasts_s": 40.0})
    assert [(tool.target, tool.packet_count, tool.lasts_s) for tool in tools if isinstance(tool, PacketFlood)] == [
        (SHOP, 450, 20.0),
        (PORTAL, 450, 20.0),
    ]


def test_forged_sources_are_drawn_and_told_in_the_aim() -> None:
    settings = {"targets": (SHOP,), "kind": "udp"}
    (tool,) = tools_of("flood_spoofed", settings)
    assert isinstance(tool, PacketFlood)
    assert tool.is_spoofed
    (aim,) = aims_of("flood_spoofed", settings)
    assert (aim.peer, aim.proto, aim.source) == (SHOP, 17, "198.18.0.0/15")


def test_reflection_asks_in_the_victims_name() -> None:
    (tool,) = tools_of("reflection", {"victim": PORTAL, "port": 1900})
    assert isinstance(tool, PacketFlood)
    assert (tool.source, tool.port, tool.kind) == (PORTAL, 1900, "udp")
    (aim,) = aims_of("reflection", {"victim": PORTAL})
    assert aim.source == PORTAL


@pytest.mark.parametrize(("manner", "state"), [("reset", "RSTO"), ("close", "SF")])
def test_connections_end_by_their_manner(manner: str, state: str) -> None:
    settings = {"targets": (SHOP,), "manner": manner, "count": 80, "per_s": 40.0}
    flows = perform("flood_connect", settings)
    assert states_of(flows) == [state] * 80
    assert np.mean(np.diff(begun_at_s(flows))) == pytest.approx(1 / 40, rel=0.35)


@pytest.mark.parametrize("manner", ["hold", "drip"])
def test_held_connections_stay(manner: str) -> None:
    settings = {"targets": (SHOP,), "manner": manner, "hold_s": 15.0, "count": 40}
    flows = perform("flood_connect", settings)
    assert np.median(flows.duration_s) == pytest.approx(15.0, rel=0.1)
    assert (flows.orig_bytes.max() > 50) == (manner == "drip")


def test_closed_port_refuses_the_flood() -> None:
    flows = perform("flood_connect", {"targets": (CAMERA,), "port": 9, "count": 60})
    assert states_of(flows) == ["REJ"] * 60


def test_requests_are_http() -> None:
    flows = perform("flood_http", {"targets": (SHOP,), "requests": 5, "count": 50, "manner": "close"})
    assert len(flows) == 50
    assert set(flows.service.tolist()) == {b"http"}
    assert flows.orig_bytes.min() > 5 * 150


def test_datagrams_go_to_drawn_ports_at_their_rate() -> None:
    settings = {"targets": (SHOP,), "count": 400, "packets_per_s": 200.0}
    flows = perform("flood_udp_ports", settings)
    floods = flows.take(np.flatnonzero(flows.proto == 17))
    assert len(set(floods.resp_port.tolist())) > 380
    assert np.ptp(begun_at_s(floods)) == pytest.approx(2.0, rel=0.25)


def test_bound_in_time_ends_a_flood() -> None:
    flows = perform("flood_connect", {"targets": (SHOP,), "count": 4000, "per_s": 20.0}, lasts_s=10.0)
    assert 120 < len(flows) < 280
    assert begun_at_s(flows)[-1] <= 10.0
