"""Which enforcers a process can hold, each imported only by the process that holds it.

In: settings. Out: the enforcer, and the capability of the kernel that it cannot do without.
Must never: import one kind into the process of another.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from thingwarden.domain.errors import ConfigError
from thingwarden.enforce.leases import LeaseFolder
from thingwarden.enforce.privilege import CAP_NET_ADMIN

if TYPE_CHECKING:
    from thingwarden.domain.ports import Enforcer
    from thingwarden.enforce.leased import Leasable


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One kind of enforcer.

    Attributes:
        module: whose ``build_enforcer(options, held)`` makes it.
        capabilities: of the kernel, that its process keeps.
        is_leased: its acts do not end by themselves, so each is leased before it is applied.
    """

    module: str
    capabilities: frozenset[int] = frozenset()
    is_leased: bool = False


BACKENDS: Final[dict[str, Backend]] = {
    "dry-run": Backend(module="thingwarden.enforce.dryrun"),
    "nftables": Backend(module="thingwarden.enforce.nftables", capabilities=frozenset({CAP_NET_ADMIN})),
    "mosquitto": Backend(module="thingwarden.enforce.mosquitto", is_leased=True),
    "webhook": Backend(module="thingwarden.enforce.webhook", is_leased=True),
}


ENFORCER_KINDS: Final = tuple(BACKENDS)


class _Module(Protocol):
    def build_enforcer(self, options: Mapping[str, Any], held: Collection[str]) -> Enforcer:
        """The enforcer; ``held`` are the ids of an earlier process's leases."""


def build_backend(kind: str, options: Mapping[str, Any], leases: LeaseFolder) -> Enforcer:
    """The enforcer of that kind, behind leases where its acts do not end by themselves.

    Raises:
        ConfigError: there is no such kind, or its options are refused.
    """
    backend = find_backend(kind)
    module = cast(_Module, import_module(backend.module))
    if not backend.is_leased:
        return module.build_enforcer(options, ())
    from thingwarden.enforce.leased import LeasedEnforcer

    held = [lease.lease_id for lease in map(leases.read, leases.ids()) if lease is not None and lease.kind == kind]
    return LeasedEnforcer(cast("Leasable", module.build_enforcer(options, held)), leases)


def find_backend(kind: str) -> Backend:
    """What is known of that kind.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind not in BACKENDS:
        raise ConfigError(f"enforcer {kind!r}", "there is none of that kind", f"there are {', '.join(BACKENDS)}")
    return BACKENDS[kind]
