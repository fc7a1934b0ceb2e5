"""``thingwarden bench architectures``: networks of other kinds and sizes on the same folds.

In: recipes, the folder of public captures. Out: a report in a folder, its figures on stdout.
Must never: measure anything itself.
"""

from __future__ import annotations

from pathlib import Path

import click

from thingwarden.cli.inputs import data_option, plan_option
from thingwarden.cli.invocation import Invocation, common_options, needs_extra


@click.command("architectures")
@data_option
@click.option(
    "--recipe",
    "recipes",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    help="Two or more; the others are held against the first.  [default: nano, nano-attention, small, nano-distilled]",
)
@click.option("--fold", "folds", type=click.IntRange(min=0), multiple=True, default=(0, 3), help="May be repeated.")
@click.option("--seed", "seeds", type=click.IntRange(min=0), multiple=True, default=(0,), help="May be repeated.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs/results"),
    show_default=True,
    help="Folder for the report.",
)
@click.option(
    "--cells",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("build/architectures"),
    show_default=True,
    help="Folder for what is measured, so that a run that was cut off goes on.",
)
@plan_option
@common_options
@click.pass_obj
def architectures(
    invocation: Invocation,
    data: Path,
    recipes: tuple[Path, ...],
    folds: tuple[int, ...],
    seeds: tuple[int, ...],
    out: Path,
    cells: Path,
    plan: Path,
) -> None:
    """Train networks of other kinds and sizes on the same folds; compare what they find and what a word costs."""
    with needs_extra("bench"), needs_extra("train"):
        from thingwarden.bench.architectures import DEFAULT_RECIPES, run_architectures

    figures = run_architectures(
        data,
        out,
        cells,
        recipes=recipes or DEFAULT_RECIPES,
        folds=folds,
        seeds=seeds,
        plan_path=plan,
        report=invocation.remark,
    )
    if invocation.wants_json:
        invocation.emit("architectures", figures)
        return
    for name, network in figures["networks"].items():
        cost = network["cost"]
        invocation.show(
            f"{name}: {cost['words_per_s']:,.0f} words/s, {cost['state_bytes']:,} bytes a device, "
            f"recall {network['ranking']['tpr_at_budget'] or 0.0:.3f} at a false positive rate of 0.5 %"
        )
    invocation.show(f"Report: {out / 'architectures.md'}")
