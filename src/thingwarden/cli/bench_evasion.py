"""``thingwarden bench evasion``: what is still detected when attackers try not to be.

In: a folder of simulated networks; a model, and contestants to compare it with. Out: a report in a folder.
Must never: measure anything itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from thingwarden.cli.inputs import plan_option
from thingwarden.cli.invocation import Invocation, common_options, needs_extra
from thingwarden.cli.model import model_option, open_artifact
from thingwarden.domain.errors import RequestError

DEFAULT_KEPT: Final = Path("build/evasion")


@click.command("evasion")
@click.argument("corpus", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs/results"),
    show_default=True,
    help="Folder for the report, its figures and pictures.",
)
@click.option(
    "--kept",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_KEPT,
    show_default=True,
    help="Folder that keeps what is measured, so that a run that was cut off goes on.",
)
@click.option("--evasion", "families", multiple=True, help="Only this one; may be repeated.  [default: all]")
@click.option("--networks", type=click.IntRange(min=1), help="So many networks of CORPUS at most.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all that evasions draw.")
@click.option(
    "--contestant",
    "contestants",
    multiple=True,
    help="Of the referee, fitted on an outer fold of the public captures, beside the model; may be repeated.",
)
@click.option("--fold", type=click.IntRange(min=0), default=0, show_default=True, help="The contestants' outer fold.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    envvar="THINGWARDEN_DATA",
    help="Folder of the public captures, for --contestant; THINGWARDEN_DATA says the same.",
)
@plan_option
@model_option
@common_options
@click.pass_obj
def evasion(
    invocation: Invocation,
    corpus: Path,
    out: Path,
    kept: Path,
    families: tuple[str, ...],
    networks: int | None,
    seed: int,
    contestants: tuple[str, ...],
    fold: int,
    data: Path | None,
    plan: Path,
    model: Path | None,
) -> None:
    """Measure what a model still finds in CORPUS when its attacks evade.

    Padding, jitter, slowness, port hopping, mimicry, source ports, dilution, splitting, and attacks that grow slowly.
    CORPUS is a folder of simulated networks that the model never learned from; thresholds stay as they ship.
    """
    if contestants and data is None:
        raise RequestError("contestants", "need the public captures", "say --data, or THINGWARDEN_DATA")
    with needs_extra("bench"):
        from thingwarden.bench.evasion_report import write_evasion
        from thingwarden.bench.evasion_run import FAMILIES, fold_entrants, run_evasion, shipped_entrant

    entrants = [shipped_entrant(open_artifact(invocation, model))]
    if contestants and data is not None:
        entrants += fold_entrants(contestants, data, fold, seed, plan)
    with invocation.progress("evasion", "cells") as progress:
        figures = run_evasion(
            entrants,
            corpus,
            kept,
            families=families or FAMILIES,
            network_limit=networks,
            seed=seed,
            progress=progress,
        )
    report = write_evasion(figures, out)
    if invocation.wants_json:
        invocation.emit("evasion", figures)
    invocation.show(f"{len(entrants)} measured on {figures['networks']} networks with attacks. Report: {report}")
