"""Alerts and lists: their order and the chunks change nothing, and without them nothing changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sighting_builder import AlertSpec, build_alerts, build_list
from thingwarden.detect.correlate import CorrelationSettings, Correlator
from thingwarden.detect.sightings import sightings_from_addresses, sightings_from_alerts
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.incident import ChangeKind, Incident, IncidentChange
from thingwarden.domain.indicator import IndicatorSet
from thingwarden.domain.sighting import SightingBatch
from thingwarden.domain.taxonomy import CLASSES, AttackClass
from thingwarden.testing import FlowSpec, FlowWordEncoder, ScriptedScorer, build_devices, build_flows

ADDRESSES = ["192.168.1.10", "192.168.1.11", "192.168.1.12"]
OUTSIDE = ["203.0.113.5", "203.0.113.6", "198.51.100.7"]
DEVICES = build_devices(ADDRESSES)
CALIBRATION = Calibration(alarm_level_nats=9.0)
SETTINGS = CorrelationSettings(idle_s=120.0, resume_s=1000.0)

flow_specs = st.builds(
    FlowSpec,
    at_s=st.integers(0, 5000).map(float),
    duration_s=st.integers(0, 60).map(float),
    orig=st.sampled_from([*ADDRESSES, OUTSIDE[2]]),
    resp=st.sampled_from([*ADDRESSES, *OUTSIDE[:2]]),
    resp_port=st.integers(20, 22),
    conn_state=st.sampled_from(["SF", "S0"]),
    resp_bytes=st.sampled_from([0, 200]),
)
judged_specs = st.tuples(flow_specs, st.sampled_from([0.0, 0.02, 0.95, 0.999]), st.sampled_from(CLASSES[1:]))
alert_specs = st.tuples(
    st.integers(0, 59), st.integers(-1, 61), st.sampled_from([1, 2, 3]), st.sampled_from([1, 2]), st.booleans()
)
listed = st.lists(st.tuples(st.sampled_from([*OUTSIDE, "203.0.113.0/24"]), st.sampled_from([20, 50, 90])), max_size=4)

Judged = list[tuple[FlowSpec, float, AttackClass]]
Alerted = list[tuple[int, int, int, int, bool]]


def alerts_of(judged: Judged, alerted: Alerted) -> list[AlertSpec]:
    """An alert on a flow, at a second of it, of a severity and a rule, perhaps on the answer."""
    made = []
    for row, late_s, severity, rule, is_answer in alerted:
        flow = judged[row % len(judged)][0]
        ends = [(flow.orig, flow.orig_port), (flow.resp, flow.resp_port)]
        (source, source_port), (destination, port) = reversed(ends) if is_answer else ends
        alert = AlertSpec(
            at_s=flow.at_s + late_s,
            source=source,
            source_port=source_port,
            destination=destination,
            destination_port=port,
            severity=severity,
            signature_id=rule,
        )
        made.append(alert)
    return made


def lists_of(entries: list[tuple[str, int]]) -> list[IndicatorSet]:
    return [
        replace(build_list(value, confidence=confidence), origin=(f"{value} {confidence}",))
        for value, confidence in entries
    ]


def sightings_of(flows: FlowBatch, alerts: list[AlertSpec], lists: list[IndicatorSet]) -> SightingBatch:
    from_alerts, _ = sightings_from_alerts(flows, build_alerts(alerts))
    from_lists = sightings_from_addresses(flows, IndicatorSet.concatenate(lists))
    return SightingBatch.concatenate([from_alerts, from_lists])


def play(
    flows: FlowBatch, judged: Judged, sightings: SightingBatch | None, chunk_words: int
) -> tuple[list[IncidentChange], list[Incident]]:
    script = {row: (probability, attack_class) for row, (_, probability, attack_class) in enumerate(judged)}
    correlator, scorer = Correlator(CALIBRATION, DEVICES, SETTINGS, sightings), ScriptedScorer(script)
    changes: list[IncidentChange] = []
    for words in FlowWordEncoder(DEVICES).encode(flows, chunk_words):
        changes += correlator.update(words, scorer.score(words), flows)
    told = [change for change in changes if change.kind is not ChangeKind.ENDED]
    return told, correlator.finish(flows)


@settings(max_examples=80, deadline=None)
@given(
    judged=st.lists(judged_specs, min_size=1, max_size=40),
    alerted=st.lists(alert_specs, max_size=20),
    entries=listed,
    chunk_words=st.integers(1, 40),
    shuffled=st.randoms(use_true_random=False),
)
def test_neither_chunks_nor_the_order_of_alerts_and_lists_change_anything(
    judged: Judged, alerted: Alerted, entries: list[tuple[str, int]], chunk_words: int, shuffled: object
) -> None:
    flows = build_flows([spec for spec, _, _ in judged])
    alerts, lists = alerts_of(judged, alerted), lists_of(entries)
    whole = play(flows, judged, sightings_of(flows, alerts, lists), 10_000)
    shuffled.shuffle(alerts)  # type: ignore[attr-defined]
    shuffled.shuffle(lists)  # type: ignore[attr-defined]
    parts = play(flows, judged, sightings_of(flows, alerts, lists), chunk_words)
    assert parts == whole


@settings(max_examples=40, deadline=None)
@given(judged=st.lists(judged_specs, min_size=1, max_size=40), alerted=st.lists(alert_specs, max_size=20))
def test_what_concerns_none_of_the_flows_changes_nothing(judged: Judged, alerted: Alerted) -> None:
    flows = build_flows([spec for spec, _, _ in judged])
    strange = [replace(alert, source_port=9, destination_port=9) for alert in alerts_of(judged, alerted)]
    sightings = sightings_of(flows, strange, [build_list("192.0.2.1")])
    assert play(flows, judged, sightings, 10_000) == play(flows, judged, None, 10_000)


@settings(max_examples=40, deadline=None)
@given(judged=st.lists(judged_specs, min_size=1, max_size=40), alerted=st.lists(alert_specs, max_size=20))
def test_incidents_are_only_added_or_opened_earlier(judged: Judged, alerted: Alerted) -> None:
    flows = build_flows([spec for spec, _, _ in judged])
    alone, _ = play(flows, judged, None, 10_000)
    joined, _ = play(flows, judged, sightings_of(flows, alerts_of(judged, alerted), []), 10_000)
    assert set(_first_openings(alone)) <= set(_first_openings(joined))
    for who, at in _first_openings(alone).items():
        assert _first_openings(joined)[who] <= at


def _first_openings(changes: list[IncidentChange]) -> dict[tuple[str, str], datetime]:
    found: dict[tuple[str, str], datetime] = {}
    for change in changes:
        if change.kind is ChangeKind.OPENED:
            found.setdefault((change.incident.device.name, change.incident.role.value), change.at)
    return found


def test_the_strategy_does_open_incidents_by_alerts_and_lists() -> None:
    judged: Judged = [(FlowSpec(), 0.0, AttackClass.SCAN)]
    flows = build_flows([FlowSpec()])
    for sightings in (
        sightings_of(flows, alerts_of(judged, [(0, 0, 1, 1, False)]), []),
        sightings_of(flows, [], lists_of([(OUTSIDE[0], 90)])),
    ):
        _, (incident,) = play(flows, judged, sightings, 1)
        assert len(incident.sightings) == 1
        assert np.isclose(incident.evidence_nats, CALIBRATION.alarm_level_nats)
