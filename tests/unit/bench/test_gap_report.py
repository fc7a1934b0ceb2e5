"""The report on the gap says every figure, good or bad, and what could not be judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from thingwarden.bench.domain_gap import WorldWords, find_offences, find_uncovered, tell_apart
from thingwarden.bench.gap_findings import GapFindings
from thingwarden.bench.gap_report import figures, render_findings, write_report
from thingwarden.encode.vocabulary import FIELD_INDEX, FIELD_NAMES, Vocabulary

VOCABULARY = Vocabulary(services=(b"dns",), histories=(b"S",))


def _world(seed: int, state: int) -> WorldWords:
    random = np.random.default_rng(seed)
    fields = np.zeros((600, len(FIELD_NAMES)), dtype=np.uint8)
    fields[:, FIELD_INDEX["duration"]] = random.integers(1, 9, 600)
    fields[:200, FIELD_INDEX["conn_state"]] = state
    return WorldWords(
        fields=fields,
        run=np.arange(600) % 6,
        subject=np.full(600, b"plug", dtype="S48"),
        malicious=np.zeros(600, dtype=np.bool_),
    )


def _findings(uncovered: bool = True) -> GapFindings:
    first, second = _world(1, 1), _world(2, 3)
    return GapFindings(
        names=("simulated", "real"),
        gaps={"all": tell_apart(first, second), "malicious": None},
        offences=find_offences(first, second, count=5),
        uncovered=find_uncovered(first, second) if uncovered else (),
        vocabulary=VOCABULARY,
    )


def test_a_report_names_figures_fields_and_buckets() -> None:
    findings = _findings()
    report = render_findings(findings)
    gap = findings.gaps["all"]
    assert gap is not None
    assert f"| all | {gap.auc:.3f} |" in report
    assert "| malicious | - | too few runs" in report
    assert "| plug | conn_state | S0 | 0.333 | 0.000 |" in report
    assert "| conn_state | SF | 0.0000 | 0.3333 |" in report
    assert "| real | plug |" in report


def test_a_comparison_without_uncovered_buckets_has_no_table_of_them() -> None:
    assert "| share, simulated |" not in render_findings(_findings(uncovered=False))


def test_figures_are_plain_json() -> None:
    written = json.loads(json.dumps(figures(_findings())))
    assert set(written) == {"all"}
    assert set(written["all"]["field_aucs"]) == set(FIELD_NAMES)


def test_parts_of_a_report_can_be_renewed_one_by_one(tmp_path: Path) -> None:
    write_report({"public": _findings()}, tmp_path)
    assert "## Simulated" not in (tmp_path / "domain-gap.md").read_text()
    write_report({"worlds": _findings()}, tmp_path)
    text = (tmp_path / "domain-gap.md").read_text()
    assert text.index("## Simulated against real") < text.index("harmless networks against public")
    assert set(json.loads((tmp_path / "domain-gap-worlds.json").read_text())["figures"]) == {"all"}
