"""The kernel: orders, receipts, expiry, approval; no clock of its own."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from thingwarden.domain.calibration import Calibration
from thingwarden.domain.errors import RequestError
from thingwarden.domain.incident import ChangeKind, IncidentChange, Reason
from thingwarden.domain.response import Act, Decision, ReceiptStatus, Refusal
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.pipeline import (
    APPROVAL_LASTS,
    ApplyDecision,
    Command,
    Explain,
    Explained,
    FollowedOrder,
    NetworkLearned,
    OperatorAct,
    OperatorVerb,
    OrdersFollowed,
    Pipeline,
    Record,
    RevokeDecision,
    ScoredBatch,
    Tick,
)
from thingwarden.respond.playbook import Playbook, load_playbook
from thingwarden.respond.policy import NetworkView, proposal_id
from thingwarden.respond.rules import PolicySettings
from thingwarden.testing import (
    START_S,
    FlowSpec,
    FlowWordEncoder,
    RecordingEnforcer,
    ScriptedScorer,
    build_devices,
    build_flows,
)

BOT = "192.168.1.10"
DEVICES = build_devices([BOT])
LATER = timedelta(days=2)


def play(
    specs: Sequence[FlowSpec], attack_class: AttackClass = AttackClass.C2, policy: PolicySettings | None = None
) -> tuple[Pipeline, list[Command]]:
    flows = build_flows(specs)
    pipeline = Pipeline(
        calibration=Calibration(), flows=flows, devices=DEVICES, playbook=load_playbook(), policy=policy
    )
    scorer = ScriptedScorer(dict.fromkeys(range(len(specs)), (0.99, attack_class)))
    commands: list[Command] = []
    for words in FlowWordEncoder(DEVICES).encode(flows, 8):
        event = ScoredBatch(words=words, scores=scorer.score(words))
        commands += pipeline.handle(event, datetime.fromtimestamp(float(words.known_at_s[-1]), UTC))
    return pipeline, commands


def beacons(count: int = 20, interval_s: float = 10.0) -> list[FlowSpec]:
    return [FlowSpec(at_s=n * interval_s, orig=BOT, resp="203.0.113.5", resp_port=6667) for n in range(count)]


def decisions_of(commands: Sequence[Command]) -> list[Decision]:
    return [command.decision for command in commands if isinstance(command, ApplyDecision)]


def refusals_of(commands: Sequence[Command]) -> list[Refusal]:
    return [item.entry for item in commands if isinstance(item, Record) and isinstance(item.entry, Refusal)]


def test_an_incident_is_recorded_before_its_decisions_and_each_is_ordered_once() -> None:
    _, commands = play(beacons())
    first = commands[0]
    assert isinstance(first, Record) and isinstance(first.entry, IncidentChange)
    assert first.entry.kind is ChangeKind.OPENED
    assert [decision.act for decision in decisions_of(commands)] == [Act.NOTIFY, Act.BLOCK_FLOW]


def test_the_same_events_give_the_same_commands() -> None:
    assert play(beacons())[1] == play(beacons())[1]


def test_quiet_traffic_gives_no_command() -> None:
    assert play(beacons(), AttackClass.BENIGN)[1] == []


def test_a_decision_is_undone_when_it_is_due_and_once() -> None:
    pipeline, commands = play(beacons())
    enforcer, ordered = RecordingEnforcer(), decisions_of(commands)
    for decision in ordered:
        pipeline.handle(enforcer.apply(decision, decision.decided_at), decision.decided_at)
    assert pipeline.handle(Tick(), ordered[0].decided_at) == []
    late = ordered[0].decided_at + LATER
    undone = pipeline.handle(Tick(), late)
    assert [command.decision for command in undone if isinstance(command, RevokeDecision)] == ordered
    for decision in ordered:
        pipeline.handle(enforcer.revoke(decision, late), late)
    assert pipeline.handle(Tick(), late + LATER) == []


def test_what_could_not_be_undone_is_tried_again() -> None:
    pipeline, commands = play(beacons())
    decision = decisions_of(commands)[1]
    enforcer = RecordingEnforcer()
    pipeline.handle(enforcer.apply(decision, decision.decided_at), decision.decided_at)
    late = decision.decided_at + timedelta(hours=2)
    assert RevokeDecision(decision=decision) in pipeline.handle(Tick(), late)
    failed = RecordingEnforcer(lambda _: ReceiptStatus.FAILED).apply(decision, late)
    pipeline.handle(failed, late)
    assert RevokeDecision(decision=decision) in pipeline.handle(Tick(), late)


def test_a_decision_is_renewed_while_the_attack_lasts() -> None:
    _, commands = play(beacons(count=1000, interval_s=10.0))
    blocks = [decision for decision in decisions_of(commands) if decision.act is Act.BLOCK_FLOW]
    assert len(blocks) == 3
    assert all(later.decided_at >= earlier.expires_at for earlier, later in pairwise(blocks))


def test_a_failed_act_does_not_count_as_done() -> None:
    pipeline, commands = play(beacons())
    decision = decisions_of(commands)[1]
    refused = RecordingEnforcer(lambda _: ReceiptStatus.FAILED).apply(decision, decision.decided_at)
    (record,) = pipeline.handle(refused, decision.decided_at)
    assert isinstance(record, Record) and record.entry == refused
    undone = pipeline.handle(Tick(), decision.decided_at + LATER)
    assert RevokeDecision(decision=decision) not in undone


def test_the_same_refusal_is_recorded_once() -> None:
    _, commands = play(beacons(), policy=PolicySettings(is_monitor_only=True))
    assert [refusal.proposal.act for refusal in refusals_of(commands)] == [Act.BLOCK_FLOW]
    assert [decision.act for decision in decisions_of(commands)] == [Act.NOTIFY]


def test_a_person_can_approve_what_waits_for_it_once() -> None:
    pipeline, commands = play(beacons(), policy=PolicySettings(is_monitor_only=True))
    (refusal,) = refusals_of(commands)
    approval = OperatorAct(verb=OperatorVerb.APPROVE, subject_id=proposal_id(refusal.proposal), person="Ada")
    (decision,) = decisions_of(pipeline.handle(approval, refusal.at))
    assert (decision.act, decision.approved_by) == (Act.BLOCK_FLOW, "Ada")
    with pytest.raises(RequestError, match="awaits approval"):
        pipeline.handle(approval, refusal.at)


def test_an_unanswered_question_expires() -> None:
    pipeline, commands = play(beacons(), policy=PolicySettings(is_monitor_only=True))
    (refusal,) = refusals_of(commands)
    approval = OperatorAct(verb=OperatorVerb.APPROVE, subject_id=proposal_id(refusal.proposal), person="Ada")
    with pytest.raises(RequestError):
        pipeline.handle(approval, datetime.fromtimestamp(START_S, UTC) + APPROVAL_LASTS + timedelta(hours=1))


def test_a_person_can_revoke() -> None:
    pipeline, commands = play(beacons())
    decision = decisions_of(commands)[1]
    pipeline.handle(RecordingEnforcer().apply(decision, decision.decided_at), decision.decided_at)
    revocation = OperatorAct(verb=OperatorVerb.REVOKE, subject_id=decision.decision_id, person="Ada")
    assert RevokeDecision(decision=decision) in pipeline.handle(revocation, decision.decided_at)
    unknown = OperatorAct(verb=OperatorVerb.REVOKE, subject_id="nobody", person="Ada")
    with pytest.raises(RequestError, match="nothing of that id"):
        pipeline.handle(unknown, decision.decided_at)


def test_a_resolver_met_before_the_attack_is_protected() -> None:
    router = "192.168.1.1"
    names = [FlowSpec(at_s=n, orig=BOT, resp=router, proto="udp", resp_port=53) for n in range(5)]
    attack = [FlowSpec(at_s=100 + n, orig=BOT, resp=router, resp_port=23) for n in range(20)]
    flows = build_flows([*names, *attack])
    pipeline = Pipeline(calibration=Calibration(), flows=flows, devices=DEVICES, playbook=load_playbook())
    scorer = ScriptedScorer(dict.fromkeys(range(5, 25), (0.99, AttackClass.BRUTE_FORCE)))
    commands: list[Command] = []
    for words in FlowWordEncoder(DEVICES).encode(flows, 8):
        batch = ScoredBatch(words=words, scores=scorer.score(words))
        commands += pipeline.handle(batch, datetime.fromtimestamp(START_S, UTC))
    assert [decision.act for decision in decisions_of(commands)] == [Act.NOTIFY]
    assert refusals_of(commands)[0].reasons == ("the peer 192.168.1.1 is protected",)


def test_no_order_waits_for_an_explanation() -> None:
    flows = build_flows(beacons())
    pipeline = Pipeline(calibration=Calibration(), flows=flows, devices=DEVICES, playbook=load_playbook())
    words = next(FlowWordEncoder(DEVICES).encode(flows, 1000))
    scores = ScriptedScorer(dict.fromkeys(range(20), (0.99, AttackClass.C2))).score(words)
    commands = pipeline.handle(ScoredBatch(words=words, scores=scores), datetime.fromtimestamp(START_S, UTC))
    explain = commands[-1]
    assert isinstance(explain, Explain)
    assert not any(isinstance(command, Explain) for command in commands[:-1])
    assert any(isinstance(command, ApplyDecision) for command in commands)
    reason = Reason(topic="pace", text="fast", nats=2.0, together_nats=2.0, attack_class=AttackClass.C2, flow=3)
    later = explain.question.at + timedelta(seconds=1)
    (told,) = pipeline.handle(Explained(question=explain.question, reasons=(reason,)), later)
    assert isinstance(told, Record) and isinstance(told.entry, IncidentChange)
    assert told.entry.kind is ChangeKind.EXPLAINED and told.entry.incident.reasons == (reason,)
    assert pipeline.incidents()[0].reasons == (reason,)
    assert pipeline.handle(Explained(question=explain.question, reasons=()), later) == []


def test_an_incident_ends_with_the_hour_where_no_word_comes() -> None:
    flows = build_flows(beacons())
    pipeline = Pipeline(calibration=Calibration(), flows=flows, devices=DEVICES, playbook=load_playbook())
    words = next(FlowWordEncoder(DEVICES).encode(flows, 1000))
    scores = ScriptedScorer(dict.fromkeys(range(20), (0.99, AttackClass.C2))).score(words)
    last_at = datetime.fromtimestamp(float(words.known_at_s[-1]), UTC)
    pipeline.handle(ScoredBatch(words=words, scores=scores), last_at)
    assert not any(isinstance(command, Record) for command in pipeline.handle(Tick(), last_at + timedelta(minutes=15)))
    (ended,) = pipeline.handle(Tick(), last_at + timedelta(minutes=15, seconds=1))
    assert isinstance(ended, Record) and isinstance(ended.entry, IncidentChange)
    assert ended.entry.kind is ChangeKind.ENDED


def test_rows_that_are_forgotten_are_held_no_more() -> None:
    flows = build_flows(beacons())
    pipeline = Pipeline(calibration=Calibration(), flows=flows, devices=DEVICES, playbook=load_playbook())
    words = next(FlowWordEncoder(DEVICES).encode(flows, 1000))
    scores = ScriptedScorer(dict.fromkeys(range(20), (0.99, AttackClass.C2))).score(words)
    pipeline.handle(ScoredBatch(words=words, scores=scores), datetime.fromtimestamp(START_S, UTC))
    held = pipeline.held_flows()
    assert len(held)
    pipeline.forget_flows(held)
    assert len(pipeline.held_flows()) == 0
    assert (pipeline.verdicts().device[held] == -1).all()


def test_what_a_person_revoked_is_not_ordered_again_before_it_would_have_ended() -> None:
    playbook = load_playbook()
    lasting = Playbook(rules=tuple(replace(rule, ttl_s=86_400.0) for rule in playbook.rules))
    times = [10.0 * number for number in range(20)]
    specs = [FlowSpec(at_s=at_s, orig=BOT) for at_s in (*times, *(7_200 + at_s for at_s in times))]
    flows = build_flows(specs)
    pipeline = Pipeline(calibration=Calibration(), flows=flows, devices=DEVICES, playbook=lasting)
    scorer = ScriptedScorer(dict.fromkeys(range(len(specs)), (0.99, AttackClass.C2)))
    ordered: list[Decision] = []
    for words in FlowWordEncoder(DEVICES).encode(flows, 8):
        at = datetime.fromtimestamp(float(words.known_at_s[-1]), UTC)
        commands = pipeline.handle(ScoredBatch(words=words, scores=scorer.score(words)), at)
        for decision in decisions_of(commands):
            ordered.append(decision)
            if decision.act is Act.BLOCK_FLOW:
                act = OperatorAct(verb=OperatorVerb.REVOKE, subject_id=decision.decision_id, person="Ada")
                pipeline.handle(act, at)
                pipeline.handle(RecordingEnforcer().revoke(decision, at), at)
    assert [decision.act for decision in ordered].count(Act.BLOCK_FLOW) == 1


def flood() -> list[FlowSpec]:
    return [
        FlowSpec(at_s=1000 + n * 0.05, orig=BOT, resp="203.0.113.5", resp_port=80, conn_state="S0") for n in range(60)
    ]


def usual(count: int) -> list[FlowSpec]:
    return [FlowSpec(at_s=n * 10.0, orig=BOT, resp="203.0.113.5", resp_port=80, duration_s=1.0) for n in range(count)]


def judge_some(specs: Sequence[FlowSpec], harmful: int, **changes: Any) -> list[Command]:
    """Play with only the last flows harmful."""
    flows = build_flows(specs)
    pipeline = Pipeline(calibration=Calibration(), flows=flows, devices=DEVICES, playbook=load_playbook(), **changes)
    script = dict.fromkeys(range(len(specs) - harmful, len(specs)), (0.99, AttackClass.DDOS))
    commands: list[Command] = []
    for words in FlowWordEncoder(DEVICES).encode(flows, 16):
        event = ScoredBatch(words=words, scores=ScriptedScorer(script).score(words))
        commands += pipeline.handle(event, datetime.fromtimestamp(float(words.known_at_s[-1]), UTC))
    return commands


def test_of_a_limit_and_a_block_of_the_same_traffic_one_is_ordered() -> None:
    ordered = decisions_of(judge_some(flood(), 60))
    assert [decision.act for decision in ordered if decision.act is not Act.NOTIFY] == [Act.BLOCK_FLOW]


def test_a_block_that_costs_much_awaits_a_person_and_the_limit_too() -> None:
    """The device has used this very service all along: nobody cuts it without asking."""
    commands = judge_some([*usual(90), *flood()], 60)
    refused = {refusal.proposal.act: refusal for refusal in refusals_of(commands)}
    assert set(refused) == {Act.BLOCK_FLOW, Act.RATE_LIMIT}
    assert "harmless flows (tcp/80)" in refused[Act.BLOCK_FLOW].reasons[0]
    assert refused[Act.BLOCK_FLOW].cost is not None and refused[Act.BLOCK_FLOW].can_approve
    assert {decision.act for decision in decisions_of(commands)} == {Act.NOTIFY}


def test_the_cost_of_what_is_ordered_is_told() -> None:
    (block,) = [item for item in decisions_of(judge_some([*usual(5), *flood()], 60)) if item.act is Act.BLOCK_FLOW]
    assert block.cost is not None
    assert (block.cost.harmless_flow_count, block.cost.services) == (5, ("tcp/80",))


def test_the_planner_proposes_where_it_is_chosen() -> None:
    ordered = decisions_of(judge_some(flood(), 60, is_greedy=True))
    assert {decision.proposer for decision in ordered} == {"planner"}
    assert Act.BLOCK_FLOW in {decision.act for decision in ordered}


def test_what_this_machine_knows_is_spared() -> None:
    flows = build_flows(beacons())
    pipeline = Pipeline(calibration=Calibration(), flows=flows, devices=DEVICES, playbook=load_playbook())
    spared = NetworkView(protected_addresses=frozenset({ipaddress.ip_address("203.0.113.5")}))
    assert pipeline.handle(NetworkLearned(view=spared), datetime.fromtimestamp(START_S, UTC)) == []
    scorer = ScriptedScorer(dict.fromkeys(range(20), (0.99, AttackClass.C2)))
    commands: list[Command] = []
    for words in FlowWordEncoder(DEVICES).encode(flows, 8):
        event = ScoredBatch(words=words, scores=scorer.score(words))
        commands += pipeline.handle(event, datetime.fromtimestamp(float(words.known_at_s[-1]), UTC))
    assert {decision.act for decision in decisions_of(commands)} == {Act.NOTIFY}
    assert any("is protected" in reason for refusal in refusals_of(commands) for reason in refusal.reasons)


def test_an_order_that_somebody_else_ended_is_over_and_not_undone_again() -> None:
    pipeline, commands = play(beacons())
    (block,) = [item for item in decisions_of(commands) if item.act is Act.BLOCK_FLOW]
    pipeline.handle(RecordingEnforcer().apply(block, block.decided_at), block.decided_at)
    followed = FollowedOrder(decision=block, is_in_force=True, ended_at=block.decided_at + timedelta(minutes=1))
    assert pipeline.handle(OrdersFollowed(orders=(followed,)), followed.ended_at or block.decided_at) == []
    undone = pipeline.handle(Tick(), block.decided_at + LATER)
    assert block not in [command.decision for command in undone if isinstance(command, RevokeDecision)]


def test_what_a_person_revoked_is_not_limited_instead() -> None:
    flows = build_flows([*flood(), *(replace(spec, at_s=spec.at_s + 60.0) for spec in flood())])
    pipeline = Pipeline(calibration=Calibration(), flows=flows, devices=DEVICES, playbook=load_playbook())
    scorer = ScriptedScorer(dict.fromkeys(range(len(flows)), (0.99, AttackClass.DDOS)))
    ordered: list[Decision] = []
    for words in FlowWordEncoder(DEVICES).encode(flows, 16):
        now = datetime.fromtimestamp(float(words.known_at_s[-1]), UTC)
        commands = pipeline.handle(ScoredBatch(words=words, scores=scorer.score(words)), now)
        for decision in decisions_of(commands):
            ordered.append(decision)
            pipeline.handle(RecordingEnforcer().apply(decision, now), now)
            if decision.act is Act.BLOCK_FLOW:
                act = OperatorAct(verb=OperatorVerb.REVOKE, subject_id=decision.decision_id, person="ada")
                pipeline.handle(act, now)
                pipeline.handle(RecordingEnforcer().revoke(decision, now), now)
    assert [decision.act for decision in ordered] == [Act.NOTIFY, Act.BLOCK_FLOW]
