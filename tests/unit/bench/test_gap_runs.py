"""Runs in both worlds: made once, simulated ones again when code changes, incomplete pairs left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thingwarden.bench.gap_runs import Plan, code_sha256, make_runs, read_runs
from thingwarden.domain.errors import ConfigError

PLAN = Plan(scenarios=("hard-video-call",), seeds=(1, 2), duration_s=10.0)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_runs(PLAN, folder, jobs=1, only_kept=True)
    return folder


def test_plans_number_pairs_of_scenario_and_seed() -> None:
    plan = Plan(scenarios=("a", "b"), seeds=(4, 5), duration_s=1.0)
    assert plan.numbered == [(0, "a", 4), (1, "a", 5), (2, "b", 4), (3, "b", 5)]
    assert plan.numbers_of("b") == (2, 3)


def test_simulated_runs_are_made_and_real_ones_are_not(kept: Path) -> None:
    assert sorted(path.name for path in kept.iterdir()) == [f"simulated-hard-video-call-{n}-10s" for n in (1, 2)]


def test_a_pair_of_which_one_is_missing_is_left_out(kept: Path) -> None:
    assert read_runs(PLAN, kept) == ([], [])


def test_a_run_is_read_with_labels_and_kinds(kept: Path, tmp_path: Path) -> None:
    for world in ("simulated", "real"):
        (tmp_path / f"{world}-hard-video-call-1-10s").symlink_to(kept / "simulated-hard-video-call-1-10s")
    simulated, real = read_runs(PLAN, tmp_path)
    assert [run.run for run in simulated] == [run.run for run in real] == [0]
    assert len(simulated[0].flows) > 5
    assert simulated[0].flows.labels is not None
    assert "gateway" in simulated[0].kinds.values()


def test_what_is_kept_is_not_made_again_until_code_or_recipe_change(kept: Path) -> None:
    made: list[str] = []
    make_runs(PLAN, kept, jobs=1, only_kept=True, report=made.append)
    assert made == []
    (kept / "simulated-hard-video-call-1-10s" / "code").write_text("older")
    manifest = kept / "simulated-hard-video-call-2-10s" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["recipe"]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(content))
    make_runs(PLAN, kept, jobs=1, only_kept=True, report=made.append)
    assert sorted(made) == [f"simulated: hard-video-call, seed {seed}" for seed in (1, 2)]
    assert (kept / "simulated-hard-video-call-1-10s" / "code").read_text() == code_sha256()


def test_a_run_that_fails_is_named(tmp_path: Path) -> None:
    recipe = tmp_path / "wrong.toml"
    recipe.write_text("nonsense = 1\n")
    with pytest.raises(ConfigError, match="seed 1"):
        make_runs(
            Plan(scenarios=(str(recipe),), seeds=(1,), duration_s=10.0), tmp_path / "runs", jobs=1, only_kept=True
        )
