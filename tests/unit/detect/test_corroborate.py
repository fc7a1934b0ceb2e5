"""What others know counts at the right moment, once, by its grade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from sighting_builder import AlertSpec, build_alerts, build_list
from thingwarden.detect.corroborate import (
    SHOWN_SIGHTINGS,
    WEIGHTS,
    Corroborator,
    Statements,
    sighting_clause,
)
from thingwarden.detect.evidence import OFFENDER, TARGET, weigh_words
from thingwarden.detect.sightings import sightings_from_addresses, sightings_from_alerts
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.device import Device
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.sighting import NO_FLOW, Grade, Sighting, SightingBatch, SightingKind, SightingSource
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.testing import START_S, FlowSpec, FlowWordEncoder, ScriptedScorer, build_devices, build_flows

DEVICE, OUTSIDE = "192.168.1.10", "203.0.113.5"
DEVICES = build_devices([DEVICE, "192.168.1.11"])
EVIDENCE_NATS = Calibration().evidence_nats


def hear(
    flows: FlowBatch,
    sightings: SightingBatch,
    script: dict[int, tuple[float, AttackClass]] | None = None,
    chunk_words: int = 100,
    devices: Sequence[Device] = DEVICES,
) -> list[Statements]:
    corroborator, scorer = Corroborator(sightings, EVIDENCE_NATS), ScriptedScorer(script or {})
    heard = []
    for words in FlowWordEncoder(devices).encode(flows, chunk_words):
        evidence = weigh_words(words, scorer.score(words), Calibration())
        heard.append(corroborator.testify(words, evidence, devices))
    return [item for item in heard if item is not None]


def alerted(flows: FlowBatch, *alerts: AlertSpec) -> SightingBatch:
    return sightings_from_alerts(flows, build_alerts(alerts))[0]


def on_link(mac: str, *at_s: float) -> SightingBatch:
    """What a device does on the link, at instants, each time in other words."""
    count = len(at_s)
    return SightingBatch(
        flow=np.full(count, NO_FLOW),
        is_orig=np.ones(count, dtype=np.bool_),
        is_offender=np.ones(count, dtype=np.bool_),
        at_s=np.array(at_s) + START_S,
        grade=np.full(count, Grade.HIGH, dtype=np.uint8),
        attack_class=np.full(count, CLASS_INDEX[AttackClass.MITM], dtype=np.int8),
        source=np.arange(count, dtype=np.int32),
        sources=tuple(
            SightingSource(
                kind=SightingKind.LINK_LAYER, name=f"lies {n}", origin="", quote="", mac=mac, log_odds_nats=n / 2
            )
            for n in range(count)
        ),
    )


def test_what_a_device_does_on_the_link_needs_no_flow() -> None:
    flows = build_flows([FlowSpec(duration_s=1.0), FlowSpec(at_s=20.0, orig_port=2, duration_s=1.0)])
    heard = hear(flows, on_link(str(DEVICES[1].mac), 5.0, 30.0, 20.5), chunk_words=2)
    assert [(item.at_s - START_S).tolist() for item in heard] == [[5.0, 20.5]]
    assert heard[0].device.tolist() == [1, 1]
    assert heard[0].position.tolist() == [0, 1]
    assert heard[0].log_odds.tolist() == [0.0, 1.0]
    assert heard[0].share.tolist() == [1.0, 1.0]


def test_it_waits_for_the_word_that_makes_its_device_known() -> None:
    flows, devices = build_flows([FlowSpec(), FlowSpec(at_s=50.0, orig_port=2)]), build_devices(["192.168.1.99"])
    sightings = on_link("02:00:00:00:00:aa", 5.0)
    corroborator, scorer = Corroborator(sightings, EVIDENCE_NATS), ScriptedScorer({})
    first, second = FlowWordEncoder(DEVICES).encode(flows, 2)
    evidence = [weigh_words(words, scorer.score(words), Calibration()) for words in (first, second)]
    assert corroborator.testify(first, evidence[0], devices) is None
    known = [devices[0], Device(index=1, mac="02:00:00:00:00:aa", address=DEVICES[1].address)]
    begun = replace(second, starts_sentence=np.array([True, False]))
    heard = corroborator.testify(begun, evidence[1], known)
    assert heard is not None
    assert (heard.position.tolist(), (heard.at_s - START_S).tolist()) == ([1], [50.0])


def test_an_alert_comes_between_the_words_around_it() -> None:
    flows = build_flows([FlowSpec(duration_s=10.0), FlowSpec(at_s=3.0, orig_port=2, duration_s=1.0)])
    (heard,) = hear(flows, alerted(flows, AlertSpec(at_s=5.0)))
    assert heard.position.tolist() == [3]
    assert (heard.at_s - START_S).tolist() == [5.0]
    assert (heard.device.tolist(), heard.role.tolist()) == ([1], [OFFENDER])


def test_a_listed_address_counts_right_after_the_word_that_shows_it() -> None:
    flows = build_flows([FlowSpec(), FlowSpec(at_s=0.5, orig_port=2)])
    (heard,) = hear(flows, sightings_from_addresses(flows, build_list(OUTSIDE)))
    assert heard.position.tolist() == [1]


def test_a_strangers_flow_accuses_nobody() -> None:
    flows = build_flows([FlowSpec(orig="198.51.100.1")])
    assert hear(flows, alerted(flows, AlertSpec(source="198.51.100.1"))) == []


def test_without_sightings_nothing_is_said() -> None:
    assert hear(build_flows([FlowSpec()]), SightingBatch.empty()) == []


def test_both_ends_of_a_flow_at_home_have_their_roles() -> None:
    flows = build_flows([FlowSpec(resp="192.168.1.11")])
    (heard,) = hear(flows, alerted(flows, AlertSpec(destination="192.168.1.11")))
    assert sorted(zip(heard.device.tolist(), heard.role.tolist(), strict=True)) == [(1, OFFENDER), (2, TARGET)]


def test_a_rule_counts_once_an_hour_for_a_device_whatever_its_addresses() -> None:
    twice_named = [*DEVICES, replace(DEVICES[1], index=3, address=None)]
    flows = build_flows([FlowSpec(at_s=n * 600.0, orig_port=n) for n in range(12)])
    alerts = [AlertSpec(at_s=n * 600.0, source_port=n) for n in range(12)]
    (heard,) = hear(flows, alerted(flows, *alerts), devices=twice_named)
    assert len(heard) == len({int(at_s // 3600) for at_s in flows.started_at_s.tolist()}) == 3
    assert heard.share.tolist() == [WEIGHTS[Grade.HIGH].alarm_share] * 3


def test_the_same_list_given_twice_counts_once() -> None:
    flows = build_flows([FlowSpec()])
    once = sightings_from_addresses(flows, build_list(OUTSIDE))
    (heard,) = hear(flows, SightingBatch.concatenate([once, once]))
    assert len(heard) == 1


def test_a_graver_sighting_within_the_hour_adds_the_difference() -> None:
    flows = build_flows([FlowSpec(duration_s=20.0)])
    mild, grave = AlertSpec(at_s=1.0, severity=3), AlertSpec(at_s=2.0, severity=1)
    (heard,) = hear(flows, alerted(flows, mild, grave, replace(mild, at_s=3.0)))
    low, high = WEIGHTS[Grade.LOW].alarm_share, WEIGHTS[Grade.HIGH].alarm_share
    assert heard.share.tolist() == pytest.approx([low, high - low])


@pytest.mark.parametrize(("probability", "grade"), [(0.001, 1), (0.5, 2), (0.85, 1), (0.899, 3)])
def test_below_the_threshold_a_sighting_adds_to_what_the_model_says_over_it(probability: float, grade: int) -> None:
    flows = build_flows([FlowSpec(duration_s=20.0)])
    sightings = alerted(flows, AlertSpec(at_s=1.0, severity=4 - grade))
    (heard,) = hear(flows, sightings, {0: (probability, AttackClass.SCAN)})
    below = np.log(probability / (1 - probability)) - EVIDENCE_NATS
    assert heard.log_odds.tolist() == pytest.approx([below + WEIGHTS[Grade(grade)].log_odds_nats], abs=1e-4)


def test_above_the_threshold_a_sighting_never_makes_a_flow_less_malicious() -> None:
    flows = build_flows([FlowSpec(duration_s=20.0)])
    (heard,) = hear(flows, alerted(flows, AlertSpec(at_s=1.0, severity=3)), {0: (0.999, AttackClass.SCAN)})
    assert heard.log_odds.tolist() == pytest.approx([np.log(999.0)], abs=1e-3)


def test_the_class_is_the_rules_else_the_models_where_it_finds_the_flow_malicious() -> None:
    flows = build_flows([FlowSpec(duration_s=20.0)])
    (innocent,) = hear(flows, alerted(flows, AlertSpec(at_s=1.0)), {0: (0.001, AttackClass.SCAN)})
    assert innocent.attack_class.tolist() == [CLASS_INDEX[AttackClass.UNKNOWN]]
    named = alerted(flows, AlertSpec(at_s=1.0, category="Malware Command and Control Activity Detected"))
    (heard,) = hear(flows, named, {0: (0.9, AttackClass.SCAN)})
    assert heard.attack_class.tolist() == [CLASS_INDEX[AttackClass.C2]]


def test_a_device_that_was_forgotten_is_not_accused_in_its_successors_name() -> None:
    flows = build_flows([FlowSpec(duration_s=100.0), FlowSpec(at_s=50.0, orig="192.168.1.11", orig_port=2)])
    corroborator, scorer = Corroborator(alerted(flows, AlertSpec(at_s=60.0)), EVIDENCE_NATS), ScriptedScorer({})
    devices = list(DEVICES)
    heard = []
    for words in FlowWordEncoder(DEVICES).encode(flows, 1):
        evidence = weigh_words(words, scorer.score(words), Calibration())
        heard.append(corroborator.testify(words, evidence, devices))
        devices[1] = replace(DEVICES[1], mac="02:00:00:00:00:99")
    assert heard == [None] * 4


def test_described_sightings_are_the_gravest_and_bounded() -> None:
    flows = build_flows([FlowSpec(at_s=float(n), orig_port=n) for n in range(20)])
    alerts = [
        AlertSpec(at_s=float(n), source_port=n, signature_id=n, severity=1 + n % 3, signature=f'says "{n}"')
        for n in range(20)
    ]
    sightings = alerted(flows, *alerts)
    described = Corroborator(sightings, EVIDENCE_NATS).describe(np.flatnonzero(sightings.is_orig).tolist(), 10.0)
    assert len(described) == SHOWN_SIGHTINGS
    assert [item.grade for item in described] == [Grade.HIGH] * 7 + [Grade.MEDIUM]
    assert described[0].weight_nats == 10.0 * WEIGHTS[Grade.HIGH].alarm_share
    assert described[0].first_at == datetime.fromtimestamp(START_S, UTC)
    assert Corroborator(sightings, EVIDENCE_NATS).describe([], 10.0) == ()


def sighting(kind: SightingKind, name: str) -> Sighting:
    return Sighting(
        kind=kind,
        name=name,
        origin="feed.txt, line 3",
        quote="all is well",
        grade=Grade.HIGH,
        weight_nats=1.0,
        hour_count=1,
        first_at=datetime.fromtimestamp(START_S, UTC),
    )


@pytest.mark.parametrize(
    ("kind", "name", "clause"),
    [
        (SightingKind.SIGNATURE, "Suricata signature 7", "; Suricata signature 7 fired"),
        (SightingKind.ADDRESS, OUTSIDE, f"; {OUTSIDE} is listed in feed.txt, line 3"),
        (SightingKind.DOMAIN, "bad.example", "; the name bad.example is listed in feed.txt, line 3"),
        (SightingKind.JA4, "t13", "; the TLS fingerprint t13 is listed in feed.txt, line 3"),
    ],
)
def test_the_sentence_says_what_was_seen_and_never_what_its_author_wrote(
    kind: SightingKind, name: str, clause: str
) -> None:
    assert sighting_clause([sighting(kind, name)], 0.9) == clause


def test_the_sentence_says_where_the_model_alone_would_have_been_silent() -> None:
    several = [sighting(SightingKind.SIGNATURE, "Suricata signature 7")] * 3
    assert sighting_clause(several, 0.1) == (
        "; the model finds this traffic normal, but Suricata signature 7 fired (and 2 more such)"
    )
    assert sighting_clause([], 0.1) == ""
    lies = [sighting(SightingKind.LINK_LAYER, "claims the gateway's address 192.168.1.1")]
    assert sighting_clause(lies, 0.3, has_flows=False) == "; it claims the gateway's address 192.168.1.1"
