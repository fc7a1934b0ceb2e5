"""The report on early detection: goals first, missed ones before met ones, then curves and a table per family.

In: the figures of ``measure_early``. Out: Markdown, an SVG picture, JSON.
Must never: draw a verdict that never came as if it had come.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from thingwarden.bench.early_persistence import PLACES, WORDS
from thingwarden.bench.report_notes import read_notes

Figures = Mapping[str, Any]

FAMILIES: Final = {
    "scan": ("Scans", "addresses and ports asked"),
    "flood": ("Floods", "packets"),
    "guess": ("Guessing", "connections, one password each"),
    "beacon": ("C&C", "contacts"),
}
"""Heading, and what an attempt is."""

_MEASURES: Final = ("seconds", "attempts")
_HOUR_S: Final = 3600.0
_LEAST_S: Final = 0.01
_COLOURS: Final = tuple(plt.get_cmap("tab10").colors) + tuple(plt.get_cmap("Dark2").colors)  # type: ignore[attr-defined]


def write_early(figures: Figures, out: Path) -> Path:
    """Write ``early.md``, ``early.svg`` and ``early.json`` into ``out``; the first one's path."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "early.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (out / "early.svg").write_text(draw_early(figures), encoding="utf-8")
    report = out / "early.md"
    report.write_text(render_early(figures, read_notes(out, "early")), encoding="utf-8")
    return report


def render_early(figures: Figures, notes: str = "") -> str:
    """The report, Markdown; ``notes`` are printed below the goals."""
    lines = [
        "# Early detection",
        "",
        f"Model: {figures['model']}, evidence above {figures['evidence_nats']:.2f} nats, alarm level "
        f"{figures['alarm_level_nats']:.1f} nats. In a simulated network that nobody learned from, one infected device "
        f"among five to nine ordinary ones does one thing at a stated rate, after 20 to 40 minutes of harmless life; "
        f"{figures['seeds']} networks for each attack, the same at all of its rates. Numbers are `median / worst`, "
        "from the attack's first packet; `-`: never.",
        "",
        *_goal_lines(figures),
        "",
        *([notes, ""] if notes else []),
        "![Seconds and attempts from the attack's first packet to the incident, over its rate](early.svg)",
        "",
        "Median of the networks; the bar reaches the worst; a cross at the upper edge: not found in half of them or "
        "more. Dashed: the goal.",
        "",
        *_persistence_lines(figures["persistence"]),
    ]
    for family in FAMILIES:
        lines += _family_lines(figures, family)
    return "\n".join(lines) + "\n"


def _goal_lines(figures: Figures) -> list[str]:
    rows = [
        f"| {goal['goal']} | {goal['within']} of {goal['scenes']} ({goal['within'] / goal['scenes']:.0%}) | "
        f"{goal['word_within']} | {goal['never']} | {_pair(goal['seconds'])} | {_pair(goal['attempts'])} | "
        f"{'met' if goal['is_met'] else '**MISSED**'} |"
        for goal in figures["goals"]
    ]
    return [
        "| goal, in every scene | scenes in time | a word in time | never | s | attempts | |",
        "|---|---:|---:|---:|---:|---:|---|",
        *rows,
        "",
        "`a word in time`: scenes whose first word above the flow threshold came within the goal. Where these are many "
        "more, the model knew, and the alarm level asked for more evidence than there was yet.",
    ]


def _persistence_lines(persistence: Figures) -> list[str]:
    if not persistence:
        return []
    header = " | ".join(f"word {place}" for place in PLACES)
    bounds = [*PLACES, WORDS + 1]
    ranges = " | ".join(f"{low}-{high - 1}" for low, high in pairwise(bounds))
    rows = [
        f"| {name} | {_rate_text(row['rate_per_s'])} | {row['recognised_after']} | {row['seeds']} | "
        + " | ".join(_share(value) for value in (*row["above"], *row["shares"]))
        + f" | {_share(row['open_share'])} | {_share(row['close_share'])} |"
        for name, row in persistence.items()
    ]
    return [
        "## Does it stay above?",
        "",
        "The attack goes on for 3,000 words. Counted from the first word at which it can be recognised: after so many "
        "attempts. First the share of networks in which that word lies above the flow threshold, then the share of "
        "all words in each stretch, then of opening and closing words alone.",
        "",
        f"| attack | rate | recognisable after | networks | {header} | {ranges} | opening | closing |",
        "|---|---|---:|---:|" + "---:|" * (2 * len(PLACES) + 2),
        *rows,
        "",
    ]


