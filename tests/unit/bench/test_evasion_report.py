"""The report: what an evasion leaves is said first, every strength has its row, nothing unknown is printed as zero."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evasion_builder import Outspoken, attacked_network, calls_attacks, calls_port, habit, label
from thingwarden.bench.evasion import EVASIONS
from thingwarden.bench.evasion_frog import cast_frogs, grow_attack
from thingwarden.bench.evasion_frog_measure import measure_streams, summarise_frog
from thingwarden.bench.evasion_measure import Network, Stage, summarise_evasion
from thingwarden.bench.evasion_report import render_evasion, write_evasion
from thingwarden.bench.evasion_run import FROG, RECORDED, WARM_UP
from thingwarden.domain.taxonomy import AttackClass


def _families(contestant: Outspoken) -> dict[str, Any]:
    stage = Stage(contestant, [Network(f"net-{number}", attacked_network(12 + number), 0.5) for number in range(2)])
    families: dict[str, Any] = {
        name: summarise_evasion({strength: stage.measure(EVASIONS[name], strength, 1) for strength in (0.0, 8.0)})
        for name in ("port-hopping", "padding")
    }
    quiet = label([habit(float(at_s), "192.168.7.20") for at_s in range(0, 7200, 240)])
    casts = cast_frogs([("net-1", attacked_network()), ("net-2", quiet)], AttackClass.C2, 1, 1)
    records = measure_streams([grow_attack(cast, 0.0) for cast in casts], contestant)
    return families | {FROG: {"c2": summarise_frog({0.0: records})}, WARM_UP: {"c2": summarise_frog({6.0: records})}}


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    return {
        "corpus_sha256": "ab" * 32,
        "corpus_seed": 7,
        "seed": 1,
        "version": "0",
        "source_sha256": "cd" * 32,
        "networks": 2,
        "origins": {"by port": "Knows a port.", "blind": "Knows nothing."},
        "recorded": {"by port": [], "blind": []},
        "contestants": {
            "by port": _families(Outspoken(calls_port(6667))),
            "blind": _families(Outspoken(calls_port(1))),
        },
    }


def test_what_is_left_at_worst_is_said_first(figures: dict[str, Any]) -> None:
    text = render_evasion(figures, {}, has_frogs=False)
    assert "- by port, port-hopping: 0.000 (0.00 to 0.00) of 1.000 at 8." in text
    assert "- by port, padding: no strength lowers the recall of 1.000." in text
    assert "- blind, padding: nothing to lose" in text


def test_every_strength_has_its_row_and_budget(figures: dict[str, Any]) -> None:
    text = render_evasion(figures, {"by port": "by-port.png", "blind": "blind.png"}, has_frogs=True)
    rows = [line for line in text.splitlines() if line.startswith("| port-hopping | 8 |")]
    assert len(rows) == 4, "figures and classes of both"
    assert "1.00, 1.00, 1.00" in rows[0] and "(0.00 to 0.00)" in rows[0]
    assert "| by port | c2 | at once | 1 | 1.000 | - | 0.00 |" in text
    assert "| by port | c2 | 6 h | 1 |" in text
    assert "## blind\n\nKnows nothing." in text


def test_recorded_captures_have_a_table_where_there_are_any(figures: dict[str, Any]) -> None:
    families = {**figures["contestants"]["by port"]}
    families["padding"] = {**families["padding"], RECORDED: families["padding"]["all"]}
    changed = {**figures, "recorded": {"by port": ["34-1"]}, "contestants": {"by port": families}}
    text = render_evasion(changed, {"by port": "by-port.png"}, has_frogs=False)
    assert "Recorded, and never learned from: 34-1." in text
    assert sum(line.startswith("| padding | 8 |") for line in text.splitlines()) == 3


def test_files_are_written_and_named_in_the_report(figures: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "evasion-notes.md").write_text("Mimicry works.")
    report = write_evasion(figures, tmp_path)
    names = {path.name for path in report.parent.iterdir()} - {"evasion-notes.md"}
    assert names == {"evasion.md", "evasion.json", "evasion-by-port.png", "evasion-blind.png", "evasion-frog.png"}
    text = report.read_text()
    assert "\n\nMimicry works.\n\n" in text
    assert all(f"]({name})" in text for name in names if name.endswith(".png"))
    assert json.loads((report.parent / "evasion.json").read_text())["networks"] == 2


def test_without_streams_there_is_no_picture_of_them(figures: dict[str, Any], tmp_path: Path) -> None:
    stage = Stage(Outspoken(calls_attacks), [Network("net-0", attacked_network(), 0.5)])
    curves = summarise_evasion({0.0: stage.measure(EVASIONS["padding"], 0.0, 1)})
    alone = {
        **figures,
        "origins": {"all": "Knows all."},
        "recorded": {"all": []},
        "contestants": {"all": {"padding": curves, FROG: {"c2": []}}},
    }
    report = write_evasion(alone, tmp_path)
    assert not (tmp_path / "evasion-frog.png").exists() and "Boiling frog" not in report.read_text()
