"""What people wrote beside a report: causes, and remedies that were tried, printed where the report begins.

In: a report's folder and name. Out: its notes, Markdown.
Must never: change a figure, or be written by a measurement.
"""

from __future__ import annotations

from pathlib import Path


def read_notes(folder: Path, report: str) -> str:
    """The text of ``<report>-notes.md`` in the folder, without blank lines around it; empty where there is none.

    Args:
        folder: of the report.
        report: its file's name without the ending.
    """
    path = folder / f"{report}-notes.md"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""
