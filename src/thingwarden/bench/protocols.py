"""The protocols: which views they need, what is measured in each, and how folds are pooled into figures.

In: a ``FoldPlan``, a ``Corpus``, contestants; later the cells that they left. Out: cells and figures, as plain dicts.
Must never: average rates over folds where counts can be added, or drop a capture that went badly.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.bench.audit import SourceProbe, compare_routes, gates_without_model, graft_attacks
from thingwarden.bench.contestants import FPR_BUDGET, Contestant, ScoringContestant
from thingwarden.bench.lab_networks import class_counts, measure_networks, pool_networks, pool_weeks
from thingwarden.bench.measure import LOG_ODDS_EDGES, measure_captures, measure_ton
from thingwarden.bench.metrics import bootstrap_interval, macro_f1, poisson_upper_bound, score_classes
from thingwarden.domain.taxonomy import TON_CLASSES
from thingwarden.train.corpus import Corpus, LabCorpus
from thingwarden.train.folds import FoldPlan, FoldView, view_across, view_fold, view_random, view_without_classes

Cell = dict[str, Any]
Counts = npt.NDArray[np.float64]

SESSIONS_FAMILY: Final = "sentinel-2016"
DAYS_PER_WEEK: Final = 7.0
LEAST_TON_ROWS: Final = 100
"""Rows of a TON_IoT class on either side of a fold from which on it can be learned, and measured."""

WEEKS_VIEW: Final = "weeks-"
"""Cells so named, and by their fold, hold what an outer fold's contestant did in the networks to count in."""


def extra_views(plan: FoldPlan) -> tuple[str, ...]:
    """Views that need a training of their own: a class left out, one set for the other, the leaky random split."""
    return (*(f"class-{fold}" for fold in range(plan.count)), "to-ton", "from-ton", "random")


def build_view(plan: FoldPlan, corpus: Corpus, name: str, seed: int) -> FoldView:
    """The view of that name: ``0`` to ``4``, or one of ``extra_views``."""
    if name.startswith("class-"):
        return view_without_classes(plan, corpus, int(name.removeprefix("class-")))
    if name in ("to-ton", "from-ton"):
        return view_across(plan, corpus, learns_ton=name == "from-ton")
    if name == "random":
        return view_random(plan, corpus, seed)
    return view_fold(plan, corpus, int(name))


def measure_view(view: FoldView, contestant: Contestant, seed: int, lab: LabCorpus | None = None) -> Cell:
    """Fit on the blind view, then measure everything that this view serves.

    Args:
        view: what to learn from and to test on.
        contestant: stays fitted.
        seed: of all that is drawn.
        lab: where ``view.lab_test`` comes from.
    """
    began_s = time.perf_counter()
    contestant.fit(view.blind(), seed)
    fitted_s = time.perf_counter()
    is_outer = view.name.isdigit()
    probe = SourceProbe(contestant, seed)
    parts = () if view.name == "random" else view.test
    cell: Cell = {
        "view": view.name,
        "seed": seed,
        "contestant": contestant.name,
        "captures": measure_captures(parts, contestant, probe.keep if is_outer else None),
        "ton": measure_ton(view, contestant),
        "lab": measure_networks(view.lab_test, lab, contestant) if lab and _tests_lab(view) else [],
    }
    if is_outer:
        cell["grafts"] = graft_attacks(view, contestant, seed)
        cell["routes"] = compare_routes(view, contestant)
        cell["source_probe"] = probe.balanced_accuracy()
        cell["gates"] = gates_without_model(view)
    if isinstance(contestant, ScoringContestant):
        cell["flow_threshold"] = contestant.calibration.flow_threshold
        cell["alarm_level_nats"] = contestant.calibration.alarm_level_nats
    cell["fit_s"] = fitted_s - began_s
    cell["measure_s"] = time.perf_counter() - fitted_s
    return cell


def _tests_lab(view: FoldView) -> bool:
    return view.name.isdigit() or view.name.startswith("class-")


