"""``thingwarden bench``: what is refused before anything is measured; measuring is tested with the referee."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thingwarden.cli import main


@pytest.mark.parametrize("command", ["accuracy", "zeek"])
def test_the_captures_must_be_named(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("THINGWARDEN_DATA", raising=False)
    assert main(["bench", command]) == 2
    assert "--data" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["accuracy", "zeek"])
def test_a_folder_that_is_missing_is_named(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", command, "--data", str(tmp_path / "none")]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_an_unknown_contestant_is_refused_before_anything_is_read(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--contestant", "oracle"]
    assert main(["bench", "accuracy", *words, "--plan", str(repository / "recipes" / "folds.toml")]) == 2
    assert "oracle" in capsys.readouterr().err


def test_speed_needs_a_log_that_exists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "speed", str(tmp_path / "none.log"), "--out", str(tmp_path)]) == 2
    assert "none.log" in capsys.readouterr().err


def test_metering_is_measured_on_traffic_of_three_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "speed.md"
    assert main(["bench", "metering", "--packets", "1000", "--out", str(report), "--json"]) == 0
    speeds = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [speed["traffic"] for speed in speeds] == ["mixed", "transfer", "SYN flood"]
    assert all(speed["packet_count"] >= 1000 and speed["packets_per_s"] > 0 for speed in speeds)
    assert "SYN flood" in report.read_text()


@pytest.mark.parametrize("option", ["--lab", "--weeks"])
def test_a_missing_folder_of_networks_is_named(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "accuracy", "--data", str(tmp_path), option, str(tmp_path / "none")]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err.replace("\n", "")
