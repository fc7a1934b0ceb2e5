"""Counting: every incident after the odd thing began counts, and one beyond a notification is one too many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from thingwarden.bench.hard_negatives import CONTROL, HARD_NEGATIVES
from thingwarden.bench.hard_negatives_count import (
    count_negatives,
    is_met,
    pool_negative,
    render_negatives,
    write_negatives,
)
from thingwarden.config import PACKAGED_MODEL
from thingwarden.model.artifact import load_artifact

BY_NAME = {negative.name: negative for negative in HARD_NEGATIVES}


def network(*incidents: dict[str, Any]) -> dict[str, Any]:
    return {"flows": 100, "device_days": 4.0, "device_days_before": 3.0, "incidents": list(incidents)}


def incident(after_h: float, *, is_restricted: bool = False, is_own: bool = False) -> dict[str, Any]:
    return {
        "after_h": after_h,
        "class": "scan",
        "role": "offender",
        "cause": "habits",
        "is_own": is_own,
        "is_restricted": is_restricted,
    }


def test_what_happened_before_is_told_apart() -> None:
    records = [network(incident(-1.0, is_restricted=True)), network(incident(2.0, is_own=True)), *[network()] * 18]
    row = pool_negative(records)
    assert (row["incidents"], row["own_incidents"], row["restricted"]) == (1, 1, 0)
    assert (row["incidents_before"], row["restricted_before"], row["networks_with_incident"]) == (1, 1, 1)
    assert row["restricted_per_network_at_most"] == pytest.approx(3.0 / 20, rel=0.01), "zero still allows three"
    assert is_met(row)


def test_one_beyond_a_notification_misses_and_so_do_too_few_networks() -> None:
    assert not is_met(pool_negative([network(incident(1.0, is_restricted=True)), *[network()] * 19]))
    assert not is_met(pool_negative([network()] * 19))


def figures(**negatives: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": "nano of today",
        "evidence_nats": 2.0,
        "alarm_level_nats": 25.0,
        "state": "0",
        "networks": 20,
        "duration_s": 86_400.0,
        "negatives": {name: {"about": "something", **row} for name, row in negatives.items()},
    }


def test_missed_ones_come_first_and_the_control_last() -> None:
    clean = pool_negative([network()] * 20)
    bad = pool_negative([network(incident(1.0, is_restricted=True, is_own=True)), *[network()] * 19])
    text = render_negatives(figures(**{CONTROL: clean, "backup": clean, "nmap": bad}))
    assert text.index("| nmap |") < text.index("| backup |") < text.index(f"| {CONTROL} |")
    assert "**MISSED**: 1 of 2 hard negatives" in text and "1 scan, offender" in text
    assert "**Met**: 1 of 1" in render_negatives(figures(backup=clean))
    assert "\n\nA printer.\n\n" in render_negatives(figures(backup=clean), "A printer.")


def test_networks_are_simulated_judged_kept_and_told(tmp_path: Path) -> None:
    said: list[tuple[int, int]] = []
    arguments: dict[str, Any] = {
        "negatives": (BY_NAME["power cut"], BY_NAME["owner's nmap"]),
        "networks": 1,
        "duration_s": 3600.0,
        "progress": lambda done, total: said.append((done, total)),
    }
    artifact = load_artifact(PACKAGED_MODEL)
    measured = count_negatives(artifact, tmp_path / "kept", **arguments)
    assert said == [(0, 2), (1, 2), (2, 2)]
    assert count_negatives(artifact, tmp_path / "kept", **arguments) == measured
    assert said[3:] == [(2, 2)]
    row = measured["negatives"]["power cut"]
    assert row["networks"] == 1 and row["flows"] > 0 and row["device_days"] > 0
    assert "| power cut | 1 |" in write_negatives(measured, tmp_path / "out").read_text()
