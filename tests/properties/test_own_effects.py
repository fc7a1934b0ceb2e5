"""Flows that an act in force touched are evidence of nothing, whatever they look like; no event makes harm of that."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from thingwarden.domain.calibration import Calibration
from thingwarden.domain.response import Act, Decision, ReceiptStatus, Target
from thingwarden.domain.taxonomy import CLASSES as KNOWN
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.pipeline import (
    ApplyDecision,
    Explain,
    FollowedOrder,
    NetworkLearned,
    OrdersFollowed,
    Pipeline,
    Record,
    RevokeDecision,
    ScoredBatch,
    Tick,
)
from thingwarden.respond.playbook import load_playbook
from thingwarden.respond.policy import NetworkView
from thingwarden.respond.rules import PolicySettings
from thingwarden.testing import (
    START_S,
    FlowSpec,
    FlowWordEncoder,
    RecordingEnforcer,
    build_decision,
    build_devices,
    build_flows,
    build_scores,
)

BOT, CAMERA, ROUTER, PEER = "192.168.1.10", "192.168.1.11", "192.168.1.1", "203.0.113.5"
DEVICES = build_devices([BOT, CAMERA, ROUTER])
BEGAN = datetime.fromtimestamp(START_S, UTC)
CLASSES = st.sampled_from([item for item in KNOWN if item not in (AttackClass.BENIGN, AttackClass.UNKNOWN)])

HELD = {
    Act.RATE_LIMIT: Target(device=DEVICES[2], proto="tcp", port=443, packets_per_s=1),
    Act.BLOCK_FLOW: Target(device=DEVICES[2], peer=ipaddress.ip_address(PEER)),
    Act.QUARANTINE: Target(device=DEVICES[2]),
}


@settings(max_examples=400, deadline=None)
@given(
    act=st.sampled_from(list(HELD)),
    attack=CLASSES,
    gaps_s=st.lists(st.floats(0.001, 40.0), min_size=20, max_size=60),
    chunk=st.integers(1, 30),
)
def test_a_device_under_an_act_that_retries_is_answered_by_nothing(
    act: Act, attack: AttackClass, gaps_s: list[float], chunk: int
) -> None:
    """The worst case: the model is sure of every retry. With the act unknown, the same words open an incident."""
    at_s = np.cumsum(gaps_s)
    specs = [FlowSpec(at_s=float(at), orig=CAMERA, resp=PEER, resp_port=443, conn_state="S0") for at in at_s]
    held = build_decision(
        act=act, target=HELD[act], decided_at=BEGAN - timedelta(seconds=1), expires_at=BEGAN + timedelta(hours=2)
    )
    told = OrdersFollowed(orders=(FollowedOrder(decision=held, is_in_force=True),))
    assert answers(specs, attack, chunk, told) == []
    assert answers(specs, attack, chunk, None) != []


def answers(specs: list[FlowSpec], attack: AttackClass, chunk: int, told: OrdersFollowed | None) -> list[object]:
    flows = build_flows(specs)
    pipeline = Pipeline(calibration=Calibration(), flows=flows, devices=DEVICES, playbook=load_playbook())
    if told is not None:
        pipeline.handle(told, BEGAN)
    commands: list[object] = []
    for words in FlowWordEncoder(DEVICES).encode(flows, chunk):
        scores = build_scores(len(words), 0.999, attack)
        event = ScoredBatch(words=words, scores=scores, is_touched=pipeline.touched(words))
        commands += pipeline.handle(event, datetime.fromtimestamp(float(words.known_at_s[-1]), UTC))
    return commands


flows_of = st.builds(
    FlowSpec,
    at_s=st.floats(0, 3000),
    orig=st.sampled_from([BOT, CAMERA, ROUTER, "198.51.100.7"]),
    resp=st.sampled_from([PEER, "203.0.113.6", ROUTER, CAMERA, BOT]),
    resp_port=st.sampled_from([23, 53, 443, 6667]),
    conn_state=st.sampled_from(["S0", "SF", "REJ", "RSTO"]),
    duration_s=st.floats(0, 50),
).filter(lambda spec: spec.orig != spec.resp)
happenings = st.lists(
    st.tuples(st.sampled_from(["words", "tick", "jump", "fail", "learn", "end"]), st.floats(-4000, 4000)), max_size=40
)


@settings(max_examples=400, deadline=None)
@given(
    specs=st.lists(flows_of, min_size=5, max_size=60),
    attack=CLASSES,
    happenings=happenings,
    is_greedy=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_no_sequence_of_events_breaks_a_promise(
    specs: list[FlowSpec], attack: AttackClass, happenings: list[tuple[str, float]], is_greedy: bool, seed: int
) -> None:
    """Spoofed traffic, faults, clock jumps and strangers' orders: protected hosts, ends and the blast radius hold."""
    policy = PolicySettings(max_devices=2, max_decisions_per_minute=4, max_ttl_s=900.0)
    flows, rng = build_flows(specs), np.random.default_rng(seed)
    pipeline = Pipeline(
        calibration=Calibration(), flows=flows, devices=DEVICES, playbook=load_playbook(), policy=policy,
        is_greedy=is_greedy,
    )  # fmt: skip
    view = NetworkView(protected_addresses=frozenset({ipaddress.ip_address(ROUTER)}))
    pipeline.handle(NetworkLearned(view=view), BEGAN)
    chunks = list(FlowWordEncoder(DEVICES).encode(flows, 7))
    now, has_faults = BEGAN, False
    enforcer = RecordingEnforcer(lambda _: ReceiptStatus.FAILED if has_faults else ReceiptStatus.APPLIED)
    ordered: list[Decision] = []
    for kind, value in happenings:
        commands = []
        if kind == "words" and chunks:
            words = chunks.pop(0)
            scores = build_scores(len(words), rng.random(len(words)) ** 0.1, attack, "offender")
            now = max(now, datetime.fromtimestamp(float(words.known_at_s[-1]), UTC))
            commands = pipeline.handle(ScoredBatch(words=words, scores=scores, is_touched=pipeline.touched(words)), now)
        elif kind == "tick":
            commands = pipeline.handle(Tick(), now)
        elif kind == "jump":
            now += timedelta(seconds=value)
        elif kind == "fail":
            has_faults = not has_faults
        elif kind == "learn":
            pipeline.handle(NetworkLearned(view=view), now)
        elif ordered:
            order = FollowedOrder(decision=ordered[-1], is_in_force=False, ended_at=now)
            pipeline.handle(OrdersFollowed(orders=(order,)), now)
        while commands:
            command = commands.pop(0)
            if isinstance(command, ApplyDecision):
                ordered.append(command.decision)
                commands += pipeline.handle(enforcer.apply(command.decision, now), now)
            elif isinstance(command, RevokeDecision):
                commands += pipeline.handle(enforcer.revoke(command.decision, now), now)
            else:
                assert isinstance(command, Record | Explain)
        check(ordered, policy)


def check(ordered: list[Decision], policy: PolicySettings) -> None:
    router = ipaddress.ip_address(ROUTER)
    for decision in ordered:
        assert 0 < (decision.expires_at - decision.decided_at).total_seconds() <= policy.max_ttl_s
        if decision.act is Act.NOTIFY:
            continue
        assert router not in (decision.target.peer, decision.target.device and decision.target.device.address)
        assert decision.act.severity <= policy.automatic_up_to.severity
        at = decision.decided_at
        restricting = [item for item in ordered if item.act is not Act.NOTIFY]
        recent = [item for item in restricting if at - timedelta(minutes=1) < item.decided_at <= at]
        assert len(recent) <= policy.max_decisions_per_minute
