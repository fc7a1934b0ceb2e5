"""What follows from an incident's facts."""

from __future__ import annotations

import pytest

from thingwarden.domain.incident import Role, Severity
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.testing import build_incident


@pytest.mark.parametrize(
    ("attack_class", "role", "severity"),
    [
        (AttackClass.C2, Role.OFFENDER, Severity.HIGH),
        (AttackClass.C2, Role.TARGET, Severity.MEDIUM),
        (AttackClass.SCAN, Role.OFFENDER, Severity.MEDIUM),
        (AttackClass.SCAN, Role.TARGET, Severity.LOW),
    ],
)
def test_a_target_is_less_severe_than_an_offender(attack_class: AttackClass, role: Role, severity: Severity) -> None:
    assert build_incident(attack_class=attack_class, role=role).severity is severity


def test_techniques_are_those_of_all_classes_once() -> None:
    counts = ((AttackClass.DDOS, 4), (AttackClass.C2, 3), (AttackClass.UNKNOWN, 1))
    assert build_incident(class_counts=counts).techniques == ("T1498.001", "T1071")
