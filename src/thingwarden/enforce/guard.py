"""The enforcer's own judgement: what it refuses however genuine the order is.

In: a ``Decision``, the time, what the enforcer can do. Out: why it is refused, or nothing.
Must never: trust the process that decided, believe a clock that was set back, import beyond the standard library.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from thingwarden.domain.address import IpAddress, IpNetwork, plain_address
from thingwarden.domain.plan import MAX_TTL_S
from thingwarden.domain.response import TARGET_FIELDS, Act, Capability, Decision

MINUTE_S: Final = 60.0
MAX_AHEAD: Final = timedelta(seconds=1)
"""A decision may be this much younger than the guard's time, since two processes read the clock."""

_LOCAL_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far a wrong core can go.

    Attributes:
        devices: devices restricted at once.
        peers: destinations and domains cut off for every device at once, and peers held off one device.
        decisions_per_minute: restrictions in any 60 seconds.
    """

    devices: int
    peers: int
    decisions_per_minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """What the guard is told at its start, by the operator and never by the core.

    Attributes:
        protected_networks, protected_macs: hosts that no act may touch; a MAC's first three bytes stand for a vendor's.
        automatic: bounds of what policy ordered alone.
        approved: bounds of what a person approved, counted apart.
    """

    protected_networks: tuple[IpNetwork, ...] = ()
    protected_macs: frozenset[str] = frozenset()
    automatic: Bounds = Bounds(devices=10, peers=40, decisions_per_minute=60)
    approved: Bounds = Bounds(devices=100, peers=400, decisions_per_minute=120)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownHosts:
    """What the machine itself knows of the network: never a target either.

    Attributes:
        addresses: its own ones, its routers, its resolvers.
        macs: of its own interfaces, and of those hosts where the neighbour table tells.
    """

    addresses: frozenset[IpAddress] = frozenset()
    macs: frozenset[str] = frozenset()


class GuardClock:
    """Time that never goes back and never goes slower than the machine's uptime.

    A decision that is over by this clock stays over, whatever is done to the wall clock.

    Args:
        least_lead_s: Unix time less uptime, at least; what an earlier run of the same boot had reached.
    """

    def __init__(self, least_lead_s: float = 0.0) -> None:
        self.lead_s = least_lead_s

    def read(self, wall_s: float, boot_s: float) -> float:
        """Unix seconds: the wall clock's, or more where it was ahead before.

        Args:
            wall_s: Unix seconds by the wall clock.
            boot_s: seconds since the machine started, suspension included.
        """
        self.lead_s = max(self.lead_s, wall_s - boot_s)
        return boot_s + self.lead_s


@dataclass(slots=True)
class _Count:
    """What is held of one kind, automatic or approved."""

    bounds: Bounds
    devices: dict[str, set[str]] = field(default_factory=dict)
    peers: dict[str, set[str]] = field(default_factory=dict)
    ordered_at_boot_s: deque[float] = field(default_factory=deque)


class Guard:
    """Judges decisions and counts those in force.

    Args:
        settings: the operator's.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings
        self._macs = frozenset(mac.lower() for mac in settings.protected_macs)
        self._known = KnownHosts()
        self._held: dict[str, Decision] = {}
        self._automatic = _Count(settings.automatic)
        self._approved = _Count(settings.approved)

    @property
    def held(self) -> dict[str, Decision]:
        """By id, what counts as in force."""
        return dict(self._held)

    def holds(self, decision_id: str) -> bool:
        """Whether it counts as in force."""
        return decision_id in self._held

    def learn_hosts(self, known: KnownHosts) -> None:
        """Take over what the machine knows now, instead of what it knew before."""
        macs = frozenset(mac.lower() for mac in known.macs)
        self._known = KnownHosts(addresses=frozenset(map(plain_address, known.addresses)), macs=macs)

    def refusal(self, decision: Decision, now: datetime, boot_s: float, capability: Capability) -> str | None:
        """Why the decision is not put into force; None where nothing speaks against it.

        Args:
            decision: genuine, yet trusted in nothing.
            now: the guard's time.
            boot_s: seconds since the machine started.
            capability: of the enforcer that would carry it out.
        """
        reason = _time_reason(decision, now) or _shape_reason(decision, capability)
        if reason is not None or decision.act is Act.NOTIFY:
            return reason
        return self._protection_reason(decision) or self._bounds_reason(decision, boot_s)

    def hold(self, decision: Decision, boot_s: float) -> None:
        """Count the decision as in force, and as one of this minute."""
        count = self._count(decision)
        if decision.act is not Act.NOTIFY and decision.decision_id not in self._held:
            count.ordered_at_boot_s.append(boot_s)
        self.restore(decision)

    def restore(self, decision: Decision) -> None:
        """Count a decision of an earlier run as in force."""
        if decision.act is Act.NOTIFY:
            return
        self._held[decision.decision_id] = decision
        count = self._count(decision)
        for table, key in ((count.devices, restricted_device(decision)), (count.peers, restricted_peer(decision))):
            if key is not None:
                table.setdefault(key, set()).add(decision.decision_id)

    def restore_rate(self, is_approved: bool, boot_s: float) -> None:
        """Count an order of an earlier run of the same boot; oldest first."""
        (self._approved if is_approved else self._automatic).ordered_at_boot_s.append(boot_s)

    def let_go(self, decision_id: str) -> None:
        """Count the decision as ended; unknown ones are none."""
        decision = self._held.pop(decision_id, None)
        if decision is None:
            return
        count = self._count(decision)
        for table, key in ((count.devices, restricted_device(decision)), (count.peers, restricted_peer(decision))):
            if key is not None:
                table[key].discard(decision_id)
                if not table[key]:
                    del table[key]

    def overdue(self, now: datetime) -> list[Decision]:
        """What is held and over."""
        return [decision for decision in self._held.values() if decision.expires_at <= now]

    def _count(self, decision: Decision) -> _Count:
        return self._automatic if decision.approved_by is None else self._approved

    def _protection_reason(self, decision: Decision) -> str | None:
        target = decision.target
        device = target.device
        named = (None if device is None else device.address, target.peer)
        for address in [plain_address(item) for item in named if item is not None]:
            if address in self._known.addresses or _is_within(address, self._settings.protected_networks):
                return f"{address} is protected"
        mac = device.mac.lower() if device is not None and device.mac is not None else ""
        if mac in self._macs or mac[:8] in self._macs or mac in self._known.macs:
            return f"{mac} is protected"
        if target.peer is not None and _is_many_or_nobody(plain_address(target.peer)):
            return f"{target.peer} is no single host"
        return None

    def _bounds_reason(self, decision: Decision, boot_s: float) -> str | None:
        if decision.decision_id in self._held:
            return None if self._held[decision.decision_id] == decision else "another decision of that id is in force"
        count, kind = self._count(decision), "approved" if decision.approved_by else "automatic"
        device, peer = restricted_device(decision), restricted_peer(decision)
        recent = count.ordered_at_boot_s
        while recent and recent[0] <= boot_s - MINUTE_S:
            recent.popleft()
        if len(recent) >= count.bounds.decisions_per_minute:
            return f"bound reached: {count.bounds.decisions_per_minute} {kind} decisions within a minute"
        if device is not None and device not in count.devices and len(count.devices) >= count.bounds.devices:
            return f"bound reached: {count.bounds.devices} devices under {kind} decisions"
        if peer is not None and peer not in count.peers and len(count.peers) >= count.bounds.peers:
            return f"bound reached: {count.bounds.peers} peers under {kind} decisions"
        return None


