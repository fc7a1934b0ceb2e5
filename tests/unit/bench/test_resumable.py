"""Measurements that are kept: none is made twice, and worker processes change nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from thingwarden.bench.resumable import run_all, state_digest
from thingwarden.config import PACKAGED_MODEL
from thingwarden.model.artifact import load_artifact

TASKS = {"first": "abca", "second": "", "third": "zz"}
OUTCOMES = {"first": {"a": 2, "b": 1, "c": 1}, "second": {}, "third": {"z": 2}}


@pytest.mark.parametrize("jobs", [1, 2])
def test_outcomes_come_in_the_order_of_the_tasks(jobs: int, tmp_path: Path) -> None:
    said: list[tuple[int, int]] = []
    found = run_all(Counter, TASKS, tmp_path / "kept", jobs=jobs, progress=lambda *done: said.append(done))
    assert found == OUTCOMES and list(found) == list(TASKS)
    assert said == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_what_is_kept_is_not_done_again(tmp_path: Path) -> None:
    done: list[str] = []

    def work(text: str) -> dict[str, int]:
        done.append(text)
        return dict(Counter(text))

    run_all(work, {"first": "abca"}, tmp_path, jobs=1, progress=lambda *_: None)
    assert run_all(work, TASKS, tmp_path, jobs=1, progress=lambda *_: None) == OUTCOMES
    assert done == ["abca", "", "zz"]


def test_a_failure_leaves_what_was_done(tmp_path: Path) -> None:
    def work(text: str) -> dict[str, int]:
        if not text:
            raise ValueError("nothing to count")
        return dict(Counter(text))

    with pytest.raises(ValueError, match="nothing"):
        run_all(work, TASKS, tmp_path, jobs=1, progress=lambda *_: None)
    assert [path.name for path in tmp_path.iterdir()] == ["first.json"]


def test_the_state_changes_with_a_source(tmp_path: Path) -> None:
    artifact = load_artifact(PACKAGED_MODEL)
    source = tmp_path / "source.py"
    source.write_text("one = 1\n")
    before = state_digest(artifact, source)
    assert state_digest(artifact, source) == before and len(before) == 16
    source.write_text("one = 2\n")
    assert state_digest(artifact, source) != before
