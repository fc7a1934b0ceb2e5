"""Memory is that of the command and of nothing else; a command that fails is not measured."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from thingwarden.bench.live_traffic import SCENARIOS, make_traffic
from thingwarden.bench.speed import (
    BUDGETS_MS,
    SINGLE,
    describe_machine,
    describe_state,
    measure_peers,
    measure_scenario,
    measure_speed,
    peak_bytes,
)
from thingwarden.bench.speed_report import check_goals, write_speed
from thingwarden.config import PACKAGED_MODEL, PACKAGED_SAMPLE
from thingwarden.domain.errors import ArtifactError, RequestError
from thingwarden.model.artifact import load_artifact
from thingwarden.model.scorer import FlowScorer


def test_the_peak_of_a_command_follows_what_it_holds() -> None:
    small, large = (peak_bytes([sys.executable, "-c", f"b = b'x' * {count}"]) for count in (1_000, 60_000_000))
    assert 50_000_000 < large - small < 75_000_000


def test_a_command_that_fails_is_an_error_with_its_last_words() -> None:
    with pytest.raises(RequestError, match="no such luck"):
        peak_bytes([sys.executable, "-c", "import sys; sys.exit('no such luck')"])


def test_a_scenario_is_measured_at_every_budget_and_one_by_one() -> None:
    measured = measure_scenario(load_artifact(PACKAGED_MODEL), SCENARIOS[0], 400, repeats=2)["by_budget_ms"]
    assert list(measured) == [*map(str, BUDGETS_MS), SINGLE]
    assert measured[SINGLE]["words_per_batch"] <= 2 < measured["5"]["words_per_batch"]
    assert all(len(row["words_per_s_runs"]) == 2 for row in measured.values())


def test_peers_judge_the_same_words() -> None:
    pytest.importorskip("lightgbm", reason="LightGBM is not installed")
    peers = measure_peers(load_artifact(PACKAGED_MODEL), make_traffic(SCENARIOS[0], 600), repeats=2)
    assert peers["network_words_per_s"] > 0
    assert len(peers["lightgbm_flows_per_s_runs"]) == 2


def test_state_is_told_by_owner() -> None:
    artifact = load_artifact(PACKAGED_MODEL)
    state = describe_state(artifact)
    assert state["network"] == FlowScorer(artifact).state_bytes
    assert min(state.values()) > 0


def test_an_altered_model_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="manifest"):
        measure_speed(tmp_path, PACKAGED_SAMPLE)


def test_the_machine_is_described() -> None:
    assert {"processor", "cores", "python", "numpy"} <= set(describe_machine())


def test_the_whole_run_gives_a_report(tmp_path: Path) -> None:
    names = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes resp_bytes conn_state"
    row = "\t192.168.1.5\t4000\t192.0.2.1\t80\ttcp\thttp\t0.1\t10\t20\tSF"
    rows = [f"{n}.5\tC{n}{row}" for n in range(1, 40)]
    log = tmp_path / "conn.log"
    log.write_text("#separator \\x09\n#fields\t" + names.replace(" ", "\t") + "\n" + "\n".join(rows) + "\n")
    cores = os.sched_getaffinity(0)
    try:
        figures = measure_speed(PACKAGED_MODEL, log, repeats=1, flow_count=200, memory_rounds=(1, 0))
    finally:
        os.sched_setaffinity(0, cores)
    assert figures["log"]["flows"] == 39
    assert 30e6 < figures["replay_peak_bytes"] < 400e6
    assert len(check_goals(figures)) == 5
    assert "full tables" in write_speed(figures, tmp_path).read_text()
