"""``thingwarden bench reasons``: a report of a corpus, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab_builder import build_lab
from thingwarden.bench.reasons import POOL_NETWORKS
from thingwarden.cli import main


def test_a_corpus_is_checked_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = build_lab(tmp_path / "lab", networks=POOL_NETWORKS + 4, counted=0)
    assert main(["bench", "reasons", str(folder), "--out", str(tmp_path / "out"), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert told["type"] == "reasons" and told["questions"] >= 1
    kept = json.loads((tmp_path / "out" / "reasons.json").read_text(encoding="utf-8"))
    assert kept == {key: value for key, value in told.items() if key != "type"}
    assert (tmp_path / "out" / "reasons.md").is_file()


def test_a_corpus_without_enough_networks_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = build_lab(tmp_path / "lab", networks=1, counted=0)
    assert main(["bench", "reasons", str(folder), "--out", str(tmp_path)]) == 3
    assert "draw a larger one" in capsys.readouterr().err
