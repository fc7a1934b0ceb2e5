"""Values as JSON data."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from thingwarden.domain.incident import Severity
from thingwarden.serve.wire import plain_from_value
from thingwarden.testing import build_decision, build_incident


def test_an_incident_survives_json() -> None:
    plain = plain_from_value(build_incident())
    assert json.loads(json.dumps(plain)) == plain
    assert plain["role"] == "offender"
    assert plain["severity"] == "high"
    assert plain["techniques"] == ["T1071"]
    assert plain["class_counts"] == {"c2": 57}
    assert plain["device"]["name"] == "192.168.1.10"
    assert plain["contacts"][0]["peer"] == "203.0.113.5"


def test_a_decision_says_when_it_ends() -> None:
    assert plain_from_value(build_decision())["expires_at"] == "2023-11-14T23:13:20.000Z"


def test_instants_are_written_in_utc() -> None:
    local = datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert plain_from_value(local) == plain_from_value(datetime(2024, 1, 1, tzinfo=UTC)) == "2024-01-01T00:00:00.000Z"


def test_numbers_and_names() -> None:
    assert plain_from_value({"a": (1, 0.12345678, None, True)}) == {"a": [1, 0.123457, None, True]}
    assert plain_from_value(Severity.LOW) == "low"


def test_what_has_no_shape_is_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        plain_from_value({"a": {1}})
