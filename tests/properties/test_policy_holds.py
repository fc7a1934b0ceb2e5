"""Whatever is proposed, by whomever, policy keeps its promises."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from thingwarden.domain.device import Device, DeviceRole
from thingwarden.domain.incident import Incident, Role
from thingwarden.domain.response import Act, Decision, Proposal, Refusal, Target
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.respond.policy import Ledger, NetworkView, judge_proposal
from thingwarden.respond.rules import DeviceRule, PolicySettings
from thingwarden.testing import START_S, build_contact, build_decision, build_device, build_devices, build_incident

NOW = datetime.fromtimestamp(START_S, UTC)
ROUTER, RESOLVER, OPERATOR, FRIEND = "192.168.1.1", "9.9.9.9", "192.168.1.2", "198.51.100.77"
BOT, LOCK, ATTACKER, UNPROVEN = "192.168.1.10", "192.168.1.11", "203.0.113.5", "203.0.113.6"
ROUTER_MAC = "02:00:00:00:00:01"

DEVICES = build_devices([ROUTER, OPERATOR, BOT, LOCK])
VIEW = NetworkView(
    devices=tuple(DEVICES),
    protected_addresses=frozenset({ipaddress.ip_address(ROUTER), ipaddress.ip_address(RESOLVER)}),
    protected_macs=frozenset({ROUTER_MAC.upper()}),
)
SETTINGS = PolicySettings(
    protected_addresses=frozenset({ipaddress.ip_address(OPERATOR)}),
    allowed_networks=(ipaddress.ip_network("198.51.100.64/26"),),
    devices=(DeviceRule(label="front door", addresses=frozenset({ipaddress.ip_address(LOCK)}), role=DeviceRole.LOCK),),
)
SPARED = {ROUTER, RESOLVER, OPERATOR, FRIEND}
HOSTS = {BOT, ATTACKER, UNPROVEN}
"""The only peers in the strategies that are single hosts and not spared."""


def spellings(address: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """An IPv4 address as itself and in the disguise of IPv6."""
    plain = ipaddress.IPv4Address(address)
    return [plain, ipaddress.IPv6Address(f"::ffff:{address}"), ipaddress.IPv6Address(f"::ffff:{address}%eth0")]


peers = st.sampled_from(
    [spelling for address in (*SPARED, BOT, ATTACKER, UNPROVEN) for spelling in spellings(address)]
    + [ipaddress.ip_address(text) for text in ("255.255.255.255", "224.0.0.1", "ff02::1", "127.0.0.1", "::", "0.0.0.0")]
)
devices = st.sampled_from(
    [
        *DEVICES,
        build_device(9, ROUTER, None),
        build_device(9, "192.168.1.99", ROUTER_MAC),
        build_device(9, "192.168.1.99", None),
        Device(index=9, mac=None, address=ipaddress.IPv6Address(f"::ffff:{ROUTER}")),
        Device(index=9, mac=None, address=None),
    ]
)
targets = st.builds(
    Target,
    device=st.none() | devices,
    peer=st.none() | peers,
    proto=st.none() | st.sampled_from(["tcp", "udp", "icmp", "sctp", "tcp; drop"]),
    port=st.none() | st.integers(-1, 70_000),
    is_inbound=st.booleans(),
    packets_per_s=st.none() | st.integers(-1, 2_000_000),
    domain=st.none() | st.just("example.org"),
    username=st.none() | st.just("plug"),
)
contacts = st.lists(
    st.builds(
        lambda peer, is_proven: build_contact(str(peer), is_proven=is_proven),
        peers,
        st.booleans(),
    ),
    max_size=4,
).map(tuple)


FLAWS = ("device", "target", "peer", "act", "ttl", "incident", "contacts", "role", "origin", "class")


@st.composite
def cases(draw: st.DrawFn) -> tuple[Proposal, Incident]:
    """A sound proposal with at most three flaws, so that a policy which overlooks one lets it through."""
    flaws = draw(st.sets(st.sampled_from(FLAWS), max_size=3))
    device = draw(devices) if "device" in flaws else DEVICES[3]
    peer = draw(peers) if "peer" in flaws else ipaddress.ip_address(ATTACKER)
    is_target = "role" in flaws
    incident = build_incident(
        device=device,
        role=Role.TARGET if is_target else Role.OFFENDER,
        attack_class=draw(st.sampled_from(AttackClass)) if "class" in flaws else AttackClass.C2,
        has_proven_origin="origin" not in flaws,
        contacts=draw(contacts)
        if "contacts" in flaws
        else (build_contact(str(peer), is_proven="origin" not in flaws),),
    )
    act = draw(st.sampled_from(Act))
    target = Target(peer=peer) if act is Act.BLOCK_PEER else Target(device=device, peer=peer, packets_per_s=5)
    if is_target and act is Act.RATE_LIMIT:
        target = replace(target, is_inbound=draw(st.booleans()))
    if "target" in flaws:
        target = draw(targets)
    proposal = Proposal(
        incident_id="another" if "incident" in flaws else "0123456789ab",
        act=draw(st.sampled_from(Act)) if "act" in flaws else act,
        target=target,
        ttl_s=draw(st.sampled_from([1e9, 0.0, -1.0, float("inf"), float("nan")])) if "ttl" in flaws else 60.0,
        reason="A generator wrote this.",
        proposer="model",
    )
    return proposal, incident


def judge(proposal: Proposal, incident: Incident, **changes: Any) -> Decision | Refusal:
    arguments: dict[str, Any] = {"view": VIEW, "ledger": Ledger(), "settings": SETTINGS, "now": NOW} | changes
    return judge_proposal(proposal, incident, **arguments)


approvals = st.sampled_from([None, "the operator"])


@settings(max_examples=500, deadline=None)
@given(case=cases(), approved_by=approvals)
def test_what_is_ordered_harms_nobody_who_is_spared(case: tuple[Proposal, Incident], approved_by: str | None) -> None:
    judged = judge(*case, approved_by=approved_by)
    if isinstance(judged, Refusal):
        assert judged.reasons
        return
    incident = case[1]
    assert NOW < judged.expires_at <= NOW + timedelta(seconds=SETTINGS.max_ttl_s)
    assert judged.target.device in (None, incident.device)
    if judged.act is Act.NOTIFY:
        return
    named = [judged.target.peer, judged.target.device.address if judged.target.device else None]
    low_halves = {int(address) & 0xFFFF_FFFF for address in named if address is not None}
    assert not low_halves & {int(ipaddress.IPv4Address(spared)) for spared in SPARED}
    if judged.target.peer is not None:
        assert int(judged.target.peer) & 0xFFFF_FFFF in {int(ipaddress.IPv4Address(host)) for host in HOSTS}
    assert judged.target.device is None or judged.target.device.mac != ROUTER_MAC
    assert incident.device.index != 0
    assert judged.target.proto in (None, "tcp", "udp", "icmp", "icmp6")


@settings(max_examples=500, deadline=None)
@given(case=cases(), approved_by=approvals)
def test_a_victim_is_never_punished(case: tuple[Proposal, Incident], approved_by: str | None) -> None:
    proposal, incident = case
    judged = judge(proposal, replace(incident, role=Role.TARGET), approved_by=approved_by)
    if isinstance(judged, Decision) and judged.act is not Act.NOTIFY:
        assert judged.target.peer is not None
        assert judged.act is Act.BLOCK_PEER or (judged.act is Act.RATE_LIMIT and judged.target.is_inbound)


@settings(max_examples=500, deadline=None)
@given(case=cases(), approved_by=approvals)
def test_a_spoofer_gets_nobody_blocked(case: tuple[Proposal, Incident], approved_by: str | None) -> None:
    """Without a completed exchange, and without a MAC, no address is restricted."""
    proposal, incident = case
    unproven = replace(
        incident,
        device=replace(incident.device, mac=None),
        has_proven_origin=False,
        contacts=tuple(replace(contact, is_proven=False) for contact in incident.contacts),
    )
    target = proposal.target
    if target.device == incident.device:
        target = replace(target, device=unproven.device)
    judged = judge(replace(proposal, target=target), unproven, approved_by=approved_by)
    if isinstance(judged, Decision) and judged.act is not Act.NOTIFY:
        assert judged.act is Act.RATE_LIMIT
        assert judged.target.is_inbound
        assert unproven.role is Role.TARGET


@settings(max_examples=300, deadline=None)
@given(case=cases(), in_force=st.sampled_from([Act.RATE_LIMIT, Act.BLOCK_FLOW, Act.QUARANTINE]))
def test_with_an_act_in_force_severity_never_rises_by_itself(case: tuple[Proposal, Incident], in_force: Act) -> None:
    proposal, incident = case
    earlier = build_decision(act=in_force, target=Target(device=incident.device))
    ledger = Ledger(decisions=(earlier,), in_force=frozenset({earlier.decision_id}))
    judged = judge(proposal, incident, ledger=ledger)
    if isinstance(judged, Decision):
        assert judged.act.severity <= in_force.severity


@settings(max_examples=300, deadline=None)
@given(case=cases())
def test_critical_devices_get_no_more_than_a_rate_limit_unasked(case: tuple[Proposal, Incident]) -> None:
    proposal, incident = case
    lock = DEVICES[4]
    locked = replace(incident, device=lock)
    judged = judge(replace(proposal, target=replace(proposal.target, device=lock)), locked)
    if isinstance(judged, Decision):
        assert judged.act.severity <= Act.RATE_LIMIT.severity


steps = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from([Act.RATE_LIMIT, Act.QUARANTINE]), st.integers(0, 10)), min_size=15
)


@settings(max_examples=80, deadline=None)
@given(steps=steps)
def test_the_blast_radius_holds_in_any_sequence(steps: list[tuple[int, Act, int]]) -> None:
    table = build_devices([f"192.168.1.{n}" for n in range(100, 112)])
    limits = PolicySettings(max_devices=4, max_devices_ratio=0.25, max_decisions_per_minute=6, max_ttl_s=120.0)
    ledger, now = Ledger(), NOW
    for index, act, wait_s in steps:
        now += timedelta(seconds=wait_s)
        target = Target(device=table[index], packets_per_s=1 if act is Act.RATE_LIMIT else None)
        incident = build_incident(device=table[index])
        proposal = Proposal(
            incident_id=incident.incident_id, act=act, target=target, ttl_s=900.0, reason="A test.", proposer="model"
        )
        judged = judge(
            proposal, incident, ledger=ledger, settings=limits, now=now, view=NetworkView(devices=tuple(table))
        )
        if isinstance(judged, Decision):
            ledger = replace(ledger, decisions=(*ledger.decisions, judged))
        active = [item for item in ledger.decisions if item.expires_at > now]
        assert len({item.target.device for item in active}) <= 3
        recent = [item for item in ledger.decisions if item.decided_at > now - timedelta(minutes=1)]
        assert len(recent) <= 6


def test_the_strategies_do_reach_decisions() -> None:
    """The properties above would hold of a policy that refuses everything."""
    found = {act: False for act in Act if act not in (Act.SINKHOLE, Act.MQTT_DENY)}
    for act in found:
        device = DEVICES[3]
        peer = ipaddress.ip_address(ATTACKER)
        target = Target(device=device, peer=peer, packets_per_s=5) if act is not Act.BLOCK_PEER else Target(peer=peer)
        proposal = Proposal(
            incident_id="0123456789ab", act=act, target=target, ttl_s=60.0, reason="A test.", proposer="model"
        )
        judged = judge(proposal, build_incident(device=device), approved_by="the operator")
        found[act] = isinstance(judged, Decision)
    assert all(found.values())
