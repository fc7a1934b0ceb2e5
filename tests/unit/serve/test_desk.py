"""The desk: a person's orders on a journal and an enforcer, without a running core."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.domain.incident import ChangeKind, IncidentChange
from thingwarden.domain.response import Act, Decision, Proposal, ReceiptStatus, Refusal, Target
from thingwarden.enforce.dryrun import DryRunEnforcer
from thingwarden.pipeline import Record
from thingwarden.respond.policy import Ledger, NetworkView, judge_proposal, proposal_id
from thingwarden.respond.rules import PolicySettings
from thingwarden.serve.desk import Desk, Outcome
from thingwarden.serve.entries import decision_entry, entry_from_record, genuine_decision, refusal_entry
from thingwarden.serve.standing import StandingState
from thingwarden.serve.store import Journal
from thingwarden.testing import START_S, RecordingEnforcer, build_decision, build_incident, build_proposal

KEY = b"k" * 32
NOW = datetime.fromtimestamp(START_S, UTC)
LATER = NOW + timedelta(minutes=5)
ISOLATE = build_proposal(act=Act.ISOLATE, target=Target(device=build_proposal().target.device))
MONITOR = PolicySettings(is_monitor_only=True)


def refused(proposal: Proposal = ISOLATE) -> Refusal:
    judged = judge_proposal(proposal, build_incident(), view=NetworkView(), ledger=Ledger(), settings=MONITOR, now=NOW)
    assert isinstance(judged, Refusal)
    return judged


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    change = IncidentChange(kind=ChangeKind.OPENED, at=NOW, incident=build_incident())
    with Journal(tmp_path / "journal.sqlite") as opened:
        opened.append([entry_from_record(Record(at=NOW, entry=change), {}, KEY), refusal_entry(refused(), KEY)])
        yield opened


def desk(journal: Journal, enforcer: Any = None, policy: PolicySettings = MONITOR, key: bytes | None = KEY) -> Desk:
    return Desk(journal, enforcer or RecordingEnforcer(), policy, key)


def ordered(outcome: Outcome) -> Decision:
    assert outcome.decision is not None
    return outcome.decision


def kinds(journal: Journal) -> list[str]:
    return [entry.kind for entry in journal.entries()][2:]


def test_what_was_refused_awaits_approval_for_an_hour(journal: Journal) -> None:
    (item,) = desk(journal).awaiting(LATER)
    assert item.refusal == refused()
    assert desk(journal).awaiting(NOW + timedelta(minutes=59)) == (item,)
    assert desk(journal).awaiting(NOW + timedelta(minutes=60)) == ()


def test_an_approval_becomes_a_signed_decision_in_force(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    outcome = desk(journal, enforcer).approve(proposal_id(ISOLATE)[:5], "ada", LATER)
    decision = ordered(outcome)
    assert (decision.act, decision.approved_by, decision.decided_at) == (Act.ISOLATE, "ada", LATER)
    assert enforcer.applied == [decision]
    assert kinds(journal) == ["operator", "decision", "receipt"]
    (entry,) = journal.entries(kind="decision")
    assert genuine_decision(entry.body, KEY) == decision
    assert desk(journal).standing(decision.decision_id, LATER).state is StandingState.IN_FORCE


def test_an_approval_is_used_once(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    desk(journal, enforcer).approve(proposal_id(ISOLATE), "ada", LATER)
    with pytest.raises(RequestError, match="awaits approval"):
        desk(journal, enforcer).approve(proposal_id(ISOLATE), "ada", LATER)
    assert len(enforcer.applied) == 1


def test_an_approval_expires(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    with pytest.raises(RequestError, match="awaits approval"):
        desk(journal, enforcer).approve(proposal_id(ISOLATE), "ada", NOW + timedelta(hours=1))
    assert (enforcer.applied, kinds(journal)) == ([], [])


def test_an_approval_is_bound_to_what_was_shown(journal: Journal) -> None:
    (seen,) = desk(journal).awaiting(LATER)
    journal.append([refusal_entry(refused(replace(ISOLATE, ttl_s=86_400.0)), KEY)])
    with pytest.raises(RequestError, match="not what was shown"):
        desk(journal).approve(seen.proposal_id, "ada", LATER, seen.shown)
    assert kinds(journal) == ["refusal"]
    (now_seen,) = desk(journal).awaiting(LATER)
    assert ordered(desk(journal).approve(seen.proposal_id, "ada", LATER, now_seen.shown)).act is Act.ISOLATE


def test_hard_promises_hold_against_an_approval(journal: Journal) -> None:
    device = build_incident().device
    assert device.address is not None
    allowed = PolicySettings(allowed_networks=(ipaddress.ip_network(f"{device.address}/32"),))
    enforcer = RecordingEnforcer()
    outcome = desk(journal, enforcer, allowed).approve(proposal_id(ISOLATE), "ada", LATER)
    assert outcome.refusal is not None
    assert any("allow list" in reason for reason in outcome.refusal.reasons)
    assert (enforcer.applied, kinds(journal)) == ([], ["operator", "refusal"])
    assert desk(journal).awaiting(LATER) == ()


def test_an_altered_refusal_awaits_nobody(journal: Journal, tmp_path: Path) -> None:
    with Journal(tmp_path / "other.sqlite") as other:
        entry = refusal_entry(refused(), KEY)
        other.append(
            [replace(entry, body={**entry.body, "reasons": ["nothing to see"]}), refusal_entry(refused(), None)]
        )
        assert desk(other).awaiting(LATER) == ()


def test_what_is_ordered_already_is_not_ordered_again(journal: Journal) -> None:
    desk(journal).approve(proposal_id(ISOLATE), "ada", LATER)
    journal.append([refusal_entry(refused(), KEY)])
    with pytest.raises(RequestError, match="ordered already"):
        desk(journal).approve(proposal_id(ISOLATE), "ada", LATER)
    assert len(desk(journal).awaiting(LATER)) == 1


def test_a_refusal_closes_what_awaits(journal: Journal) -> None:
    desk(journal).refuse(proposal_id(ISOLATE), "ada", LATER, "it is a test device")
    assert desk(journal).awaiting(LATER) == ()
    (entry,) = journal.entries(kind="operator")
    assert (entry.body["verb"], entry.body["reason"]) == ("refuse", "it is a test device")
    with pytest.raises(RequestError, match="awaits approval"):
        desk(journal).approve(proposal_id(ISOLATE), "ada", LATER)


def test_exactly_one_decision_is_revoked(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    other = build_decision()
    journal.append([decision_entry(other, KEY)])
    enforcer.apply(other, NOW)
    decision = ordered(desk(journal, enforcer).approve(proposal_id(ISOLATE), "ada", LATER))
    outcome = desk(journal, enforcer).revoke(decision.decision_id[:6], "ada", LATER, "the camera is needed")
    assert (outcome.has_failed, enforcer.revoked) == (False, [decision])
    assert [item.decision_id for item in enforcer.in_force(LATER)] == [other.decision_id]
    assert desk(journal).standing(decision.decision_id, LATER).state is StandingState.REVOKED
    with pytest.raises(RequestError, match="has ended"):
        desk(journal, enforcer).revoke(decision.decision_id, "ada", LATER)


def test_a_failure_of_the_enforcer_is_an_outcome(journal: Journal) -> None:
    enforcer = RecordingEnforcer(lambda _: ReceiptStatus.FAILED)
    outcome = desk(journal, enforcer).approve(proposal_id(ISOLATE), "ada", LATER)
    assert outcome.has_failed
    assert desk(journal).standing(ordered(outcome).decision_id, LATER).state is StandingState.FAILED


@pytest.mark.parametrize("enforcer", [RecordingEnforcer, DryRunEnforcer])
def test_an_extension_takes_the_place_of_the_old(journal: Journal, enforcer: Callable[[], Any]) -> None:
    chosen = enforcer()
    old = ordered(desk(journal, chosen).approve(proposal_id(ISOLATE), "ada", LATER))
    outcome = desk(journal, chosen).extend(old.decision_id, "bob", LATER + timedelta(minutes=1), 7200.0)
    new = ordered(outcome)
    assert (new.replaces, new.approved_by, new.target, new.act) == (old.decision_id, "bob", old.target, old.act)
    assert new.expires_at == LATER + timedelta(minutes=1, hours=2)
    assert desk(journal).standing(old.decision_id, LATER).state is StandingState.REPLACED
    assert [receipt.decision_id for receipt in outcome.receipts] == [new.decision_id, old.decision_id]
    if isinstance(chosen, RecordingEnforcer):
        assert [item.decision_id for item in chosen.in_force(LATER)] == [new.decision_id]
        assert chosen.revoked == []


def test_an_extension_is_shortened_by_policy_and_never_ends_sooner(journal: Journal) -> None:
    old = ordered(desk(journal).approve(proposal_id(ISOLATE), "ada", LATER))
    short = PolicySettings(max_ttl_s=4000.0)
    new = ordered(desk(journal, policy=short).extend(old.decision_id, "ada", LATER, 1e6))
    assert new.expires_at == LATER + timedelta(seconds=4000)
    before = kinds(journal)
    with pytest.raises(RequestError, match="not after"):
        desk(journal).extend(new.decision_id, "ada", LATER, 60.0)
    assert kinds(journal) == before


def test_what_does_not_live_is_not_extended(journal: Journal) -> None:
    old = ordered(desk(journal).approve(proposal_id(ISOLATE), "ada", LATER))
    with pytest.raises(RequestError, match="not in force"):
        desk(journal).extend(old.decision_id, "ada", old.expires_at, 3600.0)


def test_what_policy_did_not_sign_is_neither_revoked_nor_extended(journal: Journal) -> None:
    journal.append([decision_entry(build_decision(), b"o" * 32)])
    for order in (
        lambda: desk(journal).revoke(build_decision().decision_id, "ada", LATER),
        lambda: desk(journal).extend(build_decision().decision_id, "ada", LATER, 60.0),
    ):
        with pytest.raises(RequestError, match="signature") as caught:
            order()
        assert "panic" in caught.value.hint


def test_without_a_key_nothing_is_ordered(journal: Journal) -> None:
    assert desk(journal, key=None).awaiting(LATER) == ()
    with pytest.raises(RequestError):
        desk(journal, key=None).approve(proposal_id(ISOLATE), "ada", LATER)


@pytest.mark.parametrize("beginning", ["", "zz"])
def test_a_beginning_must_be_of_one_alone(journal: Journal, beginning: str) -> None:
    journal.append([decision_entry(build_decision(), KEY), decision_entry(build_decision(decision_id="2" * 12), KEY)])
    with pytest.raises(RequestError, match=r"ids begin so|no such decision"):
        desk(journal).standing(beginning, LATER)


def test_counters_are_the_enforcers(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    enforcer.apply(build_decision(), NOW)
    assert list(desk(journal, enforcer).counters(NOW)) == [build_decision().decision_id]


def test_two_people_approve_at_once_and_one_of_them_wins(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thingwarden.serve.store.BUSY_S", 0.05)
    enforcer = RecordingEnforcer()
    with Journal(tmp_path / "journal.sqlite") as other:
        with journal.writing(), pytest.raises(ConfigError, match="another process"):
            desk(other, enforcer).approve(proposal_id(ISOLATE), "bob", LATER)
        desk(journal, enforcer).approve(proposal_id(ISOLATE), "ada", LATER)
        with pytest.raises(RequestError, match="awaits approval"):
            desk(other, enforcer).approve(proposal_id(ISOLATE), "bob", LATER)
    assert len(enforcer.applied) == 1


def test_what_was_ordered_and_not_applied_is_made_up_for(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    journal.append([decision_entry(build_decision(), KEY)])
    assert len(desk(journal, enforcer).reconcile(LATER)) == 1
    assert [item.decision_id for item in enforcer.applied] == [build_decision().decision_id]


def test_what_is_on_the_allow_list_today_is_not_put_back(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    journal.append([decision_entry(build_decision(), KEY)])
    allowed = PolicySettings(allowed_networks=(ipaddress.ip_network("203.0.113.0/24"),))
    desk(journal, enforcer, allowed).reconcile(LATER)
    assert enforcer.applied == []
