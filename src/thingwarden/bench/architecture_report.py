"""The comparison of architectures as a page: what they find, what a word costs, and what chance could have made.

In: the content of ``architectures.json``. Out: Markdown.
Must never: call a difference a gain when its interval holds zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Figures = Mapping[str, Any]

FEWEST_CAPTURES: Final = 6
"""With fewer, an interval over captures drawn again says little: one of 5 is left out in a third of the draws."""

_HEAD: Final = """# Architectures at equal latency

Made by `thingwarden bench architectures`. Every network is trained on the same scenes of the same folds, without \
simulated networks, and judged as it ships (int8), thresholds set on other benign devices. Captures in a fold are \
never seen in its training. Rates are by pattern: each row weighs 1/n among its likes."""


def render_architectures(figures: Figures, notes: str = "") -> str:
    """The page; ``notes`` are printed below its head."""
    folds, seeds = (", ".join(map(str, figures[key])) for key in ("folds", "seeds"))
    scope = f"Folds {folds}; seeds {seeds}; the others are held against **{figures['first']}**."
    parts = [
        _HEAD,
        scope,
        *([notes] if notes else []),
        *_mixed_sources(figures["source_sha256"]),
        "## What they find",
        _table(_FOUND_HEAD, [_found_row(name, network) for name, network in figures["networks"].items()]),
        "Ranking: recall at a false positive rate of 0.5 % with the threshold set on the test itself, and area under "
        "the curve: what the scores could do at best, not results.",
        f"## Against {figures['first']}",
        "Difference, and its 95 % interval over captures drawn with replacement, the same captures for both. Seeds "
        "are not drawn; with few of them the true doubt is wider.",
        *(_compare(name, figures["first"], rows) for name, rows in figures["against_first"].items()),
        "## What a word costs",
        _table(_COST_HEAD, [_cost_row(name, network) for name, network in figures["networks"].items()]),
        _cost_note(figures),
        "## int8 against float32",
        _table(_AGREEMENT_HEAD, [_agreement_row(name, network) for name, network in figures["networks"].items()]),
        "## Capture by capture",
        _per_capture(figures),
    ]
    return "\n\n".join(parts) + "\n"


def _mixed_sources(digests: Sequence[str]) -> list[str]:
    if len(digests) < 2:
        return []
    return [
        f"**Measured by {len(digests)} states of the source**: differences may be theirs. Measure anew with an empty "
        "folder of cells."
    ]


_FOUND_HEAD: Final = (
    "network",
    "TPR",
    "95 % interval",
    "FPR",
    "recall at 0.5 %",
    "AUC",
    "captures found",
    "false incidents, benign",
    "benign FPR",
    "TON macro-F1",
)
_COST_HEAD: Final = (
    "network",
    "parameters",
    "int8 bytes",
    "state bytes",
    "words/s",
    "one word, median",
    "p99",
    "training, processor s",
)
_AGREEMENT_HEAD: Final = ("network", "flows with the same verdict", "words with the same class", "most apart")


def _found_row(name: str, network: Figures) -> list[str]:
    accuracy = network["accuracy"]["figures"]
    found, benign, ton = accuracy["captures_left_out"], accuracy["benign_left_out"], accuracy["ton_pairs"]
    interval = found["tpr_interval"]
    return [
        name,
        _mean(found["tpr"], 3),
        "-" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}",
        _mean(found["fpr"], 4),
        _number(network["ranking"]["tpr_at_budget"], 3),
        _number(network["ranking"]["auc"], 4),
        f"{_mean(found['captures_found_with_role'], 1)} of {_mean(found['captures_with_attacks'], 0)}",
        _mean(benign["false_incidents"], 1),
        _mean(benign["fpr"], 4),
        _mean(ton["macro_f1"], 3),
    ]


def _cost_row(name: str, network: Figures) -> list[str]:
    cost = network["cost"]
    return [
        name,
        f"{cost['parameters']:,}",
        f"{cost['network_bytes']:,}",
        f"{cost['state_bytes']:,}",
        f"{cost['words_per_s']:,.0f}",
        f"{cost['one_word_p50_us']:.0f} us",
        f"{cost['one_word_p99_us']:.0f} us",
        ", ".join(f"{seconds:.0f}" for seconds in network["fit_processor_s"]),
    ]


def _agreement_row(name: str, network: Figures) -> list[str]:
    seen = network["agreement"]
    return [
        name,
        f"{seen['equal_verdict_count'] / max(1, seen['flow_count']):.4%} of {seen['flow_count']:,}",
        f"{seen['equal_class_count'] / max(1, seen['word_count']):.4%} of {seen['word_count']:,}",
        f"{seen['most_apart']:.3f}",
    ]


def _cost_note(figures: Figures) -> str:
    machine = figures["machine"]
    return (
        "Scorer alone, int8, one thread; 200 devices whose rates fall as 1/rank, chunks of 2,048 words; processor "
        "time, the networks taking turns. A teacher that was trained before as a network of its own costs nothing "
        f"here. {machine['processor']}, Python {machine['python']}; no ARM machine was at hand."
    )


def _compare(name: str, first: str, rows: Sequence[Figures]) -> str:
    head = ("figure", name, first, "difference", "95 % interval", "reading")
    return _table(head, [_compare_row(row) for row in rows])


def _compare_row(row: Figures) -> list[str]:
    interval = row["interval"]
    return [
        f"{row['title']} ({row['captures']} captures)",
        _number(row["one"], 4),
        _number(row["other"], 4),
        "-" if row["difference"] is None else f"{row['difference']:+.4f}",
        "-" if interval is None else f"{interval[0]:+.4f} to {interval[1]:+.4f}",
        _read_interval(interval, row["captures"]),
    ]


def _read_interval(interval: Sequence[float] | None, captures: int) -> str:
    if interval is None or captures < FEWEST_CAPTURES:
        return "too few captures to tell"
    return "chance could make it" if interval[0] <= 0.0 <= interval[1] else "beyond chance over captures"


def _per_capture(figures: Figures) -> str:
    names = list(figures["networks"])
    rates: dict[str, dict[str, list[float]]] = {}
    for name in names:
        for seed in figures["networks"][name]["accuracy"]["per_seed"]:
            for row in seed["captures_left_out"]["per_capture"]:
                kind = "TPR" if row["kind"] == "attack" else "FPR"
                value = row[kind.lower()]
                if value is not None:
                    rates.setdefault(f"{row['capture']} | {kind}", {}).setdefault(name, []).append(value)
    rows = [
        [*key.split(" | "), *(_number(_average(own.get(name)), 3) for name in names)]
        for key, own in sorted(rates.items())
    ]
    return _table(("capture", "rate", *names), rows)


def _average(values: Sequence[float] | None) -> float | None:
    return sum(values) / len(values) if values else None


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _mean(value: Any, digits: int) -> str:
    """A figure with mean, least and most over the seeds; '-' where there is none."""
    return _number(value["mean"] if isinstance(value, Mapping) else value, digits)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
