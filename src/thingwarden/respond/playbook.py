"""The deterministic proposer: a table from attack class, role and confidence to graded acts.

In: ``Incident`` and the table of ``data/playbook.toml``. Out: ``Proposal``s, mildest first.
Must never: order anything, or say text that did not come from the table.
"""

from __future__ import annotations

import math
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any, Final

from thingwarden.domain.errors import ConfigError
from thingwarden.domain.incident import Contact, Incident, Role
from thingwarden.domain.response import Act, Proposal, Target
from thingwarden.domain.taxonomy import AttackClass

PLAYBOOK_VERSION: Final = 1

MAX_TARGETS: Final = 3
"""Targets that one rule names per incident; the busiest first. More is a case for a milder, wider act."""

EVERY_CLASS: Final = "*"
_SCOPES: Final = ("device", "port", "peer", "service", "port_or_peer", "few_peers", "service_or_peer")
_HAS_PORTS: Final = ("tcp", "udp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row of the table; see the comment at the head of ``data/playbook.toml``."""

    attack_class: AttackClass | None
    role: Role
    act: Act
    scope: str
    ttl_s: float
    reason: str
    min_confidence: float = 0.0
    min_flows: int = 1
    min_contact_flows: int = 1
    enough_contact_ratio: float = math.inf
    packets_per_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Playbook:
    """The table, in the file's order."""

    rules: tuple[Rule, ...]

    def rules_for(self, attack_class: AttackClass, role: Role) -> list[Rule]:
        """Rules of the class in the role, mildest first; an act of the class's own replaces the wildcard's."""
        own = [rule for rule in self.rules if rule.attack_class is attack_class and rule.role is role]
        own_acts = {rule.act for rule in own}
        every = [rule for rule in self.rules if rule.attack_class is None and rule.role is role]
        return sorted([*own, *(rule for rule in every if rule.act not in own_acts)], key=lambda rule: rule.act.severity)


def load_playbook() -> Playbook:
    """The table that ships with the package."""
    return parse_playbook(resources.files("thingwarden").joinpath("data/playbook.toml").read_text("utf-8"))


def parse_playbook(text: str) -> Playbook:
    """Read a table.

    Raises:
        ConfigError: not TOML, another version, an unknown key or value; names the rule by its number.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("playbook", f"not valid TOML: {error}") from error
    if data.get("version") != PLAYBOOK_VERSION:
        raise ConfigError("playbook: version", f"found {data.get('version')!r}, expected {PLAYBOOK_VERSION}")
    rows = data.get("rule", [])
    if set(data) - {"version", "rule"} or not isinstance(rows, list):
        raise ConfigError("playbook", f"unknown keys {sorted(set(data) - {'version', 'rule'})}")
    return Playbook(rules=tuple(_rule(number, row) for number, row in enumerate(rows, 1)))


Skips = Callable[[Act, Target], bool]


def propose(incident: Incident, playbook: Playbook, skips: Skips = lambda act, target: False) -> tuple[Proposal, ...]:
    """What the table would do about an incident.

    Args:
        incident: as it stands.
        playbook: the table.
        skips: whether an act on a target is not to be proposed, because what it is about is answered already.

    Returns:
        Mildest first, without repeats; every class seen in the incident is answered.
    """
    found: dict[tuple[Act, Target], Proposal] = {}
    for attack_class, count in incident.class_counts:
        for rule in playbook.rules_for(attack_class, incident.role):
            if count < rule.min_flows or incident.confidence < rule.min_confidence:
                continue
            for target in _targets(rule, attack_class, incident, skips):
                found.setdefault((rule.act, target), _proposal(rule, target, incident))
    return tuple(sorted(found.values(), key=lambda proposal: proposal.act.severity))


def _proposal(rule: Rule, target: Target, incident: Incident) -> Proposal:
    return Proposal(
        incident_id=incident.incident_id,
        act=rule.act,
        target=target,
        ttl_s=rule.ttl_s,
        reason=rule.reason,
        proposer="playbook",
    )


def _targets(rule: Rule, attack_class: AttackClass, incident: Incident, skips: Skips) -> list[Target]:
    if rule.scope == "device":
        whole = Target(device=incident.device)
        return [] if skips(rule.act, whole) else [whole]
    is_inbound = incident.role is Role.TARGET
    contacts = [
        contact
        for contact in incident.contacts
        if contact.attack_class is attack_class and contact.is_outbound is not is_inbound
    ]
    scope = rule.scope
    if scope in ("port_or_peer", "few_peers"):
        ports, peers = {(item.proto, item.port) for item in contacts}, {item.peer for item in contacts}
        is_wide = len(ports) <= len(peers)
        if is_wide and scope == "few_peers":
            return []
        scope = "port" if is_wide else "peer"
    services = Counter(contact.peer for contact in contacts)
    flow_counts: Counter[Target] = Counter()
    for contact in contacts:
        own = scope
        if scope == "service_or_peer":
            own = "service" if services[contact.peer] == 1 else "peer"
        flow_counts[_target(rule, own, contact, incident, is_inbound)] += contact.flow_count
    enough = min(rule.min_contact_flows, rule.enough_contact_ratio * flow_counts.total())
    busy = [target for target, count in flow_counts.most_common() if count >= enough and not skips(rule.act, target)]
    return busy[:MAX_TARGETS]


def _target(rule: Rule, scope: str, contact: Contact, incident: Incident, is_inbound: bool) -> Target:
    has_port = scope in ("port", "service") and contact.proto in _HAS_PORTS
    return Target(
        device=None if rule.act is Act.BLOCK_PEER else incident.device,
        peer=None if scope == "port" else contact.peer,
        proto=contact.proto if scope in ("port", "service") else None,
        port=contact.port if has_port else None,
        is_inbound=is_inbound and rule.act is not Act.BLOCK_PEER,
        packets_per_s=rule.packets_per_s,
    )


def _rule(number: int, row: Any) -> Rule:
    if not isinstance(row, dict):
        raise ConfigError(f"playbook: rule {number}", "expected a table")
    values = {**row, "attack_class": row.get("class")}
    values.pop("class", None)
    known = {item.name for item in fields(Rule)}
    missing = {"attack_class", "role", "act", "scope", "ttl_s", "reason"} - {
        name for name, value in values.items() if value is not None
    }
    if missing or set(values) - known:
        raise ConfigError(
            f"playbook: rule {number}", f"keys missing or unknown: {sorted(missing | set(values) - known)}"
        )
    try:
        rule = Rule(**{**values, **_enums(values)})
    except ValueError as error:
        raise ConfigError(f"playbook: rule {number}", str(error)) from error
    for problem in _problems(rule):
        raise ConfigError(f"playbook: rule {number}", problem)
    return rule


def _enums(values: dict[str, Any]) -> dict[str, Any]:
    name = values["attack_class"]
    return {
        "attack_class": None if name == EVERY_CLASS else AttackClass(name),
        "role": Role(values["role"]),
        "act": Act(values["act"]),
    }


def _problems(rule: Rule) -> Iterator[str]:
    if rule.scope not in _SCOPES:
        yield f"scope {rule.scope!r} is not one of {', '.join(_SCOPES)}"
    if not _is_number(rule.ttl_s) or rule.ttl_s <= 0:
        yield "ttl_s must be above 0"
    if not _is_number(rule.enough_contact_ratio) or rule.enough_contact_ratio <= 0:
        yield "enough_contact_ratio must be above 0"
    if not isinstance(rule.reason, str) or not rule.reason:
        yield "reason must be a sentence"
    if not _is_number(rule.min_confidence) or not 0 <= rule.min_confidence <= 1:
        yield "min_confidence must be from 0 to 1"
    for name, count in (("min_flows", rule.min_flows), ("min_contact_flows", rule.min_contact_flows)):
        if not isinstance(count, int) or count < 1:
            yield f"{name} must be at least 1"
    if (rule.act is Act.RATE_LIMIT) is not (isinstance(rule.packets_per_s, int) and rule.packets_per_s > 0):
        yield "packets_per_s above 0 belongs to rate_limit, and only there"
    if rule.act in (Act.SINKHOLE, Act.MQTT_DENY):
        yield f"{rule.act.value} needs a name that flows do not carry"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
