"""What policy would say about an act, asked without any traffic.

In: ``Rehearsal``: who, what, on what evidence, in which network, when. Out: the ``Decision`` or ``Refusal`` of policy.
Must never: judge by other rules than policy's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from thingwarden.domain.address import IpAddress
from thingwarden.domain.device import Device
from thingwarden.domain.incident import Contact, Incident, Role
from thingwarden.domain.response import Act, Cost, Decision, Proposal, Refusal, Target
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.respond.policy import Ledger, NetworkView, judge_proposal
from thingwarden.respond.rules import PolicySettings

_INCIDENT_ID: Final = "0" * 12
_FLOWS: Final = 1000


class Verdict(Enum):
    """What becomes of an act; the value is the wire name."""

    ORDERED = "ordered"
    APPROVAL = "approval"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """An act and what it would rest on.

    Attributes:
        act: what would be done.
        device: whose incident it is.
        role, attack_class: of the incident.
        peer, proto, port: the incident's one contact, which the act names where it names one; None for no contact.
        packets_per_s: of a rate limit.
        ttl_s: how long.
        is_proven: whether a completed exchange proves who sent the traffic.
        cost: what the act would have cut; None where nothing is remembered.
        approved_by: who approves it; None for nobody.
    """

    act: Act
    device: Device
    role: Role = Role.OFFENDER
    attack_class: AttackClass = AttackClass.C2
    peer: IpAddress | None = None
    proto: str | None = None
    port: int | None = None
    packets_per_s: int = 1
    ttl_s: float = 1800.0
    is_proven: bool = True
    cost: Cost | None = None
    approved_by: str | None = None


def rehearse(
    rehearsal: Rehearsal, *, view: NetworkView, settings: PolicySettings, now: datetime
) -> tuple[Verdict, Decision | Refusal]:
    """What policy says, with nothing decided before.

    Args:
        rehearsal: what is asked.
        view, settings: what is known, what is allowed.
        now: aware UTC.
    """
    judged = judge_proposal(
        _proposal(rehearsal),
        _incident(rehearsal, now),
        view=view,
        ledger=Ledger(),
        settings=settings,
        now=now,
        approved_by=rehearsal.approved_by,
        cost=rehearsal.cost,
    )
    if isinstance(judged, Decision):
        return Verdict.ORDERED, judged
    return Verdict.APPROVAL if judged.can_approve else Verdict.FORBIDDEN, judged


def _proposal(asked: Rehearsal) -> Proposal:
    is_for_all = asked.act in (Act.BLOCK_PEER, Act.SINKHOLE)
    names_peer = asked.act in (Act.RATE_LIMIT, Act.BLOCK_FLOW, Act.BLOCK_PEER)
    target = Target(
        device=None if is_for_all else asked.device,
        peer=asked.peer if names_peer else None,
        proto=asked.proto if names_peer else None,
        port=asked.port if names_peer else None,
        is_inbound=asked.role is Role.TARGET and asked.act is Act.RATE_LIMIT,
        packets_per_s=asked.packets_per_s if asked.act is Act.RATE_LIMIT else None,
    )
    return Proposal(
        incident_id=_INCIDENT_ID,
        act=asked.act,
        target=target,
        ttl_s=asked.ttl_s,
        reason="A rehearsal.",
        proposer="rehearsal",
    )


def _incident(asked: Rehearsal, now: datetime) -> Incident:
    contact = None if asked.peer is None else Contact(
        peer=asked.peer,
        proto=asked.proto or "tcp",
        port=asked.port or 0,
        flow_count=_FLOWS,
        is_outbound=asked.role is Role.OFFENDER,
        is_proven=asked.is_proven,
        attack_class=asked.attack_class,
    )  # fmt: skip
    return Incident(
        incident_id=_INCIDENT_ID,
        device=asked.device,
        role=asked.role,
        attack_class=asked.attack_class,
        class_counts=((asked.attack_class, _FLOWS),),
        first_seen_at=now,
        last_seen_at=now,
        opened_at=now,
        ended_at=None,
        flow_count=_FLOWS,
        confidence=1.0,
        evidence_nats=0.0,
        has_proven_origin=asked.is_proven,
        detections=(),
        contacts=() if contact is None else (contact,),
        other_contact_count=0,
        peer_count=0 if contact is None else 1,
        is_count_exact=True,
        rhythm=None,
        summary="a rehearsal",
    )
