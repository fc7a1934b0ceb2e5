"""The greedy cost-replay planner: of all legal acts, again and again the one that stops most harm for least.

In: ``Incident``, the playbook's lifetimes, what policy and memory say of an act. Out: ``Proposal``s, mildest first.
Must never: order anything, propose what policy would refuse, or propose anything about harm that it cannot name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from thingwarden.domain.incident import Contact, Incident, Role
from thingwarden.domain.plan import PORTED
from thingwarden.domain.response import Act, Cost, Proposal, Target
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.respond.cost import touches
from thingwarden.respond.playbook import Playbook

PLANNER: Final = "planner"

MAX_ACTS: Final = 3
"""Acts that one plan holds; the playbook names as many targets for a rule."""

LEAST_GAIN: Final = 0.01
"""Share of the harm that a further act must stop."""

HARMLESS_WEIGHT: Final = 0.5
"""Harm, in flows, that a harmless flow outweighs; policy's ``max_harmless_ratio`` is its measure too."""

SEVERITY_WEIGHT: Final = 0.02
"""Share of the harm that one step of severity outweighs: of acts alike, the milder one."""

UNKNOWN_WEIGHT: Final = 0.3
"""Share of the harm that an act on a whole device is taken to cost while nothing is known of what is usual for it."""

DEVICE_WIDE: Final = frozenset({Act.QUARANTINE, Act.ISOLATE})

SLOWED: Final = 0.9
"""Share of the harm that a rate limit stops of what it touches."""

_DEFAULT_TTL_S: Final = 1800.0
_DEFAULT_RATE: Final = 2
_LEAST_CONFIDENCE: Final = 0.6
"""Below it the playbook tells only, too."""

Allows = Callable[[Proposal], bool]
Estimates = Callable[[Act, Target], Cost | None]


def plan_greedily(
    incident: Incident, playbook: Playbook, *, allows: Allows, estimate: Estimates
) -> tuple[Proposal, ...]:
    """What stops most harm at least loss of what is harmless.

    Args:
        incident: as it stands.
        playbook: whose lifetimes and rates hold for the same act against the same class.
        allows: whether policy would order a proposal by itself now.
        estimate: what an act would have cut.

    Returns:
        A notification, and at most ``MAX_ACTS`` acts, mildest first.
    """
    told = _proposal(Act.NOTIFY, Target(device=incident.device), incident, playbook, "The owner should know.")
    if incident.confidence < _LEAST_CONFIDENCE or incident.attack_class is AttackClass.UNKNOWN:
        return (told,)
    harm = _Harm(incident)
    chosen: list[Proposal] = []
    candidates = list(_candidates(incident, playbook))
    while len(chosen) < MAX_ACTS and candidates:
        weighed = [(_gain(item, harm, estimate), -place) for place, item in enumerate(candidates)]
        gain, place = max(weighed)
        best = candidates.pop(-place)
        if gain < LEAST_GAIN * harm.total:
            break
        if not allows(best):
            continue
        chosen.append(best)
        harm.stop(best)
    return (told, *sorted(chosen, key=lambda item: item.act.severity))


class _Harm:
    """What is left of an incident's harm, in flows: of each contact told apart, and of the rest.

    The rest is taken to be like those told apart: an act on a port of any peer stops as large a part of it.
    """

    def __init__(self, incident: Incident) -> None:
        self._contacts = incident.contacts
        self._left = [float(contact.flow_count) for contact in incident.contacts]
        listed = sum(self._left)
        self._shares = [count / listed for count in self._left] if listed else []
        self.total = float(max(incident.flow_count, listed, 1))
        self._rest = self.total - listed

    def stopped(self, item: Proposal) -> float:
        """How much of it an act would stop."""
        parts = [_stopped(item, contact) for contact in self._contacts]
        listed = sum(left * part for left, part in zip(self._left, parts, strict=True))
        return listed + self._rest * self._rest_share(item, parts)

    def stop(self, item: Proposal) -> None:
        """Leave what an act does not stop."""
        parts = [_stopped(item, contact) for contact in self._contacts]
        self._rest *= 1.0 - self._rest_share(item, parts)
        self._left = [left * (1.0 - part) for left, part in zip(self._left, parts, strict=True)]

    def _rest_share(self, item: Proposal, parts: Sequence[float]) -> float:
        if item.act in DEVICE_WIDE:
            return 1.0
        if item.target.peer is not None:
            return 0.0
        return sum(share * part for share, part in zip(self._shares, parts, strict=True))