def restricted_device(decision: Decision) -> str | None:
    """What the device that the decision restricts is counted as; None where it restricts none."""
    device = decision.target.device
    if decision.act is Act.NOTIFY or device is None or restricted_peer(decision) is not None:
        return None
    return device.mac or (None if device.address is None else str(plain_address(device.address)))


def restricted_peer(decision: Decision) -> str | None:
    """What the peer is counted as that the decision holds off for everybody, or off the device that it protects."""
    target = decision.target
    if decision.act is Act.NOTIFY or (target.device is not None and not target.is_inbound):
        return None
    if target.peer is not None:
        return str(plain_address(target.peer))
    return target.domain if target.device is None else None


def _time_reason(decision: Decision, now: datetime) -> str | None:
    lifetime_s = (decision.expires_at - decision.decided_at).total_seconds()
    if not 0 < lifetime_s <= MAX_TTL_S:
        return f"it lasts {lifetime_s:g} s, allowed is above 0 and up to {MAX_TTL_S:g}"
    if decision.expires_at <= now:
        return f"it ended {(now - decision.expires_at).total_seconds():.0f} s ago; was the clock set back?"
    if decision.decided_at - now > MAX_AHEAD:
        ahead_s = (decision.decided_at - now).total_seconds()
        return f"it was decided {ahead_s:.0f} s in the future; the clocks of core and enforcer differ"
    return None


def _shape_reason(decision: Decision, capability: Capability) -> str | None:
    if decision.act is not Act.NOTIFY and decision.act not in capability.acts:
        return f"{decision.act.value} is beyond the reach of this enforcer ({capability.reach.value})"
    missing = [name for name in TARGET_FIELDS[decision.act] if getattr(decision.target, name) is None]
    if missing:
        return f"{decision.act.value} needs {', '.join(missing)}"
    device = decision.target.device
    if device is not None and device.mac is None and device.address is None:
        return "its device has neither MAC nor address"
    if decision.act is Act.BLOCK_PEER and device is not None:
        return "block_peer is for every device; block_flow is for one"
    return None


def _is_within(address: IpAddress, networks: Iterable[IpNetwork]) -> bool:
    return any(address in network for network in networks)


def _is_many_or_nobody(address: IpAddress) -> bool:
    return address.is_multicast or address.is_unspecified or address.is_loopback or address == _LOCAL_BROADCAST
