"""The report on speed and memory: goals first, missed ones before met ones, then what they were read from.

In: the figures of ``measure_speed``. Out: ``speed.json`` and ``speed.md``.
Must never: let a figure of a busy machine pass for one of an idle machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from thingwarden.bench.detector_memory import DEVICE_COUNT as MANY_DEVICES
from thingwarden.bench.live_traffic import DEVICE_COUNT
from thingwarden.bench.speed import GOAL_WORDS_PER_S, SINGLE
from thingwarden.bench.streaming import STAGES

Figures = Mapping[str, Any]

BUDGET_OF_THE_GOAL_MS: Final = "20"
MOST_SINGLE_MS: Final = 2.0
MOST_PROCESS_BYTES: Final = 110_000_000
_BUSY_LOAD: Final = 0.5
"""Load on the machine beside the measurement from which it counts as busy, in cores."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What was to be reached, what was, and whether that is enough."""

    text: str
    found: str
    is_met: bool


def check_goals(figures: Figures) -> list[Goal]:
    """The goals, those that were missed first."""
    even = figures["scenarios"]["zipf"]["by_budget_ms"]
    fast, single = even[BUDGET_OF_THE_GOAL_MS], even[SINGLE]["batch_ms"]["p99"]
    held = sum(figures["state_bytes"][part] for part in ("network", "latest_words", "rhythm"))
    peak = next(part["peak_bytes"] for part in figures["memory"] if part["name"] == f"{MANY_DEVICES:,} devices")
    goals = [
        Goal(
            f"at least {GOAL_WORDS_PER_S:,} words/s live on one core ({DEVICE_COUNT} devices, Zipf, probes on)",
            f"{fast['words_per_s']:,.0f} words/s, {fast['flows_per_s']:,.0f} flows/s ({_spread(fast)})",
            fast["words_per_s"] >= GOAL_WORDS_PER_S,
        ),
        Goal("p99 under 2 ms for one word", f"{single:.2f} ms", single < MOST_SINGLE_MS),
        Goal(
            "model at most 2 MB, all files",
            f"{figures['model_bytes'] / 1e6:.2f} MB",
            figures["model_bytes"] <= 2_000_000,
        ),
        Goal("state at most 64 kB a device", f"{held / 1000:.1f} kB", held <= 64_000),
        Goal(
            f"detector's process under 110 MB with {MANY_DEVICES:,} devices",
            f"{peak / 1e6:.0f} MB",
            peak < MOST_PROCESS_BYTES,
        ),
    ]
    return sorted(goals, key=lambda goal: goal.is_met)


