"""What an incident remembers: bounded, exact in its sums, sceptical of origins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from thingwarden.detect.stream import join
from thingwarden.detect.tally import (
    MAX_CONTACTS,
    MAX_SIGHTINGS,
    NO_SIGHTING,
    SHOWN_CONTACTS,
    SHOWN_DETECTIONS,
    EvidenceColumns,
    Tally,
    has_completed_exchange,
    instant_from_s,
    proto_name,
)
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.sighting import NO_FLOW
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.testing import FlowSpec, build_flows

SCAN = CLASS_INDEX[AttackClass.SCAN]


def evidence_of(flows: FlowBatch, is_close: bool = True) -> EvidenceColumns:
    count = len(flows)
    return EvidenceColumns(
        flow=np.arange(count),
        is_orig=np.ones(count, dtype=np.bool_),
        is_close=np.full(count, is_close),
        is_probe=np.zeros(count, dtype=np.bool_),
        known_at_s=flows.ended_at_s,
        log_odds=np.linspace(3.0, 9.0, count),
        attack_class=np.full(count, SCAN, dtype=np.int8),
        is_first=np.ones(count, dtype=np.bool_),
        gain=np.full(count, 1024),
        strange=np.zeros(count, dtype=np.int64),
        calm=np.zeros(count, dtype=np.int64),
        number=np.arange(1, count + 1),
        sighting=np.full(count, NO_SIGHTING),
    )


def test_a_scan_of_many_is_counted_not_listed() -> None:
    flows = build_flows([FlowSpec(resp=f"10.{n >> 8}.{n & 255}.1", resp_port=23) for n in range(MAX_CONTACTS + 100)])
    tally = Tally()
    tally.add(evidence_of(flows), flows)
    assert len(tally.services) == MAX_CONTACTS
    assert tally.untold_flow_count == 100
    assert tally.flow_count == MAX_CONTACTS + 100
    assert len(tally.contacts()) == SHOWN_CONTACTS


def test_a_quiet_controller_does_not_hide_behind_its_own_flood() -> None:
    flood = [FlowSpec(at_s=n, resp=f"203.0.113.{n % 20}", resp_port=80) for n in range(200)]
    flows = build_flows([*flood, FlowSpec(at_s=200, resp="198.51.100.66", resp_port=6667)])
    words = evidence_of(flows)
    words.attack_class[-1] = CLASS_INDEX[AttackClass.C2]
    tally = Tally()
    tally.add(words, flows)
    assert [str(contact.peer) for contact in tally.contacts() if contact.port == 6667] == ["198.51.100.66"]
    assert len(tally.contacts()) == SHOWN_CONTACTS + 1


def test_what_is_new_since_the_incident_was_told_is_shown_however_busy_the_rest_is() -> None:
    flood = [FlowSpec(at_s=n, resp=f"203.0.113.{n % 20}", resp_port=80) for n in range(200)]
    flows = build_flows([*flood, FlowSpec(at_s=200, resp="198.51.100.66", resp_port=53)])
    words, tally = evidence_of(flows), Tally()
    tally.add(words.take(slice(0, 200)), flows)
    assert len(tally.contacts()) == SHOWN_CONTACTS
    tally.settle()
    tally.add(words.take(slice(200, 201)), flows)
    assert "198.51.100.66" in {str(contact.peer) for contact in tally.contacts()}
    tally.settle()
    assert "198.51.100.66" not in {str(contact.peer) for contact in tally.contacts()}


def test_the_loudest_flows_are_shown_once_each_loudest_first() -> None:
    flows = build_flows([FlowSpec(at_s=n) for n in range(20)])
    tally = Tally()
    tally.add(evidence_of(flows, is_close=False), flows)
    tally.add(evidence_of(flows), flows)
    shown = tally.detections(flows)
    assert [detection.flow for detection in shown] == [19, 18, 17, 16, 15]
    assert len(shown) == SHOWN_DETECTIONS
    assert all(detection.conn_state == "SF" for detection in shown)


def test_an_open_flow_shows_no_outcome() -> None:
    flows = build_flows([FlowSpec(service="http")])
    tally = Tally()
    tally.add(evidence_of(flows, is_close=False), flows)
    (detection,) = tally.detections(flows)
    assert (detection.conn_state, detection.sent_bytes, detection.service) == (None, None, None)


def test_a_beat_needs_enough_even_intervals() -> None:
    def rhythm_of(starts_s: list[float]) -> bool:
        flows = build_flows([FlowSpec(at_s=at_s) for at_s in starts_s])
        tally = Tally()
        tally.add(evidence_of(flows), flows)
        rhythm = tally.rhythm()
        return rhythm is not None and rhythm.is_periodic

    assert rhythm_of([0, 30, 60.5, 90, 120, 149.5, 180])
    assert not rhythm_of([0, 30, 60])
    assert not rhythm_of([0, 5, 60, 62, 300, 301, 900])
    assert not rhythm_of([n * 0.01 for n in range(50)])


@pytest.mark.parametrize(
    ("spec", "is_proof"),
    [
        (FlowSpec(conn_state="SF"), True),
        (FlowSpec(conn_state="S1", resp_bytes=10), True),
        (FlowSpec(conn_state="S1", resp_bytes=0), False),
        (FlowSpec(conn_state="S0"), False),
        (FlowSpec(conn_state="REJ"), False),
        (FlowSpec(conn_state="RSTO", resp_bytes=0), False),
        (FlowSpec(conn_state="RSTOS0"), False),
        (FlowSpec(conn_state="OTH"), False),
        (FlowSpec(conn_state="SF", proto="udp"), False),
    ],
)
def test_only_what_a_spoofer_cannot_do_proves_the_origin(spec: FlowSpec, is_proof: bool) -> None:
    assert has_completed_exchange(build_flows([spec]), np.array([0]))[0] == is_proof


def test_impossible_instants_are_clipped() -> None:
    assert instant_from_s(1e20).year == 9999
    assert instant_from_s(-5.0).year == 1970


def test_protocols_have_names() -> None:
    assert [proto_name(number) for number in (1, 6, 17, 58, 47)] == ["icmp", "tcp", "udp", "icmp6", "47"]


def test_sightings_are_remembered_within_bounds_and_never_lower_the_confidence() -> None:
    flows = build_flows([FlowSpec(at_s=n) for n in range(MAX_SIGHTINGS + 50)])
    own, others = evidence_of(flows), evidence_of(flows)
    others = replace(others, sighting=np.arange(len(flows)), log_odds=np.full(len(flows), -3.0))
    tally = Tally()
    tally.add(own, flows)
    before = tally.confidence
    tally.add(others, flows)
    assert tally.confidence == before > 0.9
    assert tally.sighting_rows == list(range(MAX_SIGHTINGS))
    surer = Tally()
    surer.add(replace(own, log_odds=np.zeros(len(flows))), flows)
    surer.add(replace(others, log_odds=np.full(len(flows), 5.0)), flows)
    assert 0.5 < surer.confidence < 0.99


def test_sightings_alone_have_their_own_confidence() -> None:
    flows = build_flows([FlowSpec()])
    tally = Tally()
    tally.add(replace(evidence_of(flows), sighting=np.array([0]), log_odds=np.array([-2.9])), flows)
    assert tally.confidence == pytest.approx(0.052154)


def stated(log_odds: float, sighting: int) -> EvidenceColumns:
    """What is told of a device by itself."""
    mitm = np.array([CLASS_INDEX[AttackClass.MITM]], dtype=np.int8)
    words = evidence_of(build_flows([FlowSpec(at_s=500.0)]), is_close=False)
    told = {"flow": np.array([NO_FLOW]), "log_odds": np.array([log_odds]), "sighting": np.array([sighting])}
    return replace(words, **told, attack_class=mitm, is_first=np.zeros(1, dtype=np.bool_))


def test_what_is_told_of_the_device_by_itself_is_no_flow_and_counts_as_it_is() -> None:
    flows, tally = build_flows([FlowSpec()]), Tally()
    tally.add(stated(-3.0, 0), flows)
    tally.add(stated(2.0, 1), flows)
    assert (tally.flow_count, tally.services, tally.detections(flows)) == (0, {}, ())
    assert tally.class_order() == [(CLASS_INDEX[AttackClass.MITM], 2)]
    assert tally.confidence == pytest.approx(1 / (1 + np.exp(-2.0)), abs=1e-6)
    assert tally.sighting_rows == [0, 1]


def test_what_is_told_of_the_device_joins_what_its_flows_say() -> None:
    flows, tally = build_flows([FlowSpec()]), Tally()
    both = [evidence_of(flows), stated(-3.0, 0)]
    tally.add(join(both), flows)
    assert tally.flow_count == 1
    assert tally.confidence == pytest.approx(1 / (1 + np.exp(-3.0)), abs=1e-6)
    assert {index for index, _ in tally.class_order()} == {SCAN, CLASS_INDEX[AttackClass.MITM]}
    assert tally.last_seen_s > tally.first_seen_s + 400.0


def test_words_are_taken_whole() -> None:
    words = evidence_of(build_flows([FlowSpec(), FlowSpec(at_s=1.0)])).take(slice(1, 2))
    assert (words.flow.tolist(), words.number.tolist()) == ([1], [2])


def test_forgotten_flows_are_not_shown_and_stay_counted() -> None:
    flows = build_flows([FlowSpec(at_s=float(row), resp_port=23) for row in range(9)])
    tally = Tally()
    tally.add(evidence_of(flows), flows)
    is_gone = np.zeros(10, dtype=np.bool_)
    is_gone[[8, 7]] = True
    tally.forget(is_gone)
    assert [detection.flow for detection in tally.detections(flows)] == [6, 5, 4, 3, 2]
    assert tally.closed_count == 9
