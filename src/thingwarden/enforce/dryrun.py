"""The enforcer that changes nothing: says which firewall rule a decision would have become.

In: ``Decision``. Out: ``Receipt`` with status ``dry-run``.
Must never: touch the network, or claim that an act is in force.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from thingwarden.domain.errors import ConfigError
from thingwarden.domain.response import (
    ACTS_WITHIN,
    Act,
    Capability,
    Decision,
    Reach,
    Receipt,
    ReceiptStatus,
    Target,
)


class DryRunEnforcer:
    """Answers every decision with what would have been done.

    Args:
        reach: where the enforcer would stand that it speaks for.
    """

    name = "dry-run"

    def __init__(self, reach: Reach = Reach.GATEWAY) -> None:
        self.capability = Capability(reach=reach, acts=ACTS_WITHIN[reach], ends_by_itself=True)

    def apply(self, decision: Decision, now: datetime) -> Receipt:
        """Say what would be put into force."""
        return self._receipt(decision, now, f"nothing changed; would be: {describe_rule(decision)}")

    def revoke(self, decision: Decision, now: datetime) -> Receipt:
        """Say that there is nothing to undo."""
        return self._receipt(decision, now, "nothing to undo; nothing had changed", ReceiptStatus.REVOKED)

    def in_force(self, now: datetime) -> tuple[Receipt, ...]:
        """Nothing ever is."""
        return ()

    def release_all(self, now: datetime) -> tuple[Receipt, ...]:
        """Nothing is held."""
        return ()

    def _receipt(
        self, decision: Decision, now: datetime, detail: str, status: ReceiptStatus = ReceiptStatus.DRY_RUN
    ) -> Receipt:
        return Receipt(decision_id=decision.decision_id, enforcer=self.name, status=status, at=now, detail=detail)


def build_enforcer(options: Mapping[str, Any], _held: Collection[str]) -> DryRunEnforcer:
    """The enforcer by its process's options.

    Raises:
        ConfigError: an option is refused.
    """
    try:
        return DryRunEnforcer(Reach(options.get("reach", Reach.GATEWAY.value)))
    except ValueError as error:
        raise ConfigError("the dry run's reach", str(error), "gateway, bridge, host or mirror") from error


def describe_rule(decision: Decision) -> str:
    """The nftables rule that the decision amounts to; in words for acts that no firewall enforces."""
    target = decision.target
    if decision.act is Act.NOTIFY:
        return "a notification"
    if decision.act in (Act.SINKHOLE, Act.MQTT_DENY):
        return f"{decision.act.value} of {target}"
    lifetime_s = int((decision.expires_at - decision.decided_at).total_seconds())
    return f'nft {_rule_text(decision)} comment "{decision.decision_id}" for {lifetime_s} s'


def _rule_text(decision: Decision) -> str:
    target = decision.target
    if decision.act is Act.BLOCK_PEER and target.peer is not None:
        family = _family(target.peer)
        return f"{family} saddr {target.peer} drop; {family} daddr {target.peer} drop"
    matches = " ".join(part for part in (_device_match(target), _peer_match(target), _service_match(target)) if part)
    if decision.act is Act.RATE_LIMIT:
        return f"{matches} limit rate over {target.packets_per_s}/second drop"
    if decision.act is Act.QUARANTINE:
        return "; ".join(f"{matches} {rest}" for rest in _quarantine_rests(target))
    return f"{matches} drop"


def _quarantine_rests(target: Target) -> list[str]:
    """What a quarantined device may not reach, in each family that the device's own match can meet."""
    rests = {4: "ip daddr != @infrastructure4 drop", 6: "ip6 daddr != @infrastructure6 drop"}
    device = target.device
    if device is None or device.mac is not None or device.address is None:
        return list(rests.values())
    return [rests[device.address.version]]


def _device_match(target: Target) -> str:
    device = target.device
    if device is None:
        return ""
    if device.mac is not None:
        return f"ether {'daddr' if target.is_inbound else 'saddr'} {device.mac}"
    return "" if device.address is None else f"{_family(device.address)} {_end(not target.is_inbound)} {device.address}"


def _peer_match(target: Target) -> str:
    return "" if target.peer is None else f"{_family(target.peer)} {_end(target.is_inbound)} {target.peer}"


def _service_match(target: Target) -> str:
    if target.port is not None:
        return f"{target.proto} dport {target.port}"
    return "" if target.proto is None else f"meta l4proto {'icmpv6' if target.proto == 'icmp6' else target.proto}"


def _end(is_source: bool) -> str:
    return "saddr" if is_source else "daddr"


def _family(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return "ip" if address.version == 4 else "ip6"
