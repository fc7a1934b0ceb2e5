"""Cases that a policy must pass: what must be ordered, what must not, and why not.

In: a TOML file of cases, ``PolicySettings``. Out: for each case what was expected and what policy said.
Must never: pass a case that expects a reason which policy did not give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, ValidationError

from thingwarden.domain.device import Device
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.incident import Role
from thingwarden.domain.response import ACTS_WITHIN, Act, Capability, Cost, Reach, Refusal
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.respond.policy import NetworkView
from thingwarden.respond.rehearse import Rehearsal, Verdict, rehearse
from thingwarden.respond.rules import PolicySettings
from thingwarden.setting import (
    Address,
    Addresses,
    Mac,
    Macs,
    Section,
    member_of,
    read_act,
    read_toml,
    read_tuple,
    setting,
)

CASES_VERSION: Final = 1


def _utc(value: object) -> object:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


class _CostEntry(Section):
    """What the act would have cut."""

    harmful_flow_count: int = Field(0, ge=0)
    harmless_flow_count: int = Field(0, ge=0)
    others_flow_count: int = Field(0, ge=0)


class _Case(Section):
    """One case."""

    name: str
    why: str = ""
    act: Annotated[Act, BeforeValidator(read_act)]
    expect: Annotated[Verdict, member_of(Verdict)]
    reason: str = ""
    address: Address | None = None
    mac: Mac | None = None
    role: Annotated[Role, member_of(Role)] = Role.OFFENDER
    attack: Annotated[AttackClass, member_of(AttackClass)] = AttackClass.C2
    peer: Address | None = None
    proto: str | None = None
    port: int | None = None
    is_proven: bool = True
    approved_by: str | None = None
    at: Annotated[datetime, BeforeValidator(_utc)] = datetime(2026, 1, 14, 12, tzinfo=UTC)
    cost: _CostEntry | None = None
    devices: Addresses = ()
    learned: Addresses = ()
    learned_macs: Macs = ()
    named: Addresses = ()
    reaches: Annotated[tuple[Annotated[Reach, member_of(Reach)], ...], BeforeValidator(read_tuple)] | None = None


class _Cases(Section):
    """The whole file."""

    version: int = Field(CASES_VERSION, ge=1, le=CASES_VERSION)
    case: Annotated[tuple[_Case, ...], BeforeValidator(read_tuple)] = setting((), "Cases.", "tables", min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What came of a case.

    Attributes:
        name, why: as in the file.
        expected, found: what should become of the act, and what does.
        wanted_reason: text that one of the reasons must hold; empty for none.
        reasons: policy's; none where it orders.
    """

    name: str
    why: str
    expected: Verdict
    found: Verdict
    wanted_reason: str
    reasons: tuple[str, ...]

    @property
    def has_passed(self) -> bool:
        """Whether policy did what was expected, for the reason that was expected."""
        is_said = not self.wanted_reason or any(self.wanted_reason in reason for reason in self.reasons)
        return self.expected is self.found and is_said


def run_cases(file: Path, settings: PolicySettings) -> Iterator[CaseResult]:
    """Judge every case of a file.

    Raises:
        ConfigError: unreadable, not TOML, or a case is refused; names file, case and key.
    """
    try:
        cases = _Cases.model_validate(read_toml(file, "cases", "see: docs/policy.md"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part + 1) if isinstance(part, int) else part for part in first["loc"])
        raise ConfigError(f"cases {file}, {place}", first["msg"].lower(), "see: docs/policy.md") from error
    for case in cases.case:
        yield _result(case, settings)


def _result(case: _Case, settings: PolicySettings) -> CaseResult:
    found, judged = rehearse(_rehearsal(case), view=_view(case), settings=settings, now=case.at.astimezone(UTC))
    return CaseResult(
        name=case.name,
        why=case.why,
        expected=case.expect,
        found=found,
        wanted_reason=case.reason,
        reasons=judged.reasons if isinstance(judged, Refusal) else (),
    )


def _rehearsal(case: _Case) -> Rehearsal:
    return Rehearsal(
        act=case.act,
        device=Device(index=1, mac=case.mac, address=case.address),
        role=case.role,
        attack_class=case.attack,
        peer=case.peer,
        proto=case.proto,
        port=case.port,
        is_proven=case.is_proven,
        cost=None if case.cost is None else Cost(over_s=3600.0, **case.cost.model_dump()),
        approved_by=case.approved_by,
    )


def _view(case: _Case) -> NetworkView:
    others = (Device(index=place, mac=None, address=address) for place, address in enumerate(case.devices, 2))
    capabilities = None if case.reaches is None else tuple(
        Capability(reach=reach, acts=ACTS_WITHIN[reach], ends_by_itself=True) for reach in case.reaches
    )  # fmt: skip
    return NetworkView(
        devices=(Device(index=1, mac=case.mac, address=case.address), *others),
        protected_addresses=frozenset(case.learned),
        protected_macs=frozenset(case.learned_macs),
        named_addresses=frozenset(case.named),
        capabilities=capabilities,
    )
