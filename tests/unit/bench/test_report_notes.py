"""Notes lie beside their report."""

from __future__ import annotations

from pathlib import Path

from thingwarden.bench.report_notes import read_notes


def test_notes_are_found_by_the_name_of_their_report(tmp_path: Path) -> None:
    (tmp_path / "early-notes.md").write_text("\n**Missed** by two words.\n\nTried: three things.\n\n", encoding="utf-8")
    assert read_notes(tmp_path, "early") == "**Missed** by two words.\n\nTried: three things."
    assert read_notes(tmp_path, "evasion") == ""
