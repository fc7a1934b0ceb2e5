"""``thingwarden bench early`` and ``negatives``: reports of a small run, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thingwarden.cli import main


def test_an_attack_is_measured_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--attack", "guess-mqtt", "--seeds", "1", "--jobs", "1", "--kept", str(tmp_path / "kept")]
    assert main(["bench", "early", *words, "--out", str(tmp_path / "out"), "--json"]) == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert record["type"] == "early" and list(record["attacks"]) == ["guess-mqtt"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"early.md", "early.json", "early.svg"}
    assert main(["bench", "early", *words, "--out", str(tmp_path / "out")]) == 0
    assert "brute force: incident within 10 attempts" in capsys.readouterr().out


def test_a_hard_negative_is_measured_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--negative", "backup", "--networks", "1", "--hours", "1", "--jobs", "1", "--kept", str(tmp_path / "kept")]
    assert main(["bench", "negatives", *words, "--out", str(tmp_path / "out"), "--json"]) == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert record["type"] == "hard_negatives" and record["negatives"]["backup"]["networks"] == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"hard-negatives.md", "hard-negatives.json"}


@pytest.mark.parametrize(("command", "option"), [("early", "--attack"), ("negatives", "--negative")])
def test_an_unknown_name_is_refused_with_those_that_there_are(
    command: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", command, option, "nonsense", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "nonsense" in said and ("sweep-syn" in said or "power cut" in said)


def test_a_model_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "early", "--model", str(tmp_path), "--out", str(tmp_path / "out")]) == 4
    assert "manifest" in capsys.readouterr().err
