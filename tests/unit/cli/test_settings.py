"""``thingwarden config``: check, show and default, for people and programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thingwarden.cli import main
from thingwarden.config import Settings, load_settings, setting_rows


@pytest.fixture(autouse=True)
def _no_file_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("THINGWARDEN_CONFIG", raising=False)


def _json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_check_accepts_the_written_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "default"]) == 0
    file = tmp_path / "written.toml"
    file.write_text(capsys.readouterr().out)
    assert main(["config", "check", str(file), "--json"]) == 0
    assert _json_lines(capsys.readouterr().out) == [
        {"type": "config_check", "file": str(file), "is_valid": True, "problem_count": 0}
    ]
    assert load_settings(file).settings == Settings()


def test_check_lists_every_problem_and_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('[detect]\nfoo = 1\n[network]\nlocal_prefixes = ["x"]\n')
    assert main(["config", "check", str(file)]) == 2
    captured = capsys.readouterr()
    assert "detect.foo" in captured.out
    assert "network.local_prefixes" in captured.out
    assert "2 settings refused" in captured.err


def test_check_under_json_gives_one_line_per_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[detect]\nfoo = 1\n")
    assert main(["config", "check", "--json", "--config", str(file)]) == 2
    problem, summary = _json_lines(capsys.readouterr().out)
    assert problem["type"] == "config_problem"
    assert problem["key"] == "detect.foo"
    assert summary["is_valid"] is False


def test_check_without_any_file_says_that_the_defaults_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check"]) == 0
    assert "defaults hold" in capsys.readouterr().out


def test_show_gives_each_value_with_its_origin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "some.toml"
    file.write_text("[detect]\nalarm_level_ratio = 2.0\n")
    assert main(["config", "show", "--origin", "--json", "--config", str(file)]) == 0
    rows = {row["key"]: row for row in _json_lines(capsys.readouterr().out)}
    assert set(rows) == {row.key for row in setting_rows(Settings())}
    assert rows["detect.alarm_level_ratio"]["value"] == 2.0
    assert rows["detect.alarm_level_ratio"]["origin"] == str(file)
    assert rows["journal.path"]["origin"] == "default"


def test_show_draws_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show"]) == 0
    shown = capsys.readouterr().out
    assert "(unset)" in shown
    assert "origin" not in shown


def test_default_under_json_documents_each_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "default", "--json"]) == 0
    rows = _json_lines(capsys.readouterr().out)
    assert all(row["type"] == "setting_default" and row["description"] and row["allowed"] for row in rows)
