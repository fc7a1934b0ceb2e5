"""The dry run says what would be, and that nothing is."""

from __future__ import annotations

import ipaddress

import pytest

from thingwarden.domain.response import Act, Decision, ReceiptStatus, Target
from thingwarden.enforce.dryrun import DryRunEnforcer, describe_rule
from thingwarden.testing import ManualClock, build_decision, build_device

PEER, PEER6 = ipaddress.ip_address("203.0.113.5"), ipaddress.ip_address("2001:db8::5")
DEVICE, BARE = build_device(), build_device(mac=None)


@pytest.mark.parametrize(
    ("act", "target", "rule"),
    [
        (Act.NOTIFY, Target(device=DEVICE), "a notification"),
        (
            Act.BLOCK_FLOW,
            Target(device=DEVICE, peer=PEER, proto="tcp", port=23),
            "ether saddr 02:00:00:00:00:0a ip daddr 203.0.113.5 tcp dport 23 drop",
        ),
        (
            Act.BLOCK_FLOW,
            Target(device=DEVICE, peer=PEER6, proto="icmp6"),
            "ether saddr 02:00:00:00:00:0a ip6 daddr 2001:db8::5 meta l4proto icmpv6 drop",
        ),
        (
            Act.RATE_LIMIT,
            Target(device=DEVICE, peer=PEER, is_inbound=True, packets_per_s=2),
            "ether daddr 02:00:00:00:00:0a ip saddr 203.0.113.5 limit rate over 2/second drop",
        ),
        (Act.BLOCK_PEER, Target(peer=PEER), "ip saddr 203.0.113.5 drop; ip daddr 203.0.113.5 drop"),
        (Act.ISOLATE, Target(device=DEVICE), "ether saddr 02:00:00:00:00:0a drop"),
        (Act.QUARANTINE, Target(device=DEVICE), "ip6 daddr != @infrastructure6 drop"),
        (Act.SINKHOLE, Target(domain="example.org"), "sinkhole of example.org"),
    ],
)
def test_the_rule_that_would_be(act: Act, target: Target, rule: str) -> None:
    assert rule in describe_rule(build_decision(act=act, target=target))


def test_a_device_known_by_address_is_quarantined_in_its_own_family_only() -> None:
    rule = describe_rule(build_decision(act=Act.QUARANTINE, target=Target(device=BARE)))
    assert "ip saddr 192.168.1.10 ip daddr != @infrastructure4 drop" in rule
    assert "ip6" not in rule


def test_receipts_never_claim_force(clock: ManualClock, decision: Decision) -> None:
    receipt = DryRunEnforcer().apply(decision, clock())
    assert receipt.status is ReceiptStatus.DRY_RUN
    assert receipt.detail.startswith("nothing changed; would be: nft ")
    assert decision.decision_id in receipt.detail
    assert receipt.detail.endswith("for 3600 s")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def decision() -> Decision:
    return build_decision()
