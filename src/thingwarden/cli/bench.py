"""``thingwarden bench``: the referee, for accuracy, agreement with Zeek, and speed.

In: the folder of public captures. Out: reports in a folder, their figures on stdout.
Must never: measure anything itself.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from thingwarden.cli.bench_architectures import architectures
from thingwarden.cli.bench_early import early, negatives
from thingwarden.cli.bench_enforcement import enforcement
from thingwarden.cli.bench_evasion import evasion
from thingwarden.cli.bench_fuzz import fuzz
from thingwarden.cli.bench_gap import gap, growth
from thingwarden.cli.bench_latency import latency
from thingwarden.cli.bench_reasons import reasons
from thingwarden.cli.bench_response import response
from thingwarden.cli.bench_signatures import signatures
from thingwarden.cli.inputs import data_option, lab_option, plan_option
from thingwarden.cli.invocation import Invocation, common_options, needs_extra, quantity
from thingwarden.cli.model import model_option, open_artifact


@click.group("bench")
def bench_group() -> None:
    """Measure the model and every baseline on the same folds and fields (extra: bench)."""


bench_group.add_command(evasion)
bench_group.add_command(architectures)
bench_group.add_command(fuzz)
bench_group.add_command(gap)
bench_group.add_command(growth)
bench_group.add_command(early)
bench_group.add_command(negatives)
bench_group.add_command(enforcement)
bench_group.add_command(latency)
bench_group.add_command(reasons)
bench_group.add_command(response)
bench_group.add_command(signatures)


@bench_group.command("accuracy")
@data_option
@lab_option
@click.option(
    "--weeks",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of simulated networks to count false incidents in, drawn with the purpose count.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs/results"),
    show_default=True,
    help="Folder for measured cells and the JSON, Markdown and HTML reports.",
)
@plan_option
@click.option("--seed", "seeds", type=click.IntRange(min=0), multiple=True, default=(0,), help="May be repeated.")
@click.option("--contestant", "contestants", multiple=True, help="Only this one; may be repeated.")
@click.option("--fold", "folds", multiple=True, help="Only this fold or view; may be repeated.")
@click.option("--fresh", is_flag=True, help="Measure anew what an earlier run has measured.")
@common_options
@click.pass_obj
def accuracy(
    invocation: Invocation,
    data: Path,
    lab: Path | None,
    weeks: Path | None,
    out: Path,
    plan: Path,
    seeds: tuple[int, ...],
    contestants: tuple[str, ...],
    folds: tuple[str, ...],
    fresh: bool,
) -> None:
    """Measure accuracy by every protocol; a run that was cut off goes on where it stopped."""
    with needs_extra("bench"):
        from thingwarden.bench.accuracy import run_accuracy
        from thingwarden.bench.goals import check_goals

    summary = run_accuracy(
        data,
        out,
        lab=lab,
        weeks=weeks,
        seeds=seeds,
        contestants=contestants or None,
        folds=folds or None,
        resume=not fresh,
        plan_path=plan,
        console=invocation.messages,
    )
    if invocation.wants_json:
        invocation.emit("accuracy", summary)
        return
    for goal in check_goals(summary):
        invocation.show(goal)
    invocation.show(f"Reports: {out / 'accuracy.md'}, {out / 'accuracy.html'}, {out / 'accuracy.json'}")


@bench_group.command("zeek")
@data_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("docs/results/zeek-agreement.md"),
    show_default=True,
    help="The report.",
)
@common_options
@click.pass_obj
def zeek(invocation: Invocation, data: Path, out: Path) -> None:
    """Compare our metering with Zeek's, flow by flow and field by field."""
    from thingwarden.bench.zeek_agreement import measure_agreement, render

    agreement = measure_agreement(data)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render(agreement), encoding="utf-8")
    traces = [*agreement.golden, *agreement.iot23]
    counted = {
        "traces": len(traces),
        "zeek_flows": sum(trace.zeek_count for trace in traces),
        "matched_flows": sum(trace.matched_count for trace in traces),
    }
    if invocation.wants_json:
        invocation.emit("zeek_agreement", {**counted, "report": str(out)})
    invocation.show(
        f"{counted['matched_flows']:,} of Zeek's {quantity(counted['zeek_flows'], 'flow')} matched "
        f"in {quantity(len(traces), 'trace')}: {out}"
    )


@bench_group.command("metering")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("docs/results/metering-speed.md"),
    show_default=True,
    help="The report.",
)
@click.option("--packets", type=click.IntRange(min=1000), default=1_000_000, show_default=True, help="Of each kind.")
@common_options
@click.pass_obj
def metering(invocation: Invocation, out: Path, packets: int) -> None:
    """Measure packets/s from a capture to flows on one core, on three kinds of made traffic."""
    from thingwarden.bench.metering_speed import measure_metering_speed, render

    speeds = measure_metering_speed(packets)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render(speeds), encoding="utf-8")
    for speed in speeds:
        if invocation.wants_json:
            invocation.emit("metering_speed", asdict(speed))
        invocation.show(
            f"{speed.traffic}: {speed.packets_per_s:,.0f} packets/s, {speed.peak_memory_mib} MiB at the peak"
        )


@bench_group.command("speed")
@click.argument("log", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs/results"),
    show_default=True,
    help="Folder for the report.",
)
@click.option("--repeats", type=click.IntRange(1, 100), default=5, show_default=True, help="Runs of each kind.")
@click.option("--flows", type=click.IntRange(min=200), default=12_000, show_default=True, help="Of each scenario.")
@model_option
@common_options
@click.pass_obj
def speed(invocation: Invocation, log: Path, out: Path, repeats: int, flows: int, model: Path | None) -> None:
    """Measure words/s of the live path on one core, its latency and memory; and replay on LOG."""
    from thingwarden.bench.speed import measure_speed
    from thingwarden.bench.speed_report import check_goals, write_speed

    path = open_artifact(invocation, model).path
    figures = measure_speed(path, log, repeats=repeats, flow_count=flows, progress=invocation.remark)
    report = write_speed(figures, out)
    if invocation.wants_json:
        invocation.emit("speed", figures)
    for goal in check_goals(figures):
        invocation.show(f"{'met' if goal.is_met else 'MISSED'}: {goal.text}: {goal.found}")
    invocation.show(f"Report: {report}")


@bench_group.command("weeks")
@click.argument("corpus", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs/results"),
    show_default=True,
    help="Folder for the report.",
)
@model_option
@common_options
@click.pass_obj
def weeks(invocation: Invocation, corpus: Path, out: Path, model: Path | None) -> None:
    """Count a model's false incidents in the simulated device-weeks of CORPUS."""
    from thingwarden.bench.weeks import count_weeks, describe_thresholds, write_weeks

    artifact = open_artifact(invocation, model)
    with tempfile.TemporaryDirectory() as kept:
        figures = count_weeks(
            artifact, corpus, Path(kept), lambda done, total: invocation.remark(f"{done} of {total} networks")
        )
    report = write_weeks(figures, describe_thresholds(artifact.calibration), out)
    if invocation.wants_json:
        invocation.emit("lab_weeks", figures)
    invocation.show(
        f"{figures['false_incidents']} false incidents in {figures['device_weeks']:.0f} device-weeks. Report: {report}"
    )
