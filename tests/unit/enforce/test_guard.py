"""What the enforcer refuses however genuine the order is."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from thingwarden.domain.response import ACTS_WITHIN, Act, Capability, Decision, Reach, Target
from thingwarden.enforce.guard import Bounds, Guard, GuardClock, GuardSettings, KnownHosts
from thingwarden.testing import START_S, build_decision, build_device

NOW = datetime.fromtimestamp(START_S, UTC)
GATEWAY = Capability(reach=Reach.GATEWAY, acts=ACTS_WITHIN[Reach.GATEWAY], ends_by_itself=True)
REMOTE = Capability(reach=Reach.REMOTE, acts=ACTS_WITHIN[Reach.REMOTE], ends_by_itself=True)
FEW = Bounds(devices=2, peers=2, decisions_per_minute=100)


def _refusal(decision: Decision, guard: Guard | None = None, now: datetime = NOW, boot_s: float = 0.0) -> str:
    return (guard or Guard(GuardSettings())).refusal(decision, now, boot_s, REMOTE) or ""


def _numbered(number: int, act: Act = Act.BLOCK_FLOW, **changes: object) -> Decision:
    """One decision of many, each about another device."""
    device = build_device(number, f"192.168.1.{number}", f"02:00:00:00:00:{number:02x}")
    target = Target(device=device, peer=ipaddress.ip_address("203.0.113.5"))
    return build_decision(decision_id=f"{number:012x}", act=act, **{"target": target, **changes})


def _against_peer(number: int, **changes: object) -> Decision:
    target = Target(peer=ipaddress.ip_address(f"203.0.113.{number}"))
    return build_decision(decision_id=f"{number:012x}", act=Act.BLOCK_PEER, **{"target": target, **changes})


def test_nothing_speaks_against_an_ordinary_decision() -> None:
    assert _refusal(build_decision()) == ""


@pytest.mark.parametrize(
    "settings",
    [
        GuardSettings(protected_networks=(ipaddress.ip_network("192.168.1.10/32"),)),
        GuardSettings(protected_networks=(ipaddress.ip_network("203.0.113.0/24"),)),
        GuardSettings(protected_macs=frozenset({"02:00:00:00:00:0A"})),
    ],
    ids=["device", "peer", "mac"],
)
def test_configured_hosts_are_never_touched(settings: GuardSettings) -> None:
    assert "is protected" in _refusal(build_decision(), Guard(settings))
    assert "is protected" in _refusal(build_decision(approved_by="ada"), Guard(settings))


@pytest.mark.parametrize(
    "known",
    [
        KnownHosts(addresses=frozenset({ipaddress.ip_address("192.168.1.10")})),
        KnownHosts(addresses=frozenset({ipaddress.ip_address("::ffff:203.0.113.5")})),
        KnownHosts(macs=frozenset({"02:00:00:00:00:0A"})),
    ],
    ids=["device", "mapped-peer", "mac"],
)
def test_what_the_machine_knows_is_never_touched(known: KnownHosts) -> None:
    guard = Guard(GuardSettings())
    guard.learn_hosts(known)
    assert "is protected" in _refusal(build_decision(), guard)
    guard.learn_hosts(KnownHosts())
    assert _refusal(build_decision(), guard) == ""


@pytest.mark.parametrize("peer", ["224.0.0.251", "ff02::1", "255.255.255.255", "127.0.0.1", "::1", "0.0.0.0"])
def test_a_peer_is_one_host(peer: str) -> None:
    decision = build_decision(act=Act.BLOCK_PEER, target=Target(peer=ipaddress.ip_address(peer)))
    assert "no single host" in _refusal(decision)


def test_an_act_is_within_reach_and_complete() -> None:
    guard = Guard(GuardSettings())
    denial = build_decision(act=Act.MQTT_DENY, target=Target(device=build_device(), username="cam"))
    assert "beyond the reach" in (guard.refusal(denial, NOW, 0.0, GATEWAY) or "")
    assert _refusal(denial) == ""
    assert "needs packets_per_s" in _refusal(build_decision(act=Act.RATE_LIMIT))
    assert "every device" in _refusal(build_decision(act=Act.BLOCK_PEER))
    nameless = Target(device=replace(build_device(), mac=None, address=None))
    assert "neither MAC nor address" in _refusal(build_decision(act=Act.ISOLATE, target=nameless))


def test_a_decision_is_neither_over_nor_yet_to_come_nor_endless() -> None:
    decision = build_decision()
    assert "ended" in _refusal(decision, now=decision.expires_at)
    assert "in the future" in _refusal(decision, now=NOW - timedelta(seconds=2))
    assert _refusal(decision, now=NOW - timedelta(seconds=0.5)) == ""
    assert "lasts" in _refusal(replace(decision, expires_at=NOW + timedelta(days=8)))
    assert "lasts" in _refusal(replace(decision, expires_at=decision.decided_at))


def test_restricted_devices_are_bounded_and_counted_once_each() -> None:
    guard = Guard(GuardSettings(automatic=FEW))
    for number in (1, 2):
        guard.hold(_numbered(number), 0.0)
    assert "2 devices" in _refusal(_numbered(3), guard)
    assert _refusal(replace(_numbered(1), decision_id="aaaaaaaaaaaa"), guard) == ""
    guard.let_go(_numbered(1).decision_id)
    assert _refusal(_numbered(3), guard) == ""


def test_blocked_peers_are_bounded() -> None:
    guard = Guard(GuardSettings(automatic=FEW))
    for number in (1, 2):
        guard.hold(_against_peer(number), 0.0)
    assert "2 peers" in _refusal(_against_peer(3), guard)
    assert _refusal(_numbered(3), guard) == ""


def test_holding_peers_off_one_device_counts_as_peers() -> None:
    guard = Guard(GuardSettings(automatic=FEW))
    for number in (1, 2):
        peer = ipaddress.ip_address(f"203.0.113.{number}")
        target = Target(device=build_device(), peer=peer, is_inbound=True, packets_per_s=1)
        guard.hold(_numbered(number, Act.RATE_LIMIT, target=target), 0.0)
    assert "2 peers" in _refusal(_against_peer(3), guard)


def test_decisions_of_a_minute_are_bounded_even_after_they_ended() -> None:
    guard = Guard(GuardSettings(automatic=Bounds(devices=9, peers=9, decisions_per_minute=2)))
    for number in (1, 2):
        guard.hold(_numbered(number), boot_s=10.0 * number)
        guard.let_go(_numbered(number).decision_id)
    assert "within a minute" in _refusal(_numbered(3), guard, boot_s=69.9)
    assert _refusal(_numbered(3), guard, boot_s=70.0) == ""


def test_approved_decisions_have_bounds_of_their_own() -> None:
    guard = Guard(GuardSettings(automatic=FEW, approved=Bounds(devices=3, peers=3, decisions_per_minute=100)))
    for number in (1, 2):
        guard.hold(_numbered(number), 0.0)
    for number in (3, 4, 5):
        assert _refusal(_numbered(number, approved_by="ada"), guard) == ""
        guard.hold(_numbered(number, approved_by="ada"), 0.0)
    assert "3 devices under approved" in _refusal(_numbered(6, approved_by="ada"), guard)


def test_an_id_belongs_to_one_decision() -> None:
    guard = Guard(GuardSettings())
    guard.hold(build_decision(), 0.0)
    assert _refusal(build_decision(), guard) == ""
    assert "another decision" in _refusal(build_decision(act=Act.ISOLATE), guard)


def test_a_notification_is_never_bounded_or_held() -> None:
    guard = Guard(GuardSettings(automatic=Bounds(devices=0, peers=0, decisions_per_minute=0)))
    assert _refusal(build_decision(act=Act.NOTIFY), guard) == ""
    guard.hold(build_decision(act=Act.NOTIFY), 0.0)
    assert not guard.held


def test_the_guards_time_never_goes_back_nor_slower_than_uptime() -> None:
    clock = GuardClock()
    assert clock.read(1000.0, 10.0) == 1000.0
    assert clock.read(500.0, 20.0) == 1010.0
    assert clock.read(2000.0, 30.0) == 2000.0
    assert clock.read(1000.0, 31.0) == 2001.0
    assert GuardClock(clock.lead_s).read(0.0, 40.0) == 2010.0
