"""The report on early detection: missed goals first, what never came is said, and the picture is a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from thingwarden.bench.early_report import draw_early, render_early, write_early

NEVER = {"median": None, "worst": None}


def verdict(seconds: float | None, never: int = 0) -> dict[str, Any]:
    spread = NEVER if seconds is None else {"median": seconds, "worst": None if never else seconds}
    return {"never": never, "seconds": spread, "packets": spread, "attempts": spread}


def rate(rate_per_s: float, seconds: float | None, within: int, **goal: float | None) -> dict[str, Any]:
    return {
        "rate_per_s": rate_per_s,
        "achieved_per_s": rate_per_s,
        "flows_per_minute": 1.0,
        "scenes": 3,
        "goal_seconds": None,
        "goal_attempts": None,
        "within": within,
        "accused_before": 0,
        "first_word_is_close": 0,
        "word": verdict(seconds),
        "incident": verdict(seconds, never=3 - within),
        "answer": verdict(None, never=3),
        **goal,
    }


@pytest.fixture
def figures() -> dict[str, Any]:
    return {
        "model": "nano of today",
        "evidence_nats": 2.0,
        "alarm_level_nats": 25.0,
        "state": "0" * 16,
        "seeds": 3,
        "attacks": {
            "sweep-syn": {
                "family": "scan",
                "about": "SYNs",
                "rates": [rate(10.0, 0.4, 3, goal_seconds=3.0, goal_attempts=30), rate(1000.0, 0.03, 3)],
            },
            "beacon-tcp": {
                "family": "beacon",
                "about": "contacts",
                "rates": [rate(0.2, 40.0, 2, goal_attempts=5), rate(1 / 3600, None, 0, goal_attempts=5)],
            },
        },
        "goals": [
            {
                "goal": "C&C in time",
                "scenes": 6,
                "within": 2,
                "word_within": 5,
                "is_met": False,
                **verdict(40.0, never=4),
            },
            {"goal": "scan in time", "scenes": 6, "within": 6, "word_within": 6, "is_met": True, **verdict(0.2)},
        ],
        "persistence": {
            "sweep-syn": {
                "rate_per_s": 50.0,
                "seeds": 3,
                "recognised_after": 10,
                "fewest_words": 3000,
                "above": [1.0, 1.0, 1.0, 0.0],
                "shares": [1.0, 1.0, 0.9, 0.1],
                "open_share": 0.8,
                "close_share": None,
            }
        },
    }


def test_missed_goals_are_told_first(figures: dict[str, Any]) -> None:
    text = render_early(figures)
    assert text.index("MISSED") < text.index("| met |")
    assert "| C&C in time | 2 of 6 (33%) | 5 | 4 | 40 / - | 40 / - | **MISSED** |" in text


def test_every_rate_has_a_line_and_never_is_a_dash(figures: dict[str, Any]) -> None:
    lines = render_early(figures).splitlines()
    hourly = next(line for line in lines if line.startswith("| beacon-tcp | every 1 h"))
    assert "- / -" in hourly and "3 of 3" in hourly and "**0 of 3**" in hourly
    assert sum(line.startswith(("| sweep-syn | ", "| beacon-tcp | ")) for line in lines) == 5, "one of persistence"


def test_the_last_word_of_persistence_is_shown(figures: dict[str, Any]) -> None:
    assert "| sweep-syn | 50/s | 10 | 3 | 100% | 100% | 100% | 0% |" in render_early(figures)


def test_the_picture_has_a_column_per_family_and_the_goal(figures: dict[str, Any]) -> None:
    picture = draw_early(figures)
    ET.fromstring(picture)
    for text in ("Scans", "C&amp;C", "seconds to the incident", "attempts to the incident", "goal"):
        assert text in picture


def test_all_three_files_are_written(figures: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "early-notes.md").write_text("Tried: three things.")
    report = write_early(figures, tmp_path / "results")
    assert "\n\nTried: three things.\n\n" in report.read_text()
    assert report.read_text().count("(early.svg)") == 1
    assert json.loads((tmp_path / "results" / "early.json").read_text()) == figures
    assert (tmp_path / "results" / "early.svg").read_text() == draw_early(figures), "the same figures, the same bytes"
