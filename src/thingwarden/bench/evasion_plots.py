"""Curves of the evasion run, as PNG.

In: figures by evasion and strength. Out: pictures.
Must never: need a display, a font download or a network.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from thingwarden.bench.evasion import EVASIONS
from thingwarden.bench.evasion_run import RECORDED

Curve = Sequence[Mapping[str, Any]]

_COLUMNS: Final = 4
_PANEL_INCHES: Final = (3.4, 2.7)
_DOTS_PER_INCH: Final = 90


def draw_curves(title: str, evasions: Mapping[str, Mapping[str, Curve]], path: Path) -> None:
    """One panel per evasion: recall of all classes with its interval, of each class, and the share of attacks found.

    Args:
        title: of the picture.
        evasions: by name, curves by class, ``all`` among them.
        path: of the picture.
    """
    names = sorted({name for curves in evasions.values() for name in curves} - {"all", RECORDED})
    colors = {name: f"C{number}" for number, name in enumerate(names)}
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure, panels = _panels(len(evasions))
        for axes, (family, curves) in zip(panels, evasions.items(), strict=True):
            for name, curve in curves.items():
                if name in colors:
                    _line(axes, curve, "recall", label=name, color=colors[name], linewidth=0.9, alpha=0.8)
            _line(axes, curves.get(RECORDED, ()), "recall", label=RECORDED, color="black", linestyle="--")
            _line(axes, curves.get("all", ()), "recall", label="all", color="black", linewidth=2.0)
            _line(axes, curves.get("all", ()), "found_with_role", label="attacks found", color="black", linestyle=":")
            _band(axes, curves.get("all", ()), "recall_interval", "black")
            axes.set(title=family, xlabel=textwrap.fill(EVASIONS[family].unit, 48), ylim=(-0.02, 1.02))
        _finish(figure, panels, f"Recall against strength: {title}", path)


def draw_frogs(contestants: Mapping[str, Mapping[str, Curve]], path: Path) -> None:
    """One panel per attack that grows: recall at full pace and share of streams found, a colour per contestant."""
    titles = list(dict.fromkeys(title for curves in contestants.values() for title in curves))
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure, panels = _panels(len(titles))
        for axes, title in zip(panels, titles, strict=True):
            for number, (name, curves) in enumerate(contestants.items()):
                curve, color = curves.get(title, ()), f"C{number}"
                _line(axes, curve, "recall_full", label=f"{name}: recall at full pace", color=color)
                _line(axes, curve, "found_with_role", label=f"{name}: streams found", color=color, linestyle=":")
                _band(axes, curve, "recall_full_interval", color)
            axes.set(title=title, ylim=(-0.02, 1.02))
        _finish(figure, panels, "Boiling frog, from sudden to slow (0: at once), and visits beforehand", path)


def _panels(count: int) -> tuple[Any, list[Axes]]:
    columns = min(_COLUMNS, max(count, 1))
    rows = -(-count // columns)
    width, height = _PANEL_INCHES
    figure, grid = plt.subplots(rows, columns, figsize=(width * columns, height * rows + 0.8), squeeze=False)
    for axes in grid.ravel()[count:]:
        axes.set_axis_off()
    return figure, list(grid.ravel()[:count])


def _line(axes: Axes, curve: Curve, key: str, **style: Any) -> None:
    """A curve over the strengths as equal steps; gaps where nothing can be said."""
    if curve:
        values = [float("nan") if point[key] is None else point[key] for point in curve]
        axes.plot(range(len(curve)), values, marker=".", markersize=4, **style)
        axes.set_xticks(range(len(curve)), [f"{point['strength']:g}" for point in curve])


def _band(axes: Axes, curve: Curve, key: str, color: str) -> None:
    known = [(place, *point[key]) for place, point in enumerate(curve) if point[key] is not None]
    if known:
        places, low, high = zip(*known, strict=True)
        axes.fill_between(places, low, high, color=color, alpha=0.1, linewidth=0)


def _finish(figure: Any, panels: Sequence[Axes], title: str, path: Path) -> None:
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.suptitle(title)
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncol=6, frameon=False)
    figure.tight_layout(rect=(0.0, 0.06, 1.0, 1.0))
    figure.savefig(path, dpi=_DOTS_PER_INCH, metadata={"Software": None})
    plt.close(figure)
