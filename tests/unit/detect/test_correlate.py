"""Incidents: when they open, whom they accuse, what they remember."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from thingwarden.detect import correlate
from thingwarden.detect.correlate import CorrelationSettings, Correlator
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.device import Device
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import ChangeKind, Incident, IncidentChange, Reason, Role, Severity
from thingwarden.domain.taxonomy import CLASSES, AttackClass
from thingwarden.domain.word import WordBatch
from thingwarden.testing import FlowSpec, FlowWordEncoder, ScriptedScorer, build_devices, build_flows

CALIBRATION = Calibration()
BOT, CAMERA, SERVER = "192.168.1.195", "192.168.1.20", "185.244.25.235"
DEVICES = build_devices([BOT, CAMERA])

Script = dict[int, tuple[float, AttackClass]]


def play(
    flows: FlowBatch,
    script: Script,
    devices: Sequence[Device] = DEVICES,
    settings: CorrelationSettings | None = None,
) -> tuple[list[IncidentChange], list[Incident]]:
    correlator = Correlator(CALIBRATION, devices, settings)
    scorer = ScriptedScorer(script)
    changes: list[IncidentChange] = []
    for words in FlowWordEncoder(devices).encode(flows, 16):
        changes += correlator.update(words, scorer.score(words), flows)
    return changes, correlator.finish(flows)


def beacons(
    count: int, interval_s: float = 30.0, orig: str = BOT, resp: str = SERVER, start_s: float = 0.0
) -> list[FlowSpec]:
    return [
        FlowSpec(at_s=start_s + row * interval_s, duration_s=2.0, orig=orig, resp=resp, resp_port=6667)
        for row in range(count)
    ]


def hot(count: int, probability: float = 0.999, attack_class: AttackClass = AttackClass.C2) -> Script:
    return dict.fromkeys(range(count), (probability, attack_class))


def test_beacon_becomes_one_incident_with_rhythm_and_plain_sentence() -> None:
    _, incidents = play(build_flows(beacons(57)), hot(57, 0.98))
    (incident,) = incidents
    assert incident.summary == (
        f"{BOT} contacts {SERVER} on tcp/6667 every 30 s and looks like command and control: 57 flows, 98 % sure"
    )
    assert incident.role is Role.OFFENDER
    assert incident.severity is Severity.HIGH
    assert incident.techniques == ("T1071",)
    assert incident.flow_count == 57
    assert incident.rhythm is not None and incident.rhythm.is_periodic
    assert re.fullmatch("[0-9a-f]{12}", incident.incident_id)


@pytest.mark.parametrize(("probability", "flow_count"), [(0.95, 15), (0.99, 3), (0.9999, 2)])
def test_the_surer_the_fewer_flows_are_needed(probability: float, flow_count: int) -> None:
    changes, _ = play(build_flows(beacons(20)), hot(20, probability))
    opened = next(change for change in changes if change.kind is ChangeKind.OPENED)
    assert opened.incident.flow_count <= flow_count + 4


def test_one_stray_flow_opens_nothing() -> None:
    flows = build_flows(beacons(200))
    _, incidents = play(flows, {100: (0.99999, AttackClass.C2)})
    assert incidents == []


def test_stray_flows_far_apart_open_nothing() -> None:
    flows = build_flows(beacons(6000, 1.0))
    _, incidents = play(flows, dict.fromkeys(range(0, 6000, 1000), (0.99, AttackClass.SCAN)))
    assert incidents == []


def test_log_odds_below_the_level_are_no_evidence() -> None:
    _, incidents = play(build_flows(beacons(500)), hot(500, 0.88))
    assert incidents == []


def test_unattributed_traffic_accuses_nobody() -> None:
    flows = build_flows(beacons(100, orig="198.51.100.7"))
    _, incidents = play(flows, hot(100, 0.9999))
    assert incidents == []


def test_scan_between_local_devices_accuses_the_originator_only() -> None:
    flows = build_flows(
        [FlowSpec(at_s=row, orig=BOT, resp=CAMERA, resp_port=row, conn_state="REJ") for row in range(1, 80)]
    )
    _, incidents = play(flows, hot(79, 0.99, AttackClass.SCAN))
    roles = {incident.device.name: incident.role for incident in incidents}
    assert roles == {BOT: Role.OFFENDER, CAMERA: Role.TARGET}
    severities = {incident.role: incident.severity for incident in incidents}
    assert severities[Role.TARGET] < severities[Role.OFFENDER]


def test_attack_from_outside_makes_the_device_a_target() -> None:
    flows = build_flows(beacons(30, orig="198.51.100.7", resp=BOT))
    _, (incident,) = play(flows, hot(30, 0.99, AttackClass.BRUTE_FORCE))
    assert incident.role is Role.TARGET
    assert "is contacted by 198.51.100.7" in incident.summary


def test_silence_ends_an_incident_and_a_later_one_resumes_it() -> None:
    flows = build_flows([*beacons(10), *beacons(10, start_s=4000.0)])
    changes, incidents = play(flows, hot(20, 0.999))
    kinds = [change.kind for change in changes if change.kind is not ChangeKind.GREW]
    assert kinds == [ChangeKind.OPENED, ChangeKind.ENDED, ChangeKind.OPENED]
    assert len({change.incident.incident_id for change in changes}) == 1
    assert incidents[0].flow_count == 20
    assert incidents[0].ended_at is None


def test_after_the_resume_time_a_new_incident_begins() -> None:
    flows = build_flows([*beacons(10), *beacons(10, start_s=4000.0)])
    changes, _ = play(flows, hot(20, 0.999), settings=CorrelationSettings(idle_s=60.0, resume_s=600.0))
    assert len({change.incident.incident_id for change in changes}) == 2


def test_class_of_most_closing_words_names_the_incident() -> None:
    script = hot(10, 0.99) | dict.fromkeys(range(3), (0.99, AttackClass.DOWNLOAD))
    _, (incident,) = play(build_flows(beacons(10)), script)
    assert incident.attack_class is AttackClass.C2
    assert dict(incident.class_counts) == {AttackClass.C2: 7, AttackClass.DOWNLOAD: 3}
    assert incident.techniques == ("T1071", "T1105")


def test_an_index_given_to_another_device_does_not_pass_on_the_blame() -> None:
    devices = build_devices([BOT, CAMERA])
    flows = build_flows(beacons(10))
    correlator, scorer = Correlator(CALIBRATION, devices), ScriptedScorer(hot(10))
    (words,) = FlowWordEncoder(DEVICES).encode(flows)
    correlator.update(words, scorer.score(words), flows)
    devices[1] = replace(devices[2], index=1)
    starting = np.zeros(len(words), dtype=np.bool_)
    starting[0] = True
    again = replace(words, starts_sentence=starting, known_at_s=words.known_at_s + 600.0)
    changes = correlator.update(again, scorer.score(words), flows)
    assert [change.kind for change in changes if change.incident.device.name == BOT] == [ChangeKind.ENDED]
    assert [incident.device.name for incident in correlator.finish(flows)] == [BOT, CAMERA]


def test_a_class_that_joins_is_told_when_it_has_four_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlate, "TELLING_S", 300.0)
    flows = build_flows(beacons(60))
    changes, _ = play(flows, hot(60) | dict.fromkeys(range(50, 60), (0.99, AttackClass.DOWNLOAD)))
    told = [change.incident for change in changes if len(change.incident.class_counts) == 2]
    assert told
    assert dict(told[0].class_counts)[AttackClass.DOWNLOAD] == 2


def test_each_class_of_an_incident_is_asked_about_once_and_the_answer_is_kept() -> None:
    scan = [FlowSpec(at_s=700.0 + row, orig=BOT, resp=f"203.0.113.{row + 1}", resp_port=23) for row in range(20)]
    flows = build_flows([*beacons(20), *scan])
    correlator = Correlator(CALIBRATION, DEVICES)
    scorer = ScriptedScorer(hot(20) | dict.fromkeys(range(20, 40), (0.999, AttackClass.SCAN)))
    questions = []
    for words in FlowWordEncoder(DEVICES).encode(flows, 16):
        correlator.update(words, scorer.score(words), flows)
        questions += correlator.questions()
    assert [question.attack_class for question in questions] == [AttackClass.C2, AttackClass.SCAN]
    assert all(witness.flow >= 20 for witness in questions[1].witnesses)
    reason = Reason(topic="pace", text="fast", nats=2.0, together_nats=2.0, attack_class=AttackClass.SCAN, flow=20)
    told = correlator.answer(questions[1], (reason,), flows)
    assert told is not None and told.kind is ChangeKind.EXPLAINED and told.at == questions[1].at
    assert told.incident.reasons == (reason,)
    assert correlator.finish(flows)[0].reasons == (reason,)


def test_an_empty_answer_and_one_to_an_unknown_incident_change_nothing() -> None:
    flows = build_flows(beacons(20))
    correlator = Correlator(CALIBRATION, DEVICES)
    words = next(FlowWordEncoder(DEVICES).encode(flows, 1000))
    correlator.update(words, ScriptedScorer(hot(20)).score(words), flows)
    (question,) = correlator.questions()
    reason = Reason(topic="pace", text="fast", nats=2.0, together_nats=2.0, attack_class=AttackClass.C2, flow=1)
    assert correlator.answer(question, (), flows) is None
    assert correlator.answer(replace(question, incident_id="f" * 12), (reason,), flows) is None
    assert correlator.answer(replace(question, device=2), (reason,), flows) is None
    assert correlator.finish(flows)[0].reasons == ()


def _with_probes(words: WordBatch, each: int) -> WordBatch:
    """Every opening followed by ``each`` probes of its flow at the same instant."""
    rows = np.repeat(np.arange(len(words)), np.where(words.is_close, 1, 1 + each))
    is_probe = np.append(False, rows[1:] == rows[:-1])
    return replace(words.take(rows), is_probe=is_probe)


def test_quiet_probes_change_no_incident() -> None:
    flows = build_flows([*beacons(20), *beacons(60, 3.0, start_s=0.5, resp="203.0.113.9")])
    words, scorer = next(FlowWordEncoder(DEVICES).encode(flows)), ScriptedScorer(hot(20, 0.97))
    scores = scorer.score(words)
    plain = Correlator(CALIBRATION, DEVICES)
    plain.update(words, scores, flows)
    probed = _with_probes(words, 7)
    probed_scores = scorer.score(probed)
    probed_scores.class_probability[probed.is_probe] = np.eye(len(CLASSES), dtype=np.float32)[0]
    other = Correlator(CALIBRATION, DEVICES)
    other.update(probed, probed_scores, flows)
    assert other.finish(flows) == plain.finish(flows) != []


def test_probes_are_evidence_and_their_flow_counts_once() -> None:
    flows = build_flows(beacons(3))
    probed = _with_probes(next(FlowWordEncoder(DEVICES).encode(flows)), 7)
    correlator = Correlator(CALIBRATION, DEVICES)
    scores = ScriptedScorer(hot(3, 0.99999)).score(probed)
    (opened, *_) = correlator.update(probed, scores, flows)
    assert opened.at == opened.incident.last_seen_at and opened.incident.flow_count == 1
    (incident,) = correlator.finish(flows)
    assert incident.flow_count == 3
    assert len({detection.flow for detection in incident.detections}) == len(incident.detections) == 3


def test_a_quiet_incident_ends_without_a_word() -> None:
    flows = build_flows(beacons(20))
    correlator, scorer = Correlator(CALIBRATION, DEVICES), ScriptedScorer(hot(20))
    for words in FlowWordEncoder(DEVICES).encode(flows, 1000):
        correlator.update(words, scorer.score(words), flows)
    last_s = float(words.known_at_s[-1])
    assert correlator.end_idle(last_s + 900.0, flows) == []
    (ended,) = correlator.end_idle(last_s + 901.0, flows)
    assert (ended.kind, ended.incident.ended_at is None) == (ChangeKind.ENDED, False)
    assert correlator.end_idle(last_s + 902.0, flows) == []


def test_flows_that_are_forgotten_are_named_no_more() -> None:
    flows = build_flows(beacons(20))
    correlator, scorer = Correlator(CALIBRATION, DEVICES), ScriptedScorer(hot(20))
    for words in FlowWordEncoder(DEVICES).encode(flows, 1000):
        correlator.update(words, scorer.score(words), flows)
    (before,) = correlator.finish(flows)
    shown = [detection.flow for detection in before.detections]
    assert set(shown) <= set(correlator.held_flows().tolist())
    correlator.forget_flows(np.array(shown), len(flows))
    (after,) = correlator.finish(flows)
    assert not set(shown) & {detection.flow for detection in after.detections}
    assert not set(shown) & set(correlator.held_flows().tolist())
    assert after.flow_count == before.flow_count


def test_a_row_that_was_forgotten_counts_as_another_flow() -> None:
    flows = build_flows(beacons(40))
    correlator, scorer = Correlator(CALIBRATION, DEVICES), ScriptedScorer(hot(40))
    (words,) = FlowWordEncoder(DEVICES).encode(flows, 1000)
    correlator.update(words, scorer.score(words), flows)
    again = replace(words, known_at_s=words.known_at_s + 1000.0)
    correlator.forget_flows(np.arange(20), len(flows))
    correlator.update(again, scorer.score(again), flows)
    (incident,) = correlator.finish(flows)
    assert incident.flow_count == 60
