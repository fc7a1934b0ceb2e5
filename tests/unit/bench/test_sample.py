"""The score of a lab capture: right device, right role, right moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import pytest

from thingwarden.bench.sample import score_sample
from thingwarden.domain.detection import FlowVerdicts
from thingwarden.domain.incident import Incident, Role
from thingwarden.domain.response import Act
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.lab.truth import Interval, Timing, TrueDevice, Truth
from thingwarden.testing import START_S, FlowSpec, build_decision, build_device, build_flows, build_incident

BEGAN_AT = datetime.fromtimestamp(START_S, UTC)
OFFENDER = "10.77.0.51"
VICTIM = "10.77.0.22"


def _interval(role: Literal["offender", "target"], who: str, address: str, peer: str) -> Interval:
    return Interval(
        name="guess-1",
        planned=0,
        who=who,
        addresses=(address,),
        peer=peer,
        role=role,
        attack_class="brute_force",
        technique="T1110.001",
        proto=6,
        ports=(23,),
        begins_s=10.0,
        ends_s=20.0,
    )


TRUTH = Truth(
    scenario="test",
    seed=0,
    duration_s=60.0,
    starts_at_hour=10.0,
    devices=(
        TrueDevice(name="tv", kind="tv", mac="02:77:00:00:00:33", addresses=(OFFENDER,)),
        TrueDevice(name="camera", kind="camera", mac="02:77:00:00:00:16", addresses=(VICTIM,)),
    ),
    intervals=(_interval("offender", "tv", OFFENDER, VICTIM), _interval("target", "camera", VICTIM, OFFENDER)),
    harmless=(),
)
TIMING = Timing(began_at=BEGAN_AT)

FLOWS = build_flows(
    [
        FlowSpec(at_s=15.0, orig=OFFENDER, resp=VICTIM, orig_port=40_000, resp_port=23),
        FlowSpec(at_s=15.0, orig=OFFENDER, resp=VICTIM, orig_port=40_001, resp_port=80),
    ]
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

INCIDENT = build_incident(
    device=build_device(1, OFFENDER),
    attack_class=AttackClass.BRUTE_FORCE,
    class_counts=((AttackClass.BRUTE_FORCE, 1),),
    first_seen_at=BEGAN_AT + timedelta(seconds=12),
    last_seen_at=BEGAN_AT + timedelta(seconds=18),
)


def test_an_attack_is_found_named_and_answered() -> None:
    decisions = [build_decision(act=Act.NOTIFY), build_decision(act=Act.RATE_LIMIT)]
    score = score_sample(TRUTH, TIMING, FLOWS, VERDICTS, [INCIDENT], decisions)
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
        replace(INCIDENT, device=build_device(2, "10.77.0.9")),
    ],
    ids=["the right device in the wrong role", "another device"],
)
def test_whom_the_truth_does_not_name_is_wrongly_accused(other: Incident) -> None:
    score = score_sample(TRUTH, TIMING, FLOWS, VERDICTS, [other], [])
    assert not score.attacks[0].is_found
    assert score.wrongly_accused == (other.device.name,)


def test_an_incident_of_another_moment_does_not_count() -> None:
    late = replace(
        INCIDENT, first_seen_at=BEGAN_AT + timedelta(seconds=30), last_seen_at=BEGAN_AT + timedelta(seconds=40)
    )
    assert not score_sample(TRUTH, TIMING, FLOWS, VERDICTS, [late], []).attacks[0].is_found


def test_an_incident_of_another_class_finds_but_does_not_name() -> None:
    vague = replace(INCIDENT, class_counts=((AttackClass.DOS, 1),))
    (attack,) = score_sample(TRUTH, TIMING, FLOWS, VERDICTS, [vague], []).attacks
    assert attack.is_found
    assert not attack.is_named


def test_the_target_of_the_attack_is_not_wrongly_accused_as_target() -> None:
    victim = replace(INCIDENT, role=Role.TARGET, device=build_device(3, VICTIM))
    assert score_sample(TRUTH, TIMING, FLOWS, VERDICTS, [victim], []).wrongly_accused == ()


def test_an_incident_for_something_else_does_not_find_it() -> None:
    vague = replace(INCIDENT, class_counts=((AttackClass.SCAN, 1),))
    unflagged = replace(VERDICTS, is_malicious=np.array([False, True]))
    assert not score_sample(TRUTH, TIMING, FLOWS, unflagged, [vague], []).attacks[0].is_found


def test_what_really_happened_stands_above_the_plan() -> None:
    delayed = replace(TIMING, spans={0: (30.0, 40.0)})
    (attack,) = score_sample(TRUTH, delayed, FLOWS, VERDICTS, [INCIDENT], []).attacks
    assert (attack.flow_count, attack.is_found) == (0, False)


def test_a_flood_may_be_called_by_either_name() -> None:
    flood = replace(TRUTH, intervals=(replace(TRUTH.intervals[0], attack_class="dos"),))
    called_ddos = replace(INCIDENT, class_counts=((AttackClass.DDOS, 1),))
    assert score_sample(flood, TIMING, FLOWS, VERDICTS, [called_ddos], []).attacks[0].is_named
