"""What was found on the link becomes evidence against devices, by one table of weights."""

from __future__ import annotations

import math
from ipaddress import ip_address, ip_network

import numpy as np
import pytest

from thingwarden.detect.corroborate import WEIGHTS
from thingwarden.detect.link_evidence import LINK_WEIGHTS, mac_text, sightings_from_link
from thingwarden.detect.link_watch import FindingKind, LinkFinding
from thingwarden.domain.flow import FlowBatch, words_from_address
from thingwarden.domain.sighting import NO_FLOW, Grade
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.testing import START_S, FlowSpec, build_flows

ROUTER, SPY = 0x020000000001, 0x020000000066
NETWORKS = (ip_network("192.168.0.0/16"),)
RESTRICTING = 0.6
"""Confidence below which no rule of the playbook restricts an offender."""


def finding(kind: FindingKind, *, is_gateway: bool = False, at_s: float = 5.0) -> LinkFinding:
    return LinkFinding(
        at_s=START_S + at_s,
        kind=kind,
        suspect_mac=SPY,
        rival_mac=ROUTER,
        address=words_from_address(ip_address("192.168.1.1")),
        is_gateway=is_gateway,
        address_count=3,
    )


def flows(*specs: FlowSpec) -> FlowBatch:
    return build_flows(specs or [FlowSpec(at_s=0.0, duration_s=60.0)])


def test_every_finding_has_a_weight_and_words_of_its_own() -> None:
    assert set(LINK_WEIGHTS) == {(kind, is_gateway) for kind in FindingKind for is_gateway in (False, True)}
    said = [sightings_from_link([finding(kind)], flows()).sources[0].name for kind in FindingKind]
    assert len(set(said)) == len(FindingKind)


def test_only_insisting_on_the_gateways_address_for_long_says_enough_to_restrict() -> None:
    enough = {key for key, weight in LINK_WEIGHTS.items() if weight.probability >= RESTRICTING}
    alone = {key for key, weight in LINK_WEIGHTS.items() if WEIGHTS[weight.grade].alarm_share >= 1.0}
    lasting, insisting = FindingKind.INSISTS_LONG, FindingKind.INSISTS
    assert enough == {(lasting, True)}
    assert alone == {(lasting, True), (lasting, False), (insisting, True)}


def test_the_suspect_offends_and_whose_address_it_is_is_the_target_one_grade_lower() -> None:
    told = sightings_from_link([finding(FindingKind.INSISTS_LONG, is_gateway=True)], flows())
    assert told.flow.tolist() == [NO_FLOW, NO_FLOW]
    assert told.is_offender.tolist() == [True, False]
    assert told.grade.tolist() == [Grade.HIGH, Grade.MEDIUM]
    assert set(told.attack_class.tolist()) == {CLASS_INDEX[AttackClass.MITM]}
    assert [source.mac for source in told.sources] == ["02:00:00:00:00:66", "02:00:00:00:00:01"]
    assert told.sources[0].name.startswith("claims the gateway's address 192.168.1.1 unasked")
    assert told.sources[1].name == "has its address 192.168.1.1 claimed by 02:00:00:00:00:66"
    assert told.sources[0].log_odds_nats == pytest.approx(math.log(0.92 / 0.08))


def test_what_is_not_grave_names_no_target() -> None:
    assert sightings_from_link([finding(FindingKind.TURNS)], flows()).is_offender.tolist() == [True]


def test_flows_tell_the_gateway_where_nobody_asks_for_it() -> None:
    out = FlowSpec(at_s=0.0, orig="192.168.1.10", resp="203.0.113.5", resp_mac=ROUTER)
    inside = FlowSpec(at_s=0.0, orig="192.168.1.10", resp="192.168.1.11", resp_mac=ROUTER)
    group = FlowSpec(at_s=0.0, orig="192.168.1.10", resp="239.1.1.1", resp_mac=0x01005E010101)
    assert _grade(out) is Grade.HIGH
    assert _grade(inside) is Grade.MEDIUM
    assert _grade(group) is Grade.MEDIUM


def _grade(spec: FlowSpec) -> Grade:
    told = sightings_from_link([finding(FindingKind.INSISTS, at_s=0.5)], flows(spec), NETWORKS)
    return Grade(int(told.grade[0]))


def test_what_comes_after_the_last_flow_counts_with_it() -> None:
    told = sightings_from_link([finding(FindingKind.TURNS, at_s=500.0)], flows())
    assert told.at_s.tolist() == [START_S + 60.0]


def test_without_findings_or_flows_there_is_nothing() -> None:
    assert len(sightings_from_link([], flows())) == 0
    assert len(sightings_from_link([finding(FindingKind.TURNS)], FlowBatch.empty())) == 0
    untimed = FlowBatch.unknown(1, started_at_s=np.zeros(1), is_timed=False)
    assert len(sightings_from_link([finding(FindingKind.TURNS)], untimed)) == 0


def test_macs_as_people_write_them() -> None:
    assert mac_text(0x0A0B0C0D0E0F) == "0a:0b:0c:0d:0e:0f"
