"""The score of a lab capture: right device, right role, right moment."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from thingwarden.bench.sample import score_sample
from thingwarden.domain.detection import FlowVerdicts
from thingwarden.domain.device import Device
from thingwarden.domain.flow import FlowBatch, words_from_address
from thingwarden.domain.incident import Incident, Role
from thingwarden.domain.response import Act, Decision, Target
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.truth import Interval, Truth

BEGAN_AT = datetime(2026, 1, 1, tzinfo=UTC)
OFFENDER = ipaddress.IPv4Address("10.77.0.51")
VICTIM = ipaddress.IPv4Address("10.77.0.22")


def _interval(role: str, who: ipaddress.IPv4Address, peer: ipaddress.IPv4Address) -> Interval:
    return Interval(
        name="guess-1",
        who=str(who),
        mac="02:77:00:00:00:33",
        peer=str(peer),
        role=role,  # type: ignore[arg-type]
        attack_class="brute_force",
        technique="T1110.001",
        proto=6,
        ports=(23,),
        started_at=BEGAN_AT + timedelta(seconds=10),
        ended_at=BEGAN_AT + timedelta(seconds=20),
    )


TRUTH = Truth(
    scenario="test",
    seed=0,
    began_at=BEGAN_AT,
    ended_at=BEGAN_AT + timedelta(seconds=60),
    devices=(),
    intervals=(_interval("offender", OFFENDER, VICTIM), _interval("target", VICTIM, OFFENDER)),
    mishaps=(),
)

FLOWS = FlowBatch.unknown(
    2,
    started_at_s=np.array([BEGAN_AT.timestamp() + 15, BEGAN_AT.timestamp() + 15]),
    proto=np.array([6, 6], dtype=np.uint8),
    orig_address=np.array([words_from_address(OFFENDER)] * 2, dtype=np.uint64),
    resp_address=np.array([words_from_address(VICTIM)] * 2, dtype=np.uint64),
    orig_port=np.array([40000, 40001], dtype=np.uint16),
    resp_port=np.array([23, 80], dtype=np.uint16),
)

VERDICTS = FlowVerdicts(
    malicious_probability=np.array([0.9, 0.9], dtype=np.float32),
    is_malicious=np.array([True, True]),
    attack_class=np.zeros(2, dtype=np.int8),
    ton_class=np.full(2, -1, dtype=np.int8),
    device=np.zeros(2, dtype=np.int32),
    role=np.zeros(2, dtype=np.int8),
    surprise_nats=np.zeros(2, dtype=np.float32),
)

INCIDENT = Incident(
    incident_id="0123456789ab",
    device=Device(index=1, mac=None, address=OFFENDER),
    role=Role.OFFENDER,
    attack_class=AttackClass.BRUTE_FORCE,
    class_counts=((AttackClass.BRUTE_FORCE, 1),),
    first_seen_at=BEGAN_AT + timedelta(seconds=12),
    last_seen_at=BEGAN_AT + timedelta(seconds=18),
    opened_at=BEGAN_AT + timedelta(seconds=14),
    ended_at=None,
    flow_count=1,
    confidence=0.9,
    evidence_nats=12.0,
    has_proven_origin=True,
    detections=(),
    contacts=(),
    other_contact_count=0,
    peer_count=1,
    is_count_exact=True,
    rhythm=None,
    summary="10.77.0.51 looks like password guessing",
)


def _decision(act: Act) -> Decision:
    return Decision(
        decision_id=act.value,
        incident_id=INCIDENT.incident_id,
        act=act,
        target=Target(device=INCIDENT.device),
        reason="",
        proposer="playbook",
        decided_at=BEGAN_AT,
        expires_at=BEGAN_AT + timedelta(hours=1),
    )


def test_an_attack_is_found_named_and_answered() -> None:
    decisions = [_decision(Act.NOTIFY), _decision(Act.RATE_LIMIT)]
    score = score_sample(TRUTH, FLOWS, VERDICTS, [INCIDENT], decisions)
    (attack,) = score.attacks
    assert attack.is_found
    assert attack.is_named
    assert attack.planned == (Act.RATE_LIMIT,)
    assert (attack.flow_count, attack.flagged_count) == (1, 1)
    assert score.wrongly_accused == ()


@pytest.mark.parametrize(
    "other",
    [
        replace(INCIDENT, role=Role.TARGET),
        replace(INCIDENT, device=Device(index=2, mac=None, address=ipaddress.IPv4Address("10.77.0.9"))),
    ],
    ids=["the right device in the wrong role", "another device"],
)
def test_whom_the_truth_does_not_name_is_wrongly_accused(other: Incident) -> None:
    score = score_sample(TRUTH, FLOWS, VERDICTS, [other], [])
    assert not score.attacks[0].is_found
    assert score.wrongly_accused == (other.device.name,)


def test_an_incident_of_another_moment_does_not_count() -> None:
    late = replace(
        INCIDENT, first_seen_at=BEGAN_AT + timedelta(seconds=30), last_seen_at=BEGAN_AT + timedelta(seconds=40)
    )
    assert not score_sample(TRUTH, FLOWS, VERDICTS, [late], []).attacks[0].is_found


def test_an_incident_of_another_class_finds_but_does_not_name() -> None:
    vague = replace(INCIDENT, class_counts=((AttackClass.DOS, 1),))
    (attack,) = score_sample(TRUTH, FLOWS, VERDICTS, [vague], []).attacks
    assert attack.is_found
    assert not attack.is_named


def test_the_target_of_the_attack_is_not_wrongly_accused_as_target() -> None:
    victim = replace(INCIDENT, role=Role.TARGET, device=Device(index=3, mac=None, address=VICTIM))
    assert score_sample(TRUTH, FLOWS, VERDICTS, [victim], []).wrongly_accused == ()
