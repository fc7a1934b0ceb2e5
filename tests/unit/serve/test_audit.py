"""The audit finds what was altered, forged or cut off, and says what it could not check."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from thingwarden.domain.response import Refusal
from thingwarden.serve.audit import MAX_DOUBTS, audit_journal
from thingwarden.serve.entries import decision_entry, refusal_entry
from thingwarden.serve.store import Journal
from thingwarden.testing import START_S, build_decision, build_proposal

KEY = b"k" * 32
REFUSAL = Refusal(
    proposal=build_proposal(), reasons=("monitor mode",), at=datetime.fromtimestamp(START_S, UTC), can_approve=True
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        opened.append([decision_entry(build_decision(), KEY), refusal_entry(REFUSAL, KEY)])
        yield opened


def test_a_sound_journal_is_sound(journal: Journal) -> None:
    journal.append([decision_entry(build_decision(decision_id="2" * 12), None)])
    found = audit_journal(journal, KEY)
    assert found.is_sound
    assert (found.signed_count, found.unsigned_count, found.doubtful_count) == (2, 1, 0)


def test_without_a_key_no_signature_is_called_sound(journal: Journal) -> None:
    found = audit_journal(journal, None)
    assert (found.signed_count, found.doubtful_count, found.is_sound) == (None, 0, True)


def test_forged_and_misplaced_entries_are_named(journal: Journal) -> None:
    forged = decision_entry(build_decision(decision_id="2" * 12), b"o" * 32)
    moved = replace(decision_entry(build_decision(), KEY), subject="3" * 12)
    borrowed = replace(refusal_entry(REFUSAL, KEY), subject="4" * 12)
    journal.append([forged, moved, borrowed])
    found = audit_journal(journal, KEY)
    assert [(item.number, item.subject) for item in found.doubts] == [(3, "2" * 12), (4, "3" * 12), (5, "4" * 12)]
    assert not found.is_sound


def test_of_many_doubts_the_first_are_told_and_all_are_counted(journal: Journal) -> None:
    journal.append(decision_entry(build_decision(), b"o" * 32) for _ in range(MAX_DOUBTS + 5))
    found = audit_journal(journal, KEY)
    assert (len(found.doubts), found.doubtful_count) == (MAX_DOUBTS, MAX_DOUBTS + 5)


def test_an_altered_entry_breaks_the_chain(journal: Journal, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.executescript("DROP TRIGGER entry_is_never_changed; UPDATE entry SET at = '' WHERE number = 2")
    found = audit_journal(journal, KEY)
    assert (found.chain.broken_at, found.is_sound) == (2, False)


def test_a_head_told_before_shows_what_was_cut_off(journal: Journal, tmp_path: Path) -> None:
    head = journal.verify().head
    assert audit_journal(journal, KEY, head).is_sound
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.executescript("DROP TRIGGER entry_is_never_deleted; DELETE FROM entry WHERE number = 2")
    found = audit_journal(journal, KEY, head)
    assert (found.chain.broken_at, found.chain.seen_at, found.is_sound) == (None, None, False)
