"""What the model is to reach, held against what was measured.

In: the summary of an accuracy run. Out: one sentence per goal.
Must never: leave out a goal because it was missed, or because nothing was measured for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

MODEL: Final = "flow-lm"
"""Name of the contestant that the goals speak of."""

LEAST_TPR: Final = 0.95
LARGEST_FPR: Final = 0.002
LEAST_ABSENT_RECALL: Final = 0.8
LARGEST_TON_FPR: Final = 0.01
MOST_ACCUSED_PER_100: Final = 2.0
LEAST_DEVICE_WEEKS: Final = 200.0
MOST_PER_DEVICE_WEEK: Final = 1.0
MOST_SOURCE_PROBE: Final = 0.6
LEAST_ROUTE_AGREEMENT: Final = 0.99
MOST_OF_A_SHORTCUT: Final = 0.5
"""F1 of source or position alone, as a share of the model's recall: more would not be far below it."""

Figures = Mapping[str, Any]


def check_goals(summary: Mapping[str, Any]) -> list[str]:
    """One sentence per goal, missed ones first and with the distance; a note instead where the model did not run."""
    contestants = {name: entry["figures"] for name, entry in summary["contestants"].items()}
    if MODEL not in contestants:
        return ["NOT RUN: the flow language model has no cells in this report; what follows are baselines only."]
    model = contestants[MODEL]
    checks = [
        *_check_captures(summary, model),
        *_check_classes(model),
        *_check_ton(model, contestants),
        *_check_benign(model),
        *_check_weeks(model),
        *_check_audit(model),
        *_check_lab(summary),
    ]
    return sorted(checks, key=lambda line: ("MISSED", "NOT", "MET").index(line.split(":")[0].split()[0]))


def _check_captures(summary: Mapping[str, Any], model: Figures) -> Iterator[str]:
    captures = model["captures_left_out"]
    found, attacked = (captures[key]["mean"] for key in ("captures_found_with_role", "captures_with_attacks"))
    text = f"{found:.1f} of {attacked:.0f} malicious captures raise a true incident with the right device and role"
    yield _verdict(found >= attacked, text, found - attacked)
    tpr, fpr = _mean(model, "captures_left_out", "tpr"), _mean(model, "captures_left_out", "fpr")
    yield _verdict(tpr >= LEAST_TPR, f"weighted TPR {tpr:.3f}, at least {LEAST_TPR} wanted", tpr - LEAST_TPR)
    yield _verdict(fpr <= LARGEST_FPR, f"pooled FPR {fpr:.4f}, allowed {LARGEST_FPR}", LARGEST_FPR - fpr)
    for name, rows in summary["against_baselines"].items():
        (row,) = (row for row in rows if row["figure"] == "tpr")
        if row["interval"] is not None:
            low, high = row["interval"]
            text = f"weighted TPR {row['one']:.3f} against {name}'s {row['other']:.3f}"
            yield _verdict(low > 0, f"{text}, interval of the difference {low:.3f} to {high:.3f}", row["difference"])


def _check_classes(model: Figures) -> Iterator[str]:
    recalls = {
        name: max(entry[key]["mean"] for key in ("recall", "recall_at_threshold") if entry.get(key) is not None)
        for name, entry in (model["classes_left_out"] or {}).items()
        if entry.get("recall") is not None
    }
    if not recalls:
        yield _unmeasured("a class left out")
        return
    short = {name: recall for name, recall in sorted(recalls.items()) if recall < LEAST_ABSENT_RECALL}
    told = ", ".join(f"{name} {recall:.2f}" for name, recall in short.items()) or "all"
    text = f"a class left out: recall at least {LEAST_ABSENT_RECALL} for {len(recalls) - len(short)} of {len(recalls)}"
    yield _verdict(not short, f"{text}; below: {told}" if short else text, min(recalls.values()) - LEAST_ABSENT_RECALL)


def _check_ton(model: Figures, contestants: Mapping[str, Figures]) -> Iterator[str]:
    if not model["ton_pairs"]:
        yield _unmeasured("TON_IoT")
        return
    if "dictionary" in contestants:
        for key, what in (("macro_f1", "macro-F1"), ("macro_f1_learnable", "macro-F1 of what can be learned")):
            own, other = (_mean(figures, "ton_pairs", key) for figures in (model, contestants["dictionary"]))
            wanted = 1.0 - (1.0 - other) / 2.0
            text = f"TON_IoT, pairs held out: {what} {own:.3f}, {wanted:.3f} would halve the dictionary's error"
            yield _verdict(own >= wanted, text, own - wanted)
    fpr = _mean(model, "ton_pairs", "fpr")
    text = f"TON_IoT, pairs held out: FPR {fpr:.3f}, allowed {LARGEST_TON_FPR}"
    yield _verdict(fpr <= LARGEST_TON_FPR, text, LARGEST_TON_FPR - fpr)


