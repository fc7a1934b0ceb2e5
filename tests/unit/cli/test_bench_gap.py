"""``thingwarden bench gap`` and ``growth``: what is refused, and the reports that come of a small corpus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thingwarden.cli import main

RECIPE = "\n".join(
    (
        'name = "small"',
        "devices = [2, 3]\nduration_s = [1200, 1300]\nflows = [20, 40]",
        "attacks = [0, 0]\noddities = [0, 0]\n",
    )
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "small.toml").write_text(RECIPE)
    words = [
        "lab",
        "corpus",
        str(folder / "small.toml"),
        "--out",
        str(folder / "out"),
        "--networks",
        "2",
        "--jobs",
        "1",
    ]
    assert main(words) == 0
    return folder / "out"


def test_a_gap_needs_two_worlds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("THINGWARDEN_DATA", raising=False)
    assert main(["bench", "gap"]) == 2
    assert "nothing to compare" in capsys.readouterr().err


def test_without_real_runs_there_is_nothing_to_hold_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--runs", str(tmp_path / "runs"), "--scenario", "hard-video-call", "--seeds", "2", "--duration-s", "10"]
    assert main(["bench", "gap", *words, "--kept", "--jobs", "1", "--out", str(tmp_path)]) == 2
    assert "fewer than two" in capsys.readouterr().err


def test_growth_writes_report_and_picture(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "images" / "growth.svg"
    words = ["bench", "growth", str(corpus), "--out", str(tmp_path / "results"), "--picture", str(picture), "--json"]
    capsys.readouterr()
    assert main(words) == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert record["patterns"] == {"lab corpus": None}
    assert "| lab corpus |" in (tmp_path / "results" / "lab-growth.md").read_text()
    assert "<svg" in picture.read_text()


def test_a_folder_that_is_no_corpus_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "growth", str(tmp_path), "--out", str(tmp_path / "results")]) == 3
    assert "manifest" in capsys.readouterr().err
