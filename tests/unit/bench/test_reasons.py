"""The packaged model's reasons are causes: harmless answers on what they name lower the score most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lab_builder import build_lab
from thingwarden.bench.reasons import POOL_NETWORKS, Check, Pool, check_corpus, check_network, summarise, write_report
from thingwarden.config import PACKAGED_MODEL
from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import FlowBatch
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.encode.wording import TOPICS
from thingwarden.lab.corpus import simulate_flows
from thingwarden.lab.recipe import find_recipe, load_recipe
from thingwarden.lab.schedule import draw_schedule
from thingwarden.model.artifact import load_artifact

SCENARIOS = ("attacks-scan", "attacks-flood", "attacks-c2", "attacks-guess")
LEAST_BEATEN = 0.7
"""Share of other groups that the first named one must beat; by chance one half, measured 0.88."""


def simulated(scenario: str, seed: int) -> FlowBatch:
    recipe = load_recipe(find_recipe(scenario))
    return simulate_flows(draw_schedule(recipe, seed=seed, duration_s=120.0), 3000)[0]


def check(named_nats: float, others: tuple[float, ...], attack_class: str = "scan") -> Check:
    return Check(
        attack_class=attack_class, topic="pace", named_nats=named_nats, other_nats=np.array(others),
        told_nats=named_nats, untold_nats=0.0, explain_s=0.02,
    )  # fmt: skip


def test_what_is_named_moves_the_score_more_than_what_is_not() -> None:
    artifact = load_artifact(PACKAGED_MODEL)
    pool = Pool([simulated(name, 11) for name in ("home-day", "clinic")], Vocabulary.from_json(artifact.vocabulary))
    rng = np.random.default_rng(0)
    checks = [
        found
        for scenario in SCENARIOS
        for found in check_network(simulated(scenario, 11), artifact, pool, rng)
    ]  # fmt: skip
    assert len(checks) >= 5
    figures = summarise(checks)
    assert figures["beats_random"] >= LEAST_BEATEN
    assert figures["named_nats"] >= 1.5 * figures["other_nats"]
    assert figures["told_nats"] >= 1.5 * figures["untold_nats"]


def test_figures_are_shares_and_means(tmp_path: Path) -> None:
    figures = summarise([check(2.0, (1.0, 3.0)), check(4.0, (1.0, 1.0), "c2")])
    assert (figures["questions"], figures["beats_random"], figures["named_nats"]) == (2, 0.75, 3.0)
    assert figures["by_class"]["c2"]["other_nats"] == 1.0
    report = write_report(figures, "nano", tmp_path).read_text(encoding="utf-8")
    assert "**75%** of the time" in report and "| scan | 1 | 50% |" in report
    assert (tmp_path / "reasons.json").is_file()


def test_a_corpus_is_checked_network_by_network(tmp_path: Path) -> None:
    folder = build_lab(tmp_path / "lab", networks=POOL_NETWORKS + 2, counted=0)
    left = [(to_come, checks) for to_come, checks in check_corpus(load_artifact(PACKAGED_MODEL), folder)]
    assert [to_come for to_come, _ in left] == list(range(len(left)))[::-1]
    assert all(found.topic in TOPICS for _, checks in left for found in checks)


def test_a_corpus_too_small_to_draw_answers_from_is_refused(tmp_path: Path) -> None:
    folder = build_lab(tmp_path / "lab", networks=2, counted=0)
    with pytest.raises(InputError, match="holds 2 networks"):
        list(check_corpus(load_artifact(PACKAGED_MODEL), folder))
