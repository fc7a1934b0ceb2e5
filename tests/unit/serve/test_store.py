"""The journal: only grows, shows tampering, refuses what is no journal."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
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


def test_written_entries_are_found_by_kind_subject_instant_and_number(path: Path) -> None:
    later = JournalEntry(at="2025-06-01T00:00:00.000Z", kind="decision", subject="d1", incident="a", body={})
    with Journal(path) as journal:
        journal.append([entry(subject="a"), later, entry(subject="b"), entry(kind="receipt", subject="d1")])
        assert [item.number for item in journal.written(kinds=("decision", "receipt"))] == [2, 4]
        assert [item.number for item in journal.written(subject="d1", kinds=("receipt",))] == [4]
        assert [item.number for item in journal.written(since="2025-01-01T00:00:00.000Z")] == [2]
        assert [item.number for item in journal.written(after=2)] == [3, 4]
        assert [item.number for item in journal.written(incident="b")] == [3]
        (first, *_, last) = journal.written()
        assert (first.entry, last.digest) == (entry(subject="a"), journal.verify().head)


def test_a_former_head_is_found_again_and_a_foreign_one_is_not(path: Path) -> None:
    with Journal(path) as journal:
        assert journal.verify().seen_at == 0
        journal.append([entry(subject="a"), entry(subject="b")])
        former = journal.verify().head
        journal.append([entry(subject="c")])
        assert journal.verify(former).seen_at == 2
        assert journal.verify("f" * 64).seen_at is None


def test_what_is_written_together_is_kept_together_or_not_at_all(path: Path) -> None:
    with Journal(path) as journal:
        with journal.writing():
            assert journal.append([entry(subject="a")]) == 1
            assert [item.subject for item in journal.entries()] == ["a"]
            journal.append([entry(subject="b")])
        with pytest.raises(KeyError), journal.writing():
            journal.append([entry(subject="c")])
            raise KeyError
        assert [item.subject for item in journal.entries()] == ["a", "b"]


def test_nobody_writes_between_reading_and_appending(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thingwarden.serve.store.BUSY_S", 0.05)
    with Journal(path) as first, Journal(path) as second:
        with first.writing(), pytest.raises(ConfigError, match="another process is writing"):
            second.append([entry()])
        assert second.append([entry()]) == 1


_FILLER = """
import resource, sys
from pathlib import Path
from thingwarden.domain.errors import ConfigError
from thingwarden.serve.store import Journal, JournalEntry
journal = Journal(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
done = 0
try:
    while True:
        body = {"text": "x" * 3000}
        done += journal.append(JournalEntry(at="", kind="run", subject=str(done), incident="", body=body) for _ in "ab")
except ConfigError as error:
    print(done, error.hint, sep="|")
"""


def test_when_the_disk_takes_no_more_all_that_was_acknowledged_is_kept_and_nothing_half(path: Path) -> None:
    said = subprocess.run([sys.executable, "-c", _FILLER, path], capture_output=True, text=True, check=True).stdout
    done, hint = said.strip().split("|")
    assert "disk" in hint
    with Journal(path) as journal:
        found = journal.verify()
        assert (found.entry_count, found.broken_at) == (int(done), None)
        assert journal.append([entry()]) == 1


def test_a_full_disk_is_said(path: Path) -> None:
    with Journal(path) as journal:
        journal.append([entry()])
        journal._connection.execute("PRAGMA max_page_count = 8")
        with pytest.raises(ConfigError, match="the disk is full"):
            journal.append(entry(subject=str(number), text="x" * 3000) for number in range(50))
        assert journal.verify().entry_count == 1
        journal._connection.execute("PRAGMA max_page_count = 8000")
        assert journal.append([entry()]) == 1


def test_a_second_writer_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thingwarden.serve.store.BUSY_S", 0.05)
    with Journal(path) as first, Journal(path) as second:

        def entries_while_second_writes() -> Any:
            yield entry()
            with pytest.raises(ConfigError, match="another process is writing"):
                second.append([entry()])

        assert first.append(entries_while_second_writes()) == 1


def test_the_number_of_the_latest_entry_is_told(path: Path) -> None:
    with Journal(path) as journal:
        assert journal.head_number() == 0
        journal.append([entry(subject="a"), entry(subject="b")])
        assert journal.head_number() == 2
        assert [item.entry.subject for item in journal.written(after=1)] == ["b"]
