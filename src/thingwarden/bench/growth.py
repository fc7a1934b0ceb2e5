"""How many distinct patterns a growing number of words holds: variety, which more of the same traffic does not add.

In: flows of a lab corpus or of the public captures, network by network. Out: ``GrowthCurve``, its plot and report.
Must never: count a pattern twice, or count what differs in addresses or moments only.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

mpl.use("Agg")

from matplotlib import pyplot as plt

from thingwarden.bench.words import row_keys
from thingwarden.domain.flow import FlowBatch
from thingwarden.lab.corpus import count_words
from thingwarden.train.weighting import pattern_columns

GOAL_WORDS: Final = 1_000_000
GOAL_PATTERNS: Final = 50_000
"""So many patterns must the first million words of a lab corpus hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthCurve:
    """Distinct patterns against words, after each network or capture.

    Attributes:
        words: int64 (n,), ascending: opening and closing words of both local sides.
        patterns: int64 (n,), distinct among the flows of those words; malicious and harmless ones are not told apart.
    """

    words: npt.NDArray[np.int64]
    patterns: npt.NDArray[np.int64]

    def patterns_at(self, words: int) -> int | None:
        """Patterns in the first ``words`` words, interpolated between networks; None where the corpus is smaller."""
        if not len(self.words) or self.words[-1] < words:
            return None
        return int(np.interp(words, np.append(0, self.words), np.append(0, self.patterns)))


def pattern_keys(flows: FlowBatch) -> npt.NDArray[np.uint64]:
    """A number per flow, uint64 (n,), equal where the patterns are."""
    columns = [
        np.ascontiguousarray(column if column.dtype.kind == "S" else column.astype(np.int32))
        .view(np.uint8)
        .reshape(len(flows), column.dtype.itemsize if column.dtype.kind == "S" else 4)
        for column in pattern_columns(flows)
    ]
    return row_keys(np.concatenate(columns, axis=1))


def measure_growth(networks: Iterable[FlowBatch]) -> GrowthCurve:
    """Count network by network, holding one at a time."""
    seen = np.zeros(0, dtype=np.uint64)
    words, patterns = [0], [0]
    for flows in networks:
        seen = np.union1d(seen, pattern_keys(flows))
        words.append(words[-1] + count_words(flows))
        patterns.append(len(seen))
    return GrowthCurve(words=np.array(words[1:], dtype=np.int64), patterns=np.array(patterns[1:], dtype=np.int64))


def draw_growth(curves: Mapping[str, GrowthCurve]) -> str:
    """All curves in one picture with logarithmic axes, as an SVG document."""
    with mpl.rc_context({"svg.hashsalt": "thingwarden", "svg.fonttype": "none", "font.size": 10}):
        figure, axes = plt.subplots(figsize=(8, 4.5))
        for name, curve in curves.items():
            axes.plot(curve.words, curve.patterns, label=name, marker=".", markersize=3)
        axes.plot([GOAL_WORDS], [GOAL_PATTERNS], marker="x", color="black", linestyle="", label="goal")
        axes.set(xscale="log", yscale="log", xlabel="words", ylabel="distinct patterns")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8)
        figure.tight_layout()
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        plt.close(figure)
    return text.getvalue()


def _judge(name: str, curve: GrowthCurve) -> str:
    count = curve.patterns_at(GOAL_WORDS) or 0
    verdict = "Met" if count >= GOAL_PATTERNS else "MISSED"
    return f"**{verdict}**: {count:,} distinct patterns in {GOAL_WORDS:,} words of {name}; {GOAL_PATTERNS:,} wanted."


def render_growth(curves: Mapping[str, GrowthCurve], spans: Sequence[int] = (10_000, 100_000, GOAL_WORDS)) -> str:
    """The report: patterns in the first so many words of each source, as Markdown."""
    head = " | ".join(f"first {span:,} words" for span in spans)
    lines = [
        *(_judge(name, curve) for name, curve in curves.items() if curve.patterns_at(GOAL_WORDS) is not None),
        "",
        "A pattern is protocol, service, state, history, responder port class, and the powers of two of bytes and "
        "packets each way.",
        "",
        f"| source | words | patterns | {head} |",
        "|---|---:|---:|" + "---:|" * len(spans),
    ]
    for name, curve in curves.items():
        found = (curve.patterns_at(span) for span in spans)
        cells = " | ".join("-" if count is None else f"{count:,}" for count in found)
        lines.append(f"| {name} | {curve.words[-1]:,} | {curve.patterns[-1]:,} | {cells} |")
    return "\n".join(lines) + "\n"
