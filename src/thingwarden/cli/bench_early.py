"""``thingwarden bench early`` and ``negatives``: how soon the model knows, and what it makes of harmless oddities.

In: a model; networks are simulated on the spot. Out: reports in a folder, their figures on stdout.
Must never: measure anything itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from thingwarden.cli.invocation import Invocation, common_options, needs_extra, quantity
from thingwarden.cli.model import model_option, open_artifact
from thingwarden.domain.errors import RequestError

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])

_OUT: Final = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs/results"),
    show_default=True,
    help="Folder for the report.",
)
_JOBS: Final = click.option(
    "--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Worker processes."
)


def _kept_option(folder: str) -> Callable[[AnyCommand], AnyCommand]:
    return click.option(
        "--kept",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("build") / folder,
        show_default=True,
        help="Folder that keeps what is done; a run that was cut off goes on, another model or code begins anew.",
    )


@click.command("early")
@click.option("--attack", "names", multiple=True, help="Only this one; may be repeated.  [default: all]")
@click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True, help="Networks per attack.")
@_OUT
@_kept_option("early")
@_JOBS
@model_option
@common_options
@click.pass_obj
def early(
    invocation: Invocation,
    names: tuple[str, ...],
    seeds: int,
    out: Path,
    kept: Path,
    jobs: int,
    model: Path | None,
) -> None:
    """Measure seconds, packets and attempts until an attack is known, over its rate, and whether it stays known."""
    with needs_extra("bench"):
        from thingwarden.bench.early import measure_early
        from thingwarden.bench.early_attacks import ATTACKS
        from thingwarden.bench.early_report import write_early

    attacks = _chosen({attack.name: attack for attack in ATTACKS}, names, "attack")
    artifact = open_artifact(invocation, model)
    with invocation.progress("Watching scenes", "scenes") as progress:
        figures = measure_early(artifact, kept, attacks=attacks, seeds=seeds, jobs=jobs, progress=progress)
    report = write_early(figures, out)
    if invocation.wants_json:
        invocation.emit("early", figures)
    for goal in figures["goals"]:
        verdict = "met" if goal["is_met"] else "MISSED"
        invocation.show(f"{verdict}: {goal['goal']}: {goal['within']} of {quantity(goal['scenes'], 'scene')}")
    invocation.show(f"Report: {report}")


@click.command("negatives")
@click.option("--negative", "names", multiple=True, help="Only this one; may be repeated.  [default: all]")
@click.option("--networks", type=click.IntRange(1, 1000), default=20, show_default=True, help="For each of them.")
@click.option(
    "--hours", type=click.FloatRange(1.0, 168.0), default=24.0, show_default=True, help="How long each is watched."
)
@_OUT
@_kept_option("negatives")
@_JOBS
@model_option
@common_options
@click.pass_obj
def negatives(
    invocation: Invocation,
    names: tuple[str, ...],
    networks: int,
    hours: float,
    out: Path,
    kept: Path,
    jobs: int,
    model: Path | None,
) -> None:
    """Let each hard negative happen in simulated networks and count incidents, and those beyond a notification."""
    with needs_extra("bench"):
        from thingwarden.bench.hard_negatives import CONTROL, HARD_NEGATIVES
        from thingwarden.bench.hard_negatives_count import HOUR_S, count_negatives, is_met, write_negatives

    chosen = _chosen({negative.name: negative for negative in HARD_NEGATIVES}, names, "hard negative")
    artifact = open_artifact(invocation, model)
    with invocation.progress("Watching networks", "networks") as progress:
        figures = count_negatives(
            artifact,
            kept,
            negatives=chosen,
            networks=networks,
            duration_s=hours * HOUR_S,
            jobs=jobs,
            progress=progress,
        )
    report = write_negatives(figures, out)
    if invocation.wants_json:
        invocation.emit("hard_negatives", figures)
    rows = {name: row for name, row in figures["negatives"].items() if name != CONTROL}
    for name, row in rows.items():
        if row["restricted"]:
            invocation.show(f"{name}: {quantity(row['restricted'], 'incident')} beyond a notification")
    invocation.show(f"{sum(map(is_met, rows.values()))} of {len(rows)} hard negatives passed. Report: {report}")


_Entry = TypeVar("_Entry")


def _chosen(known: dict[str, _Entry], names: tuple[str, ...], what: str) -> tuple[_Entry, ...]:
    """All, or those that are named.

    Raises:
        RequestError: there is none of that name.
    """
    for name in names:
        if name not in known:
            raise RequestError(f"{what} {name}", "unknown", f"one of {', '.join(known)}")
    return tuple(entry for name, entry in known.items() if not names or name in names)
