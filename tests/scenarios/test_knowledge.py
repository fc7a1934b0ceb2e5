"""Alerts and lists beside the model: when they notify, when they restrict, when they do neither."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from sighting_builder import AlertSpec, build_alerts, build_list, build_names
from thingwarden.detect.corroborate import WEIGHTS
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.indicator import IndicatorSet
from thingwarden.domain.sighting import Grade
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.enforce.dryrun import DryRunEnforcer
from thingwarden.respond.playbook import load_playbook
from thingwarden.serve.replay import Replay, ReplayPlan, ReplayResult
from thingwarden.testing import FlowSpec, FlowWordEncoder, ScriptedScorer, build_devices, build_flows

CAMERA, HUB, CONTROLLER = "192.168.1.20", "192.168.1.23", "203.0.113.66"
LEANING = 0.8
"""What the model says of a flow that it would not call malicious."""

CONTACT = FlowSpec(at_s=60.0, duration_s=30.0, orig=CAMERA, resp=CONTROLLER, resp_port=6667)
ALERT = AlertSpec(at_s=70.0, source=CAMERA, destination=CONTROLLER, destination_port=6667)


def tell(*contacts: FlowSpec, probability: float = 0.001, **knowledge: Any) -> ReplayResult:
    life = [FlowSpec(at_s=n * 7.0, orig=CAMERA, resp=HUB, resp_port=8883, orig_port=n) for n in range(40)]
    flows = build_flows([*life, *contacts])
    script = {len(life) + row: (probability, AttackClass.C2) for row in range(len(contacts))}

    class Told:
        def batches(self) -> Iterator[FlowBatch]:
            yield flows

    return Replay(
        Told(),
        FlowWordEncoder(build_devices([CAMERA, HUB])),
        ScriptedScorer(script),
        DryRunEnforcer(),
        ReplayPlan(calibration=Calibration(), playbook=load_playbook(), **knowledge),
    ).run()


def acts_of(result: ReplayResult) -> set[str]:
    return {decision.act.value for decision in result.decisions}


def alerted(*alerts: AlertSpec) -> dict[str, Any]:
    return {"alerts": build_alerts(alerts)}


def listed(confidence: int) -> dict[str, Any]:
    return {"indicators": build_list(CONTROLLER, confidence=confidence)}


def test_the_story_is_quiet_without_knowledge() -> None:
    for probability in (0.001, LEANING):
        result = tell(CONTACT, probability=probability)
        assert (result.incidents, result.decisions) == ((), ())


@pytest.mark.parametrize("knowledge", [alerted(ALERT), listed(90)])
def test_what_is_surely_known_about_traffic_that_the_model_finds_normal_notifies_and_does_no_more(
    knowledge: dict[str, Any],
) -> None:
    result = tell(CONTACT, **knowledge)
    (incident,) = result.incidents
    assert (incident.device.name, incident.role.value) == (CAMERA, "offender")
    assert "the model finds this traffic normal, but" in incident.summary
    assert acts_of(result) == {"notify"}
    assert result.malicious_flow_count == 0


@pytest.mark.parametrize("knowledge", [alerted(ALERT), listed(90)])
def test_what_is_surely_known_restricts_together_with_a_little_of_the_models_evidence(
    knowledge: dict[str, Any],
) -> None:
    result = tell(CONTACT, probability=LEANING, **knowledge)
    (incident,) = result.incidents
    assert incident.attack_class is AttackClass.C2
    assert acts_of(result) == {"notify", "block_flow"}


@pytest.mark.parametrize("severity", [2, 3])
def test_a_milder_alert_alone_does_nothing(severity: int) -> None:
    for probability in (0.001, LEANING):
        result = tell(CONTACT, probability=probability, **alerted(replace(ALERT, severity=severity)))
        assert (result.incidents, result.decisions) == ((), ())


def test_however_many_mild_alerts_open_nothing() -> None:
    alerts = [replace(ALERT, severity=2 + n % 2, signature_id=n, at_s=60.0 + n) for n in range(30)]
    assert tell(CONTACT, **alerted(*alerts)).incidents == ()


def test_milder_alerts_join_the_models_evidence() -> None:
    contacts = [replace(CONTACT, at_s=60.0 + n, orig_port=n) for n in range(3)]
    alone = tell(*contacts, probability=0.99)
    joined = tell(*contacts, probability=0.99, **alerted(replace(ALERT, severity=2, source_port=0)))
    assert alone.incidents == ()
    assert len(joined.incidents) == 1


def test_one_alert_that_fires_for_hours_is_one_incident_with_one_line() -> None:
    contacts = [replace(CONTACT, at_s=n * 60.0, orig_port=n) for n in range(200)]
    alerts = [replace(ALERT, at_s=n * 60.0 + 1.0, source_port=n) for n in range(200)]
    result = tell(*contacts, **alerted(*alerts))
    (incident,) = result.incidents
    (sighting,) = incident.sightings
    assert sighting.name == "Suricata signature 2000001"
    assert sighting.quote == "TEST something bad"
    assert sighting.grade is Grade.HIGH
    assert sighting.weight_nats == Calibration().alarm_level_nats * WEIGHTS[Grade.HIGH].alarm_share
    assert acts_of(result) == {"notify"}


def test_an_answer_from_outside_does_not_turn_the_victim_into_the_offender() -> None:
    inbound = replace(CONTACT, orig=CONTROLLER, resp=CAMERA, resp_port=23)
    answer = replace(ALERT, source=CAMERA, source_port=23, destination=CONTROLLER, destination_port=40_000)
    result = tell(inbound, **alerted(answer))
    (incident,) = result.incidents
    assert (incident.device.name, incident.role.value) == (CAMERA, "target")


def test_a_listed_address_that_knocks_opens_nothing_by_itself() -> None:
    inbound = replace(CONTACT, orig=CONTROLLER, resp=CAMERA, resp_port=23)
    assert tell(inbound, **listed(100)).incidents == ()


def test_a_listed_name_that_a_sensor_heard_speaks_too() -> None:
    said = replace(ALERT, destination_port=6667)
    knowledge = {"indicators": build_list("bad.example"), "names": build_names([(said, "bad.example")])}
    (incident,) = tell(CONTACT, **knowledge).incidents
    assert incident.summary.endswith("the name bad.example is listed in test.txt, line 1")


def test_hostile_rule_text_stays_between_quotes() -> None:
    hostile = replace(ALERT, signature="x; 192.168.1.20 is innocent")
    result = tell(CONTACT, **alerted(hostile))
    (incident,) = result.incidents
    assert "innocent" not in incident.summary
    assert incident.sightings[0].quote == "x; 192.168.1.20 is innocent"
    assert not any("innocent" in decision.reason for decision in result.decisions)


def test_knowledge_of_other_traffic_changes_no_byte() -> None:
    contacts = [replace(CONTACT, at_s=60.0 + n, orig_port=n) for n in range(20)]
    bare = tell(*contacts, probability=0.99)
    strange = {
        **alerted(replace(ALERT, source="192.0.2.1")),
        "indicators": IndicatorSet.concatenate([build_list("192.0.2.2"), build_list("bad.example")]),
    }
    other = tell(*contacts, probability=0.99, **strange)
    assert other.stray_alert_count == 1
    assert _without_timings(other) == _without_timings(bare)
    assert all(incident.sightings == () for incident in bare.incidents)


def _without_timings(result: ReplayResult) -> Sequence[object]:
    verdicts = result.verdicts
    return (
        result.incidents,
        result.decisions,
        result.refusals,
        result.receipts,
        result.devices,
        verdicts.malicious_probability.tobytes(),
        verdicts.device.tobytes(),
    )
