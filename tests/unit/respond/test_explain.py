"""A decision in plain words."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime

import pytest

from thingwarden.domain.incident import Reason
from thingwarden.domain.response import Act, Refusal, Target
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.respond.explain import describe_act, explain_decision, explain_refusal
from thingwarden.testing import START_S, build_decision, build_device, build_incident, build_proposal

DEVICE, PEER = build_device(), ipaddress.ip_address("203.0.113.5")


def test_it_says_what_why_what_it_spares_until_when_and_how_to_undo() -> None:
    decision, incident = build_decision(), build_incident()
    text = explain_decision(decision, incident)
    assert text.startswith("Block 192.168.1.10 to 203.0.113.5 tcp/6667. Because ")
    assert incident.summary in text
    assert decision.reason in text
    assert "All other traffic of 192.168.1.10 goes on." in text
    assert "ends by itself at 2023-11-14 23:13:20 UTC" in text
    assert f"revoking decision {decision.decision_id}" in text


def test_it_says_who_approved() -> None:
    assert "Ada approved it." in explain_decision(build_decision(approved_by="Ada"), build_incident())


@pytest.mark.parametrize(
    ("act", "target", "text"),
    [
        (Act.NOTIFY, Target(device=DEVICE), "Tell the owner about 192.168.1.10."),
        (
            Act.RATE_LIMIT,
            Target(device=DEVICE, proto="tcp", port=23, packets_per_s=1),
            "Limit 192.168.1.10 to any address tcp/23 to 1 packets a second.",
        ),
        (Act.BLOCK_PEER, Target(peer=PEER), "Block 203.0.113.5 for every device."),
        (Act.QUARANTINE, Target(device=DEVICE), "Quarantine 192.168.1.10."),
        (Act.ISOLATE, Target(device=DEVICE), "Cut 192.168.1.10 off."),
        (Act.SINKHOLE, Target(domain="example.org"), "Answer DNS questions for example.org with nothing."),
        (Act.MQTT_DENY, Target(device=build_device(), username="plug"), "Deny the broker's login of 192.168.1.10."),
    ],
)
def test_every_act_has_its_sentence(act: Act, target: Target, text: str) -> None:
    assert describe_act(build_proposal(act=act, target=target), build_incident()) == text


@pytest.mark.parametrize(("can_approve", "outlook"), [(True, "A person may approve it."), (False, "Nobody can")])
def test_a_refusal_says_why_and_what_can_be_done(can_approve: bool, outlook: str) -> None:
    refusal = Refusal(
        proposal=build_proposal(),
        reasons=("it is on the allow list", "it is protected"),
        at=datetime.fromtimestamp(START_S, UTC),
        can_approve=can_approve,
    )
    text = explain_refusal(refusal, build_incident())
    assert text.startswith("Not done: Block 192.168.1.10 to 203.0.113.5 tcp/6667. Because ")
    assert "it is on the allow list; it is protected" in text
    assert outlook in text


def test_it_says_what_tells_it_most_once_that_is_known() -> None:
    told = [
        Reason(topic=text, text=text, nats=2.0, together_nats=2.0, attack_class=kind, flow=0)
        for text, kind in (("every 30 s", AttackClass.C2), ("port 6667", AttackClass.C2), ("fast", AttackClass.SCAN))
    ]
    decision = build_decision()
    assert "What tells it most: every 30 s; port 6667. " in explain_decision(
        decision, build_incident(reasons=tuple(told))
    )
    assert "What tells it most" not in explain_decision(decision, build_incident())