def summarise_contestant(plan: FoldPlan, cells: Sequence[Cell]) -> dict[str, Any]:
    """All figures of one contestant: per seed, then mean, least and most over the seeds."""
    by_seed: dict[int, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_seed[cell["seed"]].append(cell)
    seeds = [_summarise_seed(plan, by_seed[seed]) for seed in sorted(by_seed)]
    return {"seeds": sorted(by_seed), "figures": spread(seeds), "per_seed": seeds}


def _summarise_seed(plan: FoldPlan, cells: Sequence[Cell]) -> dict[str, Any]:
    view = {cell["view"]: cell for cell in cells}
    outer = [cell for cell in cells if cell["view"].isdigit()]
    weeks = [cell for cell in cells if cell["view"].startswith(WEEKS_VIEW)]
    captures = [record for cell in outer for record in cell["captures"]]
    return {
        "folds": sorted(cell["view"] for cell in outer),
        "captures_left_out": pool_captures(captures),
        "benign_left_out": pool_benign(captures),
        "ton_pairs": pool_ton([cell["ton"] for cell in outer], normals="pairs"),
        "ton_sources": pool_ton([cell["ton"] for cell in outer], normals="sources"),
        "classes_left_out": _pool_classes(plan, view),
        "across_sets": _pool_across(view),
        "lab_left_out": pool_networks([record for cell in outer for record in cell["lab"]]),
        "lab_weeks": pool_weeks([record for cell in weeks for record in cell["lab"]]),
        "random_split_leaky": pool_ton([view["random"]["ton"]], normals="pairs") if "random" in view else None,
        "shortcut_audit": _pool_audit(outer, captures),
    }


def pool_captures(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """TPR over the captures with attacks, FPR over all benign flows that were tested on; by pattern and by row."""
    attacks = [record for record in records if record["malicious"]["rows"] > 0]
    said = np.array([record["malicious"]["weight_said"] for record in attacks])
    total = np.array([record["malicious"]["weight"] for record in attacks])
    found = [record for record in attacks if record["incidents"]["true_with_role"] > 0]
    ranking = pool_ranking(records)
    return {
        "tpr": _ratio(said.sum(), total.sum()),
        "tpr_interval": bootstrap_interval(said, total),
        "tpr_mean_over_captures": float(np.mean(said / total)) if len(attacks) else None,
        "fpr": _pooled(records, "benign", "weight"),
        "tpr_by_row": _pooled(attacks, "malicious", "rows"),
        "fpr_by_row": _pooled(records, "benign", "rows"),
        "tpr_at_budget_set_on_test": ranking["tpr_at_budget"],
        "auc": ranking["auc"],
        "captures_with_attacks": len(attacks),
        "captures_found_with_role": len(found),
        "per_capture": [_capture_row(record) for record in sorted(records, key=lambda record: record["capture"])],
    }


def _capture_row(record: dict[str, Any]) -> dict[str, Any]:
    incidents = record["incidents"]
    return {
        "capture": record["capture"],
        "kind": record["kind"],
        "flows": record["flows"],
        "tpr": _ratio(record["malicious"]["weight_said"], record["malicious"]["weight"]),
        "tpr_by_row": _ratio(record["malicious"]["rows_said"], record["malicious"]["rows"]),
        "fpr": _ratio(record["benign"]["weight_said"], record["benign"]["weight"]),
        "fpr_by_row": _ratio(record["benign"]["rows_said"], record["benign"]["rows"]),
        "true_incidents": incidents["true"],
        "true_incidents_with_role": incidents["true_with_role"],
        "false_incidents": incidents["false"],
    }


def pool_ranking(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What the scores alone can do, threshold set on the test itself: for comparing rankings, not a result."""
    malicious = np.zeros(len(LOG_ODDS_EDGES) - 1)
    benign = np.zeros(len(LOG_ODDS_EDGES) - 1)
    for record in records:
        for total, key in ((malicious, "malicious"), (benign, "benign")):
            for number, weight in record[key]["histogram"].items():
                total[int(number)] += weight
    if malicious.sum() == 0 or benign.sum() == 0:
        return {"auc": None, "tpr_at_budget": None, "curve": None}
    tpr = np.append(0.0, np.cumsum(malicious[::-1]) / malicious.sum())
    fpr = np.append(0.0, np.cumsum(benign[::-1]) / benign.sum())
    within = np.flatnonzero(fpr <= FPR_BUDGET)
    kept = np.unique(np.append(np.flatnonzero(np.diff(fpr) + np.diff(tpr)) + 1, 0))
    return {
        "auc": float(np.trapezoid(tpr, fpr)),
        "tpr_at_budget": float(tpr[within[-1]]),
        "curve": {"fpr": fpr[kept].tolist(), "tpr": tpr[kept].tolist()},
    }


def pool_benign(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """False incidents on devices never seen: per device-day with its Poisson bound, and per 100 set-up sessions."""
    devices = [record for record in records if record["kind"] == "benign"]
    daily = [record for record in devices if record["family"] != SESSIONS_FAMILY]
    set_ups = [record for record in devices if record["family"] == SESSIONS_FAMILY]
    false = sum(record["incidents"]["false"] for record in daily)
    days = sum(record["incidents"]["device_days"] for record in daily)
    sessions = sum(record["sessions"] for record in set_ups)
    accused = sum(record["incidents"]["sessions_accused"] for record in set_ups)
    bound = poisson_upper_bound(false)
    return {
        "false_incidents": false,
        "device_days": days,
        "false_per_device_day": _ratio(false, days),
        "false_per_device_day_at_most": _ratio(bound, days),
        "false_per_device_week_at_most": _ratio(bound * DAYS_PER_WEEK, days),
        "set_up_sessions": sessions,
        "set_up_sessions_accused": accused,
        "accused_per_100_sessions": _ratio(100.0 * accused, sessions),
        "fpr": _pooled(devices, "benign", "weight"),
        "fpr_by_row": _pooled(devices, "benign", "rows"),
    }


def pool_ton(records: Sequence[dict[str, Any]], normals: str) -> dict[str, Any]:
    """Ten-class and binary figures over all folds' held-out rows.

    Args:
        records: ``measure_ton`` of each fold.
        normals: ``pairs`` takes normal rows of held-out pairs, ``sources`` those of held-out source addresses.
    """
    confusion = _sum_counts(records, "confusion", normals)
    by_pattern = _sum_counts(records, "by_pattern", normals)
    flagged = _sum_counts(records, "flagged", normals)
    per_class = _score_confusion(confusion)
    folds = [macro_f1(_score_confusion(_sum_counts([record], "confusion", normals))) for record in records]
    rows = confusion.sum(axis=1)
    return {
        "rows": int(rows.sum()),
        "macro_f1": macro_f1(per_class),
        "macro_f1_without_mitm": macro_f1(per_class, without=("mitm",)),
        "macro_f1_learnable": macro_f1(_score_confusion(_learnable(records, confusion, normals))),
        "macro_f1_mean_of_folds": float(np.mean([fold for fold in folds if fold is not None])) if folds else None,
        "macro_f1_by_pattern": macro_f1(_score_confusion(by_pattern)),
        "tpr": _ratio(confusion[1:, 1:].sum(), rows[1:].sum()),
        "fpr": _ratio(confusion[0, 1:].sum(), rows[0]),
        "fpr_by_pattern": _ratio(by_pattern[0, 1:].sum(), by_pattern[0].sum()),
        "tpr_at_threshold": _ratio(flagged[1:].sum(), rows[1:].sum()),
        "fpr_at_threshold": _ratio(flagged[0], rows[0]),
        "f1_per_class": {name: figures["f1"] for name, figures in per_class.items()},
    }


def _learnable(records: Sequence[dict[str, Any]], confusion: Counts, normals: str) -> Counts:
    """The confusion without the classes that a fold cannot show: too few rows held out, or too few left to learn."""
    total = np.zeros_like(confusion)
    for record in records:
        counts = _sum_counts([record], "confusion", normals)
        held_out = counts.sum(axis=1)
        is_shown = np.minimum(held_out, confusion.sum(axis=1) - held_out) >= LEAST_TON_ROWS
        total += counts * is_shown[:, None]
    return total


def _sum_counts(records: Sequence[dict[str, Any]], key: str, normals: str) -> Counts:
    """Counts of all records, by true class first; the normal class's from the protocol that ``normals`` names."""
    width = len(TON_CLASSES)
    total = np.zeros(width) if key == "flagged" else np.zeros((width, width))
    for record in records:
        counts = np.array(record["pairs"][key], dtype=np.float64)
        counts[0] = np.array(record[normals][key], dtype=np.float64)[0]
        total += counts
    return total


def _score_confusion(confusion: Counts) -> dict[str, dict[str, float]]:
    truth, said = (axis.ravel() for axis in np.indices(confusion.shape))
    return score_classes(truth, said, confusion.ravel(), TON_CLASSES)


def _pool_classes(plan: FoldPlan, view: dict[str, Cell]) -> dict[str, Any]:
    """Recall of each class in the view that never saw it; TON_IoT by row and either head, all else by pattern."""
    table: dict[str, Any] = {}
    for attack_class, fold in plan.classes.items():
        cell = view.get(f"class-{fold}")
        if cell is None:
            continue
        counts = [record["classes"].get(attack_class.value) for record in cell["captures"]]
        known = [count for count in counts if count is not None]
        weight = sum(count["weight"] for count in known)
        table[attack_class.value] = {
            "patterns": weight,
            "recall": _ratio(sum(count["weight_said"] for count in known), weight),
            "fpr": _pooled(cell["captures"], "benign", "weight"),
        }
        simulated = list(class_counts(cell["lab"], attack_class.value))
        if simulated:
            patterns = sum(count["weight"] for count in simulated)
            table[f"lab {attack_class.value}"] = {
                "patterns": patterns,
                "recall": _ratio(sum(count["weight_said"] for count in simulated), patterns),
            }
    ton_cells = [view[f"class-{fold}"] for fold in range(plan.count) if f"class-{fold}" in view]
    confusion = _sum_counts([cell["ton"] for cell in ton_cells], "confusion", "pairs")
    flagged = _sum_counts([cell["ton"] for cell in ton_cells], "flagged", "pairs")
    for number, name in enumerate(TON_CLASSES):
        rows = float(confusion[number].sum())
        if number and rows:
            table[f"TON_IoT {name}"] = {
                "rows": rows,
                "recall": _ratio(rows - confusion[number, 0], rows),
                "recall_at_threshold": _ratio(flagged[number], rows),
            }
    return table


def _pool_across(view: dict[str, Cell]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if "to-ton" in view:
        ton = pool_ton([view["to-ton"]["ton"]], normals="pairs")
        figures["captures_to_ton"] = {"tpr": ton["tpr_at_threshold"], "fpr": ton["fpr_at_threshold"]}
    if "from-ton" in view:
        pooled = pool_captures(view["from-ton"]["captures"])
        figures["ton_to_captures"] = {"tpr": pooled["tpr"], "fpr": pooled["fpr"]}
    return figures


def _pool_audit(outer: Sequence[Cell], captures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    probes = [cell["source_probe"] for cell in outer if cell["source_probe"] is not None]
    grafts = [graft for cell in outer for graft in cell["grafts"]]
    routes = [route for cell in outer for route in cell["routes"]]
    attacked = [record for record in captures if record["kind"] == "attack"]
    benign = [record for record in captures if record["kind"] == "benign"]
    return {
        "route_told_from_benign_scores": float(np.mean(probes)) if probes else None,
        "f1_of_source_alone": _pool_gate(outer, "source"),
        "f1_of_position_alone": _pool_gate(outer, "position"),
        "fpr_in_attacked_captures": _pooled(attacked, "benign", "weight"),
        "fpr_in_benign_captures": _pooled(benign, "benign", "weight"),
        "false_incidents_in_attacked_captures": sum(record["incidents"]["false"] for record in attacked),
        "false_incidents_in_benign_captures": sum(record["incidents"]["false"] for record in benign),
        "recall_in_place": _pooled(attacked, "malicious", "weight"),
        "recall_grafted": _ratio(
            sum(graft["weight_said"] for graft in grafts), sum(graft["weight"] for graft in grafts)
        ),
        "equal_verdicts_on_both_routes": _ratio(
            sum(route["equal_verdicts"] for route in routes), sum(route["matched"] for route in routes)
        ),
        "grafts": grafts,
        "routes": routes,
    }


def _pool_gate(outer: Sequence[Cell], name: str) -> float | None:
    hit, claimed, malicious = (
        sum(cell["gates"][name][key] for cell in outer) for key in ("hit", "claimed", "malicious")
    )
    return _ratio(2.0 * hit, claimed + malicious)


def spread(seeds: Sequence[Any]) -> Any:
    """The same tree with mean, least and most over the seeds at every number; other leaves as in the first seed.

    A branch that some seeds did not measure is spread over those that did.
    """
    first = seeds[0]
    measured = [seed for seed in seeds if isinstance(seed, dict)]
    if measured:
        keys = dict.fromkeys(key for seed in measured for key in seed)
        return {key: spread([seed[key] for seed in measured if key in seed]) for key in keys}
    numbers = [seed for seed in seeds if isinstance(seed, int | float) and not isinstance(seed, bool)]
    if numbers and len(numbers) == len(seeds):
        return {"mean": float(np.mean(numbers)), "least": float(min(numbers)), "most": float(max(numbers))}
    return first


def _pooled(records: Sequence[dict[str, Any]], label: str, unit: str) -> float | None:
    said = sum(record[label][f"{unit}_said"] for record in records)
    return _ratio(said, sum(record[label][unit] for record in records))


def _ratio(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole > 0 else None
