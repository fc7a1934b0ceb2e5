"""``thingwarden bench fuzz`` reports what damaged inputs did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from packet_builder import conversation, pcap
from thingwarden.cli import main


def test_a_short_run_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "attacks").mkdir()
    (tmp_path / "attacks" / "made.pcap").write_bytes(pcap(conversation()))
    out = tmp_path / "report" / "fuzzing.md"
    words = ["bench", "fuzz", "--data", str(tmp_path), "--seconds", "1", "--kept", str(tmp_path / "kept")]
    assert main([*words, "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["inputs"] > 10
    assert record["failures"] == 0
    assert "| pcap | 1 |" in out.read_text()
