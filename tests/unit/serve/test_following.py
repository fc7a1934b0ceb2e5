"""The core learns from the journal what an earlier run left, and what people do meanwhile; each once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from thingwarden.domain.response import Decision, Receipt, ReceiptStatus
from thingwarden.serve.entries import HumanAct, HumanVerb, decision_entry, human_entry, receipt_entry
from thingwarden.serve.following import JournalFollower
from thingwarden.serve.store import Journal
from thingwarden.testing import START_S, build_decision

KEY = b"k" * 32
NOW = datetime.fromtimestamp(START_S, UTC)
DECISION = build_decision()
SUCCESSOR = replace(DECISION, decision_id="a" * 12, replaces=DECISION.decision_id)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def receipt(journal: Journal, status: ReceiptStatus, decision: Decision = DECISION) -> None:
    told = Receipt(decision_id=decision.decision_id, enforcer="x", status=status, at=NOW, detail="told")
    journal.append([receipt_entry(told, "")])


def person(journal: Journal, verb: HumanVerb, subject: str = DECISION.decision_id) -> None:
    journal.append([human_entry(HumanAct(verb=verb, subject_id=subject, person="ada", reason=""), "", NOW)])


def news(follower: JournalFollower, now: datetime = NOW) -> list[tuple[str, bool, bool]]:
    return [(item.decision.decision_id, item.is_in_force, item.ended_at is not None) for item in follower.news(now)]


def test_what_an_earlier_run_left_is_told_first_and_once(journal: Journal) -> None:
    journal.append([decision_entry(DECISION, KEY)])
    receipt(journal, ReceiptStatus.APPLIED)
    follower = JournalFollower(journal, KEY)
    assert news(follower) == [(DECISION.decision_id, True, False)]
    assert news(follower) == []


def test_an_order_at_the_desk_is_followed_from_approval_to_end(journal: Journal) -> None:
    follower = JournalFollower(journal, KEY)
    assert news(follower) == []
    journal.append([decision_entry(DECISION, KEY)])
    assert news(follower) == [(DECISION.decision_id, False, False)]
    receipt(journal, ReceiptStatus.APPLIED)
    assert news(follower) == [(DECISION.decision_id, True, False)]
    receipt(journal, ReceiptStatus.EXPIRED)
    assert news(follower) == [(DECISION.decision_id, True, True)]


@pytest.mark.parametrize("verb", [HumanVerb.REVOKE, HumanVerb.PANIC])
def test_what_a_person_ended_is_told(journal: Journal, verb: HumanVerb) -> None:
    journal.append([decision_entry(DECISION, KEY)])
    follower = JournalFollower(journal, KEY)
    follower.news(NOW)
    person(journal, verb, "" if verb is HumanVerb.PANIC else DECISION.decision_id)
    assert news(follower) == [(DECISION.decision_id, False, True)]


def test_a_decision_that_is_replaced_has_ended(journal: Journal) -> None:
    journal.append([decision_entry(DECISION, KEY)])
    follower = JournalFollower(journal, KEY)
    follower.news(NOW)
    journal.append([decision_entry(SUCCESSOR, KEY)])
    assert {name: ended for name, _, ended in news(follower)} == {
        DECISION.decision_id: True, SUCCESSOR.decision_id: False,
    }  # fmt: skip


def test_what_policy_did_not_sign_is_not_believed(journal: Journal) -> None:
    follower = JournalFollower(journal, KEY)
    follower.news(NOW)
    journal.append([decision_entry(DECISION, b"o" * 32), decision_entry(SUCCESSOR, None)])
    person(journal, HumanVerb.REVOKE)
    assert news(follower) == []


def test_what_is_over_is_forgotten(journal: Journal) -> None:
    journal.append([decision_entry(DECISION, KEY)])
    follower = JournalFollower(journal, KEY)
    follower.news(NOW)
    assert news(follower, NOW + timedelta(days=1)) == []
    person(journal, HumanVerb.REVOKE)
    assert news(follower) == []
