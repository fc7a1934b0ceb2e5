"""The playbook, with the bounds that policy sets it, as a CACAO playbook for other tools.

In: ``Playbook``, ``PolicySettings``. Out: JSON data of one CACAO 2.0 playbook; the same for the same rules.
Must never: export an act without its condition, its end, or the need to approve it.
Source: OASIS CACAO Security Playbooks 2.0, Committee Specification 01.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final

from thingwarden.domain.incident import Role
from thingwarden.domain.response import Act
from thingwarden.domain.taxonomy import TECHNIQUES, AttackClass
from thingwarden.respond.playbook import Playbook, Rule
from thingwarden.respond.rules import PolicySettings

SPEC_VERSION: Final = "cacao-2.0"
WRITTEN_AT: Final = "2026-11-24T00:00:00.000Z"
"""When the form of this export was last changed; the rules themselves have no date."""

_SPACE: Final = uuid.UUID("6b1de6ee-3a5c-5d0b-9f0e-7b0c7a5d2f11")
_VARIABLES: Final = {
    "__attack__": "Attack class and role, such as c2/offender.",
    "__confidence__": "Mean calibrated probability of the incident's flows, 0 to 1.",
    "__flows__": "Flows of that class in the incident.",
    "__device__": "The device: MAC or address.",
    "__peer__": "The peer that the evidence names.",
    "__service__": "The service that the evidence names, such as tcp/23.",
}
_NUMBERS: Final = {"__confidence__": "float", "__flows__": "integer"}
_COMMANDS: Final = {
    Act.NOTIFY: "Tell the owner about __device__:value.",
    Act.RATE_LIMIT: "Limit {what} to {rate} packets a second.",
    Act.BLOCK_FLOW: "Block {what}.",
    Act.BLOCK_PEER: "Block __peer__:value for every device.",
    Act.QUARANTINE: "Quarantine __device__:value: it keeps gateway, DNS and time.",
    Act.ISOLATE: "Cut __device__:value off.",
}


def encode_cacao(playbook: Playbook, settings: PolicySettings) -> dict[str, Any]:
    """One playbook: a switch over attack class and role, then the rules of each, mildest first."""
    agent, author = _id("individual", "operator"), _id("identity", "thingwarden")
    end, switch, start = _id("end", "end"), _id("switch-condition", "attack"), _id("start", "start")
    steps: dict[str, Any] = {}
    cases = {}
    for attack_class, role in _cases(playbook):
        name = f"{attack_class.value}/{role.value}"
        cases[name] = _chain(name, playbook.rules_for(attack_class, role), settings, agent, end, steps)
    ordered = {
        start: {"type": "start", "name": "An incident opens or grows", "on_completion": switch},
        switch: {"type": "switch-condition", "switch": "__attack__:value", "cases": cases},
        **steps,
        end: {"type": "end", "name": "Policy has judged every act"},
    }
    return {
        "type": "playbook",
        "spec_version": SPEC_VERSION,
        "id": _id("playbook", repr((playbook, settings.automatic_up_to, settings.max_ttl_s))),
        "name": "Thingwarden: graded acts for IoT networks",
        "description": _description(settings),
        "playbook_types": ["mitigation"],
        "playbook_activities": ["deny", "isolate-device"],
        "created_by": author,
        "created": WRITTEN_AT,
        "modified": WRITTEN_AT,
        "revoked": False,
        "labels": sorted({technique for kinds in TECHNIQUES.values() for technique in kinds}),
        "playbook_variables": {
            name: {"type": _NUMBERS.get(name, "string"), "description": text, "external": True}
            for name, text in _VARIABLES.items()
        },
        "workflow_start": start,
        "workflow": ordered,
        "agent_definitions": {agent: {"type": "individual", "name": "Who runs the gateway"}},
    }


def _cases(playbook: Playbook) -> Sequence[tuple[AttackClass, Role]]:
    known = [item for item in AttackClass if item is not AttackClass.UNKNOWN]
    return [(attack_class, role) for attack_class in known for role in Role if playbook.rules_for(attack_class, role)]


def _chain(
    name: str, rules: Sequence[Rule], settings: PolicySettings, agent: str, end: str, steps: dict[str, Any]
) -> str:
    """Add the steps of one case; the id of the first."""
    after = end
    for place, rule in reversed(list(enumerate(rules))):
        condition, action = _id("if-condition", f"{name}/{place}"), _id("action", f"{name}/{place}")
        steps[action] = {
            "type": "action",
            "name": rule.act.value,
            "description": _purpose(rule, settings),
            "commands": [{"type": "manual", "command": _command(rule)}],
            "agent": agent,
        }
        steps[condition] = {
            "type": "if-condition",
            "name": f"{name}: {rule.act.value}?",
            "condition": _condition(rule),
            "on_true": action,
            "on_completion": after,
        }
        after = condition
    return after


def _condition(rule: Rule) -> str:
    return f"__confidence__:value >= {rule.min_confidence:g} AND __flows__:value >= {rule.min_flows}"


def _command(rule: Rule) -> str:
    what = {
        "device": "__device__:value",
        "port": "__device__:value to __service__:value of any peer",
        "peer": "__device__:value to __peer__:value",
        "service": "__device__:value to __peer__:value, __service__:value",
        "few_peers": "__device__:value to each peer that it attacks, where those are fewer than the ports",
        "service_or_peer": "__device__:value to __peer__:value, __service__:value where it has one",
        "port_or_peer": "__device__:value to each port or to each peer that it attacks, whichever are fewer",
    }[rule.scope]
    if rule.role is Role.TARGET and rule.act is Act.RATE_LIMIT:
        what = "__peer__:value to __device__:value, __service__:value"
    return _COMMANDS[rule.act].format(what=what, rate=rule.packets_per_s)


def _purpose(rule: Rule, settings: PolicySettings) -> str:
    approval = " A person must approve it." if rule.act.severity > settings.automatic_up_to.severity else ""
    return f"{rule.reason} It ends after {min(rule.ttl_s, settings.max_ttl_s):g} seconds.{approval}"


def _description(settings: PolicySettings) -> str:
    return (
        "The mildest act that stops the harm, first. Gateway, DNS, DHCP, NTP, protected and allow-listed hosts are "
        "never a target; a victim is never punished; every act ends. Without approval: nothing beyond "
        f"{settings.automatic_up_to.value}, at most {settings.max_devices} devices and {settings.max_blocked_peers} "
        f"blocked peers at once, {settings.max_decisions_per_minute} acts a minute; locks, alarms, medical devices and "
        "PLCs at most a rate limit."
    )


def _id(kind: str, name: str) -> str:
    return f"{kind}--{uuid.uuid5(_SPACE, f'{kind}/{name}')}"
