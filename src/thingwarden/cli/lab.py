"""``thingwarden lab``: run a scenario in a simulated network and keep its capture with the truth about it.

In: a scenario recipe. Out: a folder with capture, ground truth and manifest.
Must never: run outside network namespaces.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from thingwarden.cli.invocation import Invocation, common_options
from thingwarden.domain.errors import RequestError


@click.group("lab")
def lab_group() -> None:
    """Simulated IoT networks with attacks and ground truth (needs root and the packages of deploy/apt.txt)."""


@lab_group.command("sample")
@click.option(
    "--recipe",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("recipes/sample.toml"),
    show_default=True,
    help="The scenario.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("sample"),
    show_default=True,
    help="Folder to write into.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Draw the schedule from this seed instead of the recipe's.")
@click.option("--duration-s", type=click.FloatRange(min=10), help="Seconds of capture instead of the recipe's.")
@common_options
@click.pass_obj
def sample(invocation: Invocation, recipe: Path, out: Path, seed: int | None, duration_s: float | None) -> None:
    """Run the sample's scenario for real and write its capture, ground truth and manifest.

    Attack traffic stays inside namespaces made for it. The outcome is excluded from training by its manifest.
    """
    from thingwarden.lab.scenario import run_scenario

    if not recipe.is_file():
        raise RequestError(f"recipe {recipe}", "no such file", "run it in the source tree, or name one with --recipe")
    manifest = run_scenario(recipe, out, seed=seed, duration_s=duration_s, report=invocation.remark)
    if invocation.wants_json:
        invocation.emit("lab_run", {"manifest_path": str(manifest), "manifest": json.loads(manifest.read_text())})
    invocation.show(f"Wrote {manifest}.")
