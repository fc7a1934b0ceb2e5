"""``thingwarden bench signatures``: Suricata and Snort beside the product, on the same packets.

In: the folder of public captures with its rules, a folder that keeps runs of the lab. Out: a report and its figures.
Must never: measure anything itself; fail because an engine is not installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from thingwarden.cli.inputs import data_option
from thingwarden.cli.invocation import Invocation, common_options, needs_extra
from thingwarden.cli.model import model_option, open_artifact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thingwarden.bench.recordings import Recording
    from thingwarden.model.artifact import Artifact

SCENARIOS: Final = (
    "attacks-broker", "attacks-c2", "attacks-exploit", "attacks-flood", "attacks-guess", "attacks-home",
    "attacks-plant", "attacks-scan", "clinic", "hard-firmware", "hard-outages", "hard-owner-scan", "home-day", "worm",
)  # fmt: skip
"""Every packaged scenario with attacks by known classes, and four without any."""

_COSTLY: Final = ("42-1", "home/xiaomi_gateway", "attacks-flood")
"""Recordings whose cost is measured, by the beginning of their names: one file of each."""


@click.command("signatures")
@data_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs/results"),
    show_default=True,
    help="Folder for the report; the referee's cells are looked for in it.",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("docs/images/signatures.svg"),
    show_default=True,
    help="Attacks found and false alarms.",
)
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that keeps runs of the lab with whole packets; they are compared on where it is given.",
)
@click.option("--scenario", "scenarios", multiple=True, help="May be repeated.  [default: fourteen packaged ones]")
@click.option("--seeds", type=click.IntRange(1, 100), default=2, show_default=True, help="Runs of each scenario.")
@click.option("--duration-s", type=click.FloatRange(min=10), default=180.0, show_default=True, help="Of each run.")
@click.option("--jobs", type=click.IntRange(1, 32), default=4, show_default=True, help="Runs at a time.")
@click.option("--kept", is_flag=True, help="Compare on the runs at hand; make no new one.")
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("build/signatures"),
    show_default=True,
    help="Folder that keeps the raw result of every file, so that a comparison that was cut off goes on.",
)
@click.option("--snort-config", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Snort's snort.lua.")
@click.option("--snort-rules", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Snort's rules.")
@click.option("--costs/--no-costs", default=True, show_default=True, help="Measure processor time and memory.")
@model_option
@common_options
@click.pass_obj
def signatures(
    invocation: Invocation,
    data: Path,
    out: Path,
    picture: Path,
    runs: Path | None,
    scenarios: tuple[str, ...],
    seeds: int,
    duration_s: float,
    jobs: int,
    kept: bool,
    work: Path,
    snort_config: Path | None,
    snort_rules: Path | None,
    costs: bool,
    model: Path | None,
) -> None:
    """Compare Suricata, and Snort where it is installed, with the model on the same packets."""
    with needs_extra("bench"):
        from thingwarden.bench.gap_runs import Plan
        from thingwarden.bench.recordings import list_recordings, make_runs
        from thingwarden.bench.signature_report import summarise, write_signatures
        from thingwarden.bench.signatures import Contest, read_held_out, run_contest
        from thingwarden.bench.suricata import find_rule_folders

    artifact = open_artifact(invocation, model)
    if runs is not None and not kept:
        plan = Plan(scenarios=scenarios or SCENARIOS, seeds=tuple(range(1, seeds + 1)), duration_s=duration_s)
        make_runs(plan, runs, jobs, invocation.remark)
    recordings = list_recordings(data, runs)
    rule_folders = find_rule_folders(data)
    contest = Contest(
        recordings=recordings,
        artifact=artifact,
        rule_folders=rule_folders,
        snort_configuration=snort_config,
        snort_rules=snort_rules,
        kept=work,
    )
    with invocation.progress("signatures", "files") as progress:
        found = run_contest(contest, progress)
    measured = _measure_costs(invocation, recordings, rule_folders, artifact) if costs else {}
    summary = summarise(found, read_held_out(out / "cells"), measured)
    report = write_signatures(summary, out, picture)
    _show(invocation, summary, report)


def _measure_costs(
    invocation: Invocation, recordings: Sequence[Recording], rule_folders: Sequence[Path], artifact: Artifact
) -> dict[str, Any]:
    from thingwarden.bench.signature_cost import measure_costs
    from thingwarden.bench.suricata import reason_not_run

    captures: dict[str, Path] = {}
    for start in _COSTLY:
        found = next((recording for recording in recordings if recording.name.startswith(start)), None)
        if found is not None:
            largest = max(
                (path for session in found.sessions for path in session), key=lambda path: path.stat().st_size
            )
            captures[found.name] = largest
    engines = () if reason_not_run() else rule_folders
    with invocation.progress("cost", "runs") as progress:
        return measure_costs(captures, engines, artifact.path, progress=progress)


def _show(invocation: Invocation, summary: dict[str, Any], report: Path) -> None:
    if invocation.wants_json:
        told = {name: summary[name] for name in ("model", "engines", "not_run", "pooled", "held_out", "costs")}
        invocation.emit("signatures", told)
    for name, reason in summary["not_run"].items():
        invocation.show(f"{name}: not run: {reason}")
    for name, figures in summary["pooled"].items():
        lab, benign = figures["lab"], figures["benign"]
        found = f"{lab['found']} of {lab['attacks']} attacks found in the lab, " if lab else ""
        false = f"{benign['false']} false alarms in {benign['device_days']:.1f} benign device-days" if benign else ""
        invocation.show(f"{name}: {found}{false}")
    invocation.show(f"Report: {report}")
