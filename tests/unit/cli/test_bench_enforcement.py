"""``thingwarden bench enforcement``: measures in a namespace, writes the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thingwarden.cli import main


@pytest.mark.root
def test_a_small_measurement_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "enforcement", "--held", "50", "--each", "10", "--out", str(tmp_path), "--json"]) == 0
    (record,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert record["held_count"] == 50
    assert set(record["apply_us"]) == {"rate_limit", "block_flow", "block_peer", "quarantine", "isolate"}
    assert all(0 < spans["p50"] <= spans["p99"] for spans in record["apply_us"].values())
    assert "50 decisions in force" in (tmp_path / "enforcement.md").read_text()


def test_too_many_are_refused_before_anything_is_done() -> None:
    assert main(["bench", "enforcement", "--held", "70000"]) == 2
