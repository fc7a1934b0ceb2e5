"""Who is learned to be indispensable, and who cannot make himself so."""

from __future__ import annotations

import ipaddress

import numpy as np

from thingwarden.respond.protect import HostRoles, ProtectedHosts, mac_text
from thingwarden.testing import FlowSpec, build_flows

A, B, ROUTER = "192.168.1.10", "192.168.1.11", "192.168.1.1"
OUTSIDE = "203.0.113.53"


def learned(specs: list[FlowSpec]) -> ProtectedHosts:
    roles = HostRoles()
    flows = build_flows(specs)
    roles.observe(flows, np.arange(len(flows)))
    return roles.protected()


def names(hosts: ProtectedHosts) -> dict[str, str]:
    return {str(address): role for address, role in hosts.roles.items()}


def test_a_local_resolver_is_known_after_three_answers() -> None:
    ask = FlowSpec(orig=A, resp=ROUTER, proto="udp", resp_port=53)
    assert names(learned([ask] * 2)) == {}
    assert names(learned([ask] * 3)) == {ROUTER: "DNS server"}


def test_questions_without_answer_teach_nothing() -> None:
    assert names(learned([FlowSpec(orig=A, resp=ROUTER, proto="udp", resp_port=53, conn_state="S0")] * 9)) == {}


def test_one_device_cannot_make_its_controller_a_name_server() -> None:
    ask = FlowSpec(orig=A, resp=OUTSIDE, proto="udp", resp_port=53)
    assert names(learned([ask] * 1000)) == {}
    assert names(learned([ask, FlowSpec(orig=B, resp=OUTSIDE, proto="udp", resp_port=53)])) == {OUTSIDE: "DNS server"}


def test_time_and_address_servers_are_known() -> None:
    specs = [FlowSpec(orig=A, resp=ROUTER, proto="udp", resp_port=port) for port in (67, 123)]
    assert set(names(learned(specs * 3)).values()) <= {"DHCP server", "NTP server"}
    assert ipaddress.ip_address(ROUTER) in learned(specs * 3).roles


def test_the_mac_that_speaks_for_many_outside_addresses_is_the_gateway() -> None:
    gateway_mac = 0x0200_0000_00FE
    specs = [
        FlowSpec(orig=A, resp="203.0.113.5", orig_mac=0x0A, resp_mac=gateway_mac),
        FlowSpec(orig=A, resp="203.0.113.6", orig_mac=0x0A, resp_mac=gateway_mac),
        FlowSpec(orig=A, resp=ROUTER, orig_mac=0x0A, resp_mac=gateway_mac),
    ]
    hosts = learned(specs)
    assert names(hosts) == {ROUTER: "gateway"}
    assert hosts.macs == {"02:00:00:00:00:fe"}


def test_a_multicast_mac_is_nobody() -> None:
    specs = [FlowSpec(orig=A, resp=f"203.0.113.{n}", resp_mac=0x0100_5E00_00FB) for n in range(1, 4)]
    assert learned(specs).macs == frozenset()


def test_macs_read_as_text() -> None:
    assert mac_text(0x0200_5E10_0001) == "02:00:5e:10:00:01"
