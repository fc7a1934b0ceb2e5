"""Calibration travels as JSON and refuses what cannot be true."""

from __future__ import annotations

import json
from typing import Any

import pytest

from thingwarden.domain.calibration import Calibration
from thingwarden.domain.errors import ArtifactError


def test_json_round_trip() -> None:
    calibration = Calibration(temperature=1.7, flow_threshold=0.93, alarm_level_nats=11.5)
    assert Calibration.from_json(calibration.to_json()) == calibration


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.0},
        {"temperature": "1"},
        {"temperature": True},
        {"temperature": float("nan")},
        {"flow_threshold": 1.0},
        {"flow_threshold": 0.0},
        {"open_weight": 1.5},
        {"drift_nats": -0.1},
        {"alarm_level_nats": 0.0},
        {"strange_alarm_nats": 0.0},
        {"strange_cap_nats": 0.0},
        {"rarity_weight": 1.5},
        {"loudness_nats": [9, 8, 7, 6, 5, 4, 3, 2, 1]},
        {"loudness_nats": None},
        {"surprise_nats": [1.0, 2.0]},
        {"surprise_nats": [9, 8, 7, 6, 5, 4, 3, 2, 1]},
        {"surprise_nats": 3.0},
        {"version": 1},
        {"unheard_of": 1},
    ],
)
def test_bad_values_are_refused_by_name(change: dict[str, Any]) -> None:
    values = json.loads(Calibration().to_json()) | change
    with pytest.raises(ArtifactError, match=next(iter(change)) if "unheard_of" not in change else "keys"):
        Calibration.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", "null"])
def test_what_is_no_calibration_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match="calibration"):
        Calibration.from_json(text)
