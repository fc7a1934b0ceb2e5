"""``thingwarden bench enforcement``: what acts cost at the firewall, in a network namespace made for it.

In: counts. Out: a report in a folder, its figures on stdout.
Must never: measure anything itself.
"""

from __future__ import annotations

from pathlib import Path

import click

from thingwarden.cli.invocation import Invocation, common_options


@click.command("enforcement")
@click.option(
    "--held", type=click.IntRange(1, 60_000), default=10_000, show_default=True, help="Decisions in force at once."
)
@click.option(
    "--each", type=click.IntRange(10, 10_000), default=500, show_default=True, help="Decisions of each act to time."
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
def enforcement(invocation: Invocation, held: int, each: int, out: Path) -> None:
    """Time acts through the enforcer's own process, and weigh many of them in force (root)."""
    from thingwarden.bench.enforcement import as_values, measure, render_report
    from thingwarden.bench.speed import describe_machine

    invocation.remark(f"timing {each:,} of each act, then holding {held:,} ...")
    found = measure(held, each)
    out.mkdir(parents=True, exist_ok=True)
    (out / "enforcement.md").write_text(render_report(found, describe_machine()["processor"]), encoding="utf-8")
    if invocation.wants_json:
        invocation.emit("enforcement", as_values(found))
        return
    grown = (found.process_bytes + found.kernel_bytes) / 1e6
    invocation.show(f"{found.held_count:,} decisions in force take {grown:.1f} MB; wrote {out / 'enforcement.md'}.")
