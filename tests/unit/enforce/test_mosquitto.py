"""Roles at a real broker: ours alone, exactly, and every refusal said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker_builder import running_broker, told
from thingwarden.domain.device import Device
from thingwarden.domain.errors import ConfigError, EnforcementError
from thingwarden.domain.response import Access, Act, Decision, ReceiptStatus, Target
from thingwarden.enforce.broker import BrokerAddress
from thingwarden.enforce.mosquitto import ROLE_PREFIX, MosquittoEnforcer, build_enforcer, deny_rules, undo
from thingwarden.testing import ManualClock, build_decision

NOW = ManualClock()()
CAMERA = Device(index=1, mac="02:00:00:00:00:0a", address=None)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerAddress]:
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def enforcer(address: BrokerAddress) -> Iterator[MosquittoEnforcer]:
    made = MosquittoEnforcer(address)
    yield made
    made.release_all(NOW)
    made.close()


def deny(number: int = 1, **target: Any) -> Decision:
    aim = Target(device=CAMERA, **{"username": "cam", **target})
    return build_decision(decision_id=f"{number:012x}", act=Act.MQTT_DENY, target=aim)


@pytest.mark.parametrize(
    ("target", "rules"),
    [
        ({"access": Access.PUBLISH, "topic_filter": "d/cam/#"}, {("publishClientSend", "d/cam/#")}),
        ({"access": Access.SUBSCRIBE}, {("subscribePattern", "#"), ("publishClientReceive", "#")}),
        ({"access": Access.CONNECT, "topic_filter": "a"},
         {("publishClientSend", "#"), ("subscribePattern", "#"), ("publishClientReceive", "#")}),
        ({"topic_filter": "a"},
         {("publishClientSend", "a"), ("subscribePattern", "a"), ("publishClientReceive", "a")}),
    ],
)  # fmt: skip
def test_what_is_denied_is_what_was_ordered(target: dict[str, Any], rules: set[tuple[str, str]]) -> None:
    denied = deny_rules(deny(**target))
    assert {(rule["acltype"], rule["topic"]) for rule in denied} == rules
    assert not any(rule["allow"] for rule in denied)


def test_two_on_one_login_are_undone_apart(enforcer: MosquittoEnforcer, address: BrokerAddress) -> None:
    first, second = deny(1), deny(2)
    for decision in (first, second):
        assert enforcer.apply(decision, NOW).status is ReceiptStatus.APPLIED
    enforcer.revoke(first, NOW)
    assert [item.decision_id for item in enforcer.in_force(NOW)] == [second.decision_id]
    roles = told(address, {"command": "getClient", "username": "cam"})["data"]["client"]["roles"]
    assert {role["rolename"] for role in roles} == {"all", ROLE_PREFIX + second.decision_id}


def test_what_replaces_takes_the_place(enforcer: MosquittoEnforcer) -> None:
    first = deny(1)
    enforcer.apply(first, NOW)
    target = deny().target
    enforcer.apply(
        build_decision(decision_id=f"{2:012x}", act=Act.MQTT_DENY, target=target, replaces=first.decision_id), NOW
    )
    assert [item.decision_id for item in enforcer.in_force(NOW)] == [f"{2:012x}"]


def test_a_login_that_is_none_leaves_no_role_behind(enforcer: MosquittoEnforcer) -> None:
    receipt = enforcer.apply(deny(username="nobody"), NOW)
    assert receipt.status is ReceiptStatus.FAILED and "not found" in receipt.detail
    assert enforcer.in_force(NOW) == ()


def test_a_fresh_process_undoes_the_role_of_a_lease(enforcer: MosquittoEnforcer) -> None:
    decision = deny()
    enforcer.apply(decision, NOW)
    lease = {**enforcer.lease_values(decision), "lease_id": decision.decision_id}
    for _ in range(2):
        undo(lease)
    assert enforcer.in_force(NOW) == ()
    with pytest.raises(ConfigError, match="names no decision"):
        undo({**lease, "lease_id": "all"})


def test_a_firewall_act_is_beyond_it(enforcer: MosquittoEnforcer) -> None:
    assert enforcer.apply(build_decision(), NOW).status is ReceiptStatus.FAILED


def test_a_broker_that_is_away_is_named(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text("admin\nsecret\n")
    credentials.chmod(0o600)
    enforcer = build_enforcer({"host": "127.0.0.1", "port": 1, "credentials": str(credentials)}, ())
    receipt = enforcer.apply(deny(), NOW)
    assert receipt.status is ReceiptStatus.FAILED and "127.0.0.1:1" in receipt.detail
    assert enforcer.revoke(deny(), NOW).status is ReceiptStatus.FAILED
    assert enforcer.release_all(NOW)[0].status is ReceiptStatus.FAILED
    with pytest.raises(EnforcementError, match=r"127\.0\.0\.1:1"):
        enforcer.in_force(NOW)
