"""Pictures of evasion: drawn without a display, the same bytes twice, unbroken by what is unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from thingwarden.bench.evasion_plots import draw_curves, draw_frogs


def _curve(*recalls: float | None) -> list[dict[str, Any]]:
    return [
        {"strength": float(place), "recall": recall, "recall_interval": None if recall is None else (0.0, 1.0),
         "found_with_role": recall, "recall_full": recall, "recall_full_interval": None}
        for place, recall in enumerate(recalls)
    ]  # fmt: skip


def test_the_same_figures_give_the_same_picture(tmp_path: Path) -> None:
    evasions = {"padding": {"all": _curve(1.0, 0.5), "c2": _curve(0.5, None)}, "jitter": {"all": _curve(None, None)}}
    for name in ("one.png", "other.png"):
        draw_curves("model", evasions, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    draw_curves("model", {"padding": {"all": _curve(1.0, 0.1)}}, tmp_path / "changed.png")
    assert (tmp_path / "changed.png").read_bytes() != (tmp_path / "one.png").read_bytes()


def test_contestants_may_lack_what_others_have(tmp_path: Path) -> None:
    draw_frogs(
        {"one": {"c2": _curve(1.0, 0.5), "scan": _curve(0.2)}, "other": {"c2": _curve(None, 0.5)}},
        tmp_path / "frogs.png",
    )
    assert (tmp_path / "frogs.png").read_bytes().startswith(b"\x89PNG")
