"""What is noted is written once, and only what is new."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest

from thingwarden.domain.errors import ConfigError
from thingwarden.pipeline import Record
from thingwarden.respond.protect import ProtectedHosts
from thingwarden.serve.logbook import MAX_RECORDS, Logbook
from thingwarden.serve.store import Journal, JournalEntry
from thingwarden.testing import (
    FlowSpec,
    FlowWordEncoder,
    build_decision,
    build_devices,
    build_flows,
    build_incident,
)

AT = datetime(2026, 11, 24, tzinfo=UTC)
BOT, CAMERA = "192.168.1.10", "192.168.1.11"
DEVICES = build_devices([BOT, CAMERA])
NOBODY = ProtectedHosts(roles={}, macs=frozenset())
RUN = JournalEntry(at="2026-11-24T00:00:00.000000Z", kind="run", subject="run", incident="", body={})


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def kinds(journal: Journal) -> list[str]:
    return [entry.kind for entry in journal.entries()]


def test_a_decision_is_written_once_and_counted(journal: Journal) -> None:
    book = Logbook(journal, None)
    book.note(Record(at=AT, entry=build_decision()))
    book.write(DEVICES, NOBODY, AT)
    book.write(DEVICES, NOBODY, AT)
    assert kinds(journal).count("decision") == 1
    assert book.decision_count == 1


def test_devices_and_protected_hosts_are_written_when_they_are_news(journal: Journal) -> None:
    book = Logbook(journal, None)
    book.write(DEVICES[:2], NOBODY, AT)
    assert kinds(journal) == ["device", "network"]
    book.write(DEVICES, NOBODY, AT)
    assert kinds(journal) == ["device", "network", "device"]
    book.write(DEVICES, replace(NOBODY, roles={ip_address("192.168.1.1"): "gateway"}), AT)
    assert kinds(journal)[3:] == ["network"]


def test_an_index_that_another_device_has_now_is_news(journal: Journal) -> None:
    book = Logbook(journal, None)
    book.write(DEVICES, NOBODY, AT)
    other = [*DEVICES[:2], *build_devices([BOT, "192.168.1.99"])[2:]]
    book.write(other, NOBODY, AT)
    assert kinds(journal).count("device") == 3


def test_at_the_end_stand_all_devices_with_their_flows_and_incidents(journal: Journal) -> None:
    book = Logbook(journal, None)
    flows = build_flows([FlowSpec(orig=BOT), FlowSpec(orig=BOT, resp=CAMERA)])
    for words in FlowWordEncoder(DEVICES).encode(flows):
        book.note_closings(words)
    incident = build_incident(device=DEVICES[1])
    summaries = book.close(DEVICES, NOBODY, [incident], RUN)
    assert [(item.name, item.flow_count, len(item.incident_ids)) for item in summaries] == [(BOT, 2, 1), (CAMERA, 1, 0)]
    assert kinds(journal) == ["run", "device", "device", "network", "incident"]
    assert [item["flow_count"] for item in journal.devices()] == [2, 1]


def test_what_could_not_be_written_is_written_later(journal: Journal, tmp_path: Path) -> None:
    book = Logbook(journal, None)
    book.note(Record(at=AT, entry=build_decision()))
    connection = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConfigError):
        book.write(DEVICES, NOBODY, AT)
    assert kinds(journal) == []
    connection.execute("ROLLBACK")
    book.write(DEVICES, NOBODY, AT)
    assert kinds(journal).count("decision") == 1


def test_while_nothing_can_be_written_the_oldest_records_go(journal: Journal) -> None:
    book = Logbook(journal, None)
    for number in range(MAX_RECORDS + 2):
        book.note(Record(at=AT, entry=build_decision(decision_id=f"{number:012d}")))
    assert book.lost_count == 2
    book.write(DEVICES, NOBODY, AT)
    assert kinds(journal).count("decision") == MAX_RECORDS


def test_without_a_journal_only_counts_are_kept() -> None:
    book = Logbook(None, None)
    book.note(Record(at=AT, entry=build_decision()))
    book.write(DEVICES, NOBODY, AT)
    assert book.decision_count == 1
    assert len(book.close(DEVICES, NOBODY, [], RUN)) == 2
    assert np.array([item.flow_count for item in book.close(DEVICES, NOBODY, [], RUN)]).tolist() == [0, 0]
