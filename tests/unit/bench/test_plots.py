"""Plots are SVG text, the same on every run."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from thingwarden.bench.plots import draw_plots


def _figures(false: float) -> dict[str, Any]:
    def number(value: float) -> dict[str, float]:
        return {"mean": value, "least": value, "most": value}

    return {
        "captures_left_out": {"per_capture": [{"capture": "34-1", "tpr": 0.5}, {"capture": "good", "tpr": None}]},
        "benign_left_out": {"false_per_device_day": number(false), "false_per_device_week_at_most": number(9 * false)},
        "ton_pairs": {"macro_f1": number(0.7)},
        "ton_sources": {"macro_f1": None},
        "random_split_leaky": None,
    }


SUMMARY: dict[str, Any] = {
    "contestants": {name: {"figures": _figures(0.2)} for name in ("dictionary", "flow-lm")},
    "curves": {"dictionary": {"fpr": [0.0, 0.5, 1.0], "tpr": [0.2, 0.6, 1.0]}, "flow-lm": None},
}


def test_each_plot_is_a_document_that_names_its_contestants() -> None:
    plots = draw_plots(SUMMARY)
    assert len(plots) == 4
    for svg in plots:
        assert ET.fromstring(svg).tag.endswith("svg")
        assert "dictionary" in svg


def test_plots_are_the_same_every_time() -> None:
    assert draw_plots(SUMMARY) == draw_plots(SUMMARY)
