"""Memory is that of the command and of nothing else; a command that fails is not measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from thingwarden.bench.speed import describe_machine, peak_bytes, write_speed
from thingwarden.domain.errors import RequestError


def test_the_peak_of_a_command_follows_what_it_holds() -> None:
    small, large = (peak_bytes([sys.executable, "-c", f"b = b'x' * {count}"]) for count in (1_000, 60_000_000))
    assert 50_000_000 < large - small < 75_000_000


def test_a_command_that_fails_is_an_error_with_its_last_words() -> None:
    with pytest.raises(RequestError, match="no such luck"):
        peak_bytes([sys.executable, "-c", "import sys; sys.exit('no such luck')"])


def test_the_report_holds_the_median_and_the_machine(tmp_path: Path) -> None:
    figures = {
        "flows_per_s": 30_000.0,
        "replay_peak_bytes": 120_000_000,
        "chunk_words": 2048,
        "log": "conn.log",
        "flows": 10,
        "model": "nano",
        "machine": describe_machine(),
    }
    write_speed(figures, tmp_path)
    assert json.loads((tmp_path / "speed.json").read_text())["flows_per_s"] == 30_000.0
    text = (tmp_path / "speed.md").read_text()
    assert "30,000 flows/s" in text and "120 MB" in text
