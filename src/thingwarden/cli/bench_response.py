"""``thingwarden bench response``: what the defences do to attacks and to everybody else, for real in the lab.

In: scenarios, seeds, defences. Out: a report in a folder, its figures on stdout.
Must never: measure anything itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from thingwarden.cli.invocation import Invocation, common_options, needs_extra

if TYPE_CHECKING:
    from thingwarden.bench.response import Trial
    from thingwarden.bench.response_report import Outcome
    from thingwarden.bench.response_restrained import Restrained

_SCENARIOS: Final = ("attacks-c2", "attacks-flood", "attacks-scan")


@click.command("response")
@click.option(
    "--scenario", "scenarios", multiple=True, default=_SCENARIOS, show_default=True, help="Of the lab; may be repeated."
)
@click.option("--seed", "seeds", type=click.IntRange(min=0), multiple=True, default=(11,), help="May be repeated.")
@click.option("--defence", "defences", multiple=True, help="Only this one; may be repeated.")
@click.option("--duration-s", type=click.FloatRange(min=10), default=120.0, show_default=True, help="Of each run.")
@click.option(
    "--camera-s",
    type=click.FloatRange(min=0),
    default=1800.0,
    show_default=True,
    help="How long a camera lives under a rate limit; 0 for not at all.",
)
@click.option(
    "--kept",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("response-trials"),
    show_default=True,
    help="Folder of the runs; those that are there are not run again.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs/results"),
    show_default=True,
    help="Folder for the report.",
)
@common_options
@click.pass_obj
def response(
    invocation: Invocation,
    scenarios: tuple[str, ...],
    seeds: tuple[int, ...],
    defences: tuple[str, ...],
    duration_s: float,
    camera_s: float,
    kept: Path,
    out: Path,
) -> None:
    """Attack in the lab with each defence on the gateway, and count what passes and what is lost (root)."""
    from thingwarden.bench.response import DEFENCES, Trial
    from thingwarden.domain.errors import RequestError
    from thingwarden.lab.recipe import find_recipe

    unknown = set(defences) - set(DEFENCES)
    if unknown:
        raise RequestError(f"defence {min(unknown)}", "there is no such", f"one of: {', '.join(DEFENCES)}")
    with needs_extra("bench"):
        from thingwarden.bench.response_report import write_report

    trials = [
        Trial(scenario=find_recipe(scenario), seed=seed, duration_s=duration_s, defence=defence)
        for scenario in scenarios
        for seed in seeds
        for defence in defences or DEFENCES
    ]
    outcomes = [_run(invocation, trial, kept) for trial in trials]
    restrained = _restrain(invocation, kept, camera_s) if camera_s else None
    _show(invocation, write_report(outcomes, restrained, out)["defences"])
    invocation.show(f"Wrote {out / 'response.md'}.")


def _run(invocation: Invocation, trial: Trial, kept: Path) -> Outcome:
    from thingwarden.bench.response import run_trial, trial_folder
    from thingwarden.bench.response_measure import measure_trial
    from thingwarden.bench.response_report import Outcome

    with invocation.progress(f"{trial.scenario.stem}, {trial.defence}", "s") as advance:
        folder = run_trial(trial, trial_folder(kept, trial), lambda done_s, total_s: advance(int(done_s), int(total_s)))
    attacks, devices = measure_trial(folder)
    return Outcome(trial=trial, attacks=attacks, devices=devices)


def _restrain(invocation: Invocation, kept: Path, camera_s: float) -> Restrained:
    from thingwarden.bench.response_restrained import run_restrained

    with invocation.progress("a camera under a rate limit", "s") as advance:
        return run_restrained(kept / "camera", camera_s, lambda done_s, total_s: advance(int(done_s), int(total_s)))


def _show(invocation: Invocation, found: Sequence[dict[str, Any]]) -> None:
    for figures in found:
        if invocation.wants_json:
            invocation.emit("response", figures)
        cut, kept = figures["cut_ratio"], figures["kept_ratio"]
        invocation.show(
            f"{figures['defence']}: {figures['answered_count']} of {figures['attack_count']} attacks answered, "
            f"{'-' if cut is None else f'{cut:.1%}'} of their packets cut after the act, "
            f"{'-' if kept is None else f'{kept:.1%}'} of harmless packets kept"
        )
