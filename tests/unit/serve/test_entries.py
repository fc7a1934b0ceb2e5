"""What the journal holds of a response: written in plan form, believed only where policy signed it."""

from __future__ import annotations

import ipaddress
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.domain.incident import ChangeKind, IncidentChange
from thingwarden.domain.response import Cost, Receipt, ReceiptStatus, Refusal
from thingwarden.pipeline import OperatorAct, OperatorVerb, Record
from thingwarden.respond.protect import ProtectedHosts
from thingwarden.serve.entries import (
    HumanAct,
    HumanVerb,
    decision_entry,
    entry_from_record,
    genuine_decision,
    genuine_refusal,
    human_entry,
    incident_report,
    known_incident,
    known_network,
    network_entry,
    receipt_entry,
    refusal_entry,
    shown_decision,
)
from thingwarden.serve.store import Journal, JournalEntry
from thingwarden.serve.wire import plain_from_value
from thingwarden.testing import START_S, build_decision, build_device, build_incident, build_proposal

AT = datetime.fromtimestamp(START_S, UTC)
KEY, OTHER_KEY = b"k" * 32, b"o" * 32
COST = Cost(over_s=3600.0, harmful_flow_count=3, harmless_flow_count=2, others_flow_count=0, services=("udp/123",))
DECISION = build_decision(cost=COST, replaces="0" * 12)
REFUSAL = Refusal(proposal=build_proposal(), reasons=("monitor mode",), at=AT, can_approve=True)
RECEIPT = Receipt(
    decision_id=DECISION.decision_id, enforcer="x", status=ReceiptStatus.APPLIED, at=AT, detail="d", packet_count=1
)


def stored(entry: JournalEntry) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(json.dumps(entry.body, sort_keys=True))
    return body


def test_a_signed_decision_is_read_back_as_it_was() -> None:
    assert genuine_decision(stored(decision_entry(DECISION, KEY)), KEY) == DECISION


def test_a_signed_refusal_is_read_back_as_it_was() -> None:
    assert genuine_refusal(stored(refusal_entry(REFUSAL, KEY)), KEY) == REFUSAL


def altered(body: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    *folders, name = path.split(".")
    inner = body
    for folder in folders:
        inner = inner[folder]
    inner[name] = value
    return body


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("signature", None),
        ("signature", 7),
        ("signature", "\u00e9" * 64),
        ("signature", "0" * 64),
        ("plan", None),
        ("plan", []),
        ("plan.expires_at", "2099-01-01T00:00:00.000000Z"),
        ("plan.target.peer", "192.168.1.1"),
        ("plan.act", "isolate"),
        ("plan.decision_id", "ffffffffffff"),
    ],
)
def test_an_altered_decision_is_not_believed(path: str, value: object) -> None:
    with pytest.raises(RequestError, match="decision"):
        genuine_decision(altered(stored(decision_entry(DECISION, KEY)), path, value), KEY)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("signature", None),
        ("signature", "0" * 64),
        ("can_approve", 1),
        ("proposal.ttl_s", 1e6),
        ("proposal.target.peer", "192.168.1.1"),
        ("reasons", []),
        ("proposal_id", "ffffffffffff"),
    ],
)
def test_an_altered_refusal_is_not_believed(path: str, value: object) -> None:
    with pytest.raises(RequestError, match="proposal"):
        genuine_refusal(altered(stored(refusal_entry(REFUSAL, KEY)), path, value), KEY)


@pytest.mark.parametrize("key", [None, OTHER_KEY])
def test_without_policys_key_nothing_is_believed(key: bytes | None) -> None:
    with pytest.raises(RequestError):
        genuine_decision(stored(decision_entry(DECISION, KEY)), key)
    with pytest.raises(RequestError):
        genuine_refusal(stored(refusal_entry(REFUSAL, KEY)), key)


def test_what_was_kept_without_a_key_is_never_believed() -> None:
    with pytest.raises(RequestError, match="did not sign"):
        genuine_decision(stored(decision_entry(DECISION, None)), KEY)
    with pytest.raises(RequestError, match="did not sign"):
        genuine_refusal(stored(refusal_entry(REFUSAL, None)), KEY)


def test_a_decision_is_shown_as_everywhere_else() -> None:
    assert shown_decision(stored(decision_entry(DECISION, None))) == plain_from_value(DECISION)


def test_what_is_no_plan_is_not_shown() -> None:
    with pytest.raises(RequestError):
        shown_decision({"plan": {"act": "explode"}})


def test_everything_that_the_kernel_records_has_its_entry() -> None:
    incident = build_incident()
    change = IncidentChange(kind=ChangeKind.OPENED, at=AT, incident=incident)
    act = OperatorAct(verb=OperatorVerb.REVOKE, subject_id=DECISION.decision_id, person="ada")
    belongs = {DECISION.decision_id: incident.incident_id}
    entries = [
        entry_from_record(Record(at=AT, entry=item), belongs, KEY) for item in (change, DECISION, REFUSAL, RECEIPT, act)
    ]
    assert [entry.kind for entry in entries] == ["incident", "decision", "refusal", "receipt", "operator"]
    assert [entry.incident for entry in entries] == [incident.incident_id] * 4 + [""]
    assert genuine_decision(stored(entries[1]), KEY) == DECISION


def test_what_a_person_did_is_kept_with_its_reason() -> None:
    act = HumanAct(verb=HumanVerb.REFUSE, subject_id="0" * 12, person="ada", reason="a drill")
    entry = human_entry(act, "1" * 12, AT)
    assert (entry.kind, entry.subject, entry.incident) == ("operator", "0" * 12, "1" * 12)
    assert entry.body == {"verb": "refuse", "subject_id": "0" * 12, "person": "ada", "reason": "a drill"}


def test_what_is_known_of_the_network_is_read_back(tmp_path: Path) -> None:
    resolver = ipaddress.ip_address("192.168.1.1")
    device = {"name": "192.168.1.10", "device": plain_from_value(build_device())}
    with Journal(tmp_path / "j") as journal:
        assert known_network(journal).devices == ()
        journal.append([JournalEntry(at="", kind="device", subject="192.168.1.10", incident="", body=device)])
        hosts = ProtectedHosts(roles={resolver: "DNS server"}, macs=frozenset({"02:00:00:00:00:01"}))
        journal.append([network_entry(hosts, AT), network_entry(hosts, AT + timedelta(hours=1))])
        view = known_network(journal)
    assert view.devices == (build_device(),)
    assert view.protected_addresses == {resolver}
    assert view.protected_macs == {"02:00:00:00:00:01"}


def test_an_incident_is_told_with_what_was_decided(tmp_path: Path) -> None:
    incident = build_incident()
    change = IncidentChange(kind=ChangeKind.OPENED, at=AT, incident=incident)
    with Journal(tmp_path / "j") as journal:
        journal.append([entry_from_record(Record(at=AT, entry=change), {}, KEY), decision_entry(DECISION, KEY)])
        journal.append([refusal_entry(REFUSAL, KEY), receipt_entry(RECEIPT, incident.incident_id)])
        report = incident_report(journal, incident.incident_id[:5])
        assert known_incident(journal, incident.incident_id) == incident
        with pytest.raises(RequestError, match="does not hold"):
            known_incident(journal, "f" * 12)
    assert report["decisions"] == [plain_from_value(DECISION)]
    assert "signature" not in report["refusals"][0]
    assert len(report["receipts"]) == 1
