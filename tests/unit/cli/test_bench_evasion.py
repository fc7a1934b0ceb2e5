"""``thingwarden bench evasion``: a report of a small corpus, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab_builder import build_lab
from thingwarden.cli import main


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_lab(tmp_path_factory.mktemp("lab"), networks=4, counted=1)


def _words(corpus: Path, folder: Path, *more: str) -> list[str]:
    return ["bench", "evasion", str(corpus), "--out", str(folder / "out"), "--kept", str(folder / "kept"), *more]


def test_a_report_is_written_and_its_figures_are_printed(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_words(corpus, tmp_path, "--evasion", "padding", "--evasion", "splitting", "--json")) == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert record["type"] == "evasion" and record["networks"] == 2
    (families,) = record["contestants"].values()
    assert list(families) == ["padding", "splitting"]
    assert "| splitting | 8 |" in (tmp_path / "out" / "evasion.md").read_text()


def test_fewer_networks_are_measured_where_asked_for(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_words(corpus, tmp_path, "--evasion", "jitter", "--networks", "2")) == 0
    assert "1 measured on 1 networks with attacks" in capsys.readouterr().out


def test_contestants_need_the_public_captures(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("THINGWARDEN_DATA", raising=False)
    assert main(_words(corpus, tmp_path, "--contestant", "lightgbm")) == 2
    assert "--data" in capsys.readouterr().err


def test_an_unknown_evasion_is_refused(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(_words(corpus, tmp_path, "--evasion", "tunnelling")) == 2
    assert "choose among padding" in capsys.readouterr().err
