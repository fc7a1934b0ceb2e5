"""The report tells every contestant, what did not run and why, and leaves nothing out where a figure is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from thingwarden.bench.signature_report import HELD_OUT, render_signatures, summarise, write_signatures
from thingwarden.bench.signatures import PRODUCT

ENGINE = "suricata tiny"
ALARMS = {
    "true": 2, "true_loud": 2, "false": 1, "false_loud": 0, "unlabelled": 0, "unlabelled_loud": 0, "with_role": 2,
    "with_right_role": 1,
}  # fmt: skip
MASK = {"rows": 8, "rows_said": 4, "rows_said_loudly": 2, "weight": 4.0, "weight_said": 2.0, "weight_said_loudly": 1.0}
NONE = dict.fromkeys(MASK, 0)


def _record(name: str, collection: str, **changes: Any) -> dict[str, Any]:
    return {
        "recording": name, "collection": collection, "is_seen": False, "sessions": 1, "flows": 1_234,
        "device_days": 0.5, "malicious": dict(MASK), "benign": dict(MASK), "alarms": dict(ALARMS), "unjoined": 0,
        "sessions_accused": 1, "sessions_accused_loudly": 0, "first_alarm_after_s": 7.0,
        "acts": {"beacon": {"class": "c2", "rows": 8, "rows_said": 4, "after_s": 2.5}},
        "names": [{"name": "TEST a|b", "is_loud": True, "true": 0, "false": 3, "unlabelled": 0}], **changes,
    }  # fmt: skip


def _records() -> list[dict[str, Any]]:
    return [
        _record("evening-1-180s", "lab"),
        _record("42-1", "malware", is_seen=True),
        _record("home/a", "benign", malicious=NONE, acts={}),
        _record("sentinel/b", "set-up", malicious=NONE, acts={}),
        _record("synscan", "by name", malicious=NONE, benign=NONE, acts={}),
    ]


def _found(engine_runs: bool = True) -> dict[str, Any]:
    silent = [{**record, "names": []} for record in _records()]
    return {
        "format": "test",
        "model": {"name": "nano", "trained_at": "today"},
        "records": {PRODUCT: _records(), **({ENGINE: silent} if engine_runs else {})},
        "engines": {ENGINE: {"version": "7.0.10", "rules_loaded": 12_345}} if engine_runs else {},
        "not_run": {"snort": "no program named snort"},
    }


def _held_out(name: str) -> dict[str, Any]:
    return {
        "capture": name, "sessions": 2, "benign": {"rows": 10, "rows_said": 1, "weight": 4.0, "weight_said": 1.0},
        "incidents": {"false": 1, "device_days": 2.0, "sessions_accused": 1},
        "classes": {"c2": {"rows": 10, "rows_said": 5, "weight": 2.0, "weight_said": 1.5}},
    }  # fmt: skip


def test_every_contestant_and_every_collection_has_its_row() -> None:
    held_out = {name: [_held_out(name)] for name in ("42-1", "home/a", "sentinel/b")}
    cost = {"file": {"cpu_s": 1.25, "peak_bytes": 90e6}}
    text = render_signatures(summarise(_found(), held_out, {PRODUCT: cost, ENGINE: cost}))
    assert "**snort: not run**: no program named snort." in text
    assert "| suricata tiny | Suricata 7.0.10 | 12,345 (0 refused) |" in text
    assert "1 of 1 attacks found in the lab" in text
    assert f"- **{HELD_OUT}**: 0.50 false alarms a device-day." in text
    assert "| c2 | beacon | 1 | 1, 2.5 s | 1, 2.5 s |" in text
    assert "| evening | 1 (4) | 1 (4) |" in text
    assert f"| 42-1 | {PRODUCT}, seen in training | 0.500 | 0.500 | 4 of 8 |" in text
    assert f"| 42-1 | {HELD_OUT} | 0.750 | 0.500 |" in text
    assert f"| {HELD_OUT} | 2.0 | 1 (-) | 0.50 (-) |" in text
    assert "| synscan | 1,234 | TEST a/b | nothing |" in text
    assert "- **thingwarden**: TEST a/b (9)." in text and "- **suricata tiny**: none." in text
    assert "| file | 1.25 s, 90 MB | 1.25 s, 90 MB |" in text


def test_columns_are_as_many_as_cells() -> None:
    text = render_signatures(summarise(_found(), {}, {}))
    widths = [line.count("|") for line in text.splitlines()]
    tables = [list(filter(None, run)) for run in _runs(widths)]
    assert len(tables) >= 5
    assert all(len(set(table)) == 1 for table in tables)


def _runs(widths: list[int]) -> list[list[int]]:
    """Neighbouring lines that are rows of a table."""
    runs: list[list[int]] = [[]]
    for width in widths:
        if width:
            runs[-1].append(width)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def test_without_engines_lab_and_costs_the_rest_is_told() -> None:
    found = _found(engine_runs=False)
    found["records"][PRODUCT] = [record for record in _records() if record["collection"] != "lab"]
    text = render_signatures(summarise(found, {}, {}))
    assert "no run of the lab" in text
    assert "found no attack at all" not in text
    assert "## The lab" not in text and "## What it costs" not in text


def test_classes_that_the_product_misses_are_said_first() -> None:
    found = _found()
    found["records"][PRODUCT][0]["acts"]["flood"] = {"class": "ddos", "rows": 8, "rows_said": 0, "after_s": None}
    found["records"][ENGINE][0]["acts"]["flood"] = {"class": "ddos", "rows": 8, "rows_said": 8, "after_s": 1.0}
    assert "found no attack at all**: ddos." in render_signatures(summarise(found, {}, {}))


def test_report_figures_and_picture_are_written(tmp_path: Path) -> None:
    summary = summarise(_found(), {}, {})
    picture = tmp_path / "images" / "signatures.svg"
    report = write_signatures(summary, tmp_path / "results", picture)
    assert report.read_text(encoding="utf-8") == render_signatures(summary)
    assert json.loads((tmp_path / "results" / "signatures.json").read_text())["pooled"][ENGINE]["lab"]["found"] == 1
    assert picture.read_text(encoding="utf-8").startswith("<svg")
