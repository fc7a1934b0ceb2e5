"""The published schema and the reader of plans agree on what is a plan."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thingwarden.config import PLAN_SCHEMA
from thingwarden.domain.device import Device
from thingwarden.domain.errors import RequestError
from thingwarden.domain.plan import decision_values, encode_decision
from thingwarden.domain.response import Access, Act, Cost, Target
from thingwarden.testing import START_S, build_decision

SCHEMA = json.loads(PLAN_SCHEMA.read_text())
CHECKER = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker(("ipv4", "ipv6")))
NOW = datetime.fromtimestamp(START_S, UTC)

texts = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=("Cc", "Cs")), max_size=40)
addresses = st.ip_addresses().filter(lambda item: "%" not in str(item))
devices = st.builds(Device, index=st.integers(0, 2**31 - 1), mac=st.none() | st.just("02:00:00:00:00:01"),
                    address=addresses)  # fmt: skip


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Anything that policy could sign, as JSON."""
    proto = draw(st.none() | st.sampled_from(["tcp", "udp", "icmp", "icmp6"]))
    target = Target(
        device=draw(devices),
        peer=draw(addresses),
        proto=proto,
        port=draw(st.none() | st.integers(0, 65_535)) if proto in ("tcp", "udp") else None,
        is_inbound=draw(st.booleans()),
        packets_per_s=draw(st.integers(1, 1_000_000)),
        domain="a.example",
        username=draw(texts),
        topic_filter=draw(st.none() | texts),
        access=draw(st.none() | st.sampled_from(Access)),
    )
    counts = st.integers(0, 2**53)
    cost = st.builds(Cost, over_s=st.floats(0, 1e9), harmful_flow_count=counts, harmless_flow_count=counts,
                     others_flow_count=counts, services=st.just(("udp/123", "icmp")))  # fmt: skip
    decision = build_decision(
        act=draw(st.sampled_from(Act)),
        target=target,
        reason=draw(texts),
        proposer=draw(texts),
        decided_at=NOW,
        expires_at=NOW + timedelta(seconds=draw(st.floats(0.001, 604_800))),
        approved_by=draw(st.none() | texts),
        replaces=draw(st.none() | st.just("0" * 12)),
        cost=draw(st.none() | cost),
    )
    return encode_decision(decision)


@settings(max_examples=300, deadline=None)
@given(plan=plans())
def test_every_plan_fits_the_schema(plan: dict[str, Any]) -> None:
    CHECKER.validate(plan)
    decision_values(plan)


odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**54),
    st.text("aZ0.-_/ \x01é", max_size=3),
    st.sampled_from([[], {}]),
    st.floats(0.1, 0.9),
)
PLACES = [(), ("target",), ("target", "device"), ("cost",)]


@settings(max_examples=1000, deadline=None)
@given(plan=plans(), place=st.sampled_from(PLACES), data=st.data())
def test_what_is_wrong_for_one_is_wrong_for_the_other(plan: dict[str, Any], place: tuple[str, ...], data: Any) -> None:
    """A plan with a field added, lost or changed; instants are left out, which a schema cannot weigh."""
    changed = copy.deepcopy(plan)
    inner = changed
    for name in place:
        inner = inner.get(name, {})
    names = sorted(set(inner) - {"decided_at", "expires_at"})
    name = data.draw(st.sampled_from([*names, "unheard_of"]))
    if data.draw(st.booleans()):
        inner.pop(name, None)
    else:
        inner[name] = data.draw(odd)
    assert CHECKER.is_valid(changed) is is_read(changed)


def is_read(plan: dict[str, Any]) -> bool:
    try:
        decision_values(plan)
    except RequestError:
        return False
    return True


@pytest.mark.parametrize("act", list(Act))
def test_every_act_is_in_the_schema(act: Act) -> None:
    assert act.value in SCHEMA["properties"]["act"]["enum"]
