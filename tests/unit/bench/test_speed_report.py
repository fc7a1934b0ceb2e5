"""The report begins with what was missed, and says when the machine was busy."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from thingwarden.bench.speed_report import check_goals, write_speed


def _row(words_per_s: float, p99_ms: float) -> dict[str, Any]:
    return {
        "batches": 10,
        "words_per_batch": 1300.0,
        "kinds": {"open": 5, "close": 5, "probe": 3},
        "incidents": 1,
        "words_per_s": words_per_s,
        "flows_per_s": words_per_s / 4,
        "words_per_s_runs": [words_per_s - 1000, words_per_s, words_per_s + 1000],
        "words_per_wall_s_runs": [100.0, 300.0, 200.0],
        "stage_ratios": {"encode": 0.2, "score": 0.5, "judge": 0.3},
        "batch_ms": {"p50": 1.0, "p99": p99_ms, "p99.9": 9.0},
    }


@pytest.fixture
def figures() -> dict[str, Any]:
    budgets = {budget: _row(60_000.0, 1.5) for budget in ("5", "20", "50", "single")}
    return {
        "model": "nano",
        "model_bytes": 900_000,
        "repeats": 3,
        "scenarios": {"zipf": {"says": "rates by Zipf's law", "by_budget_ms": budgets}},
        "peers": {"network_words_per_s": 120_000.0, "lightgbm_flows_per_s": 30_000.0},
        "state_bytes": {"network": 1024, "latest_words": 12_000, "rhythm": 2_000, "shared": 9_000_000},
        "memory": [
            {"name": "1,000 devices", "resident_bytes": 100_000_000, "peak_bytes": 105_000_000},
            {"name": "full tables", "resident_bytes": 110_000_000, "peak_bytes": 120_000_000},
        ],
        "log": {"name": "conn.log", "flows": 10, "flows_per_s": 30_000.0, "runs": [30_000.0]},
        "replay_peak_bytes": 120_000_000,
        "machine": {
            "processor": "a processor", "cores": 2, "python": "3.11", "numpy": "2", "load_before": (0.1, 0, 0),
            "load_after": (1.1, 0, 0),
        },
    }  # fmt: skip


def test_all_goals_are_met(figures: dict[str, Any]) -> None:
    assert [goal.is_met for goal in check_goals(figures)] == [True] * 5


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("scenarios", "zipf", "by_budget_ms", "20", "words_per_s"), 49_999.0, "words/s live"),
        (("scenarios", "zipf", "by_budget_ms", "single", "batch_ms", "p99"), 2.1, "p99"),
        (("model_bytes",), 2_000_001, "2 MB"),
        (("state_bytes", "latest_words"), 64_000, "64 kB"),
        (("memory", 0, "peak_bytes"), 110_000_000, "110 MB"),
    ],
)
def test_what_was_missed_comes_first(figures: dict[str, Any], path: tuple[Any, ...], value: float, words: str) -> None:
    changed = copy.deepcopy(figures)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    goals = check_goals(changed)
    assert [goal.is_met for goal in goals] == [False, True, True, True, True]
    assert words in goals[0].text


def test_the_report_tells_medians_spread_and_shares(figures: dict[str, Any], tmp_path: Path) -> None:
    text = write_speed(figures, tmp_path).read_text()
    assert "60,000 (59,000 to 61,000) | 15,000 | 200 " in text
    assert "20% | 50% | 30%" in text
    assert "reaches 50% of that" in text and "0.5 times as many" in text
    assert "busy" not in text
    assert json.loads((tmp_path / "speed.json").read_text())["model"] == "nano"


def test_what_falls_short_beside_the_goals_is_told(figures: dict[str, Any], tmp_path: Path) -> None:
    figures["scenarios"]["scan"] = {
        "says": "one scans",
        "by_budget_ms": {"20": _row(45_000.0, 1.5), "single": _row(1000.0, 2.5)},
    }
    text = write_speed(figures, tmp_path).read_text()
    told = next(line for line in text.splitlines() if line.startswith("Short of"))
    assert "45,000 words/s in scenario scan at 20 ms" in told
    assert "2.50 ms in scenario scan" in told and "120 MB with full tables" in told
    assert "zipf" not in told and "1,000 words/s" not in told


def test_a_busy_machine_is_told(figures: dict[str, Any], tmp_path: Path) -> None:
    figures["machine"]["load_before"] = (4.0, 0, 0)
    figures["peers"]["lightgbm_flows_per_s"] = None
    text = write_speed(figures, tmp_path).read_text()
    assert "was busy" in text and "LightGBM is not installed" in text
