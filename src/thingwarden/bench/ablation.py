"""Two contestants on the same captures: by how much they differ, and how far chance could have made it.

In: the capture records of both. Out: figures side by side, their difference, its interval.
Must never: compare captures that only one of them was tested on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.bench.metrics import BOOTSTRAP_DRAWS

Counts = npt.NDArray[np.float64]

LEAST_CAPTURES: Final = 2

FIGURES: Final = {
    "tpr": ("captures left out: TPR by pattern", "attack", ("malicious", "weight_said"), ("malicious", "weight")),
    "tpr_by_row": ("captures left out: TPR by row", "attack", ("malicious", "rows_said"), ("malicious", "rows")),
    "fpr": ("captures left out: FPR by pattern", "", ("benign", "weight_said"), ("benign", "weight")),
    "benign_fpr": ("benign devices: FPR by pattern", "benign", ("benign", "weight_said"), ("benign", "weight")),
    "false": ("benign devices: false incidents a device-day", "benign", ("incidents", "false"),
              ("incidents", "device_days")),
}  # fmt: skip
"""Key -> what it is called, the kind of capture it is over, the count above the line and the count below."""


def compare_contestants(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every figure of both, the first minus the second, and the 95 % interval of that over captures.

    Args:
        one, other: capture records of all seeds; only captures that both have count.

    Returns:
        One row per figure of ``FIGURES``; ``interval`` is None with fewer than two captures.
    """
    common = {record["capture"] for record in one} & {record["capture"] for record in other}
    rows = []
    for key, (title, kind, above, below) in FIGURES.items():
        counts = [_count(records, common, kind, above, below) for records in (one, other)]
        with_it, without = (float(hits.sum() / total.sum()) if total.sum() else None for hits, total in counts)
        rows.append(
            {
                "figure": key,
                "title": title,
                "captures": len(counts[0][0]),
                "one": with_it,
                "other": without,
                "difference": None if with_it is None or without is None else with_it - without,
                "interval": _interval(counts[0], counts[1]),
            }
        )
    return rows


def _count(
    records: Sequence[Mapping[str, Any]], common: set[str], kind: str, above: tuple[str, str], below: tuple[str, str]
) -> tuple[Counts, Counts]:
    """Counts per capture, summed over seeds, in the order of their names."""
    totals: dict[str, list[float]] = {}
    for record in records:
        if record["capture"] in common and kind in ("", record["kind"]):
            total = totals.setdefault(record["capture"], [0.0, 0.0])
            total[0] += record[above[0]][above[1]]
            total[1] += record[below[0]][below[1]]
    both = np.array([totals[name] for name in sorted(totals)], dtype=np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _interval(one: tuple[Counts, Counts], other: tuple[Counts, Counts], seed: int = 0) -> tuple[float, float] | None:
    """Captures are drawn with replacement, the same for both."""
    kept = (one[1] > 0) & (other[1] > 0)
    if kept.sum() < LEAST_CAPTURES:
        return None
    draws = np.random.default_rng(seed).integers(0, int(kept.sum()), size=(BOOTSTRAP_DRAWS, int(kept.sum())))
    ratios = [hits[kept][draws].sum(axis=1) / total[kept][draws].sum(axis=1) for hits, total in (one, other)]
    low, high = np.quantile(ratios[0] - ratios[1], [0.025, 0.975])
    return float(low), float(high)
