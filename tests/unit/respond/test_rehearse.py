"""A rehearsal says what policy would, of any act."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime

import pytest

from thingwarden.domain.incident import Role
from thingwarden.domain.response import Act, Refusal
from thingwarden.respond.policy import NetworkView
from thingwarden.respond.rehearse import Rehearsal, Verdict, rehearse
from thingwarden.respond.rules import PolicySettings
from thingwarden.testing import START_S, build_device

NOW = datetime.fromtimestamp(START_S, UTC)
PEER = ipaddress.ip_address("203.0.113.5")


@pytest.mark.parametrize("act", [item for item in Act if item not in (Act.SINKHOLE, Act.MQTT_DENY)])
def test_every_act_that_policy_may_order_can_be_rehearsed(act: Act) -> None:
    asked = Rehearsal(act=act, device=build_device(), peer=PEER, approved_by="a person")
    verdict, judged = rehearse(asked, view=NetworkView(), settings=PolicySettings(), now=NOW)
    assert (verdict, judged.at if isinstance(judged, Refusal) else None) == (Verdict.ORDERED, None)


def test_what_is_refused_says_whether_a_person_may() -> None:
    settings = PolicySettings(is_monitor_only=True)
    asked = Rehearsal(act=Act.BLOCK_FLOW, device=build_device(), peer=PEER)
    assert rehearse(asked, view=NetworkView(), settings=settings, now=NOW)[0] is Verdict.APPROVAL
    spared = NetworkView(protected_addresses=frozenset({PEER}))
    assert rehearse(asked, view=spared, settings=settings, now=NOW)[0] is Verdict.FORBIDDEN


def test_a_target_is_protected_from_its_attacker() -> None:
    asked = Rehearsal(act=Act.RATE_LIMIT, device=build_device(), role=Role.TARGET, peer=PEER, is_proven=False)
    assert rehearse(asked, view=NetworkView(), settings=PolicySettings(), now=NOW)[0] is Verdict.ORDERED
