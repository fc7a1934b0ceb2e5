"""Plots of an accuracy run, as SVG text to be put into the page.

In: the summary of an accuracy run. Out: SVG documents.
Must never: need a display, a font download or a network.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

LOWEST_FPR: Final = 1e-4


def draw_plots(summary: dict[str, Any]) -> list[str]:
    """Ranking curves, TON_IoT's macro-F1 beside the leaky split, TPR per capture, false incidents with their bound."""
    if not summary["contestants"]:
        return []
    return [_draw(plot, summary) for plot in (_plot_curves, _plot_ton, _plot_captures, _plot_false_incidents)]


def _draw(plot: Callable[[Axes, dict[str, Any]], None], summary: dict[str, Any]) -> str:
    with mpl.rc_context({"svg.hashsalt": "thingwarden", "svg.fonttype": "none", "font.size": 10}):
        figure, axes = plt.subplots(figsize=(10, 4.5))
        plot(axes, summary)
        axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        plt.close(figure)
    return text.getvalue()[text.getvalue().index("<svg") :]


def _plot_curves(axes: Axes, summary: dict[str, Any]) -> None:
    for name, curve in summary["curves"].items():
        if curve is not None:
            fpr = [max(value, LOWEST_FPR) for value in curve["fpr"]]
            axes.step(fpr, curve["tpr"], where="post", label=name)
    axes.axvline(0.005, color="grey", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlim=(LOWEST_FPR, 1), ylim=(0, 1.02), xlabel="FPR, weighted", ylabel="TPR, weighted")
    axes.set_title("Captures left out: ranking of flows (dotted: 0.5 %)")
    axes.legend(fontsize=8, loc="lower right")


def _plot_ton(axes: Axes, summary: dict[str, Any]) -> None:
    names = list(summary["contestants"])
    series = (
        ("ton_pairs", "pairs held out"),
        ("ton_sources", "sources held out"),
        ("random_split_leaky", "random: leaky"),
    )
    for offset, (protocol, label) in enumerate(series):
        heights = [_mean(summary["contestants"][name]["figures"].get(protocol), "macro_f1") for name in names]
        positions = [position + 0.27 * (offset - 1) for position in range(len(names))]
        axes.bar(positions, heights, 0.25, label=label, color=("#2f6fb0", "#6aa84f", "#cccccc")[offset])
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
    axes.set(ylim=(0, 1), ylabel="macro-F1", title="TON_IoT, ten classes")
    axes.legend(fontsize=8)


def _plot_captures(axes: Axes, summary: dict[str, Any]) -> None:
    names = list(summary["contestants"])
    tables = {
        name: {row["capture"]: row["tpr"] for row in entry["figures"]["captures_left_out"]["per_capture"]}
        for name, entry in summary["contestants"].items()
    }
    captures = sorted({capture for table in tables.values() for capture, tpr in table.items() if tpr is not None})
    grid = [[_number(tables[name].get(capture)) for capture in captures] for name in names]
    if not captures:
        return
    axes.imshow(grid, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(captures)), captures)
    axes.set_yticks(range(len(names)), names)
    for row, values in enumerate(grid):
        for column, value in enumerate(values):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="black" if value < 0.6 else "white")
    axes.set_title("Weighted TPR per capture never seen, threshold from other devices")


def _plot_false_incidents(axes: Axes, summary: dict[str, Any]) -> None:
    names = list(summary["contestants"])
    benign = [summary["contestants"][name]["figures"]["benign_left_out"] for name in names]
    seen = [_mean(figures, "false_per_device_day") * 7 for figures in benign]
    most = [_mean(figures, "false_per_device_week_at_most") for figures in benign]
    axes.barh(names, most, color="#dddddd", label="cannot be excluded (95 %)")
    axes.barh(names, seen, color="#b0532f", height=0.5, label="seen")
    axes.set(xlabel="false incidents per device-week", title="Benign devices never seen")
    axes.legend(fontsize=8)


def _mean(figures: dict[str, Any] | None, key: str) -> float:
    value = (figures or {}).get(key)
    return 0.0 if value is None else float(value["mean"])


def _number(value: float | None) -> float:
    return 0.0 if value is None else float(value)
