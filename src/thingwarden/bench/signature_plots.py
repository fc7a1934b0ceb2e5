"""The picture of a comparison with signature engines, as one SVG document.

In: figures as ``signature_pool`` makes them. Out: SVG text.
Must never: need a display, a font download or a network.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

_COLOURS: Final = ("#2f6fb0", "#b0532f", "#d9a441", "#7a7a7a", "#6aa84f")


def draw_signatures(
    pooled: Mapping[str, Mapping[str, Any]], false_per_device_day: Mapping[str, tuple[float, float | None]]
) -> str:
    """Attacks found in the lab, by class, above false alarms per device-day on benign devices.

    Args:
        pooled: by contestant, as ``pool_contest`` returns it.
        false_per_device_day: all and loud false alarms, by what the bars are called; None where they are not told
            apart.
    """
    with mpl.rc_context({"svg.hashsalt": "thingwarden", "svg.fonttype": "none", "font.size": 9}):
        figure, (found, false) = plt.subplots(2, 1, figsize=(12, 7), height_ratios=(3, 2))
        _plot_found(found, pooled)
        _plot_false(false, false_per_device_day)
        for axes in (found, false):
            axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        plt.close(figure)
    return text.getvalue()[text.getvalue().index("<svg") :]


def _plot_found(axes: Axes, pooled: Mapping[str, Mapping[str, Any]]) -> None:
    tables = {name: (figures["lab"] or {}).get("by_class", {}) for name, figures in pooled.items()}
    classes = sorted({key for table in tables.values() for key in table})
    width = 0.8 / max(1, len(tables))
    for offset, (name, table) in enumerate(tables.items()):
        places = [place + width * (offset - (len(tables) - 1) / 2) for place in range(len(classes))]
        shares = [_share(table.get(key)) for key in classes]
        axes.bar(places, shares, width, label=name, color=_COLOURS[offset % len(_COLOURS)])
    counts = [max((table[key]["attacks"] for table in tables.values() if key in table), default=0) for key in classes]
    axes.set_xticks(
        range(len(classes)),
        [f"{key.replace('_', ' ')}\n({count})" for key, count in zip(classes, counts, strict=True)],
        fontsize=8,
    )
    axes.set(ylim=(0, 1.02), ylabel="attacks found", title="The lab's attacks, by class (how many)")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _share(entry: Mapping[str, Any] | None) -> float:
    return entry["found"] / entry["attacks"] if entry and entry["attacks"] else 0.0


def _plot_false(axes: Axes, rates: Mapping[str, tuple[float, float | None]]) -> None:
    names = list(rates)
    axes.barh(names, [rate for rate, _ in rates.values()], 0.7, label="all", color="#dddddd")
    loud = [(name, rate) for name, (_, rate) in rates.items() if rate is not None]
    if loud:
        places, lengths = zip(*loud, strict=True)
        axes.barh(places, lengths, 0.4, label="severity 1-2,\nor beyond notify", color="#b0532f")
    for place, (rate, _) in enumerate(rates.values()):
        axes.text(rate, place, f" {rate:.2f}", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="false alarms per device-day", title="Benign devices")
    if names:
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
