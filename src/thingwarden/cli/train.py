"""``thingwarden train``: public captures to a model artifact.

In: a recipe, the fold plan, the folder of public captures, perhaps a lab corpus. Out: a model folder that verifies.
Must never: set a threshold on a device that was learned from.
"""

from __future__ import annotations

from pathlib import Path

import click

from thingwarden.cli.inputs import data_option, lab_option, plan_option
from thingwarden.cli.invocation import Invocation, common_options, needs_extra


@click.command("train")
@click.argument("recipe", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@data_option
@lab_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("src/thingwarden/data/model/nano"),
    show_default=True,
    help="Model folder to write; its files are replaced.",
)
@plan_option
@click.option(
    "--calibration-fold",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Fold of the plan whose benign devices set the thresholds and are not learned from.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for parsed captures, so that the next run reads them faster.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights and draws.")
@common_options
@click.pass_obj
def train(
    invocation: Invocation,
    recipe: Path,
    data: Path,
    lab: Path | None,
    out: Path,
    plan: Path,
    calibration_fold: int,
    cache: Path | None,
    seed: int,
) -> None:
    """Train a model by RECIPE on all public captures, and on simulated networks if given (extra: train).

    Same recipe, data and seed, same model.
    """
    with needs_extra("train"):
        from thingwarden.train.corpus import load_corpus
        from thingwarden.train.folds import load_plan
        from thingwarden.train.recipe import Recipe
        from thingwarden.train.training import train_artifact, whole_set

    parsed, folds = Recipe.load(recipe), load_plan(plan)
    chosen = whole_set(load_corpus(data, cache, lab), folds, calibration_fold)
    with invocation.progress(f"training {parsed.name}", "steps") as advance:
        artifact = train_artifact(chosen, out, parsed, seed, progress=lambda _, done, total: advance(done, total))
    if invocation.wants_json:
        invocation.emit("trained", {"path": str(out), "name": artifact.name, "manifest": artifact.manifest})
    invocation.show(f"Wrote {artifact.name} to {out}. See: thingwarden model show {out}")
