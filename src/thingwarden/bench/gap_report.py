"""The report on the two domain gaps, as Markdown, and its figures as JSON.

In: gaps and offences. Out: text.
Must never: leave out a figure because it is not what was hoped for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from thingwarden.bench.buckets import name_bucket, name_word
from thingwarden.bench.domain_gap import Gap
from thingwarden.bench.gap_findings import GapFindings

GOAL_AUC: Final = 0.65
_TITLE: Final = f"""# Domain gap

Made by `thingwarden bench gap`. LightGBM is shown single words (opening and closing, all fields, as the model reads \
them) and asked which world they are of; it is judged on runs that it has not seen. 0.5 is not at all, 1 is always. \
Of two settings of the trees the one that tells the worlds apart better is reported. "Subjects even" lets each act and \
kind of device of a run weigh the same, so that a flood does not hide the rest. The goal for simulated against real \
words is at most {GOAL_AUC}."""
_HEADINGS: Final = {
    "worlds": "## Simulated against real runs of the same scenarios and seeds",
    "public": "## The lab's harmless networks against public devices",
}
_FIELDS_SHOWN: Final = 12
_EXAMPLES_SHOWN: Final = 10


def render_findings(findings: GapFindings) -> str:
    """One comparison: AUCs, fields, offences, uncovered buckets, example words."""
    parts = [_render_aucs(findings), _render_fields(findings), _render_offences(findings)]
    if findings.uncovered:
        parts.append(_render_uncovered(findings))
    return "\n\n".join([*parts, _render_examples(findings)])


def figures(findings: GapFindings) -> dict[str, Any]:
    """The numbers of the report by what was compared."""
    return {
        name: {
            "auc": gap.auc,
            "auc_low": gap.auc_low,
            "auc_high": gap.auc_high,
            "even_auc": gap.even_auc,
            "words": list(gap.words),
            "runs": list(gap.runs),
            "field_aucs": gap.field_aucs,
            "gain_ratios": gap.gain_ratios,
        }
        for name, gap in findings.gaps.items()
        if gap is not None
    }


def _render_aucs(findings: GapFindings) -> str:
    one, other = findings.names
    lines = [
        f"| compared | AUC | 95 % interval | AUC, subjects even | words {one}, {other} | runs |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for name, gap in findings.gaps.items():
        if gap is None:
            lines.append(f"| {name} | - | too few runs to hold any out | - | - | - |")
            continue
        words = f"{gap.words[0]:,}, {gap.words[1]:,}"
        interval = f"{gap.auc_low:.3f} to {gap.auc_high:.3f}"
        lines.append(
            f"| {name} | {gap.auc:.3f} | {interval} | {gap.even_auc:.3f} | {words} | {gap.runs[0]}, {gap.runs[1]} |"
        )
    return "\n".join(lines)


def _whole(findings: GapFindings) -> Gap | None:
    return next((gap for gap in findings.gaps.values() if gap is not None), None)


def _render_fields(findings: GapFindings) -> str:
    gap = _whole(findings)
    if gap is None:
        return "No field can be judged."
    fields = sorted(gap.gain_ratios, key=lambda name: -gap.gain_ratios[name])[:_FIELDS_SHOWN]
    fields += [name for name in list(gap.field_aucs)[:_FIELDS_SHOWN] if name not in fields]
    lines = ["| field | share of the trees' gain | AUC alone |", "|---|---:|---:|"]
    lines += [f"| {name} | {gap.gain_ratios[name]:.3f} | {gap.field_aucs[name]:.3f} |" for name in fields]
    return "\n".join(lines)


def _render_offences(findings: GapFindings) -> str:
    one, other = findings.names
    lines = [
        f"| act or device | field | bucket | {one} | {other} | words {one}, {other} |",
        "|---|---|---|---:|---:|---:|",
    ]
    for item in findings.offences:
        bucket = name_bucket(item.field, item.bucket, findings.vocabulary)
        shares = f"{item.first_ratio:.3f} | {item.second_ratio:.3f}"
        words = f"{item.words[0]:,}, {item.words[1]:,}"
        lines.append(f"| {item.subject} | {item.field} | {bucket} | {shares} | {words} |")
    return "\n".join(lines)


def _render_uncovered(findings: GapFindings) -> str:
    one, other = findings.names
    lines = [f"| field | bucket | share, {one} | share, {other} |", "|---|---|---:|---:|"]
    for item in findings.uncovered:
        bucket = name_bucket(item.field, item.bucket, findings.vocabulary)
        lines.append(f"| {item.field} | {bucket} | {item.first_ratio:.4f} | {item.second_ratio:.4f} |")
    return "\n".join(lines)


def _render_examples(findings: GapFindings) -> str:
    gap = _whole(findings)
    if gap is None:
        return ""
    shown = list(gap.field_aucs)[:8]
    lines = ["| world | act or device | probability | word, its eight most telling fields |", "|---|---|---:|---|"]
    for item in gap.telltales[:_EXAMPLES_SHOWN]:
        word = name_word(item.buckets, findings.vocabulary, shown)
        lines.append(f"| {findings.names[item.is_second]} | {item.subject} | {item.probability:.3f} | {word} |")
    return "\n".join(lines)


def write_report(found: Mapping[str, GapFindings], folder: Path) -> None:
    """Write ``domain-gap.md`` and ``domain-gap.json``.

    Args:
        found: ``worlds`` and ``public``, or one of them; the other's part of an earlier report is kept.
        folder: made where it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, findings in found.items():
        content = {"figures": figures(findings), "report": render_findings(findings)}
        (folder / f"domain-gap-{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    parts = [_TITLE]
    for name, heading in _HEADINGS.items():
        path = folder / f"domain-gap-{name}.json"
        if path.is_file():
            parts += [heading, json.loads(path.read_text(encoding="utf-8"))["report"]]
    (folder / "domain-gap.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
