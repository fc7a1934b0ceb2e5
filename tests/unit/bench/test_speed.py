"""Memory is that of the command and of nothing else; a command that fails is not measured."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from thingwarden.bench.speed import describe_machine, measure_speed, peak_bytes, write_speed
from thingwarden.domain.errors import RequestError
from thingwarden.train.corpus import Corpus


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


@pytest.mark.torch
def test_flows_per_second_and_memory_of_a_real_replay(corpus: Corpus, repository: Path, tmp_path: Path) -> None:
    from thingwarden.train.recipe import Recipe
    from thingwarden.train.training import TrainingSet, train_artifact

    recipe = Recipe.load(repository / "recipes" / "nano.toml").model_copy(
        update={"pretrain_rounds": 0, "finetune_rounds": 1, "sentences_per_round": 8, "lanes": 4, "width": 16,
                "state_width": 16, "table_rows_per_step": 8}
    )  # fmt: skip
    data = TrainingSet(train=corpus.parts[:4], calibration=(), table=corpus.ton)
    train_artifact(data, tmp_path / "model", recipe, seed=0)
    log = tmp_path / "conn.log"
    rows = [f"{n}.5\tC{n}\t192.168.1.5\t4000\t192.0.2.1\t80\ttcp\thttp\t0.1\t10\t20\tSF\tShADFf" for n in range(1, 40)]
    fields = (
        "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes resp_bytes conn_state history"
    )
    log.write_text("#separator \\x09\n#fields\t" + fields.replace(" ", "\t") + "\n" + "\n".join(rows) + "\n")
    cores = os.sched_getaffinity(0)
    try:
        figures = measure_speed(tmp_path / "model", log, tmp_path / "out", repeats=2)
    finally:
        os.sched_setaffinity(0, cores)
    assert figures["flows"] == 39
    assert figures["flows_per_s"] > 100
    assert 30e6 < figures["replay_peak_bytes"] < 400e6
    assert (tmp_path / "out" / "speed.md").is_file()
