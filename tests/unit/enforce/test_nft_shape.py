"""What a decision matches, and that no text of it gets into a rule."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingwarden.domain.device import Device
from thingwarden.domain.response import Act, Target
from thingwarden.enforce.nft_shape import Match, matches_of, set_text, spared_text, table_text
from thingwarden.testing import build_decision

MAC = "02:00:00:00:00:0a"
CAMERA = Device(index=1, mac=MAC, address=ip_address("192.168.1.10"))
PEER = ip_address("203.0.113.5")
PEER6 = ip_address("2001:db8::5")


def matches(act: Act, *known: str, **target: Any) -> list[Match]:
    decision = build_decision(act=act, target=Target(**target))
    return matches_of(decision, [ip_address(address) for address in known])


def test_a_flow_is_cut_both_ways() -> None:
    sent, back = matches(Act.BLOCK_FLOW, device=CAMERA, peer=PEER, proto="tcp", port=6667)
    assert (sent.source, sent.target, sent.proto, sent.port, sent.is_port_of_source) == (MAC, PEER, 6, 6667, False)
    assert (back.source, back.target, back.is_port_of_source) == (PEER, CAMERA.address, True)


def test_what_is_sent_is_known_by_its_mac_whatever_the_family() -> None:
    sent, back = matches(Act.BLOCK_FLOW, "fd00::a", device=CAMERA, peer=PEER6)
    assert (sent.source, back.target) == (MAC, ip_address("fd00::a"))


def test_a_device_on_a_routed_network_is_known_by_its_address() -> None:
    device = Device(index=1, mac=None, address=ip_address("::ffff:192.168.1.10"))
    sent, back = matches(Act.ISOLATE, device=device)
    assert sent.source == back.target == ip_address("192.168.1.10")


def test_a_rate_limit_slows_one_direction() -> None:
    (sent,) = matches(Act.RATE_LIMIT, device=CAMERA, packets_per_s=5)
    assert (sent.source, sent.target) == (MAC, None)
    (received,) = matches(Act.RATE_LIMIT, device=CAMERA, peer=PEER, is_inbound=True, packets_per_s=5)
    assert (received.source, received.target) == (PEER, CAMERA.address)


def test_who_cannot_be_told_apart_is_not_matched() -> None:
    assert matches(Act.BLOCK_FLOW, device=Device(index=1, mac=None, address=PEER6), peer=PEER) == []
    assert matches(Act.ISOLATE) == []


@given(
    st.sampled_from([Act.RATE_LIMIT, Act.BLOCK_FLOW, Act.BLOCK_PEER, Act.QUARANTINE, Act.ISOLATE]),
    st.none() | st.just(MAC),
    st.none() | st.ip_addresses(),
    st.none() | st.ip_addresses(),
    st.sampled_from([(None, None), ("tcp", None), ("tcp", 80), ("udp", 53), ("icmp", None), ("icmp6", None)]),
    st.booleans(),
    st.lists(st.ip_addresses(), max_size=3),
)
def test_every_match_has_a_set_of_its_shape(
    act: Act, mac: Any, address: Any, peer: Any, service: Any, is_inbound: bool, known: Any
) -> None:
    device = None if act is Act.BLOCK_PEER else Device(index=1, mac=mac, address=address)
    target = Target(device=device, peer=peer, proto=service[0], port=service[1], is_inbound=is_inbound)
    found = matches_of(build_decision(act=act, target=target), known)
    assert len(set(found)) == len(found)
    for match in found:
        assert (match.source, match.target) != (None, None)
        declared = set_text("inet", "t", match.set_name)
        types = declared.split("type ")[1].split(";")[0].split(" . ")
        sizes = {"ether_addr": 6, "ipv4_addr": 4, "ipv6_addr": 16, "inet_proto": 1, "inet_service": 2}
        widths = [sizes[name] for name in types]
        padded = widths[0] if len(widths) == 1 else sum((width + 3) & ~3 for width in widths)
        assert len(match.key) == padded


@pytest.mark.parametrize("family", ["inet", "bridge"])
def test_a_table_takes_in_nothing_but_networks(family: str) -> None:
    text = table_text(family, "t", [ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
    assert text.count("type filter hook") == 3
    assert f"add element {family} t spared4 {{ 10.0.0.0/8 }}" in text
    assert spared_text(family, "t", []).count("flush set") == 2


def test_a_routed_packet_is_no_local_talk() -> None:
    forward = table_text("inet", "t", []).split("chain forward")[1].split("}")[0]
    assert "dport 67" not in forward
