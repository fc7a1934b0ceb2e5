"""``thingwarden bench reasons``: whether the reasons that incidents give are causes.

In: a lab corpus that the model never learned from. Out: a report in a folder.
Must never: measure anything itself.
"""

from __future__ import annotations

from pathlib import Path

import click

from thingwarden.cli.invocation import Invocation, common_options
from thingwarden.cli.model import model_option, open_artifact
from thingwarden.domain.errors import InputError


@click.command("reasons")
@click.argument("corpus", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs/results"),
    show_default=True,
    help="Folder for the report.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the harmless answers drawn.")
@model_option
@common_options
@click.pass_obj
def reasons(invocation: Invocation, corpus: Path, out: Path, seed: int, model: Path | None) -> None:
    """Check the reasons of true incidents in CORPUS: do harmless answers on what they name lower the score?"""
    from thingwarden.bench.reasons import Check, check_corpus, summarise, write_report

    artifact = open_artifact(invocation, model)
    checks: list[Check] = []
    for left, found in check_corpus(artifact, corpus, seed):
        checks += found
        invocation.remark(f"{left} networks to go, {len(checks)} questions")
    if not checks:
        raise InputError(str(corpus), "no incident of this model in it is true", "draw a larger one")
    figures = summarise(checks)
    name = f"{artifact.name} of {artifact.manifest.get('trained_at', 'no date')}"
    report = write_report(figures, name, out)
    if invocation.wants_json:
        invocation.emit("reasons", {"model": name, **figures})
    invocation.show(
        f"What is named first beats another in {figures['beats_random']:.0%} of {figures['questions']} questions. "
        f"Report: {report}"
    )
