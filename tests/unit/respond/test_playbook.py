"""The table: what it proposes, and what it refuses to be."""

from __future__ import annotations

import pytest

from thingwarden.domain.errors import ConfigError
from thingwarden.domain.incident import Incident, Role
from thingwarden.domain.response import Act
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.respond.playbook import MAX_TARGETS, load_playbook, parse_playbook, propose
from thingwarden.testing import build_contact, build_incident

PLAYBOOK = load_playbook()
RULE = """
version = 1
[[rule]]
class = "scan"
role = "offender"
act = "rate_limit"
scope = "port"
packets_per_s = 1
ttl_s = 60
reason = "Because."
"""


def acts_of(incident: Incident) -> list[tuple[Act, str]]:
    return [(proposal.act, str(proposal.target)) for proposal in propose(incident, PLAYBOOK)]


def incident_of(
    attack_class: AttackClass, role: Role = Role.OFFENDER, flow_count: int = 57, **changes: object
) -> Incident:
    contact = build_contact(attack_class=attack_class, flow_count=flow_count, is_outbound=role is Role.OFFENDER)
    values = {"contacts": (contact,), "class_counts": ((attack_class, flow_count),)} | changes
    return build_incident(attack_class=attack_class, role=role, flow_count=flow_count, **values)


def test_the_controller_is_blocked_and_nothing_else() -> None:
    assert acts_of(incident_of(AttackClass.C2)) == [
        (Act.NOTIFY, "192.168.1.10"),
        (Act.BLOCK_FLOW, "192.168.1.10 to 203.0.113.5 tcp/6667"),
    ]


def test_a_short_scan_is_slowed_a_long_one_quarantined() -> None:
    assert [act for act, _ in acts_of(incident_of(AttackClass.SCAN))] == [Act.NOTIFY, Act.RATE_LIMIT]
    long = incident_of(AttackClass.SCAN, flow_count=500)
    assert [act for act, _ in acts_of(long)] == [Act.NOTIFY, Act.RATE_LIMIT, Act.QUARANTINE]


def test_a_scan_is_slowed_by_ports_or_by_peers_whichever_are_fewer() -> None:
    wide = tuple(build_contact(f"203.0.113.{n}", port=23, attack_class=AttackClass.SCAN) for n in range(1, 9))
    deep = tuple(build_contact(port=n, attack_class=AttackClass.SCAN) for n in range(1, 9))
    assert acts_of(incident_of(AttackClass.SCAN, contacts=wide))[1:] == [
        (Act.RATE_LIMIT, "192.168.1.10 to any address tcp/23")
    ]
    assert acts_of(incident_of(AttackClass.SCAN, contacts=deep))[1:] == [
        (Act.RATE_LIMIT, "192.168.1.10 to 203.0.113.5"),
        (Act.BLOCK_FLOW, "192.168.1.10 to 203.0.113.5"),
    ]


def test_a_flood_is_answered_at_its_service_or_where_it_has_several_at_its_destination() -> None:
    service = "192.168.1.10 to 203.0.113.5 tcp/6667"
    assert acts_of(incident_of(AttackClass.DDOS))[1:] == [(Act.RATE_LIMIT, service), (Act.BLOCK_FLOW, service)]
    assert acts_of(incident_of(AttackClass.DDOS, confidence=0.7))[1:] == [(Act.RATE_LIMIT, service)]
    wide = tuple(build_contact(port=n, attack_class=AttackClass.DDOS) for n in range(1, 9))
    assert {target for _, target in acts_of(incident_of(AttackClass.DDOS, contacts=wide))[1:]} == {
        "192.168.1.10 to 203.0.113.5"
    }


def test_little_confidence_only_notifies() -> None:
    assert [act for act, _ in acts_of(incident_of(AttackClass.C2, confidence=0.3))] == [Act.NOTIFY]


@pytest.mark.parametrize("attack_class", [item for item in AttackClass if item is not AttackClass.BENIGN])
def test_of_a_victim_only_the_attacker_is_named(attack_class: AttackClass) -> None:
    proposals = propose(incident_of(attack_class, Role.TARGET), PLAYBOOK)
    assert [proposal.act for proposal in proposals] == [Act.NOTIFY, Act.RATE_LIMIT, Act.BLOCK_PEER]
    assert all(str(proposal.target.peer) == "203.0.113.5" for proposal in proposals[1:])


