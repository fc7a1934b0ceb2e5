"""``thingwarden bench``: the referee, for accuracy, agreement with Zeek, and speed.

In: the folder of public captures. Out: reports in a folder, their figures on stdout.
Must never: measure anything itself.
"""

from __future__ import annotations

from pathlib import Path

import click

from thingwarden.cli.inputs import data_option
from thingwarden.cli.invocation import Invocation, common_options, needs_extra


@click.group("bench")
def bench_group() -> None:
    """Measure the model and every baseline on the same folds and fields (extra: bench)."""


@bench_group.command("accuracy")
@data_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs/results"),
    show_default=True,
    help="Folder for measured cells and the JSON, Markdown and HTML reports.",
)
@click.option(
    "--plan",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("recipes/folds.toml"),
    show_default=True,
    help="The fold plan.",
)
@click.option("--seed", "seeds", type=click.IntRange(min=0), multiple=True, default=(0,), help="May be repeated.")
@click.option("--contestant", "contestants", multiple=True, help="Only this one; may be repeated.")
@click.option("--fold", "folds", multiple=True, help="Only this fold or view; may be repeated.")
@click.option("--fresh", is_flag=True, help="Measure anew what an earlier run has measured.")
@common_options
@click.pass_obj
def accuracy(
    invocation: Invocation,
    data: Path,
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
        from thingwarden.bench.report import check_goals

    summary = run_accuracy(
        data,
        out,
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
