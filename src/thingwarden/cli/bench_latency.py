"""``thingwarden bench latency``: how soon an attack is answered, in network namespaces made for it.

In: kinds of attack, rates. Out: a report in a folder, its figures on stdout.
Must never: measure anything itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from thingwarden.cli.invocation import Invocation, common_options


@click.command("latency")
@click.option(
    "--enforce",
    type=click.Choice(["dry-run", "nftables"]),
    default="nftables",
    show_default=True,
    help="Who carries the orders out.",
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(["flood", "scan"]),
    multiple=True,
    default=("flood", "scan"),
    show_default=True,
    help="Kind of attack; may be repeated.",
)
@click.option("--attacks", type=click.IntRange(1, 60), default=50, show_default=True, help="Attacks of each kind.")
@click.option("--packets-per-s", type=click.FloatRange(1), default=2000.0, show_default=True, help="Of an attack.")
@click.option("--flows-per-s", type=click.FloatRange(0), default=5000.0, show_default=True, help="Of the crowd.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs/results"),
    show_default=True,
    help="Folder for the report.",
)
@common_options
@click.pass_obj
def latency(
    invocation: Invocation,
    enforce: str,
    kinds: tuple[str, ...],
    attacks: int,
    packets_per_s: float,
    flows_per_s: float,
    out: Path,
) -> None:
    """Attack through a gateway that watches, beside a crowd, and time every stage of its answers (root)."""
    from thingwarden.bench.latency import ATTACK_S, Load, measure
    from thingwarden.bench.latency_report import summarise, write_report

    program, is_real = (sys.executable, "-m", "thingwarden"), enforce != "dry-run"
    watch = (*program, "watch", "--enforce", "socket" if is_real else enforce)
    enforcer = (*program, "enforcer", enforce) if is_real else ()
    found = []
    for kind in kinds:
        load = Load(
            kind=kind, attack_count=attacks, packets_per_s=packets_per_s, attack_s=ATTACK_S, flows_per_s=flows_per_s
        )
        with invocation.progress(f"{kind} beside {flows_per_s:,.0f} flows/s", "attacks") as advance:
            values = summarise(
                measure(load, watch=watch, enforcer=enforcer, progress=lambda done: advance(done, attacks))
            )
        found.append(values)
        if invocation.wants_json:
            invocation.emit("latency", values)
        else:
            answered = values["answered_ms"] or {"p50": float("nan"), "p99": float("nan")}
            invocation.show(
                f"{kind}: {values['answered_count']} of {attacks} answered, "
                f"p50 {answered['p50']:.1f} ms, p99 {answered['p99']:.1f} ms to the enforcer's answer"
            )
    write_report(found, enforce, out)
    invocation.show(f"Wrote {out / 'latency.md'}.")
