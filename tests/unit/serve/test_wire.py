"""Values as JSON data."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.domain.incident import Incident, Rhythm, Severity
from thingwarden.domain.response import Decision, Proposal, Receipt, ReceiptStatus, Refusal, Target
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.serve.wire import plain_from_value, value_from_plain
from thingwarden.testing import START_S, build_contact, build_decision, build_incident, build_proposal

AT = datetime.fromtimestamp(START_S, UTC)


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


@pytest.mark.parametrize(
    "value",
    [
        build_proposal(),
        build_proposal(target=Target(domain="example.org")),
        Refusal(proposal=build_proposal(), reasons=("a", "b"), at=AT, can_approve=True),
        Receipt(decision_id="0" * 12, enforcer="x", status=ReceiptStatus.DRY_RUN, at=AT, detail="d", packet_count=3),
        build_incident(),
        build_incident(
            class_counts=((AttackClass.DDOS, 57), (AttackClass.C2, 3)),
            rhythm=Rhythm(interval_s=30.0, spread_ratio=0.01, is_periodic=True),
            contacts=(build_contact("2001:db8::1"), build_contact()),
        ),
    ],
)
def test_values_are_read_back_as_they_were(value: object) -> None:
    data = json.loads(json.dumps(plain_from_value(value), sort_keys=True))
    assert value_from_plain(type(value), data, "it") == value


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"act": "explode"}, "it: act"),
        ({"ttl_s": "1"}, "it: ttl_s"),
        ({"ttl_s": True}, "it: ttl_s"),
        ({"ttl_s": float("nan")}, "it: ttl_s"),
        ({"target": []}, "it: target"),
        ({"target": {"device": {"index": 1.5, "mac": None, "address": None}}}, "it: target: device: index"),
        ({"target": {"peer": "10.0.0.300"}}, "it: target: peer"),
        ({"surprise": 1}, "it: surprise"),
    ],
)
def test_what_is_not_so_shaped_is_refused_by_name(changes: dict[str, object], named: str) -> None:
    data = {**plain_from_value(build_proposal()), **changes}
    with pytest.raises(RequestError, match=named):
        value_from_plain(Proposal, data, "it")


@pytest.mark.parametrize("data", [None, 3, "text", [], {}, {"incident_id": "x"}])
def test_what_is_no_object_or_lacks_fields_is_refused(data: object) -> None:
    with pytest.raises(RequestError):
        value_from_plain(Incident, data, "it")


def test_no_decision_is_read_back_here() -> None:
    with pytest.raises(TypeError, match="Decision"):
        value_from_plain(Decision, plain_from_value(build_decision()), "it")