def _gain(item: Proposal, harm: _Harm, estimate: Estimates) -> float:
    """Harm stopped, less what it costs, in flows."""
    cost = estimate(item.act, item.target)
    if cost is not None:
        lost = HARMLESS_WEIGHT * (cost.harmless_flow_count + cost.others_flow_count)
    else:
        lost = UNKNOWN_WEIGHT * harm.total if item.act in DEVICE_WIDE else 0.0
    return harm.stopped(item) - lost - SEVERITY_WEIGHT * harm.total * item.act.severity


def _stopped(item: Proposal, contact: Contact) -> float:
    if item.act in DEVICE_WIDE:
        return 1.0
    if not touches(item.target, contact):
        return 0.0
    return SLOWED if item.act is Act.RATE_LIMIT else 1.0


def _candidates(incident: Incident, playbook: Playbook) -> Iterator[Proposal]:
    """Every act that the evidence can name, each once, mildest first."""
    found = {(act, target): reason for act, target, reason in _acts(incident)}
    for (act, target), reason in sorted(found.items(), key=lambda item: item[0][0].severity):
        yield _proposal(act, target, incident, playbook, reason)


def _acts(incident: Incident) -> Iterator[tuple[Act, Target, str]]:
    device, is_inbound = incident.device, incident.role is Role.TARGET
    for contact in incident.contacts:
        if contact.is_outbound is is_inbound:
            continue
        port = contact.port if contact.proto in PORTED else None
        service = Target(device=device, peer=contact.peer, proto=contact.proto, port=port, is_inbound=is_inbound)
        peer = Target(device=device, peer=contact.peer, is_inbound=is_inbound)
        yield Act.RATE_LIMIT, service, "Slows the harm towards this service; all other traffic goes on."
        yield Act.RATE_LIMIT, peer, "Slows the harm towards this peer; all other traffic goes on."
        if is_inbound:
            yield Act.BLOCK_PEER, Target(peer=contact.peer), "Stops this attacker for every device."
            continue
        if port is not None:
            every = Target(device=device, proto=contact.proto, port=port)
            yield Act.RATE_LIMIT, every, "Slows the harm towards this port of any peer."
        yield Act.BLOCK_FLOW, service, "Stops the harm towards this service; all other traffic goes on."
        yield Act.BLOCK_FLOW, peer, "Stops the harm towards this peer; all other traffic goes on."
    if not is_inbound:
        yield Act.QUARANTINE, Target(device=device), "The harm has too many ends to name; gateway, DNS and time stay."
        yield Act.ISOLATE, Target(device=device), "Nothing milder stops the harm."


def _proposal(act: Act, target: Target, incident: Incident, playbook: Playbook, reason: str) -> Proposal:
    rules = [rule for rule in playbook.rules_for(incident.attack_class, incident.role) if rule.act is act]
    if act is Act.RATE_LIMIT:
        rate = rules[0].packets_per_s if rules and rules[0].packets_per_s else _DEFAULT_RATE
        target = Target(
            device=target.device, peer=target.peer, proto=target.proto, port=target.port,
            is_inbound=target.is_inbound, packets_per_s=rate,
        )  # fmt: skip
    return Proposal(
        incident_id=incident.incident_id,
        act=act,
        target=target,
        ttl_s=rules[0].ttl_s if rules else _DEFAULT_TTL_S,
        reason=reason,
        proposer=PLANNER,
    )
