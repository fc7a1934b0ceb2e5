"""``thingwarden lab corpus``: simulate many random networks and keep their labelled flows.

In: a corpus recipe. Out: a folder of flows with a manifest; progress on stderr.
Must never: decide what a network looks like.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from thingwarden.cli.invocation import Invocation, common_options, quantity
from thingwarden.domain.errors import RequestError

if TYPE_CHECKING:
    from thingwarden.lab.corpus import Goal, Progress

DEFAULT_WORDS: Final = 1_500_000


@click.command("corpus")
@click.argument("recipe", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write into.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the whole corpus.")
@click.option("--networks", type=click.IntRange(min=1), help="How many networks to make.")
@click.option("--words", type=click.IntRange(min=1), help=f"How many words to make; {DEFAULT_WORDS:,} by default.")
@click.option(
    "--device-weeks",
    type=click.FloatRange(min=0, min_open=True),
    help="How many device-weeks to make, harmless and never to be trained on, to count false incidents in.",
)
@click.option("--jobs", type=click.IntRange(1, 256), default=2, show_default=True, help="Worker processes.")
@common_options
@click.pass_obj
def corpus(
    invocation: Invocation,
    recipe: Path,
    out: Path,
    seed: int,
    networks: int | None,
    words: int | None,
    device_weeks: float | None,
    jobs: int,
) -> None:
    """Simulate random networks drawn by RECIPE; a run that was cut off goes on where it stopped."""
    from thingwarden.lab.corpus import make_corpus
    from thingwarden.lab.draw import load_corpus_recipe

    goal = _goal(networks, words, device_weeks)
    with _progress(invocation) as report:
        manifest = make_corpus(
            load_corpus_recipe(recipe),
            out,
            goal,
            seed=seed,
            purpose="train" if device_weeks is None else "count",
            jobs=jobs,
            report=report,
        )
    made = {
        "networks": len(manifest.networks),
        "flows": sum(network.flows for network in manifest.networks),
        "device_weeks": round(sum(network.device_days for network in manifest.networks) / 7.0, 2),
    }
    if invocation.wants_json:
        invocation.emit("lab_corpus", {**made, "folder": str(out)})
    invocation.show(
        f"Wrote {quantity(len(manifest.networks), 'network')} with {quantity(int(made['flows']), 'flow')} "
        f"in {made['device_weeks']:,} device-weeks: {out}"
    )


def _goal(networks: int | None, words: int | None, device_weeks: float | None) -> Goal:
    from thingwarden.lab.corpus import Goal

    named = [value for value in (networks, words, device_weeks) if value is not None]
    if len(named) > 1:
        raise RequestError("how much to make", "is said more than once", "one of --networks, --words, --device-weeks")
    return Goal(networks=networks, words=words if named else DEFAULT_WORDS, device_weeks=device_weeks)


@contextmanager
def _progress(invocation: Invocation) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal's stderr: share of the goal, networks, flows, flows/s, time left."""
    from rich import progress as rich_progress

    columns = (
        rich_progress.BarColumn(),
        rich_progress.TaskProgressColumn(),
        rich_progress.TextColumn("{task.fields[networks]:,} networks, {task.fields[flows]:,} flows"),
        rich_progress.TextColumn("{task.fields[rate]:,.0f} flows/s"),
        rich_progress.TimeRemainingColumn(),
    )
    bar = rich_progress.Progress(*columns, console=invocation.messages, transient=True, disable=not sys.stderr.isatty())
    with bar:
        task = bar.add_task("", total=1.0, networks=0, flows=0, rate=0.0)

        def show(progress: Progress) -> None:
            elapsed_s = max(bar.tasks[task].elapsed or 0.0, 1e-3)
            bar.update(
                task,
                completed=progress.done_ratio,
                networks=progress.networks,
                flows=progress.flows,
                rate=progress.flows / elapsed_s,
            )

        yield show
