"""The plan language: what may be done about an incident, what was wished, ordered, refused, and done.

In: values from ``respond`` and ``enforce``. Out: frozen dataclasses.
Must never: construct a ``Decision`` outside ``respond/policy.py`` (an AST test holds that), or hold an act without end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from thingwarden.domain.address import IpAddress
from thingwarden.domain.device import Device


class Act(Enum):
    """What can be done; the value is the wire name, the order is from mild to drastic."""

    NOTIFY = "notify"
    RATE_LIMIT = "rate_limit"
    BLOCK_FLOW = "block_flow"
    SINKHOLE = "sinkhole"
    MQTT_DENY = "mqtt_deny"
    BLOCK_PEER = "block_peer"
    QUARANTINE = "quarantine"
    ISOLATE = "isolate"

    @property
    def severity(self) -> int:
        """Place in the order from mild, 0, to drastic."""
        return _ACT_ORDER[self]


_ACT_ORDER: Final = {act: place for place, act in enumerate(Act)}


class Access(Enum):
    """What a broker's client wants with a topic; the value is the wire name."""

    CONNECT = "connect"
    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an act is done to; the fields that an act needs are listed in ``TARGET_FIELDS``.

    Attributes:
        device: whose traffic is restricted; None restricts every device's.
        peer: the address that is no longer reached, or no longer heard.
        proto: ``tcp`` or ``udp``; None for every protocol.
        port: the responder's port, 0 to 65535; None for every port.
        is_inbound: the flow is begun by the peer, and the device is what is protected.
        packets_per_s: for a rate limit, above 0.
        domain: for a sinkhole.
        username: the login of a broker's client.
        topic_filter: the broker's topics that are denied; None for all.
        access: what is denied there; None for everything that the login may do.
    """

    device: Device | None = None
    peer: IpAddress | None = None
    proto: str | None = None
    port: int | None = None
    is_inbound: bool = False
    packets_per_s: int | None = None
    domain: str | None = None
    username: str | None = None
    topic_filter: str | None = None
    access: Access | None = None

    def __str__(self) -> str:
        """Plain words, such as ``192.168.1.10 to 203.0.113.5 tcp/6667``."""
        if self.domain is not None:
            return self.domain
        if self.username is not None:
            return f"the broker's login of {self.device.name if self.device else 'a client'}"
        service = f" {self.proto}/{self.port}" if self.port is not None else f" {self.proto}" if self.proto else ""
        device = self.device.name if self.device else "every device"
        peer = str(self.peer) if self.peer else "any address" if service else ""
        if not peer:
            return device
        return f"{peer} to {device}{service}" if self.is_inbound else f"{device} to {peer}{service}"


TARGET_FIELDS: Final[dict[Act, tuple[str, ...]]] = {
    Act.NOTIFY: (),
    Act.RATE_LIMIT: ("device", "packets_per_s"),
    Act.BLOCK_FLOW: ("device", "peer"),
    Act.SINKHOLE: ("domain",),
    Act.MQTT_DENY: ("device", "username"),
    Act.BLOCK_PEER: ("peer",),
    Act.QUARANTINE: ("device",),
    Act.ISOLATE: ("device",),
}
"""Fields of ``Target`` that must be given for an act."""


class Reach(Enum):
    """Where an enforcer stands, and so whose traffic it can cut; the value is the wire name."""

    GATEWAY = "gateway"
    BRIDGE = "bridge"
    HOST = "host"
    BROKER = "broker"
    RESOLVER = "resolver"
    REMOTE = "remote"
    MIRROR = "mirror"


_FIREWALL_ACTS: Final = frozenset({Act.RATE_LIMIT, Act.BLOCK_FLOW, Act.BLOCK_PEER, Act.QUARANTINE, Act.ISOLATE})

ACTS_WITHIN: Final[dict[Reach, frozenset[Act]]] = {
    Reach.GATEWAY: _FIREWALL_ACTS,
    Reach.BRIDGE: _FIREWALL_ACTS,
    Reach.HOST: _FIREWALL_ACTS,
    Reach.BROKER: frozenset({Act.MQTT_DENY}),
    Reach.RESOLVER: frozenset({Act.SINKHOLE}),
    Reach.REMOTE: _FIREWALL_ACTS | {Act.MQTT_DENY, Act.SINKHOLE},
    Reach.MIRROR: frozenset(),
}
"""Acts that an enforcer can put into force from there; a mirror port shows copies and cuts nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """What an enforcer is able to do; policy plans within it.

    Attributes:
        reach: where it stands.
        acts: what it puts into force, a part of ``ACTS_WITHIN[reach]``.
        ends_by_itself: an act ends at its instant even if every process of ours is gone.
    """

    reach: Reach
    acts: frozenset[Act]
    ends_by_itself: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an act would have cut, had it been in force over the traffic remembered.

    Attributes:
        over_s: seconds of traffic that were looked at.
        harmful_flow_count: flows of the incident's evidence that it would have cut.
        harmless_flow_count: other flows of the device that it would have cut.
        others_flow_count: flows of other devices that it would have cut.
        services: the harmless services that it would have cut most, such as ``udp/123``, at most 3.
    """

    over_s: float
    harmful_flow_count: int
    harmless_flow_count: int
    others_flow_count: int
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What somebody wishes to be done; worth nothing until policy has judged it.

    Attributes:
        incident_id: the incident that it answers.
        act, target: what, to whom.
        ttl_s: seconds that it should last.
        reason: one plain sentence; never text that an attacker chose.
        proposer: ``playbook``, ``model`` or ``operator``.
    """

    incident_id: str
    act: Act
    target: Target
    ttl_s: float
    reason: str
    proposer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What policy orders; always ends.

    Attributes:
        decision_id: 12 hexadecimal digits, the same for the same act, target, incident and instant.
        incident_id, act, target, reason, proposer: as proposed.
        decided_at, expires_at: aware UTC; the second is later than the first.
        approved_by: who allowed what policy would not order alone; None where policy ordered alone.
        replaces: id of the decision whose place it takes, without a moment between; None where it is new.
        cost: what it would have cut lately; None where nothing is remembered.
    """

    decision_id: str
    incident_id: str
    act: Act
    target: Target
    reason: str
    proposer: str
    decided_at: datetime
    expires_at: datetime
    approved_by: str | None = None
    replaces: str | None = None
    cost: Cost | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why policy did not order what was proposed.

    Attributes:
        proposal: what was proposed.
        reasons: plain sentences, at least one.
        at: aware UTC.
        can_approve: whether an operator may order it all the same.
        cost: what it would have cut lately; None where nothing is remembered.
    """

    proposal: Proposal
    reasons: tuple[str, ...]
    at: datetime
    can_approve: bool = False
    cost: Cost | None = None


class ReceiptStatus(Enum):
    """What became of a decision at an enforcer; the value is the wire name.

    ``PENDING`` is neither done nor failed: whoever must confirm it has not yet, and ``in_force`` shows it once he has.
    """

    PENDING = "pending"
    APPLIED = "applied"
    DRY_RUN = "dry-run"
    REVOKED = "revoked"
    EXPIRED = "expired"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What an enforcer did.

    Attributes:
        decision_id: of the decision.
        enforcer: its name.
        status: what became of it.
        at: aware UTC.
        detail: what was changed, or would have been, or why it failed.
        packet_count, byte_count: what the act has cut so far; None where the enforcer cannot count.
    """

    decision_id: str
    enforcer: str
    status: ReceiptStatus
    at: datetime
    detail: str
    packet_count: int | None = None
    byte_count: int | None = None
