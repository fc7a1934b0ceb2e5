"""Look-ups in columns find what a plain search would find."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sighting_builder import AlertSpec, build_alerts
from thingwarden.detect.lookup import distinct_addresses, find_networks, is_within, join_flows
from thingwarden.domain.flow import FlowBatch, words_from_address
from thingwarden.ingest.indicators import parse_value
from thingwarden.testing import START_S, FlowSpec, build_flows

OUTSIDE = "203.0.113.5"


def column(*texts: str) -> np.ndarray:
    halves = [words_from_address(ipaddress.ip_address(text)) for text in texts]
    return np.array(halves, dtype=np.uint64).reshape(len(texts), 2)


def flow_of(*flows: FlowSpec, alert: AlertSpec) -> int:
    return int(join_flows(build_alerts([alert]), build_flows(flows)).flow[0])


def test_an_alert_belongs_to_the_flow_between_its_ends() -> None:
    flows = [FlowSpec(orig_port=port) for port in (1, 2, 3)]
    assert flow_of(*flows, alert=AlertSpec(source_port=2)) == 1
    assert flow_of(*flows, alert=AlertSpec(source_port=4)) == -1
    assert flow_of(*flows, alert=AlertSpec(source_port=2, proto="udp")) == -1


def test_an_answer_belongs_to_the_same_flow_the_other_way_round() -> None:
    alert = AlertSpec(source=OUTSIDE, source_port=443, destination="192.168.1.10", destination_port=40_000)
    joined = join_flows(build_alerts([alert, AlertSpec()]), build_flows([FlowSpec()]))
    assert joined.flow.tolist() == [0, 0]
    assert joined.is_flipped.tolist() == [True, False]


@pytest.mark.parametrize(
    ("at_s", "row"),
    [(-1.5, -1), (-0.5, 0), (5.0, 0), (99.5, 1), (104.0, 1), (990.0, 1), (1000.5, 2), (4909.0, 2), (4911.0, -1)],
)
def test_of_several_flows_between_the_same_ends_time_decides(at_s: float, row: int) -> None:
    flows = [FlowSpec(at_s=start, duration_s=10.0) for start in (0.0, 100.0, 1000.0)]
    assert flow_of(*flows, alert=AlertSpec(at_s=at_s)) == row


def test_icmp_goes_by_addresses_alone() -> None:
    flow = FlowSpec(proto="icmp", orig_port=8, resp_port=0)
    assert flow_of(flow, alert=AlertSpec(proto="icmp", source_port=0, destination_port=0)) == 0


def test_flows_without_time_take_no_alert() -> None:
    flows = build_flows([FlowSpec()])
    untimed = FlowBatch.unknown(1, **{name: getattr(flows, name) for name in ("orig_address", "proto")}, is_timed=False)
    assert join_flows(build_alerts([AlertSpec()]), untimed).flow.tolist() == [-1]
    assert join_flows(build_alerts([AlertSpec()]), FlowBatch.empty()).flow.tolist() == [-1]
    assert len(join_flows(build_alerts([]), flows).flow) == 0


def test_distinct_addresses_can_be_put_back() -> None:
    addresses = column("10.0.0.1", "2001:db8::1", "10.0.0.1", "10.0.0.2")
    distinct, inverse = distinct_addresses(addresses)
    assert len(distinct) == 3
    assert (distinct[inverse] == addresses).all()


addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address),
    st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address).filter(lambda item: item.ipv4_mapped is None),
)
networks = st.builds(
    lambda address, bits: ipaddress.ip_network((address, min(bits, address.max_prefixlen)), strict=False),
    addresses,
    st.integers(16, 128),
).filter(lambda network: getattr(network.broadcast_address, "ipv4_mapped", None) is None)


@settings(max_examples=100, deadline=None)
@given(st.lists(addresses, max_size=12), st.lists(networks, max_size=12))
def test_networks_are_found_as_a_plain_search_finds_them(
    met: list[ipaddress.IPv4Address | ipaddress.IPv6Address],
    listed: list[ipaddress.IPv4Network | ipaddress.IPv6Network],
) -> None:
    met += [network.network_address for network in listed] + [network.broadcast_address for network in listed]
    values = [parse_value(str(network), "test") for network in listed]
    rows, entries = find_networks(
        column(*map(str, met)),
        np.array([(value.high, value.low) for value in values], dtype=np.uint64).reshape(len(values), 2),
        np.array([value.prefix_length for value in values], dtype=np.uint8),
    )
    expected = [
        (row, entry)
        for row, address in enumerate(met)
        for entry, network in enumerate(listed)
        if address.version == network.version and address in network
    ]
    assert list(zip(rows.tolist(), entries.tolist(), strict=True)) == expected
    within = is_within(column(*map(str, met)), listed)
    assert within.tolist() == [any(row == hit for hit, _ in expected) for row in range(len(met))]


def test_a_wide_ipv6_network_holds_no_ipv4() -> None:
    everything = ipaddress.ip_network("::/64")
    assert is_within(column("203.0.113.5", "::5"), [everything]).tolist() == [False, True]


@pytest.mark.parametrize(("begun_s", "row"), [(0.0, 0), (100.0, 1), (float("nan"), 1), (5_000.0, 1)])
def test_what_an_engine_tells_late_goes_by_the_start_of_its_flow(begun_s: float, row: int) -> None:
    flows = build_flows([FlowSpec(at_s=start, duration_s=10.0) for start in (0.0, 100.0)])
    joined = join_flows(build_alerts([AlertSpec(at_s=2_000.0)]), flows, np.array([START_S + begun_s]))
    assert joined.flow.tolist() == [row]


def test_the_packets_own_instant_goes_before_the_start_of_the_engines_flow() -> None:
    flows = build_flows([FlowSpec(at_s=start, duration_s=10.0) for start in (0.0, 100.0)])
    joined = join_flows(build_alerts([AlertSpec(at_s=105.0)]), flows, np.array([START_S]))
    assert joined.flow.tolist() == [1]
