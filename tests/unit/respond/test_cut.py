"""Which flows an act touches: those that the firewall's rule would, and no others."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest

from thingwarden.domain.device import Device
from thingwarden.domain.response import Act, Target
from thingwarden.respond.cut import Ends, cut_by, involves
from thingwarden.testing import FlowSpec, build_flows

MAC, OTHER_MAC = 0x02000000000A, 0x02000000000B
CAMERA = Device(index=1, mac="02:00:00:00:00:0a", address=ipaddress.ip_address("192.168.1.10"))
PEER = ipaddress.ip_address("203.0.113.5")
MAPPED = ipaddress.ip_address("::ffff:203.0.113.5")
FLOWS = [
    FlowSpec(at_s=0, orig="192.168.1.10", resp="203.0.113.5", resp_port=6667, orig_mac=MAC),
    FlowSpec(at_s=0, orig="192.168.1.10", resp="203.0.113.5", resp_port=443, orig_mac=MAC),
    FlowSpec(at_s=0, orig="192.168.1.10", resp="203.0.113.50", resp_port=6667, orig_mac=MAC),
    FlowSpec(at_s=0, orig="192.168.1.11", resp="203.0.113.5", resp_port=6667, orig_mac=OTHER_MAC),
    FlowSpec(at_s=0, orig="203.0.113.5", resp="192.168.1.10", resp_port=80, resp_mac=MAC),
    FlowSpec(at_s=0, orig="192.168.1.10", resp="192.168.1.1", resp_port=53, proto="udp", orig_mac=MAC),
    FlowSpec(at_s=0, orig="2001:db8::a", resp="2001:db8::5", resp_port=6667, orig_mac=MAC),
    FlowSpec(at_s=0, orig="192.168.1.10", resp="203.0.113.5", resp_port=6667, orig_mac=OTHER_MAC),
]
ENDS = Ends.of_flows(build_flows(FLOWS), np.arange(len(FLOWS)))


def cut(act: Act, target: Target, spared: frozenset[str] = frozenset()) -> list[int]:
    addresses = frozenset(ipaddress.ip_address(text) for text in spared)
    return np.flatnonzero(cut_by(act, target, ENDS, addresses)).tolist()


@pytest.mark.parametrize(
    ("act", "target", "expected"),
    [
        (Act.BLOCK_FLOW, Target(device=CAMERA, peer=PEER, proto="tcp", port=6667), [0]),
        (Act.BLOCK_FLOW, Target(device=CAMERA, peer=PEER), [0, 1, 4]),
        (
            Act.BLOCK_FLOW,
            Target(device=CAMERA, peer=ipaddress.ip_address("::ffff:203.0.113.5"), proto="tcp"),
            [0, 1, 4],
        ),
        (Act.RATE_LIMIT, Target(device=CAMERA, proto="tcp", port=6667), [0, 2, 6]),
        (Act.RATE_LIMIT, Target(device=CAMERA, peer=PEER, proto="tcp", port=80, is_inbound=True), [4]),
        (Act.RATE_LIMIT, Target(device=CAMERA, peer=PEER, proto="udp"), []),
        (Act.BLOCK_PEER, Target(peer=PEER), [0, 1, 3, 4, 7]),
        (Act.ISOLATE, Target(device=CAMERA), [0, 1, 2, 4, 5, 6]),
        (Act.NOTIFY, Target(device=CAMERA), []),
        (Act.SINKHOLE, Target(domain="a.example"), []),
    ],
)
def test_an_act_touches_what_it_names(act: Act, target: Target, expected: list[int]) -> None:
    assert cut(act, target) == expected


def test_a_quarantine_leaves_what_is_spared() -> None:
    spared = frozenset({"192.168.1.1"})
    assert cut(Act.QUARANTINE, Target(device=CAMERA), spared) == [0, 1, 2, 4, 6]
    assert cut(Act.ISOLATE, Target(device=CAMERA), spared) == [0, 1, 2, 4, 5, 6]


def test_a_device_without_a_mac_is_known_by_its_address() -> None:
    bare = Device(index=1, mac=None, address=ipaddress.ip_address("192.168.1.10"))
    assert np.flatnonzero(involves(bare, ENDS)).tolist() == [0, 1, 2, 4, 5, 7]
