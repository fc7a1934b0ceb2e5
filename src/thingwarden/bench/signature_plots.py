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


def draw_signatures(pooled: Mapping[str, Mapping[str, Any]]) -> str:
    """Attacks found in the lab, by class, beside false alarms per device-day on benign devices.

    Args:
        pooled: by contestant, as ``pool_contest`` returns it.
    """
    with mpl.rc_context({"svg.hashsalt": "thingwarden", "svg.fonttype": "none", "font.size": 9}):
        figure, (found, false) = plt.subplots(1, 2, figsize=(11, 4.5), width_ratios=(2, 1))
        _plot_found(found, pooled)
        _plot_false(false, pooled)
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
        range(len(classes)), [f"{key}\n({count})" for key, count in zip(classes, counts, strict=True)], fontsize=8
    )
    axes.set(ylim=(0, 1.02), ylabel="attacks found", title="The lab's attacks, by class (how many)")
    axes.legend(fontsize=8)


def _share(entry: Mapping[str, Any] | None) -> float:
    return entry["found"] / entry["attacks"] if entry and entry["attacks"] else 0.0


def _plot_false(axes: Axes, pooled: Mapping[str, Mapping[str, Any]]) -> None:
    names = [name for name, figures in pooled.items() if figures["benign"] is not None]
    for key, label, height, colour in (
        ("false_per_device_day", "all", 0.7, "#dddddd"),
        ("false_loud_per_device_day", "severity 1-2, or beyond notify", 0.4, "#b0532f"),
    ):
        values = [pooled[name]["benign"][key] or 0.0 for name in names]
        axes.barh(names, values, height, label=label, color=colour)
    axes.invert_yaxis()
    axes.set(xlabel="false alarms per device-day", title="Benign devices")
    axes.set_xscale("symlog", linthresh=0.1)
    axes.legend(fontsize=8)
