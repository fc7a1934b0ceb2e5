"""The report says beside what load, by which enforcer, and what was not answered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from thingwarden.bench.latency import STAGES, Answer, Latency, Load
from thingwarden.bench.latency_report import summarise, write_report

ANSWER = Answer(
    act="rate_limit", evidence_ms=20.0, stages_ms=dict.fromkeys(STAGES, 2.0), dropped_ms=14.0
)  # fmt: skip
FOUND = Latency(
    load=Load(kind="flood", attack_count=4, packets_per_s=2000.0, attack_s=1.0, flows_per_s=5000.0),
    answers=(ANSWER, replace(ANSWER, dropped_ms=16.0), replace(ANSWER, dropped_ms=None)),
    unanswered_count=1,
    summary={
        "started_at": "2026-11-24T05:00:00.000Z",
        "ended_at": "2026-11-24T05:00:10.000Z",
        "flow_count": 50_000,
        "packet_count": 200_000,
        "dropped_packet_count": 0,
    },
    watch_cpu_ratio=0.9,
)


def test_figures_are_of_the_attacks_that_were_answered_and_cut() -> None:
    values = summarise(FOUND)
    assert (values["answered_count"], values["unanswered_count"], values["cut_count"]) == (3, 1, 2)
    assert values["answered_ms"]["p50"] == pytest.approx(12.0)
    assert values["dropped_ms"]["p50"] == pytest.approx(15.0)
    assert values["flows_per_s_seen"] == pytest.approx(5000.0)


def test_the_page_names_load_enforcer_and_what_was_missed(tmp_path: Path) -> None:
    write_report([summarise(FOUND)], "nftables", tmp_path)
    page = (tmp_path / "latency.md").read_text()
    assert "Orders went to: nftables." in page
    assert "## Flood, 2,000 packets/s, beside 5,000 flows/s" in page
    assert "4 attacks: 3 answered (rate_limit), 1 not; 2 cut." in page
    assert "| **to the first packet dropped** | 15.0 | 15.8 | 16.0 |" in page
    assert json.loads((tmp_path / "latency.json").read_text())["enforcer"] == "nftables"


def test_a_dry_run_cuts_nothing_and_says_so(tmp_path: Path) -> None:
    dry = replace(FOUND, answers=(replace(ANSWER, dropped_ms=None),))
    write_report([summarise(dry)], "dry-run", tmp_path)
    page = (tmp_path / "latency.md").read_text()
    assert "nothing is cut by this enforcer" in page
    assert "to the first packet dropped**" not in page


def test_where_nothing_was_answered_there_are_no_figures(tmp_path: Path) -> None:
    none = replace(FOUND, answers=(), unanswered_count=4)
    write_report([summarise(none)], "dry-run", tmp_path)
    assert "| **to the enforcer's answer** | - | - | - |" in (tmp_path / "latency.md").read_text()
