"""``thingwarden bench response``: refuses what there is not, and reports trials that were run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thingwarden.cli import main


def test_an_unknown_defence_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "response", "--defence", "prayer"]) == 2
    assert "isolate everything" in capsys.readouterr().err


@pytest.mark.root
def test_a_short_run_without_a_defence_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "response", "--scenario", "attacks-flood", "--defence", "none", "--duration-s", "12"]
    places = ["--camera-s", "0", "--kept", str(tmp_path / "kept"), "--out", str(tmp_path)]
    assert main([*words, *places, "--json"]) == 0
    (record,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (record["type"], record["defence"], record["answered_count"]) == ("response", "none", 0)
    assert record["attack_count"] > 0
    assert "| attacks with an act in force / all | 0 / " in (tmp_path / "response.md").read_text()