def _check_benign(model: Figures) -> Iterator[str]:
    keys = ("false_incidents", "device_days", "false_per_device_week_at_most")
    false, days, bound = (_mean(model, "benign_left_out", key) for key in keys)
    text = f"{false:.1f} false incidents in {days:.1f} benign device-days left out, none allowed"
    yield _verdict(false == 0, f"{text}; at most {bound:.2f} a device-week by Poisson's bound", 0.0 - false)
    accused = _mean(model, "benign_left_out", "accused_per_100_sessions")
    text = f"{accused:.1f} of 100 set-up sessions accused, allowed {MOST_ACCUSED_PER_100:.0f}"
    yield _verdict(accused <= MOST_ACCUSED_PER_100, text, MOST_ACCUSED_PER_100 - accused)


def _check_weeks(model: Figures) -> Iterator[str]:
    weeks = model["lab_weeks"]
    if not weeks:
        yield _unmeasured("simulated device-weeks")
        return
    counted, rate, restricted = (weeks[key]["mean"] for key in ("device_weeks", "false_per_device_week", "restricted"))
    text = f"{rate:.3f} false incidents a device-week in {counted:.0f} simulated, allowed {MOST_PER_DEVICE_WEEK:.0f}"
    is_met = rate <= MOST_PER_DEVICE_WEEK and counted >= LEAST_DEVICE_WEEKS
    yield _verdict(is_met, f"{text}, {restricted:.1f} of them answered by more than a notification", 1.0 - rate)


def _check_audit(model: Figures) -> Iterator[str]:
    tpr = _mean(model, "captures_left_out", "tpr")
    keys = ("route_told_from_benign_scores", "equal_verdicts_on_both_routes")
    probe, agreement = (_mean(model, "shortcut_audit", key) for key in keys)
    text = f"route told from benign scores with accuracy {probe:.3f}, allowed {MOST_SOURCE_PROBE} (0.5 is chance)"
    yield _verdict(probe <= MOST_SOURCE_PROBE, text, MOST_SOURCE_PROBE - probe)
    text = f"{agreement:.4f} of verdicts are equal by log and by packets, at least {LEAST_ROUTE_AGREEMENT} wanted"
    yield _verdict(agreement >= LEAST_ROUTE_AGREEMENT, text, agreement - LEAST_ROUTE_AGREEMENT)
    for what in ("source", "position"):
        alone = _mean(model, "shortcut_audit", f"f1_of_{what}_alone")
        text = f"F1 of the {what} alone {alone:.3f}, allowed half of the model's recall, {MOST_OF_A_SHORTCUT * tpr:.3f}"
        yield _verdict(alone <= MOST_OF_A_SHORTCUT * tpr, text, MOST_OF_A_SHORTCUT * tpr - alone)


def _check_lab(summary: Mapping[str, Any]) -> Iterator[str]:
    """What simulated networks must do for the model; nothing where it was not trained without them."""
    for row in summary["lab_ablation"] or ():
        if row["figure"] in ("tpr", "false") and row["difference"] is not None:
            gain = row["difference"] if row["figure"] == "tpr" else 0.0 - row["difference"]
            low, high = row["interval"] or (float("nan"), float("nan"))
            text = f"{row['title']}, {row['one']:.4f} with simulated networks against {row['other']:.4f} without"
            yield _verdict(gain > 0, f"{text}, interval {low:.4f} to {high:.4f}", gain)


def _verdict(is_met: bool, text: str, margin: float) -> str:
    if margin != margin:
        return _unmeasured(text)
    return f"{'MET' if is_met else 'MISSED'}: {text} ({margin:+.4f})."


def _unmeasured(what: str) -> str:
    return f"NOT MEASURED: {what}."


def _mean(figures: Figures, protocol: str, key: str) -> float:
    value = figures[protocol].get(key) if figures[protocol] else None
    return float("nan") if value is None else float(value["mean"])
