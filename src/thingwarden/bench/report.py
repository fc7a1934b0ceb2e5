"""The report: raw JSON, Markdown for readers, one self-contained HTML page with plots.

In: the summary of an accuracy run. Out: ``accuracy.json``, ``accuracy.md``, ``accuracy.html`` in one folder.
Must never: begin with anything but what was missed, or leave out a row that looks bad.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from markdown_it import MarkdownIt

from thingwarden.bench.goals import MODEL, check_goals
from thingwarden.bench.plots import draw_plots
from thingwarden.bench.report_notes import read_notes

WITHOUT_LAB: Final = "flow-lm-without-lab"
"""The same model by the same recipe, which never saw a simulated network."""

"""Why a goal was missed and what was tried: written by people, printed at the top, never generated."""

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that is printed twice, as Markdown and as HTML."""

    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def write_reports(summary: dict[str, Any], out: Path) -> None:
    """Write all three files; ``accuracy-notes.md`` in the same folder, if there is one, is printed below the goals."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "accuracy.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")
    notes = read_notes(out, "accuracy")
    goals = check_goals(summary)
    tables = make_tables(summary)
    (out / "accuracy.md").write_text(_markdown(summary, goals, notes, tables))
    (out / "accuracy.html").write_text(_html(summary, goals, notes, tables))


def make_tables(summary: dict[str, Any]) -> list[Table]:
    """All tables of the report, in order."""
    figures = {name: entry["figures"] for name, entry in summary["contestants"].items()}
    return [
        _wide("Captures left out", _CAPTURES_NOTE, "captures_left_out", _CAPTURES, figures),
        _per_capture(figures),
        _wide("Benign devices left out", _BENIGN_NOTE, "benign_left_out", _BENIGN, figures),
        _against(summary["against_baselines"]),
        _ablation(summary["lab_ablation"]),
        _wide("Simulated networks left out", _LAB_NOTE, "lab_left_out", _LAB, figures),
        _acts(figures),
        _wide("Simulated device-weeks", _WEEKS_NOTE, "lab_weeks", _WEEKS, figures),
        _weeks_by("kind", "by_kind", figures),
        _weeks_by("cause", "by_cause", figures),
        _wide("TON_IoT, host pairs held out", _TON_NOTE, "ton_pairs", _TON, figures),
        _wide("TON_IoT, normal sources held out", _SOURCES_NOTE, "ton_sources", _TON, figures),
        _wide(
            "TON_IoT, random split: LEAKY, beside the honest ones only",
            _LEAKY_NOTE,
            "random_split_leaky",
            _TON,
            figures,
        ),
        _classes(figures),
        _across(figures),
        _wide("Shortcut audit", _AUDIT_NOTE, "shortcut_audit", _AUDIT, figures),
    ]


_CAPTURES: Final = (
    ("tpr", "TPR"),
    ("tpr_interval", "95 % over captures"),
    ("fpr", "FPR"),
    ("tpr_mean_over_captures", "TPR, mean of captures"),
    ("tpr_by_row", "TPR by row"),
    ("fpr_by_row", "FPR by row"),
    ("captures_found_with_role", "captures found, right role"),
    ("auc", "AUC*"),
    ("tpr_at_budget_set_on_test", "TPR at FPR 0.5 %*"),
)
_BENIGN: Final = (
    ("false_incidents", "false incidents"),
    ("device_days", "device-days"),
    ("false_per_device_week_at_most", "a week at most (95 %)"),
    ("set_up_sessions_accused", "set-ups accused"),
    ("accused_per_100_sessions", "per 100"),
    ("fpr", "FPR"),
    ("fpr_by_row", "FPR by row"),
)
_LAB: Final = (
    ("networks", "networks"),
    ("tpr", "TPR"),
    ("tpr_interval", "95 % over networks"),
    ("tpr_by_row", "TPR by row"),
    ("fpr", "FPR"),
    ("fpr_by_row", "FPR by row"),
    ("attacks", "attacks"),
    ("attacks_found", "found"),
    ("attacks_found_with_role", "found, right role"),
    ("false_incidents", "false incidents"),
    ("device_weeks", "device-weeks"),
    ("restricted", "answered by more than a notification"),
)
_WEEKS: Final = (
    ("networks", "networks"),
    ("device_weeks", "device-weeks"),
    ("false_incidents", "false incidents"),
    ("false_per_device_week", "a device-week"),
    ("false_per_device_week_at_most", "at most (95 %)"),
    ("restricted", "answered by more than a notification"),
    ("restricted_per_device_week_at_most", "of these a device-week at most (95 %)"),
    ("fpr", "FPR"),
    ("fpr_by_row", "FPR by row"),
)
_TON: Final = (
    ("macro_f1", "macro-F1"),
    ("macro_f1_without_mitm", "without mitm"),
    ("macro_f1_learnable", "what can be learned"),
    ("macro_f1_mean_of_folds", "mean of folds"),
    ("macro_f1_by_pattern", "by pattern"),
    ("tpr", "TPR"),
    ("fpr", "FPR"),
    ("fpr_by_pattern", "FPR by pattern"),
    ("tpr_at_threshold", "TPR at threshold"),
    ("fpr_at_threshold", "FPR at threshold"),
)
_AUDIT: Final = (
    ("route_told_from_benign_scores", "route told from benign scores (0.5 is chance)"),
    ("f1_of_source_alone", "F1, source alone"),
    ("f1_of_position_alone", "F1, position alone"),
    ("fpr_in_attacked_captures", "FPR, benign flows of attacked captures"),
    ("fpr_in_benign_captures", "FPR, benign captures"),
    ("false_incidents_in_attacked_captures", "false incidents, attacked"),
    ("false_incidents_in_benign_captures", "false incidents, benign"),
    ("recall_in_place", "recall in place"),
    ("recall_grafted", "recall grafted onto unseen benign devices"),
    ("equal_verdicts_on_both_routes", "equal verdicts, log and packets"),
)
_CAPTURES_NOTE: Final = (
    "Each flow weighs 1/n, n being the flows of the same capture, label and pattern, pooled over captures. Thresholds "
    "were set on held-out benign devices of the training folds at 0.2 %, for every contestant alike. Columns with * "
    "set the threshold on the test itself: they compare rankings and are no result."
)
_BENIGN_NOTE: Final = (
    "Devices never seen in training. Each capture counts as one watched device. The bound is Poisson's, one-sided."
)
_LAB_NOTE: Final = (
    "Networks of the lab that the fold holds out, by their number. An attack is one act in one network; it is found "
    "where a true incident accuses one of its hosts while it goes on, in the right role where that host's part in it "
    "is the one named. Simulated figures say how the contestant does in the lab's world, not in a home."
)
_WEEKS_NOTE: Final = (
    "Simulated networks without attacks that nobody learned from, a week each, full of what looks odd and is not. Each "
    "is judged once, by the model of the fold that its number falls to. Answered means what policy would order by its "
    "defaults. The bounds are Poisson's, one-sided."
)
_ABLATION_NOTE: Final = (
    "The same recipe with and without simulated networks to learn from and to set thresholds on, on the recorded "
    "captures and devices left out. The interval of the difference is bootstrapped over captures, the same draws for "
    "both; one that holds 0 shows no difference."
)
_AGAINST_NOTE: Final = (
    "Over the folds and seeds that both were measured in. The interval is bootstrapped over captures, the same draws "
    "for both; lan-010 holds most of the weight, so that a draw without it reads quite differently."
)
_TON_NOTE: Final = (
    "All rows of a host pair are on one side. Pooled over the five folds; TPR and FPR of the ten-class head, then of "
    "the product's threshold. backdoor and ransomware have one pair with 99.8 % of their rows: whoever is tested on it "
    "has seen a handful of others, or none. What can be learned leaves out a class in each fold that holds out all but "
    "a hundred of its rows, or fewer than a hundred. One pair holds a third of all normal rows, DNS queries without an "
    "answer, a pattern that no other pair shows: by row it decides the FPR, so patterns are counted beside it."
)
_SOURCES_NOTE: Final = "Attack rows as above; normal rows of source addresses never seen in training."
_LEAKY_NOTE: Final = "Rows of one flood are on both sides, and 10 % are exact duplicates: this measures memory."
_AUDIT_NOTE: Final = (
    "Printed whatever it says. Source and position alone need no contestant; a contestant not far above them may have "
    "learned nothing else."
)


def _wide(
    title: str, note: str, protocol: str, columns: Sequence[tuple[str, str]], figures: Mapping[str, Figures]
) -> Table:
    rows = tuple(
        (name, *(_text(entry[protocol].get(key)) for key, _ in columns))
        for name, entry in figures.items()
        if entry.get(protocol)
    )
    return Table(title=title, note=note, head=("contestant", *(label for _, label in columns)), rows=rows)


def _ablation(rows: Sequence[Mapping[str, Any]] | None) -> Table:
    keys = ("captures", "one", "other", "difference", "interval")
    return Table(
        title="What the lab adds",
        note=_ABLATION_NOTE,
        head=("figure", "captures", MODEL, WITHOUT_LAB, "difference", "95 % of the difference"),
        rows=tuple((row["title"], *(_text(row[key]) for key in keys)) for row in rows or ()),
    )


def _against(baselines: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    rows = [(name, row) for name, rows in baselines.items() for row in rows if row["figure"] in ("tpr", "fpr")]
    keys = ("captures", "one", "other", "difference", "interval")
    return Table(
        title="Against each baseline",
        note=_AGAINST_NOTE,
        head=("baseline", "figure", "captures", MODEL, "baseline", "difference", "95 % of the difference"),
        rows=tuple((name, row["title"], *(_text(row[key]) for key in keys)) for name, row in rows),
    )


def _acts(figures: Mapping[str, Figures]) -> Table:
    names = [name for name, entry in figures.items() if entry["lab_left_out"]]
    tables = {name: figures[name]["lab_left_out"]["per_act"] for name in names}
    acts = sorted({act for table in tables.values() for act in table})
    rows = []
    for act in acts:
        known = next(table[act] for table in tables.values() if act in table)
        cells = (_act_cell(tables[name].get(act)) for name in names)
        rows.append((f"{act} ({known['class']})", _text(known["attacks"]), *cells))
    note = "Share found in the right role / TPR by pattern, in simulated networks left out."
    return Table(title="Simulated attacks by act", note=note, head=("act", "attacks", *names), rows=tuple(rows))


def _act_cell(act: Mapping[str, Any] | None) -> str:
    return "-" if act is None else f"{_text(act['found_with_role'])} / {_text(act['tpr'])}"


def _weeks_by(what: str, key: str, figures: Mapping[str, Figures]) -> Table:
    names = [name for name, entry in figures.items() if entry["lab_weeks"]]
    tables = {name: figures[name]["lab_weeks"][key] for name in names}
    kinds = sorted({kind for table in tables.values() for kind in table})
    unit = "device_weeks" if what == "kind" else "networks"
    rows = []
    for kind in kinds:
        known = next(table[kind] for table in tables.values() if kind in table)
        cells = (_false_cell(tables[name].get(kind)) for name in names)
        rows.append((kind, _text(known[unit]), *cells))
    note = "False incidents / those that policy would answer with more than a notification."
    if what == "cause":
        note += " The cause is the act that the incident's loudest flows belong to; an outage has no flows of its own."
    head = (what, unit.replace("_", "-"), *names)
    return Table(title=f"Simulated device-weeks by {what}", note=note, head=head, rows=tuple(rows))


def _false_cell(row: Mapping[str, Any] | None) -> str:
    return "-" if row is None else f"{_text(row['false_incidents'])} / {_text(row['restricted'])}"


def _per_capture(figures: Mapping[str, Figures]) -> Table:
    names = list(figures)
    found: dict[str, dict[str, Any]] = {}
    for name, entry in figures.items():
        for row in entry["captures_left_out"]["per_capture"]:
            found.setdefault(row["capture"], {})[name] = row
    rows = tuple((capture, *(_capture_cell(of.get(name)) for name in names)) for capture, of in sorted(found.items()))
    note = "TPR / FPR by pattern; true+false incidents. First seed. A dash: the capture has no such flows."
    return Table(title="Every capture", note=note, head=("capture", *names), rows=rows)


def _capture_cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    rates = f"{_text(row['tpr'])} / {_text(row['fpr'])}"
    return f"{rates}; {row['true_incidents']}+{row['false_incidents']}"


def _classes(figures: Mapping[str, Figures]) -> Table:
    names = [name for name, entry in figures.items() if entry["classes_left_out"]]
    kinds = sorted({kind for name in names for kind in figures[name]["classes_left_out"]})
    rows = tuple(
        (kind, *(_text(figures[name]["classes_left_out"].get(kind, {}).get("recall")) for name in names))
        for kind in kinds
    )
    note = (
        "Recall of a class of which training held no row. Captures and simulated networks by pattern; TON_IoT by row, "
        "any attack type counts."
    )
    return Table(title="An attack class left out", note=note, head=("class", *names), rows=rows)


def _across(figures: Mapping[str, Figures]) -> Table:
    names = [name for name, entry in figures.items() if entry["across_sets"]]
    keys = [
        ("captures_to_ton", "tpr", "captures to TON_IoT: TPR"),
        ("captures_to_ton", "fpr", "captures to TON_IoT: FPR"),
        ("ton_to_captures", "tpr", "TON_IoT to captures: TPR"),
        ("ton_to_captures", "fpr", "TON_IoT to captures: FPR"),
    ]
    rows = tuple(
        (label, *(_text(figures[name]["across_sets"].get(way, {}).get(key)) for name in names))
        for way, key, label in keys
    )
    note = "Learned on one collection, tested on the other; by threshold."
    return Table(title="Across sets", note=note, head=("", *names), rows=rows)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return " to ".join(_text(part) for part in value)
    if isinstance(value, Mapping):
        middle = _text(value["mean"])
        is_same = value["most"] - value["least"] < 1e-9
        return middle if is_same else f"{middle} ({_text(value['least'])}-{_text(value['most'])})"
    if isinstance(value, str):
        return value
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) > 1 else f"{number:.4f}".rstrip("0").rstrip(".")


def _preamble(summary: dict[str, Any]) -> list[str]:
    plan = summary["plan"]
    sources = summary["source_sha256"]
    lines = [
        f"Fold plan SHA-256 `{plan['sha256']}`, {plan['folds']} folds; thingwarden {summary['version']}; "
        f"{summary['cells']} cells; source `{sources[0][:16] if sources else '-'}`.",
        "All contestants read the same words' fields and get the same tuning budget: three settings, two "
        "weightings, one inner split of the training folds.",
        "Not run: Suricata, Snort, text language models, Kitsune's autoencoders.",
    ]
    for what, key in (("Simulated networks", "lab_sha256"), ("Networks counted in", "weeks_sha256")):
        lines.append(f"{what}: manifest SHA-256 `{summary[key]}`." if summary[key] else f"{what}: none.")
    if len(sources) > 1:
        lines.append(
            f"Cells were measured under {len(sources)} states of the source: " + ", ".join(s[:16] for s in sources)
        )
    return lines


def _first_words(summary: dict[str, Any]) -> list[str]:
    """What must be said first: goals, and whether the dictionary wins."""
    figures = {name: entry["figures"] for name, entry in summary["contestants"].items()}
    lines = check_goals(summary)
    for protocol, key in (("captures_left_out", "tpr_at_budget_set_on_test"), ("ton_pairs", "macro_f1")):
        best = max(figures, key=lambda name: _or_nothing(figures[name], protocol, key), default=None)
        if best == "dictionary":
            lines.insert(0, f"THE DICTIONARY WINS: nothing has a better {key} under {protocol}.")
    return _check_folds(summary) + lines


def _check_folds(summary: dict[str, Any]) -> list[str]:
    """A warning where contestants were not tested on the same folds and seeds, for then nothing can be compared."""
    tested = {
        name: tuple((seed, *run["folds"]) for seed, run in zip(entry["seeds"], entry["per_seed"], strict=True))
        for name, entry in summary["contestants"].items()
    }
    if len(set(tested.values())) < 2:
        return []
    told = "; ".join(f"{name}: {runs}" for name, runs in tested.items())
    return [f"NOT COMPARABLE: contestants were tested on different seeds and folds ({told})."]


def _mean(figures: Figures, protocol: str, key: str) -> float:
    value = figures[protocol].get(key)
    return float("nan") if value is None else float(value["mean"])


def _or_nothing(figures: Figures, protocol: str, key: str) -> float:
    value = _mean(figures, protocol, key)
    return value if value == value else -1.0


def _markdown(summary: dict[str, Any], goals: Sequence[str], notes: str, tables: Sequence[Table]) -> str:
    lines = ["# Accuracy", "", *(f"- {line}" for line in _first_words(summary)), ""]
    if notes:
        lines += [notes, ""]
    lines += [*_preamble(summary), ""]
    for table in tables:
        if table.rows and len(table.head) > 1:
            lines += [f"## {table.title}", "", table.note, "", _markdown_row(table.head)]
            lines += ["|" + "---|" * len(table.head), *(_markdown_row(row) for row in table.rows), ""]
    return "\n".join(lines)


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _html(summary: dict[str, Any], goals: Sequence[str], notes: str, tables: Sequence[Table]) -> str:
    body = ["<h1>Accuracy</h1>", "<ul>", *(f"<li>{html.escape(line)}</li>" for line in _first_words(summary)), "</ul>"]
    if notes:
        body.append(MarkdownIt("commonmark", {"html": False}).render(notes))
    body += [f"<p>{html.escape(line)}</p>" for line in _preamble(summary)]
    body += [f"<figure>{svg}</figure>" for svg in draw_plots(summary)]
    for table in tables:
        if table.rows and len(table.head) > 1:
            body += [f"<h2>{html.escape(table.title)}</h2>", f"<p>{html.escape(table.note)}</p>", _html_table(table)]
    return _PAGE.replace("BODY", "\n".join(body))


def _html_table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "\n".join(["<table>", row(table.head, "th"), *(row(cells, "td") for cells in table.rows), "</table>"])


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Thingwarden: accuracy</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#1d2430}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}
td,th{border-bottom:1px solid #d5dae2;padding:.25rem .6rem;text-align:left;white-space:nowrap}
th{background:#f2f4f7}figure{margin:1rem 0}svg{max-width:100%;height:auto}
</style></head><body>
BODY
</body></html>
"""
