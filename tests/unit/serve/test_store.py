"""The journal: only grows, shows tampering, refuses what is no journal."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from thingwarden.domain.errors import ConfigError, RequestError
from thingwarden.serve.store import GENESIS, Journal, JournalEntry


def entry(kind: str = "incident", subject: str = "abc123", **body: Any) -> JournalEntry:
    values = {"incident_id": subject, "opened_at": "2024-01-01T00:00:00.000Z", "name": subject} | body
    return JournalEntry(at="2024-01-01T00:00:00.000Z", kind=kind, subject=subject, incident=subject, body=values)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite"


def tamper(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(f"DROP TRIGGER entry_is_never_changed; DROP TRIGGER entry_is_never_deleted; {statement}")
    connection.close()


def test_what_was_written_is_read_again_in_order(path: Path) -> None:
    with Journal(path) as journal:
        assert journal.append([entry(subject="a"), entry(subject="b")]) == 2
    with Journal(path) as journal:
        journal.append([entry(subject="c")])
        assert [item.subject for item in journal.entries()] == ["a", "b", "c"]
        assert journal.verify().entry_count == 3
        assert journal.verify().broken_at is None


def test_an_empty_journal_is_sound(path: Path) -> None:
    with Journal(path) as journal:
        assert (journal.verify().entry_count, journal.verify().head) == (0, GENESIS)


@pytest.mark.parametrize(
    ("statement", "broken_at"),
    [
        ("UPDATE entry SET body = replace(body, 'b', 'x') WHERE number = 2", 2),
        ("UPDATE entry SET at = '2025' WHERE number = 1", 1),
        ("UPDATE entry SET kind = 'device' WHERE number = 3", 3),
        ("DELETE FROM entry WHERE number = 2", 2),
        ("UPDATE entry SET number = 7 WHERE number = 3", 3),
    ],
)
def test_tampering_is_found_at_its_place(path: Path, statement: str, broken_at: int) -> None:
    with Journal(path) as journal:
        journal.append([entry(subject="a"), entry(subject="b"), entry(subject="c")])
    tamper(path, statement)
    with Journal(path, is_read_only=True) as journal:
        assert journal.verify().broken_at == broken_at


def test_a_cut_end_shows_in_the_head(path: Path) -> None:
    with Journal(path) as journal:
        journal.append([entry(subject="a"), entry(subject="b")])
        head = journal.verify().head
    tamper(path, "DELETE FROM entry WHERE number = 2")
    with Journal(path) as journal:
        assert journal.verify().head != head


@pytest.mark.parametrize("statement", ["DELETE FROM entry", "UPDATE entry SET at = '2025'"])
def test_the_database_itself_refuses_changes(path: Path, statement: str) -> None:
    with Journal(path) as journal:
        journal.append([entry()])
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError, match="only grows"):
        connection.execute(statement)


def test_entries_are_added_all_or_none(path: Path) -> None:
    with Journal(path) as journal:
        with pytest.raises(TypeError):
            journal.append([entry(), entry(unspeakable=object())])
        assert journal.verify().entry_count == 0


def test_the_latest_word_on_an_incident_counts(path: Path) -> None:
    with Journal(path) as journal:
        journal.append([entry(flow_count=1), entry(subject="other"), entry(flow_count=9)])
        assert [body["flow_count"] for body in journal.incidents() if body["incident_id"] == "abc123"] == [9]
        assert len(journal.incidents()) == 2


def test_an_incident_is_found_by_the_beginning_of_its_id(path: Path) -> None:
    with Journal(path) as journal:
        journal.append([entry(subject="abc1"), entry(subject="abd2")])
        assert journal.incident("abc")["incident"]["incident_id"] == "abc1"
        with pytest.raises(RequestError, match="2 incidents"):
            journal.incident("ab")
        with pytest.raises(RequestError, match="no such incident"):
            journal.incident("zz")


def test_reading_needs_a_journal(path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        Journal(path, is_read_only=True)


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be looked at" * 40, b"\x00" * 5000])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="journal"):
        Journal(path)
    assert path.read_bytes() == content


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmark (url TEXT)")
    with pytest.raises(ConfigError, match="another program"):
        Journal(path)


def test_another_schema_version_is_refused(path: Path) -> None:
    Journal(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="schema version 99"):
        Journal(path)


def test_a_damaged_journal_is_a_clear_error(path: Path) -> None:
    with Journal(path) as journal:
        journal.append([entry(subject=str(n), text="x" * 3000) for n in range(50)])
    content = bytearray(path.read_bytes())
    content[8192:40960] = b"\xff" * (40960 - 8192)
    path.write_bytes(bytes(content))
    with pytest.raises(ConfigError, match="journal"), Journal(path, is_read_only=True) as journal:
        journal.verify()


def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Journal(tmp_path)


def test_a_second_writer_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thingwarden.serve.store.BUSY_S", 0.05)
    with Journal(path) as first, Journal(path) as second:

        def entries_while_second_writes() -> Any:
            yield entry()
            with pytest.raises(ConfigError, match="another process is writing"):
                second.append([entry()])

        assert first.append(entries_while_second_writes()) == 1
