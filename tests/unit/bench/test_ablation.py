"""The comparison: counts pooled, draws shared, and no difference claimed where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from thingwarden.bench.ablation import FIGURES, compare_contestants


def _record(name: str, kind: str, said: float, false: int = 0, weight: float = 10.0) -> dict[str, Any]:
    is_attack = kind == "attack"
    counts = {"rows": weight, "rows_said": said, "weight": weight, "weight_said": said}
    nothing = dict.fromkeys(counts, 0.0)
    return {
        "capture": name,
        "kind": kind,
        "malicious": counts if is_attack else nothing,
        "benign": nothing if is_attack else counts,
        "incidents": {"false": false, "device_days": 2.0},
    }


def _rows(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["figure"]: row for row in compare_contestants(one, other)}


def test_figures_are_pooled_and_subtracted() -> None:
    one = [_record("a", "attack", 9), _record("b", "attack", 1, weight=30), _record("c", "benign", 1, false=1)]
    other = [_record("a", "attack", 4), _record("b", "attack", 0, weight=30), _record("c", "benign", 2, false=3)]
    rows = _rows(one, other)
    assert set(rows) == set(FIGURES)
    assert rows["tpr"]["one"] == pytest.approx(10 / 40) and rows["tpr"]["difference"] == pytest.approx(6 / 40)
    assert rows["tpr"]["captures"] == 2
    assert rows["benign_fpr"]["difference"] == pytest.approx(-0.1)
    assert rows["false"]["one"] == pytest.approx(0.5) and rows["false"]["difference"] == pytest.approx(-1.0)


def test_the_interval_is_of_the_difference_not_of_either() -> None:
    one = [_record(f"c{number}", "attack", number + 1) for number in range(8)]
    other = [_record(f"c{number}", "attack", number) for number in range(8)]
    low, high = _rows(one, other)["tpr"]["interval"]
    assert low == pytest.approx(0.1) and high == pytest.approx(0.1)


def test_equal_contestants_differ_by_nothing() -> None:
    records = [_record("a", "attack", 3), _record("b", "attack", 8)]
    row = _rows(records, records)["tpr"]
    assert row["difference"] == 0.0 and row["interval"] == (0.0, 0.0)


def test_only_captures_of_both_count() -> None:
    one = [_record("a", "attack", 9), _record("x", "attack", 0)]
    row = _rows(one, [_record("a", "attack", 9), _record("y", "attack", 0)])["tpr"]
    assert row["one"] == row["other"] == pytest.approx(0.9) and row["captures"] == 1
    assert row["interval"] is None


def test_seeds_are_added() -> None:
    one = [_record("a", "attack", 9), _record("a", "attack", 7)]
    row = _rows(one, [_record("a", "attack", 8), _record("a", "attack", 8)])["tpr"]
    assert row["one"] == row["other"] == pytest.approx(0.8) and row["captures"] == 1


def test_nothing_in_common_is_no_figure() -> None:
    rows = compare_contestants([_record("a", "attack", 1)], [_record("b", "attack", 1)])
    assert {row["difference"] for row in rows} == {None}
