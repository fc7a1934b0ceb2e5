"""Policy: each rule by itself, with the reason that people read."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from thingwarden.domain.device import DeviceRole
from thingwarden.domain.incident import Role
from thingwarden.domain.response import Act, Decision, Refusal, Target
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.respond.policy import Ledger, NetworkView, is_decided, judge_proposal, proposal_id
from thingwarden.respond.rules import DeviceRule, PolicySettings
from thingwarden.testing import (
    START_S,
    build_contact,
    build_decision,
    build_device,
    build_devices,
    build_incident,
    build_proposal,
)

NOW = datetime.fromtimestamp(START_S, UTC)
DEVICE, PEER = build_device(), ipaddress.ip_address("203.0.113.5")


def judge(
    proposal_changes: dict[str, Any] | None = None, incident_changes: dict[str, Any] | None = None, **changes: Any
) -> Decision | Refusal:
    arguments: dict[str, Any] = {"view": NetworkView(), "ledger": Ledger(), "settings": PolicySettings(), "now": NOW}
    return judge_proposal(
        build_proposal(**proposal_changes or {}), build_incident(**incident_changes or {}), **(arguments | changes)
    )


def refusal_of(*args: Any, **kwargs: Any) -> Refusal:
    judged = judge(*args, **kwargs)
    assert isinstance(judged, Refusal)
    return judged


def test_a_sound_proposal_becomes_a_decision_that_ends() -> None:
    judged = judge()
    assert isinstance(judged, Decision)
    assert judged.expires_at == NOW + timedelta(hours=1)
    assert judged.approved_by is None


def test_a_long_wish_is_shortened() -> None:
    judged = judge({"ttl_s": 1e7}, settings=PolicySettings(max_ttl_s=600.0))
    assert isinstance(judged, Decision)
    assert judged.expires_at == NOW + timedelta(seconds=600)


def test_a_successor_names_what_it_replaces_and_has_an_id_of_its_own() -> None:
    first = judge()
    assert isinstance(first, Decision)
    successor = judge(replaces=first.decision_id)
    assert isinstance(successor, Decision)
    assert successor.replaces == first.decision_id
    assert successor.decision_id != first.decision_id


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (PolicySettings(protected_addresses=frozenset({PEER})), "peer 203.0.113.5 is protected"),
        (PolicySettings(protected_macs=frozenset({"02:00:00:00:00:0A"})), "is protected"),
        (PolicySettings(allowed_networks=(ipaddress.ip_network("192.168.1.0/28"),)), "is on the allow list"),
        (PolicySettings(allowed_macs=frozenset({"02:00:00:00:00:0a"})), "is on the allow list"),
    ],
)
def test_the_spared_are_spared_even_from_the_operator(settings: PolicySettings, reason: str) -> None:
    refusal = refusal_of(settings=settings, approved_by="the operator")
    assert reason in " ".join(refusal.reasons)
    assert not refusal.can_approve


def test_an_allow_listed_device_is_still_reported() -> None:
    settings = PolicySettings(allowed_macs=frozenset({"02:00:00:00:00:0a"}))
    assert isinstance(judge({"act": Act.NOTIFY, "target": Target(device=DEVICE)}, settings=settings), Decision)


@pytest.mark.parametrize(
    ("proposal_changes", "incident_changes", "reason"),
    [
        ({"incident_id": "x"}, {}, "another incident"),
        ({"target": Target(device=DEVICE)}, {}, "needs a peer"),
        ({"ttl_s": float("inf")}, {}, "no end"),
        ({"target": Target(device=build_device(2, "192.168.1.9"), peer=PEER)}, {}, "another device"),
        ({"target": Target(device=DEVICE, peer=PEER, proto="gre")}, {}, "protocol"),
        ({"target": Target(device=DEVICE, peer=PEER, proto="icmp", port=8)}, {}, "port"),
        ({"target": Target(device=DEVICE, peer=ipaddress.ip_address("8.8.4.4"))}, {}, "not in the incident's evidence"),
        ({"act": Act.BLOCK_PEER, "target": Target(device=DEVICE, peer=PEER)}, {}, "for every device"),
        ({"act": Act.QUARANTINE, "target": Target(device=DEVICE)}, {"role": Role.TARGET}, "must not be punished"),
        ({"act": Act.SINKHOLE, "target": Target(domain="example.org")}, {}, "cannot be proven"),
        (
            {"act": Act.BLOCK_PEER, "target": Target(peer=PEER)},
            {"contacts": (build_contact(is_proven=False),)},
            "may be spoofed",
        ),
        ({"act": Act.RATE_LIMIT, "target": Target(device=DEVICE, packets_per_s=0)}, {}, "rate is out of range"),
    ],
)
def test_what_nobody_may_order(proposal_changes: dict[str, Any], incident_changes: dict[str, Any], reason: str) -> None:
    refusal = refusal_of(proposal_changes, incident_changes, approved_by="the operator")
    assert reason in " ".join(refusal.reasons)
    assert not refusal.can_approve


@pytest.mark.parametrize("peer", ["224.0.0.1", "ff02::1", "255.255.255.255", "0.0.0.0", "::", "127.0.0.1", "::1"])
@pytest.mark.parametrize("act", [Act.BLOCK_PEER, Act.BLOCK_FLOW])
def test_what_is_no_single_host_is_no_target(peer: str, act: Act) -> None:
    address = ipaddress.ip_address(peer)
    target = Target(device=None if act is Act.BLOCK_PEER else DEVICE, peer=address)
    refusal = refusal_of({"act": act, "target": target}, {"contacts": (build_contact(peer),)})
    assert refusal.reasons == (f"{peer} is no single host",)


def test_a_device_of_the_network_is_not_blocked_as_a_peer() -> None:
    view = NetworkView(devices=tuple(build_devices([str(PEER)])))
    refusal = refusal_of({"act": Act.BLOCK_PEER, "target": Target(peer=PEER)}, view=view)
    assert "its own incident decides" in refusal.reasons[0]


def test_without_mac_or_completed_exchange_the_device_is_not_restricted() -> None:
    bare = build_device(mac=None)
    changes = {"target": Target(device=bare, peer=PEER)}
    assert isinstance(judge(changes, {"device": bare, "has_proven_origin": True}), Decision)
    assert "neither a MAC" in refusal_of(changes, {"device": bare, "has_proven_origin": False}).reasons[0]


def settings_for(**changes: Any) -> PolicySettings:
    return PolicySettings(devices=(DeviceRule(label="it", macs=frozenset({"02:00:00:00:00:0a"}), **changes),))


ISOLATION = {"act": Act.ISOLATE, "target": Target(device=DEVICE)}


@pytest.mark.parametrize(
    ("proposal_changes", "incident_changes", "changes", "reason"),
    [
        ({}, {}, {"settings": PolicySettings(is_monitor_only=True)}, "monitor mode"),
        ({}, {}, {"settings": settings_for(is_monitored=True)}, "in monitor mode"),
        (ISOLATION, {}, {}, "isolate needs approval"),
        ({}, {}, {"settings": settings_for(role=DeviceRole.LOCK)}, "safety-critical"),
        ({}, {"attack_class": AttackClass.UNKNOWN}, {}, "cannot say what this is"),
    ],
)
def test_what_only_a_person_may_order(
    proposal_changes: dict[str, Any], incident_changes: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    refusal = refusal_of(proposal_changes, incident_changes, **changes)
    assert reason in " ".join(refusal.reasons)
    assert refusal.can_approve
    approved = judge(proposal_changes, incident_changes, approved_by="the operator", **changes)
    assert isinstance(approved, Decision)
    assert approved.approved_by == "the operator"


def ledger_of(count: int, spacing_s: float = 1.0) -> Ledger:
    return Ledger(
        decisions=tuple(
            build_decision(
                target=Target(device=build_device(n + 2, f"192.168.1.{n + 100}")),
                decided_at=NOW - timedelta(seconds=n * spacing_s),
            )
            for n in range(count)
        )
    )


def test_at_most_so_many_devices_at_once() -> None:
    view = NetworkView(devices=tuple(build_devices([f"192.168.1.{n}" for n in range(100, 120)])))
    assert isinstance(judge(ledger=ledger_of(4), view=view), Decision)
    assert "5 devices are already restricted" in refusal_of(ledger=ledger_of(5), view=view).reasons


def test_at_most_so_large_a_part_of_a_small_network() -> None:
    view = NetworkView(devices=tuple(build_devices(["192.168.1.10", "192.168.1.100", "192.168.1.101"])))
    assert "1 devices are already restricted" in refusal_of(ledger=ledger_of(1), view=view).reasons


def test_at_most_so_many_decisions_a_minute_and_per_device() -> None:
    hasty = PolicySettings(max_decisions_per_minute=3, max_devices=99, max_devices_ratio=99.0)
    view = NetworkView(devices=tuple(build_devices(["192.168.1.10"])))
    assert "within a minute" in refusal_of(settings=hasty, ledger=ledger_of(3), view=view).reasons[0]
    assert isinstance(judge(settings=hasty, ledger=ledger_of(3, spacing_s=61.0), view=view), Decision)
    own = Ledger(decisions=tuple(build_decision(decided_at=NOW - timedelta(minutes=4 * n)) for n in range(12)))
    assert "within an hour" in refusal_of(ledger=own).reasons[0]


def test_own_effects_are_no_evidence() -> None:
    milder = build_decision(act=Act.RATE_LIMIT, target=Target(device=DEVICE, packets_per_s=1))
    in_force = Ledger(decisions=(milder,), in_force=frozenset({milder.decision_id}))
    assert "no evidence for a harder one" in refusal_of(ledger=in_force).reasons[0]
    assert isinstance(judge(ledger=replace(in_force, in_force=frozenset())), Decision)


@pytest.mark.parametrize(
    ("held", "is_ordered"),
    [
        (Target(device=DEVICE, proto="tcp", port=23, packets_per_s=1), True),
        (Target(device=DEVICE, peer=ipaddress.ip_address("203.0.113.50"), packets_per_s=1), True),
        (Target(device=DEVICE, proto="tcp", port=6667, packets_per_s=1), False),
        (Target(device=DEVICE, peer=ipaddress.ip_address("::ffff:203.0.113.5"), packets_per_s=1), False),
        (Target(device=DEVICE, packets_per_s=1), False),
    ],
)
def test_a_slowed_scan_does_not_protect_its_controller(held: Target, is_ordered: bool) -> None:
    """A harder act that names a peer is judged by itself where no act in force touches what it names."""
    milder = build_decision(act=Act.RATE_LIMIT, target=held)
    ledger = Ledger(decisions=(milder,), in_force=frozenset({milder.decision_id}))
    assert isinstance(judge(ledger=ledger), Decision) is is_ordered
    whole = judge({"act": Act.QUARANTINE, "target": Target(device=DEVICE)}, ledger=ledger)
    assert isinstance(whole, Refusal) and "no evidence for a harder one" in whole.reasons[0]


def test_the_same_act_is_decided_once() -> None:
    decision, ledger = build_decision(), Ledger(decisions=(build_decision(),))
    assert is_decided(build_proposal(), ledger, NOW)
    assert not is_decided(build_proposal(), ledger, decision.expires_at)
    assert not is_decided(build_proposal(act=Act.NOTIFY), ledger, NOW)


def test_every_incident_is_notified_of_its_own() -> None:
    told = build_proposal(act=Act.NOTIFY, target=Target(device=DEVICE))
    ledger = Ledger(decisions=(build_decision(act=Act.NOTIFY, target=Target(device=DEVICE)),))
    assert is_decided(told, ledger, NOW)
    assert not is_decided(replace(told, incident_id="another"), ledger, NOW)


def test_ids_tell_proposals_apart() -> None:
    assert proposal_id(build_proposal()) == proposal_id(build_proposal(reason="Another."))
    assert proposal_id(build_proposal()) != proposal_id(build_proposal(act=Act.NOTIFY))


@pytest.mark.parametrize(
    "settings",
    [
        PolicySettings(allowed_macs=frozenset({"02:00:00:00:00:0B"})),
        PolicySettings(protected_macs=frozenset({"02:00:00:00:00:0b"})),
    ],
)
@pytest.mark.parametrize("spelling", ["192.168.1.11", "::ffff:192.168.1.11"])
def test_a_peer_of_this_network_is_spared_by_its_mac(settings: PolicySettings, spelling: str) -> None:
    """The owner's own machine, known by MAC, scans a hub: it is the hub's attacker, and must not be blocked."""
    peer = ipaddress.ip_address(spelling)
    owner = replace(DEVICE, index=2, mac="02:00:00:00:00:0b", address=ipaddress.ip_address("192.168.1.11"))
    refusal = refusal_of(
        {"act": Act.RATE_LIMIT, "target": Target(device=DEVICE, peer=peer, is_inbound=True, packets_per_s=5)},
        {"role": Role.TARGET, "contacts": (build_contact(peer=peer, is_outbound=False),)},
        view=NetworkView(devices=(DEVICE, owner)),
        settings=settings,
    )
    assert not refusal.can_approve
    assert any("the peer 02:00:00:00:00:0b" in reason for reason in refusal.reasons)
