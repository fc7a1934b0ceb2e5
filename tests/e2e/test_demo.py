"""The demo as a person runs it: the sample's attacks found, named, explained and answered, nobody else accused."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import pytest

Records = Mapping[str, list[dict[str, Any]]]

MOST_SECONDS = 60.0


@pytest.fixture(scope="module")
def records() -> Records:
    """What ``thingwarden demo --json`` prints, by type."""
    started_at_s = time.perf_counter()
    finished = subprocess.run(
        [sys.executable, "-m", "thingwarden", "demo", "--json"], capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    assert time.perf_counter() - started_at_s < MOST_SECONDS
    by_type: dict[str, list[dict[str, Any]]] = {}
    for line in finished.stdout.splitlines():
        record = json.loads(line)
        by_type.setdefault(record["type"], []).append(record)
    return by_type


ATTACKS = ("scan", "brute_force", "download", "c2", "dos")

MISSED = {
    "brute_force": "its nine telnet flows stay below the flow threshold",
    "download": "its one HTTP fetch is judged benign",
}
"""What the shipped model does not find in the sample yet; an attack that is found again must leave this list."""


def _expected(attack_class: str) -> object:
    marks = pytest.mark.xfail(reason=MISSED[attack_class], strict=True) if attack_class in MISSED else ()
    return pytest.param(attack_class, marks=marks)


@pytest.mark.parametrize("attack_class", [_expected(attack_class) for attack_class in ATTACKS])
def test_an_attack_is_found_named_and_answered(records: Records, attack_class: str) -> None:
    (attack,) = (attack for attack in records["attack_score"] if attack["attack_class"] == attack_class)
    assert attack["incident_ids"]
    assert attack["is_named"]
    assert attack["planned"]


def test_the_score_is_of_every_attack(records: Records) -> None:
    assert sorted(attack["attack_class"] for attack in records["attack_score"]) == sorted(ATTACKS)


def test_no_device_is_accused_of_what_it_did_not_do(records: Records) -> None:
    assert records["sample_score"][0]["wrongly_accused"] == []


def test_every_incident_is_explained(records: Records) -> None:
    for incident in records["incident"]:
        assert incident["device"]["name"] in incident["summary"]
        assert incident["detections"]
        assert incident["techniques"]
        assert 0.5 < incident["confidence"] <= 1.0


def test_every_decision_ends_and_changes_nothing(records: Records) -> None:
    assert all(decision["expires_at"] > decision["decided_at"] for decision in records["decision"])
    assert {receipt["status"] for receipt in records["receipt"]} <= {"dry-run", "revoked"}
    applied = {receipt["decision_id"] for receipt in records["receipt"] if receipt["status"] == "dry-run"}
    assert applied == {decision["decision_id"] for decision in records["decision"]}


def test_people_get_the_same_in_words() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "thingwarden", "demo"], capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0
    for part in ("evidence: the", "plan", "against the truth", "Dry run: nothing was changed."):
        assert part in finished.stdout
    assert "Traceback" not in finished.stderr
