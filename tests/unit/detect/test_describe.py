"""Plain sentences."""

from __future__ import annotations

import pytest

from thingwarden.detect.describe import format_confidence, summarise_incident
from thingwarden.domain.incident import Rhythm, Role
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.testing import build_contact, build_incident


def test_a_beacon_reads_as_in_the_handbook() -> None:
    incident = build_incident(rhythm=Rhythm(interval_s=30.0, spread_ratio=0.01, is_periodic=True))
    assert summarise_incident(incident, [build_contact()], 1) == (
        "192.168.1.10 contacts 203.0.113.5 on tcp/6667 every 30 s and looks like command and control: "
        "57 flows, 98 % sure"
    )


def test_a_wide_scan_counts_addresses() -> None:
    contacts = [build_contact(f"203.0.113.{n}", port=23, flow_count=1) for n in range(1, 11)]
    incident = build_incident(attack_class=AttackClass.SCAN, class_counts=((AttackClass.SCAN, 57),))
    assert "contacts 4,000 addresses on tcp/23 and looks like scanning" in summarise_incident(incident, contacts, 4000)
    uncounted = build_incident(is_count_exact=False)
    assert "more than 4,000 addresses" in summarise_incident(uncounted, contacts, 4000)


def test_a_deep_scan_names_no_port() -> None:
    contacts = [build_contact(port=n, flow_count=1) for n in range(1, 11)]
    assert "contacts 203.0.113.5 on many ports and looks like" in summarise_incident(build_incident(), contacts, 1)


def test_a_target_is_not_accused() -> None:
    incident = build_incident(role=Role.TARGET, attack_class=AttackClass.BRUTE_FORCE)
    sentence = summarise_incident(incident, [build_contact(is_outbound=False)], 1)
    assert "is contacted by 203.0.113.5" in sentence
    assert "looks like the target of" in sentence


def test_further_classes_are_named() -> None:
    incident = build_incident(class_counts=((AttackClass.DDOS, 40), (AttackClass.C2, 12)))
    assert "a distributed denial-of-service attack, also command and control" in summarise_incident(
        incident, [build_contact()], 1
    )


@pytest.mark.parametrize(
    ("confidence", "text"), [(0.5, "50 %"), (0.98, "98 %"), (0.9999, "over 99 %"), (1, "over 99 %")]
)
def test_confidence_is_never_certainty(confidence: float, text: str) -> None:
    assert format_confidence(confidence) == text


def test_what_no_flow_shows_is_said_to_be_seen_on_the_link() -> None:
    kinds = ((AttackClass.MITM, 2),)
    incident = build_incident(attack_class=AttackClass.MITM, class_counts=kinds, flow_count=0, confidence=0.5)
    assert summarise_incident(incident, [], 0) == (
        "192.168.1.10 looks like traffic interception by what is said on the link, 50 % sure"
    )
