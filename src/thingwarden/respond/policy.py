"""The only door to the network: judges what was proposed, and alone constructs a ``Decision``.

In: a ``Proposal``, its ``Incident``, its cost, what is known of the network, what was decided before, the settings.
Out: a ``Decision``, which always ends, or a ``Refusal`` with every reason.
Must never: touch a protected or allow-listed host, restrict a victim, trust an unproven address, decide without end.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from thingwarden.domain.address import IpAddress, plain_address
from thingwarden.domain.device import Device
from thingwarden.domain.incident import Incident, Role
from thingwarden.domain.plan import PORTED, PROTOCOLS
from thingwarden.domain.response import TARGET_FIELDS, Act, Capability, Cost, Decision, Proposal, Refusal, Target
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.domain.word import UNATTRIBUTED
from thingwarden.respond.rules import PolicySettings

MAX_TARGETED_RATE: Final = 1_000_000
_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_LOCAL_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkView:
    """What policy knows of the network.

    Attributes:
        devices: the device table.
        protected_addresses, protected_macs: gateway, DNS, DHCP and NTP servers, learned from traffic or
            from this machine.
        named_addresses: where the domains of the allow list are found.
        capabilities: what the enforcers can do from where they stand; None where that is not known.
    """

    devices: tuple[Device, ...] = ()
    protected_addresses: frozenset[IpAddress] = frozenset()
    protected_macs: frozenset[str] = frozenset()
    named_addresses: frozenset[IpAddress] = frozenset()
    capabilities: tuple[Capability, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What was decided before.

    Attributes:
        decisions: those not yet ended, and those of the last hour.
        in_force: ids of those that an enforcer has really applied; a dry run applies nothing.
    """

    decisions: tuple[Decision, ...] = ()
    in_force: frozenset[str] = field(default_factory=frozenset)

    def restrictions(self) -> Iterator[Decision]:
        """What policy ordered alone and what restricts anybody."""
        return (item for item in self.decisions if item.act is not Act.NOTIFY and item.approved_by is None)


def judge_proposal(
    proposal: Proposal,
    incident: Incident,
    *,
    view: NetworkView,
    ledger: Ledger,
    settings: PolicySettings,
    now: datetime,
    approved_by: str | None = None,
    replaces: str | None = None,
    cost: Cost | None = None,
) -> Decision | Refusal:
    """Order what was proposed, or say why not.

    Args:
        proposal: from the playbook, a model or an operator; trusted in nothing.
        incident: the one that it answers.
        view, ledger, settings: what is known, was decided, is allowed.
        now: aware UTC.
        approved_by: the person who approved it; lifts the limits that a person may lift, and no other.
        replaces: id of the decision whose place it takes; None where it is new.
        cost: what it would have cut lately; None where nothing is remembered.
    """
    forbidden = tuple(_shape_reasons(proposal, incident))
    if not forbidden and proposal.act is not Act.NOTIFY:
        forbidden = tuple(_forbidden_reasons(proposal, incident, view, settings))
    limited: tuple[str, ...] = ()
    if not forbidden and proposal.act is not Act.NOTIFY and approved_by is None:
        limited = tuple(_limit_reasons(proposal, incident, view, ledger, settings, now))
        limited += tuple(_cost_reasons(proposal, cost, settings))
    if forbidden or limited:
        return Refusal(proposal=proposal, reasons=forbidden + limited, at=now, can_approve=not forbidden, cost=cost)
    return _decide(proposal, settings, now, approved_by, replaces, cost)


def proposal_id(proposal: Proposal) -> str:
    """12 hexadecimal digits, the same for the same act on the same target for the same incident."""
    return _digest(f"{proposal.incident_id}|{proposal.act.value}|{proposal.target!r}")


