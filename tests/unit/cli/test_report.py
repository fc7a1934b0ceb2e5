"""How findings look to people: every part is there, nothing from outside is obeyed."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console, RenderableType

from thingwarden.cli.report import class_name, devices_table, incident_panel, incidents_table, score_table

DEVICE = {"index": 1, "mac": "02:00:00:00:00:01", "address": "192.168.1.5", "name": "192.168.1.5"}

INCIDENT: dict[str, Any] = {
    "incident_id": "0123456789ab",
    "device": DEVICE,
    "role": "offender",
    "severity": "high",
    "attack_class": "c2",
    "techniques": ["T1071"],
    "first_seen_at": "2026-01-02T03:04:05.000Z",
    "last_seen_at": "2026-01-02T04:04:05.000Z",
    "flow_count": 12,
    "confidence": 0.987,
    "has_proven_origin": True,
    "summary": "192.168.1.5 contacts [red]evil[/red]\x1b[2J every 60 s",
    "detections": [
        {
            "started_at": "2026-01-02T03:04:05.000Z",
            "is_outbound": True,
            "peer": "203.0.113.5",
            "proto": "tcp",
            "port": 6667,
            "service": "irc",
            "conn_state": None,
            "sent_bytes": 12_345,
            "received_bytes": None,
            "probability": 0.999,
        }
    ],
}

DECISION: dict[str, Any] = {
    "decision_id": "ba9876543210",
    "act": "block_flow",
    "target": {"text": "192.168.1.5 to 203.0.113.5 tcp/6667"},
    "reason": "Without its controller the malware gets no orders.",
    "decided_at": "2026-01-02T03:04:05.000Z",
    "expires_at": "2026-01-02T04:04:05.000Z",
}

REFUSAL: dict[str, Any] = {
    "proposal": {"act": "isolate", "target": {"text": "192.168.1.5"}},
    "reasons": ["isolate needs approval"],
}

RECEIPT: dict[str, Any] = {
    "decision_id": "ba9876543210",
    "enforcer": "dry-run",
    "status": "dry-run",
    "detail": "nothing changed",
}


def _text(renderable: RenderableType) -> str:
    console = Console(width=120, file=StringIO(), record=True)
    console.print(renderable)
    return console.export_text()


def test_an_incident_is_told_whole() -> None:
    shown = _text(incident_panel(INCIDENT, [DECISION], [REFUSAL, REFUSAL], [RECEIPT]))
    for part in (
        "HIGH", "command and control", "as offender", "T1071", "sender proven", "203.0.113.5", "tcp/6667 irc", "open",
        "12k", "99.9%", "block_flow", "for 1 h", "dry-run: nothing changed", "isolate", "(2 times)", "needs approval",
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
        "device": DEVICE,
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
