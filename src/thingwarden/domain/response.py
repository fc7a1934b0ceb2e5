"""The plan language: what may be done about an incident, what was wished, ordered, refused, and done.

In: values from ``respond`` and ``enforce``. Out: frozen dataclasses.
Must never: construct a ``Decision`` outside ``respond/policy.py`` (an AST test holds that), or hold an act without end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from thingwarden.domain.device import Device
from thingwarden.domain.flow import IpAddress


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
        client_id: for a broker's client.
        topic_filter: for a broker's topics.
    """

    device: Device | None = None
    peer: IpAddress | None = None
    proto: str | None = None
    port: int | None = None
    is_inbound: bool = False
    packets_per_s: int | None = None
    domain: str | None = None
    client_id: str | None = None
    topic_filter: str | None = None

    def __str__(self) -> str:
        """Plain words, such as ``192.168.1.10 to 203.0.113.5 tcp/6667``."""
        if self.domain is not None or self.client_id is not None:
            return str(self.domain or f"MQTT client {self.client_id}")
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
    Act.MQTT_DENY: ("client_id",),
    Act.BLOCK_PEER: ("peer",),
    Act.QUARANTINE: ("device",),
    Act.ISOLATE: ("device",),
}
"""Fields of ``Target`` that must be given for an act."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why policy did not order what was proposed.

    Attributes:
        proposal: what was proposed.
        reasons: plain sentences, at least one.
        at: aware UTC.
        can_approve: whether an operator may order it all the same.
    """

    proposal: Proposal
    reasons: tuple[str, ...]
    at: datetime
    can_approve: bool = False


class ReceiptStatus(Enum):
    """What became of a decision at an enforcer; the value is the wire name."""

    APPLIED = "applied"
    DRY_RUN = "dry-run"
    REVOKED = "revoked"
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
    """

    decision_id: str
    enforcer: str
    status: ReceiptStatus
    at: datetime
    detail: str
