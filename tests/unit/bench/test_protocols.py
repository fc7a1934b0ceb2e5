"""Pooling: counts are added, never rates; and a whole cell of the small corpus."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from thingwarden.bench.baselines import RECIPES, BaselineFitter, TrainingShelf
from thingwarden.bench.contestants import ScoringContestant
from thingwarden.bench.protocols import (
    build_view,
    extra_views,
    measure_view,
    pool_benign,
    pool_captures,
    pool_ranking,
    pool_ton,
    spread,
    summarise_contestant,
)
from thingwarden.train.corpus import Corpus
from thingwarden.train.folds import FoldPlan, FoldView


def _count(weight: float, said: float, histogram: dict[str, float] | None = None) -> dict[str, Any]:
    return {
        "rows": int(weight * 10),
        "rows_said": int(said * 10),
        "weight": weight,
        "weight_said": said,
        "histogram": histogram or {},
    }


def _record(name: str, malicious: dict[str, Any], benign: dict[str, Any], **changes: Any) -> dict[str, Any]:
    incidents = {"true": 1, "true_with_role": 1, "false": 0, "sessions_accused": 0, "device_days": 1.0}
    record = {
        "capture": name,
        "family": "iot23",
        "kind": "attack",
        "sessions": 1,
        "flows": 10,
        "malicious": malicious,
        "benign": benign,
        "incidents": incidents | changes.pop("incidents", {}),
        "classes": {},
    }
    return record | changes


def test_rates_are_pooled_by_adding_counts() -> None:
    pooled = pool_captures([_record("a", _count(9, 9), _count(1, 0)), _record("b", _count(1, 0), _count(3, 1))])
    assert pooled["tpr"] == pytest.approx(0.9)
    assert pooled["tpr_mean_over_captures"] == pytest.approx(0.5)
    assert pooled["fpr"] == pytest.approx(0.25)
    assert pooled["captures_with_attacks"] == pooled["captures_found_with_role"] == 2
    assert [row["capture"] for row in pooled["per_capture"]] == ["a", "b"]


def test_a_capture_without_attacks_counts_for_fpr_only() -> None:
    pooled = pool_captures([_record("a", _count(2, 1), _count(0, 0)), _record("b", _count(0, 0), _count(4, 1))])
    assert pooled["tpr"] == pytest.approx(0.5)
    assert pooled["captures_with_attacks"] == 1
    assert pooled["fpr"] == pytest.approx(0.25)


def test_ranking_is_perfect_where_scores_do_not_overlap() -> None:
    apart = pool_ranking([_record("a", _count(1, 1, {"300": 1.0}), _count(1, 0, {"10": 1.0}))])
    assert apart["auc"] == apart["tpr_at_budget"] == pytest.approx(1.0)
    same = pool_ranking([_record("a", _count(1, 1, {"10": 1.0}), _count(1, 0, {"10": 1.0}))])
    assert same["auc"] == pytest.approx(0.5)
    assert same["tpr_at_budget"] == 0.0
    assert pool_ranking([_record("a", _count(0, 0), _count(1, 0))])["auc"] is None


def test_set_up_sessions_are_told_apart_from_days() -> None:
    days = _record("d", _count(0, 0), _count(1, 0), kind="benign", incidents={"false": 2, "device_days": 4.0})
    set_up = _record(
        "s", _count(0, 0), _count(1, 0), kind="benign", family="sentinel-2016", sessions=20,
        incidents={"false": 3, "sessions_accused": 2},
    )  # fmt: skip
    pooled = pool_benign([days, set_up])
    assert pooled["false_incidents"] == 2
    assert pooled["false_per_device_day"] == pytest.approx(0.5)
    assert pooled["false_per_device_day_at_most"] == pytest.approx(6.296 / 4, abs=1e-3)
    assert pooled["accused_per_100_sessions"] == pytest.approx(10.0)


def _ton(diagonal: int, wrong: int, normals: int) -> dict[str, Any]:
    confusion = np.zeros((10, 10))
    confusion[2, 2], confusion[2, 0], confusion[0, 0] = diagonal, wrong, 8
    sources = np.zeros((10, 10))
    sources[0, 2], sources[0, 0] = normals, 8 - normals
    flagged = [0, 0, diagonal, 0, 0, 0, 0, 0, 0, 0]
    pairs = {"confusion": confusion.tolist(), "by_pattern": confusion.tolist(), "flagged": flagged}
    held_out = {"confusion": sources.tolist(), "by_pattern": sources.tolist(), "flagged": [normals] + [0] * 9}
    return {"pairs": pairs, "sources": held_out}


def test_normal_rows_come_from_the_protocol_that_is_asked_for() -> None:
    records = [_ton(6, 2, 4), _ton(8, 0, 0)]
    pairs, sources = (pool_ton(records, normals=normals) for normals in ("pairs", "sources"))
    assert pairs["fpr"] == 0.0 and sources["fpr"] == pytest.approx(4 / 16)
    assert pairs["tpr"] == sources["tpr"] == pytest.approx(14 / 16)
    assert sources["fpr_at_threshold"] == pytest.approx(4 / 16)
    assert pairs["macro_f1"] == pytest.approx((2 * 16 / 34 + 2 * 14 / 30) / 2)


def test_spread_over_seeds_keeps_least_and_most() -> None:
    merged = spread([{"a": 1.0, "b": None, "c": "x"}, {"a": 3.0, "b": 2.0, "c": "x"}])
    assert merged == {"a": {"mean": 2.0, "least": 1.0, "most": 3.0}, "b": None, "c": "x"}


def test_a_branch_that_some_seeds_did_not_measure_is_spread_over_those_that_did() -> None:
    three = {"mean": 3.0, "least": 3.0, "most": 3.0}
    assert spread([{"weeks": None}, {"weeks": {"a": 3.0}}]) == {"weeks": {"a": three}}
    assert spread([{"classes": {}}, {"classes": {"scan": {"recall": 3.0}}}]) == {"classes": {"scan": {"recall": three}}}


class Spy(ScoringContestant):
    """Notes what it was allowed to see."""

    seen: FoldView | None = None

    def fit(self, view: FoldView, seed: int) -> None:
        self.seen = view
        super().fit(view, seed)


def test_a_cell_fits_blind_and_measures_all_that_the_view_serves(plan: FoldPlan, corpus: Corpus) -> None:
    contestant = Spy("forest", BaselineFitter(RECIPES["forest"], TrainingShelf()))
    cell = measure_view(build_view(plan, corpus, "0", 0), contestant, 0)
    assert contestant.seen is not None and contestant.seen.test == ()
    assert set(cell) >= {"captures", "ton", "grafts", "source_probe", "gates", "flow_threshold", "fit_s"}
    figures = summarise_contestant(plan, [cell])["per_seed"][0]
    assert figures["captures_left_out"]["tpr"] == pytest.approx(1.0)
    assert figures["captures_left_out"]["captures_found_with_role"] == 1
    assert figures["benign_left_out"]["false_incidents"] == 0
    assert figures["classes_left_out"] == {} and figures["random_split_leaky"] is None


def test_views_of_a_single_protocol_fill_their_own_tables(plan: FoldPlan, corpus: Corpus) -> None:
    shelf = TrainingShelf()
    names = ["0", "class-0", "to-ton", "from-ton", "random"]
    assert set(names[1:]) <= set(extra_views(plan))
    cells = [
        measure_view(
            build_view(plan, corpus, name, 0), ScoringContestant("d", BaselineFitter(RECIPES["dictionary"], shelf)), 0
        )
        for name in names
    ]
    figures = summarise_contestant(plan, cells)["per_seed"][0]
    assert figures["classes_left_out"]["scan"]["recall"] == 0.0
    assert figures["classes_left_out"]["TON_IoT scanning"]["rows"] == 60
    assert set(figures["across_sets"]) == {"captures_to_ton", "ton_to_captures"}
    assert figures["random_split_leaky"]["macro_f1"] == pytest.approx(1.0)
