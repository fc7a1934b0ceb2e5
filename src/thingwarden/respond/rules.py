"""What the operator allows: limits, hosts to spare, what is said of single devices, hours of maintenance.

In: values that the edge has read and checked. Out: ``PolicySettings``, frozen, and what it says of a device.
Must never: let a rule make a safety-critical device less safe; read a clock or a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from typing import Final

from thingwarden.domain.address import IpAddress, IpNetwork, plain_address
from thingwarden.domain.device import CRITICAL_ROLES, Device, DeviceRole
from thingwarden.domain.response import Act

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRule:
    """What the operator says of a device, or of all that a vendor made.

    Attributes:
        label: what people call it.
        addresses, macs, vendors: whom it is about; MACs and their first three bytes in small letters.
        role: what it is for.
        is_monitored: nothing is ordered against it but notifications.
        automatic_up_to: the most drastic act that needs no approval; None for what its role says.
    """

    label: str
    addresses: frozenset[IpAddress] = frozenset()
    macs: frozenset[str] = frozenset()
    vendors: frozenset[str] = frozenset()
    role: DeviceRole = DeviceRole.OTHER
    is_monitored: bool = False
    automatic_up_to: Act | None = None

    def names(self, device: Device) -> bool:
        """Whether it is about this device."""
        mac = (device.mac or "-").lower()
        return (
            mac in self.macs
            or mac[:8] in self.vendors
            or (device.address is not None and plain_address(device.address) in self.addresses)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """Hours in which people work on devices, so that what looks odd there is theirs: acts need approval.

    Attributes:
        label: what people call it.
        devices: labels of device rules; empty for every device.
        days: on which it begins, 0 for Monday to 6 for Sunday.
        begins, ends: local hours; where the end is not after the beginning it is the next day's.
        zone: whose local hours.
    """

    label: str
    devices: frozenset[str] = frozenset()
    days: frozenset[int] = frozenset(range(7))
    begins: time
    ends: time
    zone: tzinfo

    def is_open(self, at: datetime) -> bool:
        """Whether an instant, aware, lies within."""
        local = at.astimezone(self.zone)
        hour = local.time().replace(fold=0)
        if self.begins < self.ends:
            return local.weekday() in self.days and self.begins <= hour < self.ends
        began_yesterday = (local - _DAY).weekday() in self.days and hour < self.ends
        return began_yesterday or (local.weekday() in self.days and hour >= self.begins)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """What the operator allows.

    Attributes:
        is_monitor_only: nothing is ordered but notifications; the rest is refused with that reason.
        devices: what is said of single devices; the first rule that names a device holds.
        role_limits: for devices of a role, the most drastic act that needs no approval.
        maintenance: hours in which acts need approval.
        protected_addresses, protected_macs: hosts that are never a target, besides those learned from traffic.
        allowed_networks, allowed_macs, allowed_vendors, allowed_domains: devices and destinations that no act may
            touch; still reported. Vendors are the first three bytes of a MAC, domains include all below them.
        automatic_up_to: the most drastic act that needs no approval.
        max_ttl_s: above 0; longer wishes are shortened.
        max_devices: devices under automatic restriction at once.
        max_devices_ratio: the same as a share of the network's devices; at least one is always allowed.
        max_blocked_peers: destinations blocked for everybody at once.
        max_decisions_per_minute: automatic restrictions in any 60 seconds.
        max_changes_per_device_hour: automatic restrictions of one device in any hour.
        max_harmless_flows: harmless flows that an automatic act may cost, of those remembered.
        max_harmless_ratio: the same as a share of the harmful flows that it cuts; the larger of both holds.
    """

    is_monitor_only: bool = False
    devices: tuple[DeviceRule, ...] = ()
    role_limits: tuple[tuple[DeviceRole, Act], ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    protected_addresses: frozenset[IpAddress] = frozenset()
    protected_macs: frozenset[str] = frozenset()
    allowed_networks: tuple[IpNetwork, ...] = ()
    allowed_macs: frozenset[str] = frozenset()
    allowed_vendors: frozenset[str] = frozenset()
    allowed_domains: frozenset[str] = frozenset()
    automatic_up_to: Act = Act.QUARANTINE
    max_ttl_s: float = 86_400.0
    max_devices: int = 5
    max_devices_ratio: float = 0.5
    max_blocked_peers: int = 20
    max_decisions_per_minute: int = 20
    max_changes_per_device_hour: int = 12
    max_harmless_flows: int = 20
    max_harmless_ratio: float = 0.5

    def rule_for(self, device: Device) -> DeviceRule:
        """What is said of a device; where nothing is, a rule that says nothing."""
        unnamed = DeviceRule(label=device.name)
        return next((rule for rule in self.devices if rule.names(device)), unnamed)

    def limit_for(self, device: Device) -> tuple[Act, str]:
        """The most drastic act that needs no approval on a device, and which rule says so."""
        rule = self.rule_for(device)
        limits = [(self.automatic_up_to, "orders.automatic_up_to")]
        limits += [(act, f"the limit of the role {role.value}") for role, act in self.role_limits if role is rule.role]
        if rule.automatic_up_to is not None:
            limits.append((rule.automatic_up_to, f"the limit of {rule.label}"))
        if rule.role in CRITICAL_ROLES:
            limits.append((Act.RATE_LIMIT, f"{rule.label} is safety-critical ({rule.role.value})"))
        return min(limits, key=lambda limit: limit[0].severity)

    def open_maintenance(self, device: Device, at: datetime) -> Maintenance | None:
        """The hours of maintenance that an instant, aware, lies in, for a device."""
        label = self.rule_for(device).label
        opened = (item for item in self.maintenance if not item.devices or label in item.devices)
        return next((item for item in opened if item.is_open(at)), None)