def _family_lines(figures: Figures, family: str) -> list[str]:
    heading, attempt = FAMILIES[family]
    attacks = {name: attack for name, attack in figures["attacks"].items() if attack["family"] == family}
    if not attacks:
        return []
    return [
        f"## {heading}",
        "",
        f"Attempts are {attempt}. First, the first word that lies above the flow threshold; then the incident that "
        "names the device as offender; then the first order beyond a notification.",
        "",
        *(f"- `{name}`: {attack['about']}" for name, attack in attacks.items()),
        "",
        "| attack | rate | word: s | word: attempts | incident: s | incident: packets | incident: attempts | "
        "incident never | order: s | in time |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(_rate_line(name, rate) for name, attack in attacks.items() for rate in attack["rates"]),
        "",
    ]


def _rate_line(name: str, rate: Figures) -> str:
    word, incident, answer = (rate[verdict] for verdict in ("word", "incident", "answer"))
    emphasis = "**" if rate["within"] < rate["scenes"] else ""
    cells = [
        name,
        _rate_text(rate["rate_per_s"]),
        _pair(word["seconds"]),
        _pair(word["attempts"]),
        _pair(incident["seconds"]),
        _pair(incident["packets"]),
        _pair(incident["attempts"]),
        f"{incident['never']} of {rate['scenes']}",
        _pair(answer["seconds"]),
        f"{emphasis}{rate['within']} of {rate['scenes']}{emphasis}",
    ]
    return f"| {' | '.join(cells)} |"


def _rate_text(rate_per_s: float) -> str:
    if rate_per_s >= 1.0:
        return f"{rate_per_s:,.0f}/s"
    period_s = 1.0 / rate_per_s
    return f"every {period_s:,.0f} s" if period_s < _HOUR_S else f"every {period_s / _HOUR_S:,.0f} h"


def _pair(spread: Figures) -> str:
    return " / ".join("-" if value is None else _brief(value) for value in (spread["median"], spread["worst"]))


def _brief(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def draw_early(figures: Figures) -> str:
    """Seconds above, attempts below, one column per family, as an SVG document."""
    families = [name for name in FAMILIES if any(item["family"] == name for item in figures["attacks"].values())]
    with mpl.rc_context({"svg.hashsalt": "thingwarden", "svg.fonttype": "none", "font.size": 8}):
        figure, grid = plt.subplots(len(_MEASURES), len(families), figsize=(4.2 * len(families), 7.0), squeeze=False)
        for column, family in enumerate(families):
            for row, measure in enumerate(_MEASURES):
                _plot(grid[row][column], figures, family, measure)
        figure.tight_layout()
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        plt.close(figure)
    return text.getvalue()


def _plot(axes: Axes, figures: Figures, family: str, measure: str) -> None:
    attacks = {name: attack for name, attack in figures["attacks"].items() if attack["family"] == family}
    highest = 10.0
    for attack in attacks.values():
        for rate in attack["rates"]:
            highest = max(highest, *(value for value in rate["incident"][measure].values() if value is not None), 0.0)
    top = 3.0 * highest
    for number, (name, attack) in enumerate(attacks.items()):
        _plot_attack(axes, name, attack["rates"], measure, top, number)
    _plot_goal(axes, next(iter(attacks.values()))["rates"], measure)
    axes.set(xscale="log", yscale="log", ylim=(_LEAST_S if measure == "seconds" else 0.8, top))
    axes.set(xlabel="attempts per second", ylabel=f"{measure} to the incident", title=FAMILIES[family][0])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=6)


def _plot_attack(axes: Axes, name: str, rates: list[Any], measure: str, top: float, number: int) -> None:
    colour = _COLOURS[number % len(_COLOURS)]
    nudge = 1.0 + 0.03 * number
    found = [rate for rate in rates if rate["incident"][measure]["median"] is not None]
    missed = [rate for rate in rates if rate["incident"][measure]["median"] is None]
    x = [rate["rate_per_s"] * nudge for rate in found]
    median = [max(rate["incident"][measure]["median"], _LEAST_S) for rate in found]
    worst = [rate["incident"][measure]["worst"] or top for rate in found]
    axes.plot(x, median, marker="o", markersize=3, linewidth=1, color=colour, label=name)
    axes.vlines(x, median, [max(pair) for pair in zip(median, worst, strict=True)], color=colour, linewidth=0.6)
    axes.plot(
        [rate["rate_per_s"] * nudge for rate in missed], [top / 1.2] * len(missed), "x", color=colour, markersize=5
    )


def _plot_goal(axes: Axes, rates: list[Any], measure: str) -> None:
    goal = [(rate["rate_per_s"], rate[f"goal_{measure}"]) for rate in rates if rate[f"goal_{measure}"] is not None]
    if goal:
        axes.plot(*zip(*goal, strict=True), color="black", linestyle="--", linewidth=0.8, label="goal")
