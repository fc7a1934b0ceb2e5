"""``thingwarden audit``: what was altered is exit code 1; what is there is written out as it stands."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path

import pytest

from desk_builder import ISOLATE_ID, Site, build_site
from thingwarden.cli import main
from thingwarden.testing import build_incident

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def site(tmp_path: Path, capsys: Capsys) -> Site:
    """A journal of six entries: an incident, a refusal, and an approval with what came of it."""
    site = build_site(tmp_path, is_enforced=False)
    site.run(capsys, "decisions", "approve", ISOLATE_ID, "--yes", "--as", "ada")
    return site


def alter(site: Site, statement: str) -> None:
    with sqlite3.connect(site.journal) as connection:
        connection.executescript(
            f"DROP TRIGGER entry_is_never_changed; DROP TRIGGER entry_is_never_deleted; {statement}"
        )


def test_a_sound_journal_is_exit_code_0(site: Site, capsys: Capsys) -> None:
    code, (found,) = site.run(capsys, "audit", "verify")
    assert (code, found["is_sound"], found["entry_count"], found["signed_count"]) == (0, True, 5, 2)
    code, said = site.say(capsys, "audit", "verify")
    assert (code, f"head: {found['head']}" in said) == (0, True)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE entry SET body = replace(body, 'isolate', 'notify') WHERE number = 4", "entry 4 was altered"),
        ("DELETE FROM entry WHERE number = 2", "entry 2 was altered or is missing"),
    ],
)
def test_what_was_altered_is_exit_code_1(site: Site, capsys: Capsys, statement: str, said: str) -> None:
    alter(site, statement)
    code, text = site.say(capsys, "audit", "verify")
    assert code == 1
    assert said in text


def test_a_head_told_before_shows_what_was_cut_off(site: Site, capsys: Capsys) -> None:
    _, (found,) = site.run(capsys, "audit", "verify")
    code, (again,) = site.run(capsys, "audit", "verify", "--head", found["head"].upper())
    assert (code, again["head_seen_at"]) == (0, 5)
    alter(site, "DELETE FROM entry WHERE number = 5")
    assert site.run(capsys, "audit", "verify")[0] == 0
    code, text = site.say(capsys, "audit", "verify", "--head", found["head"])
    assert code == 1
    assert "cut off" in text


def test_another_key_makes_every_signature_doubtful(site: Site, capsys: Capsys, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"o" * 32)
    code, (found,) = site.run(capsys, "audit", "verify")
    assert (code, found["doubtful_count"], [item["number"] for item in found["doubts"]]) == (1, 2, [2, 4])


def test_without_a_key_it_says_that_signatures_were_not_checked(site: Site, capsys: Capsys, tmp_path: Path) -> None:
    (tmp_path / "key").unlink()
    code, said = site.say(capsys, "audit", "verify")
    assert (code, "signatures were not checked" in said) == (0, True)
    assert not (tmp_path / "key").exists()


def test_entries_are_exported_as_json_lines(site: Site, capsys: Capsys) -> None:
    code, records = site.run(capsys, "audit", "export")
    assert code == 0
    assert [record["kind"] for record in records] == ["incident", "refusal", "operator", "decision", "receipt"]
    assert [record["number"] for record in records] == [1, 2, 3, 4, 5]
    _, bare = site.say(capsys, "audit", "export")
    assert [json.loads(line) for line in bare.splitlines()] == records


def test_entries_are_exported_as_a_table(site: Site, capsys: Capsys) -> None:
    assert main(["audit", "export", "--format", "csv", "--config", str(site.config)]) == 0
    header, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header == ["number", "at", "kind", "subject", "incident", "digest", "body"]
    assert [json.loads(row[-1])["verb"] for row in rows if row[2] == "operator"] == ["approve"]
    assert site.run(capsys, "audit", "export", "--format", "csv")[0] == 2


def test_an_export_begins_when_told_and_is_about_one_incident_if_told(site: Site, capsys: Capsys) -> None:
    assert site.run(capsys, "audit", "export", "--since", "2099-01-01") == (0, [])
    assert len(site.run(capsys, "audit", "export", "--since", "1h")[1]) == 5
    assert len(site.run(capsys, "audit", "export", "--since", "2020-01-01T00:00:00+02:00")[1]) == 5
    incident = build_incident().incident_id
    assert len(site.run(capsys, "audit", "export", "--incident", incident[:4])[1]) == 5
    assert site.run(capsys, "audit", "export", "--incident", "zz")[0] == 2


@pytest.mark.parametrize(
    "words", [("verify", "--head", "abc"), ("export", "--since", "yesterday"), ("export", "--since", "5x")]
)
def test_what_is_no_digest_or_instant_is_refused(site: Site, capsys: Capsys, words: tuple[str, ...]) -> None:
    assert site.run(capsys, "audit", *words)[0] == 2
