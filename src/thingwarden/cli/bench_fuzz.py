"""``thingwarden bench fuzz``: damaged inputs for every reader, for a stated time.

In: the folder of public captures. Out: a report; exit code 1 where a reader was brought down.
Must never: damage anything but copies.
"""

from __future__ import annotations

from pathlib import Path

import click

from thingwarden.cli.inputs import data_option
from thingwarden.cli.invocation import Invocation, common_options, quantity


@click.command("fuzz")
@data_option
@click.option("--seconds", type=click.FloatRange(min=1), default=3600, show_default=True, help="How long.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Other damage.")
@click.option(
    "--kept",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("build/fuzz"),
    show_default=True,
    help="Folder for inputs that bring a reader down.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("docs/results/fuzzing.md"),
    show_default=True,
    help="The report.",
)
@common_options
@click.pass_obj
def fuzz(invocation: Invocation, data: Path, seconds: float, seed: int, kept: Path, out: Path) -> None:
    """Feed damaged captures and logs to the readers; none may crash or hang."""
    from thingwarden.bench.fuzzing import fuzz as run
    from thingwarden.bench.fuzzing import render

    with invocation.progress("Damaging inputs", "seconds") as progress:
        result = run(data, kept, seconds=seconds, seed=seed, progress=progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render(result, seed), encoding="utf-8")
    tried = result.read.total() + result.refused.total() + len(result.failures)
    if invocation.wants_json:
        counted = {"inputs": tried, "failures": len(result.failures), "slowest_s": round(result.slowest_s, 3)}
        invocation.emit("fuzzed", {**counted, "report": str(out)})
    for name, why in sorted(result.failures.items()):
        invocation.remark(f"{kept / name}: {why}")
    invocation.show(f"{quantity(tried, 'damaged input')}, {quantity(len(result.failures), 'failure')}: {out}")
    if result.failures:
        raise SystemExit(1)
