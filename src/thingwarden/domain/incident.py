"""What is wrong with a device: detections grouped until they are worth a person's attention.

In: values from ``detect``. Out: ``Incident`` and ``IncidentChange``, frozen.
Must never: accuse the unattributed rest, or a device for what another one sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum

from thingwarden.domain.address import IpAddress
from thingwarden.domain.detection import Detection
from thingwarden.domain.device import Device
from thingwarden.domain.sighting import Sighting
from thingwarden.domain.taxonomy import TECHNIQUES, AttackClass


class Role(Enum):
    """What the device did in the incident; the value is the wire name, as in ``word.ROLES``."""

    OFFENDER = "offender"
    TARGET = "target"


class Severity(IntEnum):
    """How urgently a person should look; ordered."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """A peer's service that took part in an incident.

    Attributes:
        peer: address of the other side.
        proto: as in ``Detection``.
        port: the responder's port.
        flow_count: flows of the incident with it.
        is_outbound: whether the device began the first of them.
        is_proven: whether a completed exchange proves that the flows' originator owns its address.
        attack_class: what most of its words look like.
    """

    peer: IpAddress
    proto: str
    port: int
    flow_count: int
    is_outbound: bool
    is_proven: bool
    attack_class: AttackClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How regularly the flows to the most frequent contact begin.

    Attributes:
        interval_s: median seconds between starts.
        spread_ratio: median absolute deviation of the intervals over their median; 0 is a metronome.
        is_periodic: enough intervals, with little enough spread, to call it a beat.
    """

    interval_s: float
    spread_ratio: float
    is_periodic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Something that words of an incident say, and how far it moved their score.

    Attributes:
        topic: what it is about: a group of fields, such as ``breadth``, or ``earlier_...`` for words said before.
        text: what the words say on it, in plain English, made of buckets, numbers and addresses alone.
        nats: by how much the log-odds of "malicious" fall when the words say of it what the device's harmless words
            usually say (nothing, where there are too few), or when the words said before are left out.
        together_nats: the same for this and all reasons before it of the same class together.
        attack_class: which of the incident's classes it speaks for.
        flow: row, in the batch that was judged, of the flow whose word it moved most.
    """

    topic: str
    text: str
    nats: float
    together_nats: float
    attack_class: AttackClass
    flow: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Detections of one device in one role that belong together.

    Attributes:
        incident_id: 12 hexadecimal digits, the same for the same traffic.
        device: whom it is about.
        role: offender, or target of somebody else.
        attack_class: what most of its flows look like.
        class_counts: flows by attack class, most frequent first.
        first_seen_at, last_seen_at: aware UTC, from the flows.
        opened_at: aware UTC, when the evidence sufficed.
        ended_at: aware UTC, when it had been silent for the idle time; None while it goes on.
        flow_count: flows that speak for it.
        confidence: mean calibrated probability of its flows, 0 to 1.
        evidence_nats: value of the alarm statistic when it opened.
        has_proven_origin: a completed exchange proves who sent the traffic; the device's MAC is judged apart.
        detections: the flows that speak loudest, at most 5.
        contacts: the 10 services with most flows, the 3 busiest of each class, and the 3 with most evidence of late.
        other_contact_count: services beyond those that were told apart.
        peer_count: distinct addresses among the services told apart; a lower bound when ``is_count_exact`` is false.
        is_count_exact: whether every service could be told apart.
        rhythm: beat of the most frequent contact of its class; None with too few flows.
        summary: one plain sentence.
        reasons: what moved the score, at most 5, those of the main class first; empty until it is known.
        sightings: rules and list entries that speak for it too, at most 8, the gravest first.
    """

    incident_id: str
    device: Device
    role: Role
    attack_class: AttackClass
    class_counts: tuple[tuple[AttackClass, int], ...]
    first_seen_at: datetime
    last_seen_at: datetime
    opened_at: datetime
    ended_at: datetime | None
    flow_count: int
    confidence: float
    evidence_nats: float
    has_proven_origin: bool
    detections: tuple[Detection, ...]
    contacts: tuple[Contact, ...]
    other_contact_count: int
    peer_count: int
    is_count_exact: bool
    rhythm: Rhythm | None
    summary: str
    reasons: tuple[Reason, ...] = ()
    sightings: tuple[Sighting, ...] = ()

    @property
    def techniques(self) -> tuple[str, ...]:
        """MITRE ATT&CK technique ids of all classes seen, without repeats."""
        seen = (technique for attack_class, _ in self.class_counts for technique in TECHNIQUES.get(attack_class, ()))
        return tuple(dict.fromkeys(seen))

    @property
    def severity(self) -> Severity:
        """High where the device itself serves an attacker, lower where it is only attacked or calls in vain."""
        if self.attack_class is AttackClass.UNREACHABLE_PEER:
            return Severity.LOW
        if self.role is Role.TARGET:
            return Severity.MEDIUM if self.attack_class in _GRAVE else Severity.LOW
        return Severity.HIGH if self.attack_class in _GRAVE else Severity.MEDIUM


_GRAVE = frozenset(
    {
        AttackClass.C2,
        AttackClass.DOWNLOAD,
        AttackClass.DDOS,
        AttackClass.LATERAL,
        AttackClass.EXFILTRATION,
        AttackClass.EXPLOIT,
        AttackClass.MITM,
    }
)


class ChangeKind(Enum):
    """What happened to an incident; the value is the wire name."""

    OPENED = "opened"
    GREW = "grew"
    EXPLAINED = "explained"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentChange:
    """A step in an incident's life.

    Attributes:
        kind: what happened.
        at: aware UTC, in traffic time.
        incident: as it stood then.
    """

    kind: ChangeKind
    at: datetime
    incident: Incident