def test_every_class_seen_is_answered_with_its_own_contacts() -> None:
    contacts = (
        build_contact("203.0.113.5", attack_class=AttackClass.C2),
        build_contact("198.51.100.9", port=80, attack_class=AttackClass.DDOS),
    )
    counts = ((AttackClass.DDOS, 40), (AttackClass.C2, 12))
    found = acts_of(build_incident(contacts=contacts, class_counts=counts))
    assert (Act.BLOCK_FLOW, "192.168.1.10 to 203.0.113.5 tcp/6667") in found
    assert (Act.RATE_LIMIT, "192.168.1.10 to 198.51.100.9 tcp/80") in found
    assert (Act.BLOCK_FLOW, "192.168.1.10 to 198.51.100.9 tcp/80") in found
    assert len(found) == 4


def test_a_stray_flow_beside_a_controller_names_nobody_but_a_lone_one_is_its_controller() -> None:
    controller, stray = build_contact(flow_count=50), build_contact("198.51.100.9", port=123, flow_count=1)
    found = acts_of(build_incident(contacts=(controller, stray)))
    assert [target for act, target in found if act is Act.BLOCK_FLOW] == ["192.168.1.10 to 203.0.113.5 tcp/6667"]
    lone = build_contact(flow_count=1)
    assert Act.BLOCK_FLOW in [act for act, _ in acts_of(build_incident(contacts=(lone,), flow_count=1))]


def test_a_rule_names_only_a_few_targets() -> None:
    contacts = tuple(build_contact(f"203.0.113.{n}") for n in range(1, 11))
    found = acts_of(build_incident(contacts=contacts))
    assert sum(act is Act.BLOCK_FLOW for act, _ in found) == MAX_TARGETS


def test_icmp_has_no_port_to_block() -> None:
    contact = build_contact(proto="icmp", port=8, attack_class=AttackClass.C2)
    assert acts_of(build_incident(contacts=(contact,)))[1][1] == "192.168.1.10 to 203.0.113.5 icmp"


def test_the_packaged_table_answers_every_class_in_both_roles() -> None:
    for attack_class in AttackClass:
        for role in Role:
            rules = PLAYBOOK.rules_for(attack_class, role)
            severities = [rule.act.severity for rule in rules]
            assert severities[0] == Act.NOTIFY.severity
            assert severities == sorted(severities)


def test_a_table_is_read() -> None:
    assert parse_playbook(RULE).rules[0].act is Act.RATE_LIMIT


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("version = 1", "version = 2", "version"),
        ('class = "scan"', 'class = "scam"', "rule 1"),
        ('scope = "port"', 'scope = "planet"', "scope"),
        ("ttl_s = 60", "ttl_s = 0", "ttl_s"),
        ("ttl_s = 60", 'ttl_s = "60"', "ttl_s"),
        ("packets_per_s = 1", "", "packets_per_s"),
        ('act = "rate_limit"', 'act = "sinkhole"', "rule 1"),
        ('reason = "Because."', "", "reason"),
        ('reason = "Because."', 'reason = "Because."\nmin_confidence = 2', "min_confidence"),
        ('reason = "Because."', 'reason = "Because."\nmin_flows = 0', "min_flows"),
        ('reason = "Because."', 'reason = "Because."\nenough_contact_ratio = 0', "enough_contact_ratio"),
        ('reason = "Because."', 'reason = "Because."\nshell = "rm"', "shell"),
        ("version = 1", "version = 1\nsecret = 1", "secret"),
        ("[[rule]]", "[[rule", "TOML"),
    ],
)
def test_a_wrong_table_is_refused_with_the_place(old: str, new: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_playbook(RULE.replace(old, new))


def test_what_is_answered_already_takes_no_ones_place() -> None:
    contacts = tuple(build_contact(f"203.0.113.{n}", flow_count=50 - n) for n in range(1, 8))
    incident = incident_of(AttackClass.C2, contacts=contacts)
    first = [proposal.target for proposal in propose(incident, PLAYBOOK) if proposal.act is Act.BLOCK_FLOW]
    second = propose(incident, PLAYBOOK, lambda act, target: target in first)
    named = [str(proposal.target.peer) for proposal in second if proposal.act is Act.BLOCK_FLOW]
    assert len(first) == len(named) == 3
    assert not {str(target.peer) for target in first} & set(named)
