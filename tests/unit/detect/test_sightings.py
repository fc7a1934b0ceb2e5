"""What others know is joined to flows, in the right role, at the right grade."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest

from sighting_builder import AlertSpec, build_alerts, build_list, build_names
from thingwarden.detect.sightings import (
    NameIndex,
    grade_from_confidence,
    sightings_from_addresses,
    sightings_from_alerts,
    sightings_from_names,
)
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.indicator import KIND_CODE, IndicatorSet
from thingwarden.domain.sighting import NO_CLASS, Grade, SightingBatch, SightingKind
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.testing import START_S, FlowSpec, build_flows

DEVICE, OUTSIDE = "192.168.1.10", "203.0.113.5"
HOME = (ipaddress.ip_network("192.168.0.0/16"),)


def said(sightings: SightingBatch) -> list[tuple[int, str, str, Grade]]:
    """Flow, end, role and grade, in order of time."""
    return [
        (
            int(sightings.flow[row]),
            "orig" if sightings.is_orig[row] else "resp",
            "offender" if sightings.is_offender[row] else "target",
            Grade(int(sightings.grade[row])),
        )
        for row in range(len(sightings))
    ]


def test_an_alert_accuses_who_began_the_flow() -> None:
    sightings, stray = sightings_from_alerts(build_flows([FlowSpec()]), build_alerts([AlertSpec()]))
    assert sorted(said(sightings)) == [(0, "orig", "offender", Grade.HIGH), (0, "resp", "target", Grade.HIGH)]
    assert stray == 0


@pytest.mark.parametrize(("attacker_is_orig", "roles"), [(1, ["offender", "target"]), (0, ["target", "offender"])])
def test_a_rule_that_names_the_attacker_is_believed(attacker_is_orig: int, roles: list[str]) -> None:
    alert = AlertSpec(attacker_is_orig=attacker_is_orig)
    sightings, _ = sightings_from_alerts(build_flows([FlowSpec()]), build_alerts([alert]))
    assert [role for _, _, role, _ in sorted(said(sightings))] == roles


@pytest.mark.parametrize(
    ("attacker_is_orig", "grades"), [(1, [Grade.HIGH, Grade.MEDIUM]), (0, [Grade.MEDIUM, Grade.HIGH])]
)
def test_the_target_of_a_local_attacker_is_graded_lower(attacker_is_orig: int, grades: list[Grade]) -> None:
    flows = build_flows([FlowSpec(resp="192.168.1.1", resp_port=53)])
    alert = AlertSpec(destination="192.168.1.1", destination_port=53, attacker_is_orig=attacker_is_orig)
    sightings, _ = sightings_from_alerts(flows, build_alerts([alert]), HOME)
    assert [grade for _, _, _, grade in sorted(said(sightings))] == grades


def test_the_target_of_a_stranger_is_not() -> None:
    flows = build_flows([FlowSpec(orig=OUTSIDE, resp=DEVICE)])
    alert = AlertSpec(source=OUTSIDE, destination=DEVICE)
    sightings, _ = sightings_from_alerts(flows, build_alerts([alert]), HOME)
    assert (0, "resp", "target", Grade.HIGH) in said(sightings)


def test_the_attacker_stays_the_same_when_the_alert_names_the_ends_the_other_way_round() -> None:
    alert = AlertSpec(source=OUTSIDE, source_port=443, destination=DEVICE, destination_port=40_000, attacker_is_orig=1)
    sightings, _ = sightings_from_alerts(build_flows([FlowSpec()]), build_alerts([alert]))
    assert [role for _, _, role, _ in sorted(said(sightings))] == ["target", "offender"]


@pytest.mark.parametrize(
    ("severity", "confidence", "category", "grade"),
    [
        (1, 0, "", Grade.HIGH),
        (2, 0, "", Grade.MEDIUM),
        (3, 0, "", Grade.LOW),
        (255, 3, "", Grade.LOW),
        (1, 1, "", Grade.MEDIUM),
        (2, 1, "", Grade.LOW),
        (3, 1, "", Grade.LOW),
        (1, 3, "Potential Corporate Privacy Violation", Grade.LOW),
    ],
)
def test_the_grade_follows_severity_and_the_authors_own_trust(
    severity: int, confidence: int, category: str, grade: Grade
) -> None:
    alert = AlertSpec(severity=severity, confidence=confidence, category=category)
    sightings, _ = sightings_from_alerts(build_flows([FlowSpec()]), build_alerts([alert]))
    assert {item[3] for item in said(sightings)} == {grade}


def test_a_category_names_a_class_where_it_says_what_is_seen() -> None:
    alerts = [AlertSpec(category="Detection of a Network Scan"), AlertSpec(at_s=0.5, signature_id=7)]
    sightings, _ = sightings_from_alerts(build_flows([FlowSpec()]), build_alerts(alerts))
    assert set(sightings.attack_class.tolist()) == {CLASS_INDEX[AttackClass.SCAN], NO_CLASS}


def test_alerts_without_a_flow_are_counted() -> None:
    alerts = [AlertSpec(), AlertSpec(source_port=9), AlertSpec(at_s=1e6)]
    assert sightings_from_alerts(build_flows([FlowSpec()]), build_alerts(alerts))[1] == 2
    assert sightings_from_alerts(FlowBatch.empty(), build_alerts(alerts))[1] == 3


def test_a_rule_that_fires_all_the_time_counts_once_an_hour_and_end() -> None:
    flows = build_flows([FlowSpec(at_s=n * 10.0, orig_port=n) for n in range(720)])
    alerts = build_alerts([AlertSpec(at_s=n * 10.0, source_port=n) for n in range(720)])
    sightings, _ = sightings_from_alerts(flows, alerts)
    hours = len(np.unique(np.floor(flows.started_at_s / 3600)))
    assert len(sightings) == 2 * hours == 6


def test_an_alert_is_known_within_its_flow() -> None:
    flows = build_flows([FlowSpec(at_s=10.0, duration_s=5.0)])
    for at_s, known_s in ((9.5, 10.0), (12.0, 12.0), (200.0, 15.0)):
        sightings, _ = sightings_from_alerts(flows, build_alerts([AlertSpec(at_s=at_s)]))
        assert set(sightings.at_s - START_S) == {known_s}


def test_who_contacts_a_listed_address_is_the_offender_at_once() -> None:
    flows = build_flows([FlowSpec(duration_s=50.0), FlowSpec(resp="203.0.113.6")])
    sightings = sightings_from_addresses(flows, build_list(OUTSIDE), HOME)
    assert said(sightings) == [(0, "orig", "offender", Grade.HIGH)]
    assert sightings.at_s[0] == START_S
    assert (sightings.sources[0].name, sightings.sources[0].origin) == (OUTSIDE, "test.txt, line 1")


@pytest.mark.parametrize(("conn_state", "resp_bytes", "grade"), [("SF", 200, Grade.MEDIUM), ("S0", 0, Grade.LOW)])
def test_who_is_contacted_from_a_listed_address_is_the_target_when_the_outcome_is_known(
    conn_state: str, resp_bytes: int, grade: Grade
) -> None:
    flow = FlowSpec(orig=OUTSIDE, resp=DEVICE, conn_state=conn_state, resp_bytes=resp_bytes, duration_s=3.0)
    sightings = sightings_from_addresses(build_flows([flow]), build_list(OUTSIDE), HOME)
    assert said(sightings) == [(0, "resp", "target", grade)]
    assert sightings.at_s[0] == START_S + 3.0


def test_lists_of_private_networks_accuse_nobody_at_home() -> None:
    flows = build_flows([FlowSpec(resp="192.168.1.20")])
    assert len(sightings_from_addresses(flows, build_list("192.168.0.0/16"), HOME)) == 0
    assert len(sightings_from_addresses(flows, build_list("192.168.0.0/16"))) == 2


def test_an_entry_holds_while_it_is_valid() -> None:
    flows = build_flows([FlowSpec(at_s=n * 100.0) for n in range(5)])
    listed = build_list(OUTSIDE, validity_s=(START_S + 100.0, START_S + 300.0))
    sightings = sightings_from_addresses(flows, listed, HOME)
    assert sightings.flow.tolist() == [1]
    ended = build_list(OUTSIDE, validity_s=(-np.inf, START_S))
    assert len(sightings_from_addresses(flows, ended, HOME)) == 0


def test_several_lists_may_know_an_address() -> None:
    listed = IndicatorSet.concatenate([build_list("203.0.113.0/24"), build_list(OUTSIDE, confidence=20)])
    sightings = sightings_from_addresses(build_flows([FlowSpec()]), listed, HOME)
    assert sorted(sightings.sources[row].name for row in sightings.source) == ["203.0.113.0/24", OUTSIDE]
    assert sorted(sightings.grade.tolist()) == [Grade.LOW, Grade.HIGH]


def test_lists_without_addresses_meet_no_flow() -> None:
    assert len(sightings_from_addresses(build_flows([FlowSpec()]), build_list("bad.example"), HOME)) == 0
    assert len(sightings_from_addresses(FlowBatch.empty(), build_list(OUTSIDE), HOME)) == 0


def test_confidence_becomes_a_grade_as_stix_has_it() -> None:
    grades = grade_from_confidence(np.array([1, 29, 30, 69, 70, 100], dtype=np.uint8))
    assert grades.tolist() == [Grade.LOW, Grade.LOW, Grade.MEDIUM, Grade.MEDIUM, Grade.HIGH, Grade.HIGH]


def test_a_domain_is_listed_by_itself_or_by_one_above_it() -> None:
    index = NameIndex(build_list("bad.example", "*.worse.example", ".worst.example", "203.0.113.1"))
    domain = KIND_CODE[SightingKind.DOMAIN]
    assert index.find(domain, "bad.example") == [0]
    assert index.find(domain, "a.bad.example") == []
    assert index.find(domain, "a.b.worse.example") == [1]
    assert index.find(domain, "worse.example") == []
    assert index.find(domain, "a.worst.example") == [2]
    assert index.find(KIND_CODE[SightingKind.JA4], "bad.example") == []
    assert index.has("bad.example") and not index.has("203.0.113.1")
    assert not NameIndex(build_list("203.0.113.1"))


def test_a_listed_name_accuses_who_said_it_less_where_it_only_asked() -> None:
    query = AlertSpec(destination="192.168.1.1", destination_port=53, proto="udp")
    flows = build_flows([FlowSpec(), FlowSpec(resp="192.168.1.1", resp_port=53, proto="udp")])
    names = build_names([(AlertSpec(), "bad.example"), (query, "bad.example"), (query, "good.example")])
    sightings, stray = sightings_from_names(flows, names, build_list("bad.example"))
    assert said(sightings) == [(0, "orig", "offender", Grade.HIGH), (1, "orig", "offender", Grade.MEDIUM)]
    assert {source.name for source in sightings.sources} == {"bad.example"}
    assert stray == 0


def test_a_name_heard_in_no_flow_is_counted_while_its_entry_is_valid() -> None:
    names = build_names([(AlertSpec(source_port=9), "bad.example")])
    flows = build_flows([FlowSpec()])
    assert sightings_from_names(flows, names, build_list("bad.example"))[1] == 1
    assert sightings_from_names(flows, names, build_list("bad.example", validity_s=(-np.inf, 0.0)))[1] == 0


def test_a_fingerprint_is_compared_with_fingerprints() -> None:
    ja4 = "t13d1516h2_8daaf6152771_e5627efa2ab1"
    names = build_names([(AlertSpec(), ja4)], SightingKind.JA4)
    sightings, _ = sightings_from_names(build_flows([FlowSpec()]), names, build_list(ja4))
    assert [source.kind for source in sightings.sources] == [SightingKind.JA4]
