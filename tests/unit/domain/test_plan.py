"""A decision goes over the wire and back; nothing else does."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingwarden.domain.device import Device
from thingwarden.domain.errors import RequestError
from thingwarden.domain.plan import MAX_PLAN_BYTES, canonical_json, decision_values, encode_decision, parse_json
from thingwarden.domain.response import Access, Act, Cost, Decision, Target
from thingwarden.testing import build_decision

MACS = st.none() | st.just("02:00:00:00:00:0a")
ADDRESSES = st.ip_addresses(v=4) | st.ip_addresses(v=6)
DEVICES = st.builds(Device, index=st.integers(0, 99), mac=MACS, address=ADDRESSES)
TARGETS = st.builds(
    Target,
    device=DEVICES,
    peer=ADDRESSES,
    proto=st.sampled_from(["tcp", "udp"]),
    port=st.none() | st.integers(0, 65_535),
    is_inbound=st.booleans(),
    packets_per_s=st.integers(1, 1_000_000),
    domain=st.just("evil.example.org"),
    username=st.just("cam é 1"),
    topic_filter=st.none() | st.just("home/+/#"),
    access=st.none() | st.sampled_from(Access),
)
COSTS = st.builds(
    Cost,
    over_s=st.floats(0, 1e6),
    harmful_flow_count=st.integers(0, 9),
    harmless_flow_count=st.integers(0, 9),
    others_flow_count=st.integers(0, 9),
    services=st.just(("udp/123",)),
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(TARGETS, st.sampled_from(Act), st.none() | COSTS, INSTANTS, st.integers(1, 604_800_000_000))
def test_a_decision_is_read_back_as_it_was_written(
    target: Target, act: Act, cost: Cost | None, at: datetime, lifetime_us: int
) -> None:
    decision = build_decision(
        act=act, target=target, cost=cost, decided_at=at, expires_at=at + timedelta(microseconds=lifetime_us),
        approved_by="Ada", replaces="0123456789ab",
    )  # fmt: skip
    text = canonical_json(encode_decision(decision))
    assert Decision(**decision_values(parse_json(text, "plan"))) == decision


def _plain(**changes: Any) -> dict[str, Any]:
    return {**encode_decision(build_decision()), **changes}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("plan_version", 2),
        ("decision_id", "0123456789AB"),
        ("decision_id", 7),
        ("act", "destroy"),
        ("act", ["isolate"]),
        ("target", "everything"),
        ("target", {"devices": []}),
        ("target", {"device": {"index": 1}}),
        ("target", {"device": {"index": 1, "mac": "02-00-00-00-00-0a"}}),
        ("target", {"peer": "203.0.113.5"}),
        ("target", {"peer": 3405803781}),
        ("target", {"port": 23}),
        ("target", {"proto": "tcp", "port": True}),
        ("target", {"proto": "tcp", "port": 65_536}),
        ("target", {"is_inbound": 1}),
        ("target", {"domain": "a b"}),
        ("reason", "line\nbreak"),
        ("reason", "x" * 501),
        ("decided_at", "yesterday"),
        ("decided_at", "2026-01-01T00:00:00"),
        ("expires_at", "2000-01-01T00:00:00Z"),
        ("expires_at", "9999-01-01T00:00:00Z"),
        ("cost", {"over_s": float("inf")}),
        ("cost", {"over_s": 1, "harmful_flow_count": 0, "harmless_flow_count": 0, "others_flow_count": -1}),
        ("surprise", True),
    ],
)
def test_what_is_out_of_shape_is_refused_by_its_key(key: str, value: object) -> None:
    with pytest.raises(RequestError) as refused:
        decision_values(_plain(**{key: value}))
    assert str(refused.value).startswith("plan")
    assert key in str(refused.value)


@pytest.mark.parametrize("name", sorted(set(encode_decision(build_decision())) - {"approved_by", "replaces", "cost"}))
def test_nothing_that_is_needed_may_be_missing(name: str) -> None:
    data = _plain()
    del data[name]
    with pytest.raises(RequestError, match=name):
        decision_values(data)


def test_every_field_of_a_target_travels() -> None:
    decision = build_decision(target=Target(device=Device(index=1, mac="02:00:00:00:00:0a", address=None)))
    assert set(encode_decision(decision)["target"]) == {"device"}
    everything = Target(
        device=Device(index=1, mac=None, address=ipaddress.ip_address("10.0.0.1")), peer=ipaddress.ip_address("::1"),
        proto="tcp", port=1, is_inbound=True, packets_per_s=1, domain="d", username="u", topic_filter="t",
        access=Access.PUBLISH,
    )  # fmt: skip
    assert set(encode_decision(build_decision(target=everything))["target"]) == {item.name for item in fields(Target)}


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 10_000, b" " * (MAX_PLAN_BYTES + 1)])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(RequestError):
        parse_json(text, "plan")


@given(JSON_VALUES)
def test_any_other_json_is_refused_and_nothing_else_happens(data: object) -> None:
    with pytest.raises(RequestError):
        decision_values(json.loads(json.dumps(data)))
