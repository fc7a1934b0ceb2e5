"""The page on architectures says what chance could have made and leaves nothing out."""

from __future__ import annotations

from typing import Any

from thingwarden.bench.architecture_report import render_architectures


def _network(tpr: float) -> dict[str, Any]:
    capture = {"capture": "iot23/1-1", "kind": "attack", "tpr": tpr, "fpr": None}
    quiet = {"capture": "hue", "kind": "benign", "tpr": None, "fpr": 0.002}
    found = {
        "tpr": {"mean": tpr, "least": tpr, "most": tpr},
        "tpr_interval": (tpr - 0.1, tpr + 0.1),
        "fpr": {"mean": 0.0015, "least": 0.0, "most": 0.003},
        "captures_found_with_role": {"mean": 6.0, "least": 6.0, "most": 6.0},
        "captures_with_attacks": {"mean": 7.0, "least": 7.0, "most": 7.0},
    }
    benign = {"false_incidents": {"mean": 2.0, "least": 1.0, "most": 3.0}, "fpr": None}
    rows = [{"captures_left_out": {"per_capture": [capture, quiet]}}] * 2
    return {
        "cost": {"parameters": 474_000, "network_bytes": 820_000, "state_bytes": 1024, "words_per_s": 112_344.0,
                 "one_word_p50_us": 309.0, "one_word_p99_us": 1053.0},
        "fit_processor_s": [190.0, 201.4],
        "agreement": {"flow_count": 1000, "equal_verdict_count": 999, "word_count": 2000, "equal_class_count": 1990,
                      "most_apart": 0.021},
        "ranking": {"tpr_at_budget": tpr, "auc": 0.987},
        "accuracy": {"figures": {"captures_left_out": found, "benign_left_out": benign, "ton_pairs": {"macro_f1": 0.8}},
                     "per_seed": rows},
    }  # fmt: skip


def _row(difference: float, interval: tuple[float, float] | None, captures: int = 9) -> dict[str, Any]:
    return {"title": "TPR", "captures": captures, "one": 0.9 + difference, "other": 0.9, "difference": difference,
            "interval": interval}  # fmt: skip


def _page(*rows: dict[str, Any], sources: tuple[str, ...] = ("aa",)) -> str:
    return render_architectures(
        {
            "first": "nano",
            "folds": [0, 3],
            "seeds": [0, 1],
            "source_sha256": list(sources),
            "machine": {"processor": "some processor", "python": "3.11"},
            "networks": {"nano": _network(0.9), "other": _network(0.8)},
            "against_first": {"other": list(rows)},
        }
    )


def test_a_difference_is_called_by_its_interval_and_the_number_of_captures() -> None:
    page = _page(
        _row(0.01, (-0.02, 0.04)), _row(-0.1, (-0.2, -0.05)), _row(-0.3, (-0.4, -0.2), captures=3), _row(0.0, None)
    )
    lines = [line for line in page.splitlines() if line.startswith("| TPR (")]
    readings = [line.split(" | ")[-1].rstrip(" |") for line in lines]
    few = "too few captures to tell"
    assert readings == ["chance could make it", "beyond chance over captures", few, few]
    assert "| -0.1000 | -0.2000 to -0.0500 |" in page


def test_every_network_and_capture_has_its_row() -> None:
    page = _page(_row(0.01, (-0.02, 0.04)))
    assert "Folds 0, 3; seeds 0, 1" in page and "held against **nano**" in page
    assert "| nano | 0.900 | 0.800 to 1.000 | 0.0015 | 0.900 | 0.9870 | 6.0 of 7 | 2.0 | - | 0.800 |" in page
    assert "| other | 474,000 | 820,000 | 1,024 | 112,344 | 309 us | 1053 us | 190, 201 |" in page
    assert "| nano | 99.9000% of 1,000 | 99.5000% of 2,000 | 0.021 |" in page
    assert "| iot23/1-1 | TPR | 0.900 | 0.800 |" in page and "| hue | FPR | 0.002 | 0.002 |" in page


def test_cells_of_several_sources_are_not_passed_off_as_one() -> None:
    assert "states of the source" not in _page(_row(0.0, (-0.1, 0.1)))
    assert "**Measured by 2 states of the source**" in _page(_row(0.0, (-0.1, 0.1)), sources=("aa", "bb"))
