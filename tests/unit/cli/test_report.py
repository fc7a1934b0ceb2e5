"""How findings look to people: every part is there, nothing from outside is obeyed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from ipaddress import ip_address

import pytest
from rich.console import Console, RenderableType

from thingwarden.cli.report import class_name, devices_table, incident_panel, incidents_table, score_table
from thingwarden.domain.detection import Detection
from thingwarden.domain.incident import Reason
from thingwarden.domain.response import Act, Refusal
from thingwarden.domain.sighting import Grade, Sighting, SightingKind
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
SIGHTING = Sighting(
    kind=SightingKind.SIGNATURE,
    name="Suricata signature 7",
    origin="",
    quote="[bold]harmless[/bold]",
    grade=Grade.HIGH,
    weight_nats=25.7,
    hour_count=2,
    first_at=BEGAN_AT,
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


def test_an_incident_without_flows_shows_no_empty_table() -> None:
    told = plain_from_value(replace(SIGHTING, kind=SightingKind.LINK_LAYER, name="claims the gateway's address"))
    shown = _text(incident_panel({**INCIDENT, "detections": [], "sightings": [told]}, [], [], []))
    assert "claims the gateway's address" in shown
    assert "loudest" not in shown


def test_a_long_plan_is_cut_and_says_so() -> None:
    acts = ("rate_limit", "block_flow", "block_peer", "quarantine", "quarantine")
    refusals = [{**REFUSAL, "reasons": [f"reason {number}"]} for number in range(3)]
    shown = _text(incident_panel(INCIDENT, [{**DECISION, "act": act} for act in acts], refusals, [], most_lines=2))
    assert shown.count("plan ") == 2
    assert "2 more acts, 3 orders" in shown
    assert "reason 1" in shown
    assert "reason 2" not in shown
    assert "1 more refusal " in shown


def _ordered_at(number: int, decided_at: str, expires_at: str, **changes: object) -> dict[str, object]:
    instants = {"decided_at": f"{decided_at}.000Z", "expires_at": f"{expires_at}.000Z"}
    return {**DECISION, "decision_id": f"{number:012x}", **instants, **changes}


def test_an_act_that_is_ordered_anew_is_told_once_with_its_first_dry_run() -> None:
    incident = {**INCIDENT, "first_seen_at": "2026-01-02T03:04:05.000Z"}
    decisions = [
        _ordered_at(1, "2026-01-02T20:00:00", "2026-01-02T21:00:00"),
        _ordered_at(2, "2026-01-02T20:30:00", "2026-01-02T21:00:00"),
        _ordered_at(3, "2026-01-02T22:00:00", "2026-01-02T23:00:00"),
        _ordered_at(4, "2026-01-03T01:00:00", "2026-01-03T02:00:00"),
    ]
    names = [item["decision_id"] for item in decisions]
    receipts = [{**RECEIPT, "decision_id": name, "detail": f"rule {name}"} for name in names]
    shown = _text(incident_panel(incident, decisions, [], receipts))
    assert "for 1 h, ordered 3 times from 20:00:00 to 2026-01-03 01:00:00." in shown
    assert "for 30 min from 20:30:00." in shown
    assert [f"rule {number:012x}" in shown for number in (1, 2, 3, 4)] == [True, True, False, False]


def test_an_order_that_failed_is_not_hidden_behind_one_that_did_not() -> None:
    decisions = [{**DECISION, "decision_id": f"{number:012x}"} for number in range(2)]
    receipts = [
        {**RECEIPT, "decision_id": item["decision_id"], "status": status, "detail": status}
        for item, status in zip(decisions, ("applied", "failed"), strict=True)
    ]
    shown = _text(incident_panel(INCIDENT, decisions, [], receipts))
    assert "dry-run: applied" in shown
    assert "dry-run: failed" in shown


@pytest.mark.parametrize(
    ("class_counts", "flow_count", "said"),
    [
        ({"c2": 57}, 57, "ATT&CK T1071, sender"),
        ({"c2": 2, "scan": 1}, 3, "ATT&CK T1071 (2 more on few flows), sender"),
        ({"c2": 20, "scan": 4, "download": 3}, 27, "ATT&CK T1071, T1046, T1595.001 (1 more on few flows), sender"),
        ({"c2": 9000, "scan": 89, "download": 90}, 9000, "ATT&CK T1071, T1105 (2 more on few flows), sender"),
    ],
)
def test_techniques_on_few_flows_are_only_counted(class_counts: dict[str, int], flow_count: int, said: str) -> None:
    counts = tuple((AttackClass(name), count) for name, count in class_counts.items())
    incident = plain_from_value(build_incident(class_counts=counts, flow_count=flow_count))
    assert said in " ".join(_text(incident_panel(incident, [], [], [])).replace("│", "").split())


def test_an_incident_that_lasts_past_midnight_says_which_day() -> None:
    began, later = "2026-01-01T23:00:00.000Z", "2026-01-02T03:04:06.000Z"
    shown = _text(incident_panel({**INCIDENT, "first_seen_at": began, "last_seen_at": later}, [], [], []))
    assert "2026-01-01 23:00:00 to 2026-01-02 03:04:06 UTC" in shown
    assert "2026-01-02 03:04:05  to 203.0.113.5" in shown


def test_text_from_outside_is_shown_and_not_obeyed() -> None:
    shown = _text(incident_panel(INCIDENT, [], [], []))
    assert "[red]evil[/red]\\x1b[2J every 60 s." in shown
    assert "nothing is planned" in shown


def test_incidents_and_devices_have_a_line_each() -> None:
    listed = _text(incidents_table([INCIDENT]))
    assert "0123456789ab" in listed
    assert listed.split("\n")[0].strip() == "1 incident"
    device = {
        "name": "192.168.1.5",
        "device": plain_from_value(build_device(address="192.168.1.5")),
        "role": "DNS server",
        "flow_count": 1234,
        "malicious_flow_count": 0,
        "incident_ids": ["0123456789ab"],
    }
    shown = _text(devices_table([device]))
    assert shown.split("\n")[0].strip() == "1 device"
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


def test_the_reasons_stand_under_the_facts_with_their_weight() -> None:
    told = [
        Reason(topic="pace", text="begins 9 to 12 flows", nats=5.61, together_nats=5.61,
               attack_class=AttackClass.C2, flow=1),
        Reason(topic="service", text="TCP [red]port[/red] 23", nats=1.0, together_nats=7.24,
               attack_class=AttackClass.C2, flow=1),
        Reason(topic="peer", text="the device contacts itself", nats=0.5, together_nats=0.5,
               attack_class=AttackClass.SCAN, flow=2),
    ]  # fmt: skip
    shown = _text(incident_panel({**INCIDENT, "reasons": plain_from_value(tuple(told))}, [], [], []))
    assert "why   begins 9 to 12 flows (5.6 nats)" in shown
    assert "TCP [red]port[/red] 23 (1.0 nats, all of them 7.2)" in shown
    assert "scan: the device contacts itself (0.5 nats)" in shown
    assert shown.index("why") < shown.index("evidence")


def test_a_journal_of_before_has_no_reasons() -> None:
    before = {key: value for key, value in INCIDENT.items() if key != "reasons"}
    assert "why" not in _text(incident_panel(before, [], [], []))


def test_what_others_know_is_shown_with_its_weight_and_its_authors_words_between_quotes() -> None:
    listed = replace(SIGHTING, kind=SightingKind.ADDRESS, name="203.0.113.5", origin="feed.txt, line 3", hour_count=1)
    incident = plain_from_value(build_incident(sightings=(SIGHTING, replace(listed, quote=""))))
    shown = _text(incident_panel(incident, [], [], []))
    assert 'also  Suricata signature 7: "[bold]harmless[/bold]" (high, 25.7 nats, in 2 hours)' in shown
    assert "203.0.113.5, feed.txt, line 3 (high, 25.7 nats)" in shown


def test_an_incident_written_down_before_there_were_sightings_is_shown() -> None:
    assert "also" not in _text(incident_panel({k: v for k, v in INCIDENT.items() if k != "sightings"}, [], [], []))
