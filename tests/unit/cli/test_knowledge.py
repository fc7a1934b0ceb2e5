"""What others know is read whole, or the command ends with what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thingwarden.cli.invocation import Invocation
from thingwarden.cli.knowledge import NOTHING_KNOWN, Knowledge, read_knowledge
from thingwarden.domain.errors import InputError, RequestError

QUERY = {
    "timestamp": "2026-11-23T17:58:05.441024+0000",
    "event_type": "dns",
    "src_ip": "10.77.0.51",
    "src_port": 39216,
    "dest_ip": "10.77.0.1",
    "dest_port": 53,
    "proto": "UDP",
    "dns": {"type": "query", "rrname": "bad.example"},
}
ALERT = {**QUERY, "event_type": "alert", "alert": {"signature_id": 7, "severity": 1, "signature": "TEST"}}


@pytest.fixture
def invocation(tmp_path: Path) -> Invocation:
    made = Invocation()
    made.config_path = tmp_path / "config.toml"
    made.config_path.write_text("")
    return made


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "eve.json"
    path.write_text("".join(f"{json.dumps(event)}\n" for event in (QUERY, ALERT)))
    return path


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "list.txt"
    path.write_text("203.0.113.5\nbad.example\n203.0.113.5\n")
    return path


def test_nothing_named_is_nothing_known(invocation: Invocation) -> None:
    assert read_knowledge(invocation, (), ()) == NOTHING_KNOWN
    assert list(NOTHING_KNOWN.notes(0, 0)) == []


def test_logs_and_lists_are_joined(invocation: Invocation, log: Path, listed: Path) -> None:
    known = read_knowledge(invocation, (log, log), (listed, listed))
    assert known.alerts is not None and len(known.alerts) == 2
    assert known.indicators is not None and len(known.indicators) == 4
    assert known.names is not None and known.names.name == ("bad.example",) * 2


def test_the_settings_name_files_where_the_options_do_not(invocation: Invocation, log: Path, listed: Path) -> None:
    assert invocation.config_path is not None
    invocation.config_path.write_text(
        f'[sightings]\nalerts = ["{log}"]\nindicators = ["{listed}"]\nunstated_confidence = 20\n'
    )
    known = read_knowledge(invocation, (), ())
    assert known.alerts is not None and len(known.alerts) == 1
    assert known.indicators is not None and set(known.indicators.confidence.tolist()) == {20}
    other = listed.with_name("other.txt")
    other.write_text("192.0.2.1\n")
    replaced = read_knowledge(invocation, (), (other,)).indicators
    assert replaced is not None and replaced.origin == ("other.txt, line 1",)


def test_what_could_not_speak_is_said(invocation: Invocation, log: Path, listed: Path) -> None:
    assert list(read_knowledge(invocation, (), (listed,)).notes(0, 0)) == [
        "lists: left out 1 repeated",
        "lists: 1 name not compared, for flows carry none; give --alerts eve.json",
    ]
    assert list(read_knowledge(invocation, (log,), (listed,)).notes(1, 2)) == [
        "1 of 1 alert belong to none of these flows",
        "2 listed names heard in none of these flows",
        "lists: left out 1 repeated",
    ]


def test_a_list_without_names_needs_no_second_reading(invocation: Invocation, log: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("192.0.2.1\n")
    known = read_knowledge(invocation, (log,), (tmp_path / "a.txt",))
    assert known.names is None
    assert isinstance(known, Knowledge)


def test_a_file_that_cannot_be_read_ends_the_command(invocation: Invocation, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("192.0.2.1\nnot an address\n")
    with pytest.raises(InputError) as caught:
        read_knowledge(invocation, (), (tmp_path / "bad.txt",))
    assert caught.value.what.endswith("bad.txt, line 2")
    with pytest.raises(RequestError, match="does not exist"):
        read_knowledge(invocation, (tmp_path / "absent.json",), ())
