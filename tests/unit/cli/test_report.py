"""How findings look to people: every part is there, nothing from outside is obeyed."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from ipaddress import ip_address

import pytest
from rich.console import Console, RenderableType

from thingwarden.cli.report import class_name, devices_table, incident_panel, incidents_table, score_table
from thingwarden.domain.detection import Detection
from thingwarden.domain.response import Act, Refusal
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.enforce.dryrun import DryRunEnforcer
from thingwarden.serve.wire import plain_from_value
from thingwarden.testing import build_decision, build_device, build_incident, build_proposal

BEGAN_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

DETECTION = Detection(
    flow=7,
    started_at=BEGAN_AT,
    proto="tcp",
    is_outbound=True,
    peer=ip_address("203.0.113.5"),
    port=6667,
    service="irc",
    conn_state=None,
    sent_bytes=12_345,
    received_bytes=None,
    probability=0.999,
    attack_class=AttackClass.C2,
)

INCIDENT = plain_from_value(
    build_incident(summary="192.168.1.10 contacts [red]evil[/red]\x1b[2J every 60 s", detections=(DETECTION,))
)
DECISION = plain_from_value(build_decision())
REFUSAL = plain_from_value(
    Refusal(
        proposal=build_proposal(act=Act.ISOLATE), reasons=("isolate needs approval",), at=BEGAN_AT, can_approve=True
    )
)
RECEIPT = plain_from_value(DryRunEnforcer().apply(build_decision(), BEGAN_AT))


def _text(renderable: RenderableType) -> str:
    console = Console(width=120, file=StringIO(), record=True)
    console.print(renderable)
    return console.export_text()


def test_an_incident_is_told_whole() -> None:
    shown = _text(incident_panel(INCIDENT, [DECISION], [REFUSAL, REFUSAL], [RECEIPT]))
    for part in (
        "HIGH", "command and control", "as offender", "T1071", "sender proven", "203.0.113.5", "tcp/6667 irc", "open",
        "12k", ">99%", "block_flow", "for 1 h", "dry-run: nothing changed", "nft", "isolate", "(2 times)",
        "needs approval",
    ):  # fmt: skip
        assert part in shown


def test_a_long_plan_is_cut_and_says_so() -> None:
    decisions = [{**DECISION, "decision_id": f"{number:012x}"} for number in range(5)]
    shown = _text(incident_panel(INCIDENT, decisions, [], [], most_lines=2))
    assert shown.count("block_flow") == 2
    assert "3 more acts are planned" in shown


def test_text_from_outside_is_shown_and_not_obeyed() -> None:
    shown = _text(incident_panel(INCIDENT, [], [], []))
    assert "[red]evil[/red]\\x1b[2J every 60 s." in shown
    assert "nothing is planned" in shown


def test_incidents_and_devices_have_a_line_each() -> None:
    assert "0123456789ab" in _text(incidents_table([INCIDENT]))
    device = {
        "name": "192.168.1.5",
        "device": plain_from_value(build_device(address="192.168.1.5")),
        "role": "DNS server",
        "flow_count": 1234,
        "malicious_flow_count": 0,
        "incident_ids": ["0123456789ab"],
    }
    shown = _text(devices_table([device]))
    assert "DNS server" in shown
    assert "1,234" in shown


def test_a_missed_attack_is_said_loudly() -> None:
    attack = {
        "attack_class": "dos",
        "offender": "192.168.1.5",
        "flow_count": 10,
        "flagged_count": 0,
        "incident_ids": [],
        "is_named": False,
        "planned": [],
    }
    assert "MISSED" in _text(score_table([attack]))


@pytest.mark.parametrize(
    ("wire_name", "shown"), [("c2", "command and control"), ("brute_force", "brute force"), ("ddos", "DDoS")]
)
def test_classes_have_names_that_people_use(wire_name: str, shown: str) -> None:
    assert class_name(wire_name) == shown
