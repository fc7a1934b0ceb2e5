"""Several enforcers as one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from thingwarden.domain.errors import EnforcementError
from thingwarden.domain.response import ACTS_WITHIN, Act, Capability, Reach, Receipt, ReceiptStatus, Target
from thingwarden.enforce.dispatch import UNREACHED, EnforcerSet, capabilities_of, join_capabilities, known_capabilities
from thingwarden.testing import ManualClock, RecordingEnforcer, build_decision, build_device

GATEWAY = Capability(reach=Reach.GATEWAY, acts=ACTS_WITHIN[Reach.GATEWAY], ends_by_itself=True)
BROKER = Capability(reach=Reach.BROKER, acts=ACTS_WITHIN[Reach.BROKER], ends_by_itself=False)


class _Firewall(RecordingEnforcer):
    name = "firewall"
    capability = GATEWAY


class _Broker(RecordingEnforcer):
    name = "broker"
    capability = BROKER


class _Unable(_Firewall):
    def release_all(self, now: datetime) -> tuple[Receipt, ...]:
        raise EnforcementError("table", "gone")


DENIAL = build_decision(
    decision_id="00000000000d", act=Act.MQTT_DENY, target=Target(device=build_device(), username="cam")
)


def test_an_act_goes_to_the_first_that_is_able() -> None:
    broker, firewall, second = _Broker(), _Firewall(), _Firewall()
    members = EnforcerSet([broker, firewall, second])
    assert members.apply(build_decision(), ManualClock()()).enforcer == "firewall"
    assert members.apply(DENIAL, ManualClock()()).enforcer == "broker"
    assert (broker.applied, firewall.applied, second.applied) == ([DENIAL], [build_decision()], [])
    assert {item.decision_id for item in members.in_force(ManualClock()())} == {
        build_decision().decision_id,
        DENIAL.decision_id,
    }
    assert members.revoke(DENIAL, ManualClock()()).enforcer == "broker"
    assert broker.revoked == [DENIAL]


def test_what_nobody_is_able_to_do_fails_and_says_so() -> None:
    receipt = EnforcerSet([_Firewall()]).apply(DENIAL, ManualClock()())
    assert receipt.status is ReceiptStatus.FAILED
    assert receipt.detail == "mqtt_deny is within nobody's reach (firewall)"
    assert EnforcerSet([_Firewall()]).revoke(DENIAL, ManualClock()()).status is ReceiptStatus.REVOKED


def test_a_first_that_fails_is_not_followed_by_a_second() -> None:
    second = _Firewall()
    members = EnforcerSet([_Firewall(lambda _: ReceiptStatus.FAILED), second])
    assert members.apply(build_decision(), ManualClock()()).status is ReceiptStatus.FAILED
    assert second.applied == []


def test_a_notification_needs_nobody() -> None:
    members = EnforcerSet([])
    assert members.apply(build_decision(act=Act.NOTIFY), ManualClock()()).status is ReceiptStatus.APPLIED
    assert members.name == "no enforcer"
    assert members.capability.acts == frozenset()


def test_a_successor_at_another_member_ends_what_it_replaces() -> None:
    broker, firewall = _Broker(), _Firewall()
    members = EnforcerSet([firewall, broker])
    members.apply(DENIAL, ManualClock()())
    members.apply(build_decision(replaces=DENIAL.decision_id), ManualClock()())
    assert broker.revoked == [DENIAL]
    assert firewall.revoked == []


def test_a_successor_that_failed_leaves_what_it_should_replace() -> None:
    broker = _Broker()
    members = EnforcerSet([_Firewall(lambda _: ReceiptStatus.FAILED), broker])
    members.apply(DENIAL, ManualClock()())
    members.apply(build_decision(replaces=DENIAL.decision_id), ManualClock()())
    assert broker.revoked == []


def test_one_that_cannot_release_keeps_no_other_from_it() -> None:
    broker = _Broker()
    members = EnforcerSet([_Unable(), broker])
    members.apply(DENIAL, ManualClock()())
    failed, revoked = members.release_all(ManualClock()())
    assert (failed.enforcer, failed.status, failed.detail) == (
        "firewall",
        ReceiptStatus.FAILED,
        "it is not known what remains: table: gone",
    )
    assert revoked.status is ReceiptStatus.REVOKED


def test_ended_decisions_are_forgotten() -> None:
    clock, members = ManualClock(), EnforcerSet([_Firewall()])
    for number in range(2000):
        now = clock.advance(60)
        members.apply(replace(build_decision(), decision_id=f"{number:012x}", expires_at=clock.now), now)
    assert len(members._given) < 600


def test_what_they_can_do_together() -> None:
    both = EnforcerSet([_Firewall(), EnforcerSet([_Broker()])])
    assert both.capabilities == (GATEWAY, BROKER)
    assert both.capability == Capability(reach=Reach.REMOTE, acts=GATEWAY.acts | BROKER.acts, ends_by_itself=False)
    assert join_capabilities([GATEWAY]) == GATEWAY
    assert capabilities_of(_Broker()) == (BROKER,)


def test_what_cannot_be_reached_is_not_counted_out() -> None:
    class _Away(_Broker):
        capability = UNREACHED

    assert known_capabilities(_Broker()) == (BROKER,)
    assert known_capabilities(EnforcerSet([_Firewall(), _Away()])) is None
