"""``thingwarden bench latency``: measures in a lab, writes the report, refuses what it cannot do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thingwarden.cli import main


@pytest.mark.root
def test_a_small_measurement_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "latency", "--kind", "flood", "--attacks", "2", "--packets-per-s", "2000", "--flows-per-s", "50"]
    assert main([*words, "--out", str(tmp_path), "--json"]) == 0
    (record,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert record["type"] == "latency"
    assert record["answered_count"] + record["unanswered_count"] == 2
    assert record["answered_count"] >= 1
    assert record["dropped_packet_count"] == 0
    assert "Orders went to: nftables." in (tmp_path / "latency.md").read_text()


def test_an_unknown_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "latency", "--kind", "beacon"]) == 2
    assert "flood" in capsys.readouterr().err
