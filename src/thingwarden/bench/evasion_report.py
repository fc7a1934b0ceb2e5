"""The report on evasion, as Markdown, its figures as JSON and its curves as pictures.

In: what ``run_evasion`` returned. Out: ``evasion.md``, ``evasion.json``, ``evasion-*.png``.
Must never: leave out an evasion because it works.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from thingwarden.bench.evasion import EVASIONS, UNCHANGED
from thingwarden.bench.evasion_frog import FIRST_PACE_PER_H, FULL_CONTACTS, FULL_PACE_PER_H, HISTORY_H
from thingwarden.bench.evasion_plots import draw_curves, draw_frogs
from thingwarden.bench.evasion_run import FROG, RECORDED, WARM_UP
from thingwarden.bench.report_notes import read_notes

Figures = Mapping[str, Any]

_TITLE: Final = """# Evasion

Made by `thingwarden bench evasion`; [how it is measured](../evaluation.md#evasion). Attack flows of networks that the \
contestant never learned from are changed as an attacker could change them, each network is encoded and judged anew, \
and the thresholds stay what they were. Harmless flows stay as they are.

*Recall* is by pattern, of the flows that the evasion can change. *Kept* is that recall over the recall of the same \
flows without the evasion; more than 1 means that the evasion gives the attacker away. Intervals are 95 %, networks \
drawn with replacement. *Found* is the share of attacks over which a true incident accuses the right host in the right \
role. *Price* is what the attacker pays: contacts made and payload sent while the recording lasts, and flows in the \
network, over those without. *FPR* (by pattern) and *false* incidents are the budget that was really spent. \
Thresholds were set on recorded devices, and simulated ones spend more or less of the budget with each contestant: \
compare what contestants keep, and not their recalls without looking at the FPR."""

_FROG_NOTE: Final = f"""A host's harmless days, {HISTORY_H:.0f} hours, with one attack taken from another network that \
begins at {FIRST_PACE_PER_H:.0f} contact per hour and grows to {FULL_PACE_PER_H:.0f} an hour, at which it stays for \
{FULL_CONTACTS} contacts. *Recall* is by flow, at full pace and before. Hours and contacts are medians from the \
attack's first contact to the first true incident about it, over the streams in which there was one."""

_WARM_UP_NOTE: Final = """The same with a controller's traffic at full pace at once, after hours of visits to its \
address and port that look like the host's own harmless flows, one every ten minutes."""


def write_evasion(figures: Figures, folder: Path) -> Path:
    """Write report, figures and pictures into ``folder``; the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evasion.json").write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    pictures = {}
    for name, families in figures["contestants"].items():
        evasions = {family: families[family] for family in EVASIONS if family in families}
        if evasions:
            pictures[name] = f"evasion-{re.sub(r'[^a-z0-9]+', '-', name.lower())}.png"
            draw_curves(name, evasions, folder / pictures[name])
    frogs = {name: _frogs_of(families) for name, families in figures["contestants"].items()}
    has_frogs = any(frogs.values())
    if has_frogs:
        draw_frogs(frogs, folder / "evasion-frog.png")
    report = folder / "evasion.md"
    text = render_evasion(figures, pictures, has_frogs=has_frogs, notes=read_notes(folder, "evasion"))
    report.write_text(text, encoding="utf-8")
    return report


def _frogs_of(families: Figures) -> dict[str, Sequence[Figures]]:
    """Curves of everything that grows, by its title."""
    titles = {FROG: "{}, growth per hour", WARM_UP: "{}, hours of visits before"}
    return {
        title.format(kind): curve
        for family, title in titles.items()
        for kind, curve in families.get(family, {}).items()
        if curve
    }


def render_evasion(figures: Figures, pictures: Mapping[str, str], *, has_frogs: bool, notes: str = "") -> str:
    """The report, Markdown.

    Args:
        figures: of ``run_evasion``.
        pictures: file name of each contestant's curves.
        has_frogs: whether there is a picture of what grows.
        notes: printed below what each evasion leaves.
    """
    parts = [_TITLE, _units(), "Kept at worst, of the recall without evasion:", "\n".join(_first_words(figures))]
    parts += [notes, _origin(figures)]
    for name, families in figures["contestants"].items():
        parts += [f"## {name}", figures["origins"][name]]
        if name in pictures:
            parts += [f"![Recall against strength]({pictures[name]})", _main_table(families, "all")]
            parts.append(_class_table(families))
            if figures["recorded"][name]:
                parts += [f"Recorded, and never learned from: {', '.join(figures['recorded'][name])}."]
                parts.append(_main_table(families, RECORDED))
    if has_frogs:
        parts += ["## Boiling frog", _FROG_NOTE, "![Recall at full pace](evasion-frog.png)"]
        parts += [_frog_table(figures, FROG, _growth), "### Visits beforehand", _WARM_UP_NOTE]
        parts.append(_frog_table(figures, WARM_UP, lambda hours: f"{hours:g} h"))
    return "\n\n".join(part for part in parts if part) + "\n"


def _first_words(figures: Figures) -> Iterator[str]:
    """What must be said first: how much of which recall each evasion leaves at worst."""
    for name, families in figures["contestants"].items():
        for family in (family for family in EVASIONS if family in families):
            curve = families[family].get("all", [])
            if not curve or not curve[0]["recall"]:
                yield f"- {name}, {family}: nothing to lose, it sees none of these attacks as they are."
                continue
            worst = min((point for point in curve if point["kept"] is not None), key=lambda point: point["kept"])
            if worst["strength"] == UNCHANGED:
                yield f"- {name}, {family}: no strength lowers the recall of {_number(curve[0]['recall'])}."
            else:
                interval = _interval(worst["kept_interval"])
                recall = _number(curve[0]["recall"])
                yield f"- {name}, {family}: {_number(worst['kept'])}{interval} of {recall} at {worst['strength']:g}."


def _origin(figures: Figures) -> str:
    return (
        f"{figures['networks']} simulated networks with attacks, corpus seed {figures['corpus_seed']}, manifest "
        f"SHA-256 `{figures['corpus_sha256']}`; draws from seed {figures['seed']}; thingwarden {figures['version']}, "
        f"source `{figures['source_sha256'][:16]}`."
    )


def _main_table(families: Figures, curve: str) -> str:
    head = ("evasion", "strength", "recall", "kept", "attacks", "found", "contacts, payload, flows", "FPR", "false")
    rows = []
    for family in (family for family in EVASIONS if family in families):
        for point in families[family].get(curve, []):
            price = ", ".join(_number(point[key], 2) for key in ("contacts", "payload", "flows"))
            rows.append(
                (
                    family,
                    f"{point['strength']:g}",
                    _number(point["recall"]) + _interval(point["recall_interval"]),
                    _number(point["kept"]) + _interval(point["kept_interval"]),
                    str(point["attacks"]),
                    _number(point["found_with_role"], 2),
                    price,
                    _number(point["fpr"], 4),
                    str(point["false"]),
                )
            )
    return _table(head, rows)


def _units() -> str:
    return "Strengths. " + "; ".join(f"{name}: {evasion.unit}" for name, evasion in EVASIONS.items()) + "."


def _class_table(families: Figures) -> str:
    """Recall, and in brackets the share of attacks found, by class."""
    kept = [family for family in EVASIONS if family in families]
    classes = sorted({name for family in kept for name in families[family]} - {"all", RECORDED})
    rows = []
    for family in kept:
        for place, point in enumerate(families[family].get("all", [])):
            by_class = [families[family].get(name) for name in classes]
            cells = [_recall_and_found(curve[place]) if curve else "-" for curve in by_class]
            rows.append((family, f"{point['strength']:g}", *cells))
    note = "Recall by class, in brackets the share of attacks found; `-` where the evasion does not apply.\n\n"
    return note + _table(("evasion", "strength", *classes), rows)


def _recall_and_found(point: Figures) -> str:
    return f"{_number(point['recall'], 2)} ({_number(point['found_with_role'], 2)})"


def _growth(growth_per_h: float) -> str:
    return "at once" if growth_per_h == UNCHANGED else f"x{growth_per_h:g}"


def _frog_table(figures: Figures, family: str, name_strength: Callable[[float], str]) -> str:
    head = ("contestant", "attack", "growth per hour" if family == FROG else "visits for", "streams",
            "recall at full pace", "before", "found", "hours", "contacts", "FPR", "false")  # fmt: skip
    rows = [
        (
            name,
            kind,
            name_strength(point["strength"]),
            str(point["streams"]),
            _number(point["recall_full"]) + _interval(point["recall_full_interval"]),
            _number(point["recall_rising"]),
            _number(point["found_with_role"], 2),
            _number(point["alarm_after_h"], 1),
            _number(point["contacts_before"], 0),
            _number(point["fpr_by_row"], 4),
            str(point["false"]),
        )
        for name, families in figures["contestants"].items()
        for kind, curve in families.get(family, {}).items()
        for point in curve
    ]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})"
