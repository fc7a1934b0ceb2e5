"""The policy file: what the operator allows, as one TOML file that is checked as a whole.

In: a TOML file, or the one that ships with the package. Out: ``PolicySettings``; every problem; warnings.
Must never: replace a bad value by a default; accept a rule that makes a safety-critical device less safe.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import time
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Self, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from thingwarden.domain.address import plain_address
from thingwarden.domain.device import CRITICAL_ROLES, DeviceRole
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.response import Act
from thingwarden.respond.rules import DeviceRule, Maintenance, PolicySettings
from thingwarden.setting import (
    ACTS_ALLOWED,
    ADDRESSES_ALLOWED,
    DEVICES_ALLOWED,
    MACS_ALLOWED,
    NETWORKS_ALLOWED,
    Addresses,
    DeviceNames,
    Macs,
    Networks,
    Problem,
    Section,
    is_mac,
    member_of,
    read_act,
    read_toml,
    read_tuple,
    setting,
)

POLICY_VERSION: Final = 1

PACKAGED_POLICY: Final = Path(__file__).resolve().parent / "data" / "policy.toml"
"""The policy that holds where no other is named."""

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_VENDOR: Final = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){2}")
_DOMAIN: Final = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*")
_HOUR: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_LABEL: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,64}")
_VENDORS_ALLOWED: Final = 'list of the first three bytes of MACs, such as "02:00:5e"'
_ROLES_ALLOWED: Final = f"one of {', '.join(role.value for role in DeviceRole)}"


def _vendor(value: object) -> object:
    if not isinstance(value, str) or not _VENDOR.fullmatch(value):
        raise ValueError("a vendor is written as three hexadecimal pairs with colons")
    return value.lower()


def _domain(value: object) -> object:
    if not isinstance(value, str) or not _DOMAIN.fullmatch(value.lower().rstrip(".")):
        raise ValueError("a domain is written in ASCII, without a scheme or a path")
    return value.lower().rstrip(".")


def _label(value: object) -> object:
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        raise ValueError("1 to 64 printable characters are wanted")
    return value


def _hour(value: object) -> object:
    if isinstance(value, time):
        return value
    if not isinstance(value, str) or not _HOUR.fullmatch(value):
        raise ValueError("an hour is written as HH:MM")
    return time.fromisoformat(value)


def _zone(value: object) -> object:
    if isinstance(value, ZoneInfo):
        return value
    if not isinstance(value, str):
        raise ValueError("a time zone is written as text")
    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("this machine knows no time zone of that name") from error


def _day(value: object) -> object:
    if value not in DAYS:
        raise ValueError(f"a day is one of {', '.join(DAYS)}")
    return value


def _role_limits(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    return {DeviceRole(name): read_act(act) for name, act in value.items()}


_Label = Annotated[str, BeforeValidator(_label)]
_Labels = Annotated[tuple[_Label, ...], BeforeValidator(read_tuple)]
_Vendors = Annotated[tuple[Annotated[str, BeforeValidator(_vendor)], ...], BeforeValidator(read_tuple)]
_Domains = Annotated[tuple[Annotated[str, BeforeValidator(_domain)], ...], BeforeValidator(read_tuple)]
_Days = Annotated[tuple[Annotated[str, BeforeValidator(_day)], ...], BeforeValidator(read_tuple)]
_Hour = Annotated[time, BeforeValidator(_hour)]
_ActName = Annotated[Act, BeforeValidator(read_act)]


class Orders(Section):
    """What may be ordered without asking a person."""

    is_monitor_only: bool = setting(False, "Order nothing but notifications; the rest is refused.", "true, false")
    automatic_up_to: _ActName = setting("quarantine", "The most drastic act that needs no approval.", ACTS_ALLOWED)
    max_ttl_s: float = setting(86_400.0, "Longest life of a decision.", "seconds, 1 to 604800", ge=1.0, le=604_800.0)
    max_devices_count: int = setting(5, "Devices restricted at once.", "whole number, 0 to 10000", ge=0, le=10_000)
    max_devices_ratio: float = setting(
        0.5, "The same as a share of the network's devices; one is always allowed.", "number, 0 to 1", ge=0.0, le=1.0
    )
    max_blocked_peers_count: int = setting(
        20, "Destinations blocked for every device at once.", "whole number, 0 to 10000", ge=0, le=10_000
    )
    max_decisions_per_minute: int = setting(
        20, "Restrictions in any 60 seconds.", "whole number, 0 to 10000", ge=0, le=10_000
    )
    max_changes_per_device_hour: int = setting(
        12, "Restrictions of one device in any hour.", "whole number, 0 to 10000", ge=0, le=10_000
    )
    max_harmless_flows_count: int = setting(
        20,
        "Harmless flows that an act may cost, of those remembered.",
        "whole number, 0 to 1000000",
        ge=0,
        le=1_000_000,
    )
    max_harmless_ratio: float = setting(
        0.5,
        "The same as a share of the harmful flows that it cuts; the larger of both holds.",
        "number, 0 to 100",
        ge=0.0,
        le=100.0,
    )


class Protected(Section):
    """Hosts that are never the target of an act, besides those that are learned."""

    gateways: Addresses = setting([], "Routers of the network.", ADDRESSES_ALLOWED)
    resolvers: Addresses = setting([], "DNS servers of the network.", ADDRESSES_ALLOWED)
    operator_hosts: Addresses = setting([], "Machines from which people administer the network.", ADDRESSES_ALLOWED)
    macs: Macs = setting([], "Hosts by MAC.", MACS_ALLOWED)


class Allowed(Section):
    """Devices and destinations that no act may touch; what they do is still reported."""

    networks: Networks = setting([], "By address or network.", NETWORKS_ALLOWED)
    macs: Macs = setting([], "Devices by MAC.", MACS_ALLOWED)
    vendors: _Vendors = setting([], "Devices by who made them.", _VENDORS_ALLOWED)
    domains: _Domains = setting(
        [], "Destinations by name, with all below it; live only.", 'list of domains such as "example.org"'
    )


class DeviceEntry(Section):
    """What is said of a device; the first entry that names it holds."""

    label: _Label = Field(description="What people call it.", json_schema_extra={"allowed": "1 to 64 characters"})
    hosts: DeviceNames = setting([], "The device's addresses and MACs.", DEVICES_ALLOWED)
    vendors: _Vendors = setting([], "All devices of these vendors.", _VENDORS_ALLOWED)
    role: Annotated[DeviceRole, member_of(DeviceRole)] = setting("other", "What it is for.", _ROLES_ALLOWED)
    is_monitored: bool = setting(False, "Order nothing against it but notifications.", "true, false")
    automatic_up_to: _ActName | None = setting(
        None, "The most drastic act against it that needs no approval.", ACTS_ALLOWED
    )

    @model_validator(mode="after")
    def _is_about_somebody(self) -> Self:
        if not self.hosts and not self.vendors:
            raise ValueError("it names no device: give hosts or vendors")
        if self.role in CRITICAL_ROLES and self.automatic_up_to is not None:
            _check_critical(self.role, self.automatic_up_to)
        return self


class MaintenanceEntry(Section):
    """Hours in which people work on devices: acts need approval."""

    label: _Label = Field(description="What people call it.", json_schema_extra={"allowed": "1 to 64 characters"})
    devices: _Labels = setting([], "Labels of device entries; none for every device.", "list of labels")
    days: _Days = setting(list(DAYS), "On which it begins.", f"list of {', '.join(DAYS)}")
    begins: _Hour = Field(description="Local hour.", json_schema_extra={"allowed": "HH:MM"})
    ends: _Hour = Field(
        description="Local hour; the next day's where it is not after the beginning.",
        json_schema_extra={"allowed": "HH:MM"},
    )
    zone: Annotated[ZoneInfo, BeforeValidator(_zone)] = Field(
        description="Whose local hours.",
        json_schema_extra={"allowed": "name of a time zone such as Europe/Berlin or UTC"},
    )

    @model_validator(mode="after")
    def _is_sometimes(self) -> Self:
        if not self.days:
            raise ValueError("it is on no day")
        return self


class PolicyFile(Section):
    """The whole file."""

    model_config = Section.model_config | {"arbitrary_types_allowed": True}

    version: int = setting(POLICY_VERSION, "Version of this format.", str(POLICY_VERSION), ge=1, le=POLICY_VERSION)
    orders: Orders = Orders()
    protected: Protected = Protected()
    allowed: Allowed = Allowed()
    roles: Annotated[dict[DeviceRole, Act], BeforeValidator(_role_limits)] = setting(
        {},
        "For devices of a role, the most drastic act that needs no approval.",
        f"role = act; roles: {_ROLES_ALLOWED}",
    )
    device: Annotated[tuple[DeviceEntry, ...], BeforeValidator(read_tuple)] = ()
    maintenance: Annotated[tuple[MaintenanceEntry, ...], BeforeValidator(read_tuple)] = ()

    @model_validator(mode="after")
    def _rules_fit_together(self) -> Self:
        labels = [entry.label for entry in self.device]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two devices are called {label!r}")
        for entry in self.maintenance:
            for label in entry.devices:
                if label not in labels:
                    raise ValueError(f"maintenance {entry.label!r} is about {label!r}, and no device is called so")
        for role, act in self.roles.items():
            if role in CRITICAL_ROLES:
                _check_critical(role, act)
        return self


def load_policy(file: Path | None) -> PolicySettings:
    """What the operator allows; what the package allows where no file is named.

    Raises:
        ConfigError: unreadable, not TOML, or a rule is refused; names file, key, value and what is allowed.
    """
    chosen = file or PACKAGED_POLICY
    problems = list(_problems(chosen))
    if problems:
        first, *rest = problems
        shown = f" = {first.value}" if first.value else ""
        hint = f"allowed: {first.allowed}" if first.allowed else ""
        if rest:
            hint = f"{hint}; {len(rest)} more, see: thingwarden policy check {chosen}".removeprefix("; ")
        raise ConfigError(f"policy {chosen}, {first.key}{shown}", first.why, hint)
    return _settings(PolicyFile.model_validate(_read(chosen)))


def check_policy(file: Path | None) -> tuple[list[Problem], list[str]]:
    """Everything wrong with a file, and, where nothing is, what in it is without effect or unwise.

    Raises:
        ConfigError: it cannot be read or is not TOML.
    """
    chosen = file or PACKAGED_POLICY
    problems = list(_problems(chosen))
    return problems, [] if problems else list(_warnings(PolicyFile.model_validate(_read(chosen))))


def _read(file: Path) -> dict[str, Any]:
    return read_toml(file, "policy", "see: thingwarden policy default")


def _check_critical(role: DeviceRole, act: Act) -> None:
    if act.severity > Act.RATE_LIMIT.severity:
        raise ValueError(f"{role.value} is safety-critical: nothing beyond rate_limit without approval")


def _problems(file: Path) -> Iterator[Problem]:
    try:
        PolicyFile.model_validate(_read(file))
    except ValidationError as error:
        yield from (_problem(detail) for detail in error.errors())


def _problem(detail: ErrorDetails) -> Problem:
    place, allowed = [str(part) for part in detail["loc"]], ""
    model: type[BaseModel] | None = PolicyFile
    for part in place:
        if part.isdigit() or model is None:
            continue
        field = model.model_fields.get(part)
        if field is None:
            allowed = f"one of {', '.join(model.model_fields)}"
            break
        extra = field.json_schema_extra
        allowed = str(extra["allowed"]) if isinstance(extra, dict) else ""
        model = next((kind for kind in (field.annotation, *get_args(field.annotation)) if _is_section(kind)), None)
    key = ".".join(str(int(part) + 1) if part.isdigit() else part for part in place) or "(whole file)"
    if detail["type"] == "extra_forbidden":
        return Problem(key=key, value="", why="unknown key", allowed=allowed)
    shown = "" if isinstance(detail["input"], Mapping | BaseModel) else repr(detail["input"])
    why = detail["msg"].removeprefix("Value error, ")
    return Problem(key=key, value=shown, why=why[:1].lower() + why[1:], allowed=allowed)


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _settings(file: PolicyFile) -> PolicySettings:
    orders, protected, allowed = file.orders, file.protected, file.allowed
    return PolicySettings(
        is_monitor_only=orders.is_monitor_only,
        devices=tuple(_device_rule(entry) for entry in file.device),
        role_limits=tuple(file.roles.items()),
        maintenance=tuple(_maintenance(entry) for entry in file.maintenance),
        protected_addresses=frozenset((*protected.gateways, *protected.resolvers, *protected.operator_hosts)),
        protected_macs=frozenset(protected.macs),
        allowed_networks=allowed.networks,
        allowed_macs=frozenset(allowed.macs),
        allowed_vendors=frozenset(allowed.vendors),
        allowed_domains=frozenset(allowed.domains),
        automatic_up_to=orders.automatic_up_to,
        max_ttl_s=orders.max_ttl_s,
        max_devices=orders.max_devices_count,
        max_devices_ratio=orders.max_devices_ratio,
        max_blocked_peers=orders.max_blocked_peers_count,
        max_decisions_per_minute=orders.max_decisions_per_minute,
        max_changes_per_device_hour=orders.max_changes_per_device_hour,
        max_harmless_flows=orders.max_harmless_flows_count,
        max_harmless_ratio=orders.max_harmless_ratio,
    )


def _device_rule(entry: DeviceEntry) -> DeviceRule:
    macs = frozenset(host for host in entry.hosts if is_mac(host))
    return DeviceRule(
        label=entry.label,
        addresses=frozenset(plain_address(ip_address(host)) for host in entry.hosts if host not in macs),
        macs=macs,
        vendors=frozenset(entry.vendors),
        role=entry.role,
        is_monitored=entry.is_monitored,
        automatic_up_to=entry.automatic_up_to,
    )


def _maintenance(entry: MaintenanceEntry) -> Maintenance:
    return Maintenance(
        label=entry.label,
        devices=frozenset(entry.devices),
        days=frozenset(DAYS.index(day) for day in entry.days),
        begins=entry.begins,
        ends=entry.ends,
        zone=entry.zone,
    )


def _warnings(file: PolicyFile) -> Iterator[str]:
    """Rules that contradict each other, never take effect, or can be cheated."""
    policy, orders = _settings(file), file.orders
    seen: dict[str, str] = {}
    for place, entry in enumerate(file.device, 1):
        for host in (*entry.hosts, *entry.vendors):
            if host in seen:
                yield f"device.{place} ({entry.label}): {host} is already {seen[host]}'s, whose entry holds"
            seen.setdefault(host, entry.label)
        yield from _device_warnings(f"device.{place} ({entry.label})", policy.devices[place - 1], policy)
        if entry.automatic_up_to is not None and entry.automatic_up_to.severity > orders.automatic_up_to.severity:
            yield (
                f"device.{place} ({entry.label}): {entry.automatic_up_to.value} is never reached, "
                f"orders.automatic_up_to is {orders.automatic_up_to.value}"
            )
    for role, act in file.roles.items():
        if act.severity > orders.automatic_up_to.severity:
            yield f"roles.{role.value}: never reached, orders.automatic_up_to is {orders.automatic_up_to.value}"
        if not any(entry.role is role for entry in file.device):
            yield f"roles.{role.value}: no device has this role"
    if file.allowed.vendors:
        yield "allowed.vendors: a device chooses its own MAC; whoever knows this list can hide behind it"
    for network in file.allowed.networks:
        if network.prefixlen < (8 if network.version == 4 else 16):
            yield f"allowed.networks: {network} spares a large part of the internet"
    if orders.max_decisions_per_minute == 0 or orders.max_devices_count == 0:
        yield "orders: nothing is ever ordered by itself; is_monitor_only says so more plainly"


def _device_warnings(where: str, rule: DeviceRule, policy: PolicySettings) -> Iterator[str]:
    spared = [str(item) for item in rule.addresses if any(item in network for network in policy.allowed_networks)]
    spared += [mac for mac in rule.macs if mac in policy.allowed_macs or mac[:8] in policy.allowed_vendors]
    spared += [str(item) for item in rule.addresses if item in policy.protected_addresses]
    spared += [mac for mac in rule.macs if mac in policy.protected_macs]
    for host in sorted(spared):
        yield f"{where}: {host} is never touched anyway, it is protected or on the allow list"
    if rule.is_monitored and rule.automatic_up_to is not None:
        yield f"{where}: automatic_up_to has no effect in monitor mode"
