"""The journal: what was found, decided, refused and done, in an append-only chain of hashes.

In: plain JSON data. Out: a SQLite file; what it holds, and whether it was altered.
Must never: change or delete an entry, or be written by two processes at once.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from thingwarden.domain.errors import ConfigError, RequestError

SCHEMA_VERSION: Final = 2
APPLICATION_ID: Final = 0x7477_6A31
"""``twj1`` in SQLite's header: tells a journal from any other database."""

GENESIS: Final = "0" * 64
KINDS: Final = ("run", "device", "network", "incident", "decision", "refusal", "receipt", "operator")
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

_COLUMNS: Final = "number, at, kind, subject, incident, body"
_ALL: Final = f"SELECT {_COLUMNS}, digest FROM entry ORDER BY number"  # noqa: S608


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
class WrittenEntry:
    """A line as it stands in the file.

    Attributes:
        number: 1 for the first; without gaps.
        digest: 64 hexadecimal digits that cover this entry and all before it.
        entry: what was written.
    """

    number: int
    digest: str
    entry: JournalEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether the chain holds.

    Attributes:
        entry_count: entries read.
        broken_at: number of the first entry that was altered or is missing; None when the chain holds.
        head: digest of the last sound entry; entries cut off the end show only when this is compared.
        seen_at: number of the sound entry whose digest was looked for; 0 for an empty journal's; None if none has it.
    """

    entry_count: int
    broken_at: int | None
    head: str
    seen_at: int | None = None


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
        """Add entries, all or none; on the disk when this returns, whatever befalls the machine. Returns how many.

        Raises:
            ConfigError: another process is writing, or the disk refuses.
        """
        if self._connection.in_transaction:
            with self._explained():
                return self._append(entries)
        with self.writing():
            return self.append(entries)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Let nobody else write between what is read and what is appended inside; all of it is kept, or none.

        Raises:
            ConfigError: another process is writing, or the disk refuses.
        """
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            with self._explained():
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.rollback()

    def written(
        self,
        *,
        kinds: Sequence[str] = KINDS,
        subject: str | None = None,
        incident: str | None = None,
        since: str | None = None,
        after: int = 0,
    ) -> Iterator[WrittenEntry]:
        """Entries in order.

        Args:
            kinds: of these kinds.
            subject, incident: about this alone.
            since: written of this instant or a later one, ISO 8601 in UTC.
            after: numbered above this.
        """
        wanted = ", ".join("?" * len(kinds))
        query = f"SELECT {_COLUMNS}, digest FROM entry WHERE kind IN ({wanted}) AND number > ?"  # noqa: S608
        values: list[str | int] = [*kinds, after]
        for condition, value in (("subject = ?", subject), ("incident = ?", incident), ("at >= ?", since)):
            if value is not None:
                query += f" AND {condition}"
                values.append(value)
        with self._explained():
            for number, at, kind, about, found_incident, body, digest in self._connection.execute(
                f"{query} ORDER BY number", values
            ):
                entry = JournalEntry(at=at, kind=kind, subject=about, incident=found_incident, body=json.loads(body))
                yield WrittenEntry(number=number, digest=digest, entry=entry)

    def head_number(self) -> int:
        """Number of the latest entry, 0 where there is none."""
        with self._explained():
            found = self._connection.execute("SELECT max(number) FROM entry").fetchone()
        return int(found[0] or 0)

    def entries(
        self, kind: str | None = None, incident: str | None = None, subject: str | None = None
    ) -> Iterator[JournalEntry]:
        """Entries in order, of one kind, one incident, one subject if given."""
        kinds = KINDS if kind is None else (kind,)
        return (item.entry for item in self.written(kinds=kinds, incident=incident, subject=subject))

    def latest(self, kind: str) -> list[dict[str, Any]]:
        """Bodies of the last entry of a kind on each subject."""
        query = "SELECT body FROM entry WHERE number IN (SELECT max(number) FROM entry WHERE kind = ? GROUP BY subject)"
        with self._explained():
            return [json.loads(body) for (body,) in self._connection.execute(query, (kind,))]

    def incidents(self) -> list[dict[str, Any]]:
        """Every incident as last known, by time of opening."""
        return sorted(self.latest("incident"), key=lambda body: (body["opened_at"], body["incident_id"]))

    def devices(self) -> list[dict[str, Any]]:
        """Every device as last known, by name."""
        return sorted(self.latest("device"), key=lambda body: str(body["name"]))

    def incident(self, incident_id: str) -> dict[str, Any]:
        """One incident with its decisions, refusals and receipts.

        Args:
            incident_id: the whole id, or a beginning that only one incident has.

        Raises:
            RequestError: none or several begin so.
        """
        matching = [body for body in self.latest("incident") if body["incident_id"].startswith(incident_id)]
        if len(matching) != 1:
            why = f"{len(matching)} incidents begin so" if matching else "no such incident"
            raise RequestError(f"incident {incident_id}", why, "see: thingwarden incidents")
        (found,) = matching
        related: dict[str, list[dict[str, Any]]] = {"decision": [], "refusal": [], "receipt": []}
        for item in self.written(kinds=tuple(related), incident=found["incident_id"]):
            related[item.entry.kind].append(item.entry.body)
        return {"incident": found, **{f"{kind}s": bodies for kind, bodies in related.items()}}

    def verify(self, looked_for: str = GENESIS) -> Verification:
        """Walk the whole chain.

        Args:
            looked_for: digest of an entry that was the last once.

        Raises:
            ConfigError: the file is damaged beyond reading.
        """
        head, count, broken_at = GENESIS, 0, None
        seen_at = 0 if looked_for == GENESIS else None
        with self._explained():
            for number, *values, digest in self._connection.execute(_ALL):
                if number != count + 1 or digest != _digest(head, number, *values):
                    broken_at = count + 1
                    break
                head, count = digest, number
                seen_at = number if digest == looked_for else seen_at
        return Verification(entry_count=count, broken_at=broken_at, head=head, seen_at=seen_at)

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
        self._connection.execute("PRAGMA synchronous = FULL")

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
            why, hint = _explain(str(error))
            raise ConfigError(f"journal {self._path}", why, hint) from error
        except (sqlite3.DatabaseError, ValueError) as error:
            raise ConfigError(
                f"journal {self._path}", f"not a sound journal: {error}", "choose another file"
            ) from error
        except OSError as error:
            raise ConfigError(f"journal {self._path}", error.strerror or str(error), "choose another file") from error


def _explain(message: str) -> tuple[str, str]:
    """Why SQLite failed, and what helps."""
    if "locked" in message:
        return "another process is writing it", "wait for it to end"
    if "full" in message:
        return "the disk is full", "nothing of this was written, all before it is kept; free some space"
    return message, "check the path, the permission and the disk"


def _digest(previous: str, number: int, at: str, kind: str, subject: str, incident: str, body: str) -> str:
    text = json.dumps([previous, number, at, kind, subject, incident, body], ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
