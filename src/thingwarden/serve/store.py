"""The journal: what was found, decided, refused and done, in an append-only chain of hashes.

In: plain JSON data. Out: a SQLite file; what it holds, and whether it was altered.
Must never: change or delete an entry, or be written by two processes at once.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from thingwarden.domain.errors import ConfigError, RequestError

SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x7477_6A31
"""``twj1`` in SQLite's header: tells a journal from any other database."""

GENESIS: Final = "0" * 64
KINDS: Final = ("run", "device", "incident", "decision", "refusal", "receipt", "operator")
BUSY_S: Final = 2.0
"""How long a second writer waits for the first before it is refused."""

_SCHEMA: Final = """
CREATE TABLE entry (
    number INTEGER PRIMARY KEY CHECK (number > 0),
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    incident TEXT NOT NULL,
    body TEXT NOT NULL,
    digest TEXT NOT NULL
) STRICT;
CREATE INDEX entry_by_subject ON entry (kind, subject, number);
CREATE INDEX entry_by_incident ON entry (incident, number);
CREATE TRIGGER entry_is_never_changed BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER entry_is_never_deleted BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One line of the journal.

    Attributes:
        at: ISO 8601 in UTC; traffic time when replaying.
        kind: one of ``KINDS``.
        subject: id of what it is about: a device's name, an incident's, decision's or proposal's id.
        incident: id of the incident that it belongs to; empty for none.
        body: JSON data.
    """

    at: str
    kind: str
    subject: str
    incident: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether the chain holds.

    Attributes:
        entry_count: entries read.
        broken_at: number of the first entry that was altered or is missing; None when the chain holds.
        head: digest of the last sound entry; entries cut off the end show only when this is compared.
    """

    entry_count: int
    broken_at: int | None
    head: str


class Journal:
    """An open journal; use as a context manager.

    Args:
        path: the file; made with its folder where absent.
        is_read_only: open an existing journal and never write.

    Raises:
        ConfigError: cannot be opened, is no journal, is damaged, or has another schema version.
    """

    def __init__(self, path: Path, is_read_only: bool = False) -> None:
        self._path = path
        if is_read_only and not path.is_file():
            raise ConfigError(f"journal {path}", "no such file", "run: thingwarden replay PATH")
        with self._explained():
            if not is_read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
            mode = "ro" if is_read_only else "rwc"
            uri = f"{path.resolve().as_uri()}?mode={mode}"
            self._connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
        try:
            with self._explained():
                self._prepare(is_read_only)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._connection.close()

    def append(self, entries: Iterable[JournalEntry]) -> int:
        """Add entries, all or none; returns how many.

        Raises:
            ConfigError: another process is writing, or the disk refuses.
        """
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                count = self._append(entries)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        return count

    def entries(self, kind: str | None = None, incident: str | None = None) -> Iterator[JournalEntry]:
        """Entries in order, of one kind or one incident if given."""
        query = "SELECT at, kind, subject, incident, body FROM entry WHERE (?1 IS NULL OR kind = ?1)"
        query += " AND (?2 IS NULL OR incident = ?2) ORDER BY number"
        with self._explained():
            for at, found_kind, subject, found_incident, body in self._connection.execute(query, (kind, incident)):
                yield JournalEntry(
                    at=at, kind=found_kind, subject=subject, incident=found_incident, body=json.loads(body)
                )

    def incidents(self) -> list[dict[str, Any]]:
        """Every incident as last known, by time of opening."""
        return sorted(self._latest("incident"), key=lambda body: (body["opened_at"], body["incident_id"]))

    def devices(self) -> list[dict[str, Any]]:
        """Every device as last known, by name."""
        return sorted(self._latest("device"), key=lambda body: str(body["name"]))

    def incident(self, incident_id: str) -> dict[str, Any]:
        """One incident with its decisions, refusals and receipts.

        Args:
            incident_id: the whole id, or a beginning that only one incident has.

        Raises:
            RequestError: none or several begin so.
        """
        matching = [body for body in self._latest("incident") if body["incident_id"].startswith(incident_id)]
        if len(matching) != 1:
            why = f"{len(matching)} incidents begin so" if matching else "no such incident"
            raise RequestError(f"incident {incident_id}", why, "see: thingwarden incidents")
        (found,) = matching
        related: dict[str, list[dict[str, Any]]] = {"decision": [], "refusal": [], "receipt": []}
        for entry in self.entries(incident=found["incident_id"]):
            if entry.kind in related:
                related[entry.kind].append(entry.body)
        return {"incident": found, **{f"{kind}s": bodies for kind, bodies in related.items()}}

    def verify(self) -> Verification:
        """Walk the whole chain.

        Raises:
            ConfigError: the file is damaged beyond reading.
        """
        head, expected = GENESIS, 1
        query = "SELECT number, at, kind, subject, incident, body, digest FROM entry ORDER BY number"
        with self._explained():
            for number, *values, digest in self._connection.execute(query):
                if number != expected or digest != _digest(head, number, *values):
                    return Verification(entry_count=expected - 1, broken_at=expected, head=head)
                head, expected = digest, expected + 1
        return Verification(entry_count=expected - 1, broken_at=None, head=head)

    def _append(self, entries: Iterable[JournalEntry]) -> int:
        last = self._connection.execute("SELECT number, digest FROM entry ORDER BY number DESC LIMIT 1").fetchone()
        number, head = last or (0, GENESIS)
        first = number
        for entry in entries:
            number += 1
            body = json.dumps(entry.body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
            values = (entry.at, entry.kind, entry.subject, entry.incident, body)
            head = _digest(head, number, *values)
            self._connection.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)", (number, *values, head))
        return int(number - first)

    def _latest(self, kind: str) -> list[dict[str, Any]]:
        query = "SELECT body FROM entry WHERE number IN (SELECT max(number) FROM entry WHERE kind = ? GROUP BY subject)"
        with self._explained():
            return [json.loads(body) for (body,) in self._connection.execute(query, (kind,))]

    def _prepare(self, is_read_only: bool) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (table_count,) = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application == 0 and table_count == 0 and not is_read_only:
            self._create()
        elif application != APPLICATION_ID:
            raise ConfigError(f"journal {self._path}", "a database of another program", "choose another file")
        elif version != SCHEMA_VERSION:
            raise ConfigError(
                f"journal {self._path}",
                f"schema version {version}, this program writes {SCHEMA_VERSION}",
                "choose another file or the version of Thingwarden that wrote it",
            )
        self._connection.execute("PRAGMA synchronous = NORMAL")

    def _create(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {SCHEMA_VERSION}; {_SCHEMA} COMMIT;"
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            is_busy = "locked" in str(error)
            why = "another process is writing it" if is_busy else str(error)
            hint = "wait for it to end" if is_busy else "check the path, the permission and the disk"
            raise ConfigError(f"journal {self._path}", why, hint) from error
        except (sqlite3.DatabaseError, ValueError) as error:
            raise ConfigError(
                f"journal {self._path}", f"not a sound journal: {error}", "choose another file"
            ) from error
        except OSError as error:
            raise ConfigError(f"journal {self._path}", error.strerror or str(error), "choose another file") from error


def _digest(previous: str, number: int, at: str, kind: str, subject: str, incident: str, body: str) -> str:
    text = json.dumps([previous, number, at, kind, subject, incident, body], ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
