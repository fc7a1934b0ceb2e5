"""Where a decision stands follows from what the journal holds of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from thingwarden.domain.errors import RequestError
from thingwarden.domain.response import Decision, Receipt, ReceiptStatus
from thingwarden.serve.entries import HumanAct, HumanVerb, decision_entry, human_entry, receipt_entry
from thingwarden.serve.standing import Standing, StandingState, read_standings, replaced_receipt
from thingwarden.serve.store import Journal
from thingwarden.testing import START_S, build_decision

KEY = b"k" * 32
NOW = datetime.fromtimestamp(START_S, UTC)
DECISION = build_decision()
A, D, F, R, E = (ReceiptStatus(name) for name in ("applied", "dry-run", "failed", "revoked", "expired"))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def receipt(status: ReceiptStatus, decision: Decision = DECISION) -> Receipt:
    return Receipt(decision_id=decision.decision_id, enforcer="x", status=status, at=NOW, detail="told")


def tell(journal: Journal, *statuses: ReceiptStatus, decision: Decision = DECISION) -> None:
    journal.append([decision_entry(decision, KEY)])
    journal.append(receipt_entry(receipt(status, decision), "") for status in statuses)


def only(journal: Journal, now: datetime = NOW, key: bytes | None = KEY) -> Standing:
    (standing,) = read_standings(journal, key, now)
    return standing


@pytest.mark.parametrize(
    ("statuses", "state", "is_open", "has_ended"),
    [
        ((), "ordered", True, False),
        ((A,), "in-force", True, False),
        ((D,), "dry-run", True, False),
        ((F,), "failed", False, True),
        ((A, F), "failed", True, False),
        ((A, F, A), "in-force", True, False),
        ((A, R), "revoked", False, True),
        ((A, E), "expired", False, True),
        ((A, R, A), "revoked", False, True),
        ((F, R), "revoked", False, True),
    ],
)
def test_receipts_say_where_it_stands(
    journal: Journal, statuses: tuple[ReceiptStatus, ...], state: str, is_open: bool, has_ended: bool
) -> None:
    tell(journal, *statuses)
    standing = only(journal)
    assert (standing.state.value, standing.is_open, standing.has_ended) == (state, is_open, has_ended)
    assert standing.decision == DECISION
    assert (standing.was_applied, len(standing.receipts)) == (A in statuses, len(statuses))


def test_an_end_by_the_clock_or_a_person_waits_for_its_receipt(journal: Journal) -> None:
    tell(journal, A)
    assert only(journal, DECISION.expires_at - timedelta(seconds=1)).state is StandingState.IN_FORCE
    assert only(journal, DECISION.expires_at).state is StandingState.ENDING
    act = HumanAct(verb=HumanVerb.REVOKE, subject_id=DECISION.decision_id, person="ada")
    journal.append([human_entry(act, "", NOW)])
    standing = only(journal)
    assert (standing.state, standing.revoked_by, standing.has_ended) == (StandingState.ENDING, "ada", False)


def test_a_successor_that_has_begun_takes_its_place_and_so_down_the_line(journal: Journal) -> None:
    second = build_decision(decision_id="2" * 12, replaces=DECISION.decision_id)
    third = build_decision(decision_id="3" * 12, replaces=second.decision_id)
    tell(journal, A)
    tell(journal, decision=second)
    assert [item.state.value for item in read_standings(journal, KEY, NOW)] == ["in-force", "ordered"]
    tell(journal, A, decision=third)
    standings = read_standings(journal, KEY, NOW)
    assert [item.state.value for item in standings] == ["replaced", "replaced", "in-force"]
    assert [item.replaced_by for item in standings] == [second.decision_id, third.decision_id, None]


def test_a_successor_that_failed_takes_no_place(journal: Journal) -> None:
    tell(journal, A)
    tell(journal, F, decision=build_decision(decision_id="2" * 12, replaces=DECISION.decision_id))
    assert [item.state.value for item in read_standings(journal, KEY, NOW)] == ["in-force", "failed"]


@pytest.mark.parametrize("key", [None, b"o" * 32])
def test_what_policy_did_not_sign_is_shown_with_the_doubt_and_yields_no_decision(
    journal: Journal, key: bytes | None
) -> None:
    tell(journal, A)
    standing = only(journal, key=key)
    assert standing.decision is None
    assert standing.doubt
    assert standing.shown["act"] == "block_flow"


def test_another_entry_of_the_same_id_never_displaces_a_genuine_one(journal: Journal) -> None:
    longer = replace(DECISION, expires_at=DECISION.expires_at + timedelta(hours=5))
    tell(journal, A)
    journal.append([decision_entry(longer, b"o" * 32), decision_entry(longer, None)])
    assert only(journal).decision == DECISION
    assert only(journal).state is StandingState.IN_FORCE


def test_a_genuine_entry_displaces_a_forged_one_and_keeps_its_receipts(journal: Journal) -> None:
    journal.append([decision_entry(DECISION, None), receipt_entry(receipt(A), "")])
    journal.append([decision_entry(DECISION, KEY)])
    standing = only(journal)
    assert (standing.decision, standing.state) == (DECISION, StandingState.IN_FORCE)


def test_a_genuine_decision_under_another_id_is_not_believed(journal: Journal) -> None:
    entry = decision_entry(DECISION, KEY)
    journal.append([replace(entry, subject="f" * 12)])
    assert only(journal).decision is None


def test_old_decisions_are_passed_over_unless_all_are_wanted(journal: Journal) -> None:
    tell(journal, A)
    later = NOW + timedelta(days=30)
    assert read_standings(journal, KEY, later) == ()
    assert len(read_standings(journal, KEY, later, is_all=True)) == 1


def test_receipts_of_unknown_decisions_are_passed_over(journal: Journal) -> None:
    journal.append([receipt_entry(receipt(A), "")])
    assert read_standings(journal, KEY, NOW) == ()


def test_an_entry_that_is_none_is_named(journal: Journal, tmp_path: Path) -> None:
    tell(journal, A)
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.execute(
            "INSERT INTO entry SELECT 3, at, kind, subject, incident, '{}', digest FROM entry LIMIT 1 OFFSET 1"
        )
    with pytest.raises(RequestError, match=DECISION.decision_id):
        read_standings(journal, KEY, NOW)


def test_what_was_replaced_gets_a_receipt_that_says_by_what() -> None:
    told = replaced_receipt(receipt(A), "0" * 12)
    assert told is not None
    assert (told.decision_id, told.status, told.detail) == ("0" * 12, R, f"replaced by {DECISION.decision_id}")


def test_a_successor_that_did_not_begin_ends_nothing() -> None:
    assert replaced_receipt(receipt(F), "0" * 12) is None