def write_speed(figures: Figures, out: Path) -> Path:
    """Write ``speed.json`` and ``speed.md`` into ``out``; the latter's path."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "speed.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    report = out / "speed.md"
    report.write_text("\n".join(_lines(figures)) + "\n", encoding="utf-8")
    return report


def _lines(figures: Figures) -> Iterator[str]:
    yield from ("# Speed and memory", "", "| goal | reached | |", "|---|---|---|")
    for goal in check_goals(figures):
        yield f"| {goal.text} | {goal.found} | {'met' if goal.is_met else '**missed**'} |"
    yield from ("", *_shortfalls(figures), *_machine(figures))
    yield from ("", "## Words together", "", *_streams(figures))
    yield from ("", "## One by one", "", *_single(figures))
    yield from ("", "## Beside others", "", *_peers(figures))
    yield from ("", "## Memory", "", *_memory(figures))


def _shortfalls(figures: Figures) -> Iterator[str]:
    """Where the same figures are not reached though no goal asks for them."""
    slow = [
        f"{row['words_per_s']:,.0f} words/s in scenario {name} at {budget} ms"
        for name, scenario in figures["scenarios"].items()
        for budget, row in scenario["by_budget_ms"].items()
        if budget != SINGLE and row["words_per_s"] < GOAL_WORDS_PER_S
    ]
    late = [
        f"p99 of one word {scenario['by_budget_ms'][SINGLE]['batch_ms']['p99']:.2f} ms in scenario {name}"
        for name, scenario in figures["scenarios"].items()
        if scenario["by_budget_ms"][SINGLE]["batch_ms"]["p99"] >= MOST_SINGLE_MS
    ]
    large = [
        f"{part['peak_bytes'] / 1e6:.0f} MB with {part['name']}"
        for part in figures["memory"]
        if part["peak_bytes"] >= MOST_PROCESS_BYTES
    ]
    if slow or late or large:
        yield f"Short of these figures beside the goals: {'; '.join(slow + late + large)}."
        yield ""


def _machine(figures: Figures) -> Iterator[str]:
    machine = figures["machine"]
    before, after = machine["load_before"][0], machine["load_after"][0] - 1.0
    yield (
        f"Model {figures['model']}, {figures['repeats']} runs of each kind, medians; {machine['processor']}, one of "
        f"{machine['cores']} cores, Python {machine['python']}, NumPy {machine['numpy']}. No ARM machine was at hand."
    )
    yield ""
    yield (
        "Seconds are of processor time, as one core of one's own would take; words of the first tenth of the batches "
        "are not counted. The clock on the wall stands beside them."
    )
    if max(before, after) > _BUSY_LOAD:
        yield ""
        yield (
            f"**The machine was busy** (load {before:.1f} before, {after:.1f} beside it at the end): caches and "
            "execution units were shared, so an idle one gives higher rates and shorter batches; figures by the wall "
            "say little."
        )


def _streams(figures: Figures) -> Iterator[str]:
    stages = " | ".join(STAGES)
    yield (
        f"{DEVICE_COUNT} devices; words wait for at most the budget, in which so many come together at "
        f"{GOAL_WORDS_PER_S:,} words/s. Quantiles are over batches."
    )
    yield ""
    yield f"| scenario | budget | words a batch | words/s | flows/s | by the wall | p50 | p99 | p99.9 | {stages} |"
    yield "|---" * (9 + len(STAGES)) + "|"
    for name, scenario in figures["scenarios"].items():
        for budget, row in scenario["by_budget_ms"].items():
            if budget != SINGLE:
                yield f"| {name} | {budget} ms | {row['words_per_batch']:,.0f} | {_row(row)} |"
    yield ""
    for name, scenario in figures["scenarios"].items():
        row = scenario["by_budget_ms"][BUDGET_OF_THE_GOAL_MS]
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(row["kinds"].items()))
        yield f"- {name}: {scenario['says']}; {kinds} words, {row['incidents']} incidents."
    yield ""
    yield (
        "The traffic is drawn for its rates, so incidents say nothing of accuracy; each costs an explanation, which is "
        "most of p99."
    )


def _row(row: Figures) -> str:
    wall = sorted(row["words_per_wall_s_runs"])[len(row["words_per_wall_s_runs"]) // 2]
    times = " | ".join(f"{row['batch_ms'][name]:.1f} ms" for name in ("p50", "p99", "p99.9"))
    rates = f"{row['words_per_s']:,.0f} ({_spread(row)}) | {row['flows_per_s']:,.0f} | {wall:,.0f}"
    return f"{rates} | {times} | {_shares(row)}"


def _shares(row: Figures) -> str:
    return " | ".join(f"{row['stage_ratios'][stage]:.0%}" for stage in STAGES)


def _spread(row: Figures) -> str:
    return f"{min(row['words_per_s_runs']):,.0f} to {max(row['words_per_s_runs']):,.0f}"


def _single(figures: Figures) -> Iterator[str]:
    yield "Every event by itself: one word, or two where both ends of a flow are devices."
    yield ""
    yield f"| scenario | p50 | p99 | p99.9 | {' | '.join(STAGES)} |"
    yield "|---" * (4 + len(STAGES)) + "|"
    for name, scenario in figures["scenarios"].items():
        row = scenario["by_budget_ms"][SINGLE]
        times = " | ".join(f"{row['batch_ms'][quantile]:.2f} ms" for quantile in ("p50", "p99", "p99.9"))
        yield f"| {name} | {times} | {_shares(row)} |"


def _peers(figures: Figures) -> Iterator[str]:
    peers, log = figures["peers"], figures["log"]
    live = figures["scenarios"]["zipf"]["by_budget_ms"][BUDGET_OF_THE_GOAL_MS]
    network = peers["network_words_per_s"]
    yield (
        f"- The network alone, all words at once: {network:,.0f} words/s; the live path reaches "
        f"{live['words_per_s'] / network:.0%} of that."
    )
    boosted = peers["lightgbm_flows_per_s"]
    if boosted is None:
        yield "- LightGBM with sums of the past: not run, LightGBM is not installed."
    else:
        yield (
            f"- LightGBM with sums of the past, on words that are encoded already, closing words only: {boosted:,.0f} "
            f"flows/s; the live path judges {live['flows_per_s'] / boosted:.1f} times as many."
        )
    yield (
        f"- {log['name']}, {log['flows']:,} flows read as fast as they can be: {log['flows_per_s']:,.0f} flows/s "
        "(goal: 20,000)."
    )


def _memory(figures: Figures) -> Iterator[str]:
    yield "| the process holds | resident | peak |"
    yield "|---|---|---|"
    for part in figures["memory"]:
        yield f"| {part['name']} | {part['resident_bytes'] / 1e6:.1f} MB | {part['peak_bytes'] / 1e6:.1f} MB |"
    state = figures["state_bytes"]
    yield ""
    yield (
        f"State of a device: {state['network']:,} bytes for the network, {state['latest_words']:,} for its latest "
        f"words (reasons are found in them), {state['rhythm']:,} for its rhythm. All devices share at most "
        f"{state['shared'] / 1e6:.1f} MB for peers, channels and services."
    )
    yield ""
    peak = f"{figures['replay_peak_bytes'] / 1e6:.0f} MB"
    yield f"`thingwarden replay` of {figures['log']['name']}, all its flows at hand: peak {peak} (goal: 150)."
