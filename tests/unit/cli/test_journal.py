"""``thingwarden devices`` and ``incidents``: what the journal holds, for people and programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thingwarden.cli import main
from thingwarden.config import PACKAGED_SAMPLE


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of one replay of the sample."""
    file = tmp_path_factory.mktemp("journal") / "journal.sqlite"
    assert main(["replay", str(PACKAGED_SAMPLE), "--journal", str(file), "--json"]) == 0
    return file


def _records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_devices_are_listed(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--journal", str(journal), "--json"]) == 0
    names = [record["name"] for record in _records(capsys.readouterr().out)]
    assert len(names) == 10
    assert main(["devices", "--journal", str(journal)]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)


def test_incidents_are_listed_and_told_whole(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["incidents", "--journal", str(journal), "--json"]) == 0
    incidents = _records(capsys.readouterr().out)
    assert incidents
    assert main(["incidents", "--journal", str(journal)]) == 0
    assert all(incident["incident_id"] in capsys.readouterr().out for incident in incidents[:1])
    chosen = incidents[0]["incident_id"]
    assert main(["incidents", "show", chosen[:8], "--journal", str(journal), "--json"]) == 0
    (report,) = _records(capsys.readouterr().out)
    assert report["type"] == "incident_report"
    assert report["incident"]["incident_id"] == chosen
    assert all(decision["incident_id"] == chosen for decision in report["decisions"])
    assert main(["incidents", "show", chosen, "--journal", str(journal)]) == 0
    assert "evidence: the" in capsys.readouterr().out


def test_an_unknown_incident_is_the_callers(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["incidents", "show", "zzzz", "--journal", str(journal)]) == 2
    assert "zzzz" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["devices"], ["incidents"], ["incidents", "show", "a"]])
def test_a_missing_journal_is_named(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "none.sqlite"
    assert main([*command, "--journal", str(missing)]) == 2
    assert str(missing) in capsys.readouterr().err
    assert not missing.exists()
