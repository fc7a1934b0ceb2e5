"""What an act would have cost: harmless flows of the device, of others, and which services."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import numpy as np

from thingwarden.domain.response import Act, Target
from thingwarden.respond.cost import estimate_cost, harmful_count
from thingwarden.respond.memory import TrafficMemory
from thingwarden.testing import START_S, FlowSpec, build_contact, build_device, build_flows, build_incident

DEVICE = build_device()
PEER = ipaddress.ip_address("203.0.113.5")
INCIDENT = build_incident()
SERVICE = Target(device=DEVICE, peer=PEER, proto="tcp", port=6667)


def remembering(*specs: tuple[str, str, int, int]) -> TrafficMemory:
    kept = TrafficMemory()
    flows = [
        FlowSpec(at_s=0, orig=orig, resp=resp, resp_port=port, proto="udp" if port == 123 else "tcp")
        for orig, resp, port, count in specs
        for _ in range(count)
    ]
    kept.observe(build_flows(flows), np.arange(len(flows)), np.full(len(flows), START_S - 600.0))
    return kept


KEPT = remembering(
    ("192.168.1.10", "203.0.113.5", 6667, 2),
    ("192.168.1.10", "203.0.113.5", 443, 30),
    ("192.168.1.10", "198.51.100.1", 123, 4),
    ("192.168.1.11", "203.0.113.5", 443, 7),
)


def test_an_act_on_a_service_costs_what_uses_the_service() -> None:
    cost = estimate_cost(Act.BLOCK_FLOW, SERVICE, INCIDENT, KEPT)
    assert cost is not None
    assert (cost.harmful_flow_count, cost.harmless_flow_count, cost.others_flow_count) == (57, 2, 0)
    assert cost.services == ("tcp/6667",)


def test_blocking_a_peer_for_all_costs_others_too() -> None:
    cost = estimate_cost(Act.BLOCK_PEER, Target(peer=PEER), INCIDENT, KEPT)
    assert cost is not None
    assert (cost.harmless_flow_count, cost.others_flow_count, cost.services) == (32, 7, ("tcp/443", "tcp/6667"))


def test_a_quarantine_costs_all_but_what_is_spared() -> None:
    target, spared = Target(device=DEVICE), frozenset({ipaddress.ip_address("198.51.100.1")})
    whole = estimate_cost(Act.ISOLATE, target, INCIDENT, KEPT, spared)
    part = estimate_cost(Act.QUARANTINE, target, INCIDENT, KEPT, spared)
    assert whole is not None and part is not None
    assert (whole.harmless_flow_count, part.harmless_flow_count) == (36, 32)


def test_where_nothing_is_remembered_nothing_is_said() -> None:
    assert estimate_cost(Act.BLOCK_FLOW, SERVICE, INCIDENT, TrafficMemory()) is None
    assert estimate_cost(Act.NOTIFY, Target(device=DEVICE), INCIDENT, KEPT) is None


def test_what_is_of_the_incidents_own_time_is_not_harmless() -> None:
    kept = TrafficMemory()
    flows = build_flows([FlowSpec(at_s=0, orig="192.168.1.10", resp="203.0.113.5", resp_port=6667)] * 50)
    kept.observe(flows, np.arange(50), np.full(50, START_S + 60.0))
    assert estimate_cost(Act.BLOCK_FLOW, SERVICE, INCIDENT, kept) is None


def test_harm_is_counted_by_the_evidence() -> None:
    incident = replace(
        INCIDENT, contacts=(build_contact(), build_contact(port=80, flow_count=5), build_contact("203.0.113.6"))
    )
    assert harmful_count(Act.BLOCK_FLOW, SERVICE, incident) == 57
    assert harmful_count(Act.BLOCK_FLOW, Target(device=DEVICE, peer=PEER), incident) == 62
    assert harmful_count(Act.QUARANTINE, Target(device=DEVICE), incident) == 57
    assert harmful_count(Act.RATE_LIMIT, Target(device=DEVICE, peer=PEER, is_inbound=True), incident) == 0