def is_decided(proposal: Proposal, ledger: Ledger, now: datetime) -> bool:
    """Whether the same act on the same target is already ordered and has not ended.

    A notification is about its incident; every other act does the same whichever incident asks for it.
    """
    return any(
        (item.act, item.target) == (proposal.act, proposal.target)
        and item.expires_at > now
        and (item.act is not Act.NOTIFY or item.incident_id == proposal.incident_id)
        for item in ledger.decisions
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _decide(
    proposal: Proposal,
    settings: PolicySettings,
    now: datetime,
    approved_by: str | None,
    replaces: str | None,
    cost: Cost | None,
) -> Decision:
    successor = "" if replaces is None else f"|{replaces}"
    return Decision(
        decision_id=_digest(f"{proposal_id(proposal)}|{now.isoformat()}{successor}"),
        incident_id=proposal.incident_id,
        act=proposal.act,
        target=proposal.target,
        reason=proposal.reason,
        proposer=proposal.proposer,
        decided_at=now,
        expires_at=now + timedelta(seconds=min(proposal.ttl_s, settings.max_ttl_s)),
        approved_by=approved_by,
        replaces=replaces,
        cost=cost,
    )


def _shape_reasons(proposal: Proposal, incident: Incident) -> Iterator[str]:
    """What makes the proposal no valid plan at all."""
    target = proposal.target
    if proposal.incident_id != incident.incident_id:
        yield "the proposal answers another incident"
    for name in TARGET_FIELDS[proposal.act]:
        if getattr(target, name) is None:
            yield f"{proposal.act.value} needs a {name}"
    if not math.isfinite(proposal.ttl_s) or proposal.ttl_s <= 0:
        yield "the act has no end"
    if target.proto is not None and target.proto not in PROTOCOLS:
        yield "the protocol is none that can be filtered"
    if target.port is not None and (target.proto not in PORTED or not 0 <= target.port <= 65_535):
        yield "the port belongs to no protocol that has ports, or is out of range"
    if target.packets_per_s is not None and not 0 < target.packets_per_s <= MAX_TARGETED_RATE:
        yield "the rate is out of range"
    if target.device is not None and target.device != incident.device:
        yield "the target is another device than the incident's"
    if proposal.act is Act.BLOCK_PEER and target.device is not None:
        yield "block_peer is for every device; use block_flow for one"


def _forbidden_reasons(
    proposal: Proposal, incident: Incident, view: NetworkView, settings: PolicySettings
) -> Iterator[str]:
    """What nobody may order."""
    target = proposal.target
    if incident.device.index == UNATTRIBUTED or (incident.device.mac is None and incident.device.address is None):
        yield "the traffic belongs to no known device"
    yield from spared_reasons(target, view, settings)
    yield from _reach_reasons(proposal.act, view)
    yield from _role_reasons(proposal, incident)
    yield from _evidence_reasons(proposal, incident, view)
    if proposal.act in (Act.SINKHOLE, Act.MQTT_DENY):
        yield f"{proposal.act.value} cannot be proven from flows; no evidence names a domain or an MQTT client"


def spared_reasons(target: Target, view: NetworkView, settings: PolicySettings) -> Iterator[str]:
    """Why nobody may touch a target, whatever the evidence: protected hosts, and the allow list."""
    protected = {plain_address(item) for item in settings.protected_addresses | view.protected_addresses}
    macs = {item.lower() for item in settings.protected_macs | view.protected_macs}
    allowed_macs = {item.lower() for item in settings.allowed_macs}
    named = {plain_address(item) for item in view.named_addresses}
    for kind, address in (("device", target.device.address if target.device else None), ("peer", target.peer)):
        if address is None:
            continue
        plain = plain_address(address)
        if plain in protected:
            yield f"the {kind} {plain} is protected"
        if any(plain in network for network in settings.allowed_networks):
            yield f"the {kind} {plain} is on the allow list"
        if plain in named:
            yield f"the {kind} {plain} is where a domain of the allow list is found"
    for kind, mac in _macs_of(target, view):
        if mac in macs:
            yield f"the {kind} {mac} is protected"
        if mac in allowed_macs or mac[:8] in settings.allowed_vendors:
            yield f"the {kind} {mac} is on the allow list"
    if target.domain is not None and _is_below(target.domain, settings.allowed_domains):
        yield f"the domain {target.domain} is on the allow list"


def _is_below(domain: str, allowed: frozenset[str]) -> bool:
    labels = domain.lower().rstrip(".").split(".")
    return any(".".join(labels[place:]) in allowed for place in range(len(labels)))


def _reach_reasons(act: Act, view: NetworkView) -> Iterator[str]:
    """Nothing is ordered that no enforcer can put into force."""
    if view.capabilities is None or any(act in item.acts for item in view.capabilities):
        return
    places = ", ".join(sorted({item.reach.value for item in view.capabilities})) or "none"
    yield f"{act.value} is within no enforcer's reach ({places})"


def _macs_of(target: Target, view: NetworkView) -> Iterator[tuple[str, str]]:
    """Link-layer addresses that a target names, in small letters: the device's, and that of a peer on this network."""
    if target.device is not None and target.device.mac is not None:
        yield "device", target.device.mac.lower()
    if target.peer is None:
        return
    peer = plain_address(target.peer)
    for device in view.devices:
        if device.mac is not None and device.address is not None and plain_address(device.address) == peer:
            yield "peer", device.mac.lower()


def _role_reasons(proposal: Proposal, incident: Incident) -> Iterator[str]:
    """The target of an attack is restricted by naming the attacker only."""
    if incident.role is Role.OFFENDER:
        if proposal.target.is_inbound:
            yield "an offender is restricted in what it sends, not in what it receives"
        return
    is_guard = proposal.act is Act.RATE_LIMIT and proposal.target.is_inbound and proposal.target.peer is not None
    if proposal.act is not Act.BLOCK_PEER and not is_guard:
        yield "the device is the target of the attack and must not be punished for it"


def _evidence_reasons(proposal: Proposal, incident: Incident, view: NetworkView) -> Iterator[str]:
    """Proof of origin, and nothing against an address that is not in the evidence."""
    target, act = proposal.target, proposal.act
    peer = None if target.peer is None else plain_address(target.peer)
    named = [contact for contact in incident.contacts if plain_address(contact.peer) == peer]
    if peer is not None and not named:
        yield f"{peer} is not in the incident's evidence"
    if peer is not None and (peer.is_multicast or peer.is_unspecified or peer.is_loopback or peer == _LOCAL_BROADCAST):
        yield f"{peer} is no single host"
    if act is Act.BLOCK_PEER:
        if not any(contact.is_proven for contact in named):
            yield f"no completed exchange proves that {peer} sent the traffic; its address may be spoofed"
        own = {plain_address(device.address) for device in view.devices if device.address is not None}
        if peer in own:
            yield f"{peer} is a device of this network; its own incident decides about it"
    elif incident.role is Role.OFFENDER and incident.device.mac is None and not incident.has_proven_origin:
        yield "neither a MAC nor a completed exchange proves that the device sent the traffic"


def _limit_reasons(
    proposal: Proposal,
    incident: Incident,
    view: NetworkView,
    ledger: Ledger,
    settings: PolicySettings,
    now: datetime,
) -> Iterator[str]:
    """What only a person may order."""
    device = incident.device
    if settings.is_monitor_only:
        yield "monitor mode: nothing is ordered"
    elif (rule := settings.rule_for(device)).is_monitored:
        yield f"{rule.label} is in monitor mode"
    limit, why = settings.limit_for(device)
    if proposal.act.severity > limit.severity:
        yield f"{proposal.act.value} needs approval: alone at most {limit.value} ({why})"
    maintenance = settings.open_maintenance(device, now)
    if maintenance is not None:
        yield f"people are at work ({maintenance.label}): acts need approval"
    if incident.attack_class is AttackClass.UNKNOWN:
        yield "the detector cannot say what this is"
    yield from _own_effect_reasons(proposal, device, ledger, now)
    yield from _blast_reasons(proposal, device, view, ledger, settings, now)


def _own_effect_reasons(proposal: Proposal, device: Device, ledger: Ledger, now: datetime) -> Iterator[str]:
    """A device that an act of ours hampers retries, and retries look like an attack."""
    hampering = [
        item
        for item in ledger.decisions
        if item.decision_id in ledger.in_force and item.act is not Act.NOTIFY and item.expires_at > now
        if item.target.device == device
    ]
    if not hampering or proposal.act.severity <= max(item.act.severity for item in hampering):
        return
    if proposal.target.peer is None or any(_hampers(item, proposal.target) for item in hampering):
        yield "an act is already in force on this device, so its traffic now is no evidence for a harder one"


def _hampers(item: Decision, target: Target) -> bool:
    """Whether an act in force touches traffic of its device that another target names too."""
    held = item.target
    if item.act in (Act.QUARANTINE, Act.ISOLATE):
        return True
    if None not in (held.peer, target.peer) and plain_address(held.peer) != plain_address(target.peer):  # type: ignore[arg-type]
        return False
    return held.port is None or target.port is None or (held.proto, held.port) == (target.proto, target.port)


def _blast_reasons(
    proposal: Proposal,
    device: Device,
    view: NetworkView,
    ledger: Ledger,
    settings: PolicySettings,
    now: datetime,
) -> Iterator[str]:
    restrictions = list(ledger.restrictions())
    active = [item for item in restrictions if item.expires_at > now]
    devices = {item.target.device for item in active if not item.target.is_inbound} - {None}
    device_count = sum(1 for item in view.devices if item.index != UNATTRIBUTED)
    limit = min(settings.max_devices, max(1, int(settings.max_devices_ratio * device_count)))
    if proposal.target.device is not None and not proposal.target.is_inbound and len(devices | {device}) > limit:
        yield f"{limit} devices are already restricted"
    blocked = {item.target.peer for item in active if item.act is Act.BLOCK_PEER}
    if proposal.act is Act.BLOCK_PEER and len(blocked | {proposal.target.peer}) > settings.max_blocked_peers:
        yield f"{settings.max_blocked_peers} peers are already blocked"
    if _count_since(restrictions, now - _MINUTE) >= settings.max_decisions_per_minute:
        yield f"{settings.max_decisions_per_minute} decisions were made within a minute"
    own = [item for item in restrictions if item.target.device == device]
    if _count_since(own, now - _HOUR) >= settings.max_changes_per_device_hour:
        yield f"{device.name} was restricted {settings.max_changes_per_device_hour} times within an hour"


def _cost_reasons(proposal: Proposal, cost: Cost | None, settings: PolicySettings) -> Iterator[str]:
    """Look before the leap."""
    if cost is None:
        return
    budget = max(settings.max_harmless_flows, int(settings.max_harmless_ratio * cost.harmful_flow_count))
    if cost.harmless_flow_count > budget:
        services = f" ({', '.join(cost.services)})" if cost.services else ""
        yield f"it would have cut {cost.harmless_flow_count} harmless flows{services}; alone at most {budget}"
    if proposal.target.device is None and cost.others_flow_count:
        yield f"other devices use it ({cost.others_flow_count} harmless flows); an act on one device spares them"


def _count_since(decisions: list[Decision], since: datetime) -> int:
    return sum(1 for item in decisions if item.decided_at > since)
