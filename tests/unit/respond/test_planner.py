"""The greedy planner: most harm for least, nothing illegal, nothing without a named harm."""

from __future__ import annotations

from dataclasses import replace

from thingwarden.domain.incident import Incident, Role
from thingwarden.domain.response import Act, Cost, Proposal, Target
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.respond.planner import MAX_ACTS, plan_greedily
from thingwarden.respond.playbook import load_playbook
from thingwarden.testing import build_contact, build_incident


def plan(incident: Incident, allows: object = None, costs: dict[Act, int] | None = None) -> list[Proposal]:
    def estimate(act: Act, target: Target) -> Cost | None:
        count = (costs or {}).get(act)
        return None if count is None else Cost(
            over_s=3600.0, harmful_flow_count=0, harmless_flow_count=count, others_flow_count=0
        )  # fmt: skip

    chosen = plan_greedily(incident, load_playbook(), allows=allows or (lambda proposal: True), estimate=estimate)  # type: ignore[arg-type]
    assert chosen[0].act is Act.NOTIFY
    assert [item.act.severity for item in chosen] == sorted(item.act.severity for item in chosen)
    return list(chosen[1:])


def scan(peers: int) -> Incident:
    contacts = tuple(
        build_contact(f"203.0.113.{n + 1}", port=23, flow_count=10, attack_class=AttackClass.SCAN)
        for n in range(min(peers, 10))
    )
    return build_incident(
        attack_class=AttackClass.SCAN,
        class_counts=((AttackClass.SCAN, peers * 10),),
        flow_count=peers * 10,
        contacts=contacts,
    )


def test_one_controller_is_blocked_at_its_service() -> None:
    (act,) = plan(build_incident())
    assert (act.act, act.target.port, str(act.target.peer)) == (Act.BLOCK_FLOW, 6667, "203.0.113.5")
    assert act.ttl_s == 3600.0


def test_many_peers_of_one_port_are_slowed_together() -> None:
    first = plan(scan(10))[0]
    assert (first.act, first.target.peer, first.target.port) == (Act.RATE_LIMIT, None, 23)
    assert first.target.packets_per_s == 1


def test_harm_beyond_what_is_told_apart_needs_a_wider_act_if_it_is_cheap() -> None:
    ways = tuple(build_contact(f"203.0.113.{n}", port=1000 + n, flow_count=10) for n in range(1, 11))
    worm = replace(scan(200), contacts=ways)
    assert [item.act for item in plan(worm, costs={Act.QUARANTINE: 10})] == [Act.QUARANTINE]
    dear = plan(worm, costs={Act.QUARANTINE: 100_000, Act.ISOLATE: 100_000})
    assert {item.act for item in dear} <= {Act.RATE_LIMIT, Act.BLOCK_FLOW}


def test_what_is_not_told_apart_is_taken_to_be_like_the_rest() -> None:
    (act,) = plan(scan(200))
    assert (act.act, act.target.peer, act.target.port) == (Act.RATE_LIMIT, None, 23)


def test_what_policy_would_refuse_is_not_proposed() -> None:
    assert plan(build_incident(), allows=lambda proposal: False) == []
    (act,) = plan(build_incident(), allows=lambda proposal: proposal.act is Act.RATE_LIMIT)[:1]
    assert act.act is Act.RATE_LIMIT


def test_what_costs_more_than_it_stops_is_left() -> None:
    assert plan(build_incident(), costs=dict.fromkeys(Act, 1000)) == []


def test_a_victim_is_protected_by_naming_the_attacker() -> None:
    incident = build_incident(
        role=Role.TARGET, contacts=(build_contact(is_outbound=False, attack_class=AttackClass.BRUTE_FORCE),)
    )
    for act in plan(incident):
        assert act.act in (Act.RATE_LIMIT, Act.BLOCK_PEER)
        assert act.act is Act.BLOCK_PEER or act.target.is_inbound


def test_a_plan_is_short_and_doubt_only_tells() -> None:
    many = replace(
        scan(10), contacts=tuple(build_contact(f"203.0.113.{n}", port=1000 + n, flow_count=10) for n in range(1, 10))
    )
    assert len(plan(many)) <= MAX_ACTS
    assert plan(build_incident(confidence=0.5)) == []
    assert plan(build_incident(attack_class=AttackClass.UNKNOWN)) == []
