"""``thingwarden bench gap`` and ``growth``: how real the lab is, and how much variety it makes.

In: scenarios to run in both worlds, a lab corpus, the folder of public captures. Out: reports in a folder.
Must never: measure anything itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from thingwarden.cli.invocation import Invocation, common_options, needs_extra
from thingwarden.domain.errors import RequestError

if TYPE_CHECKING:
    from thingwarden.domain.flow import FlowBatch

_OUT: Final = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs/results"),
    show_default=True,
    help="Folder for the reports.",
)
_DATA: Final = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    envvar="THINGWARDEN_DATA",
    help="Folder of the public captures, to compare with them; THINGWARDEN_DATA says the same.",
)
_CACHE: Final = click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False), help="Folder that keeps parsed captures."
)


@click.command("gap")
@_OUT
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that keeps runs in both worlds; they are compared where it is given.",
)
@click.option("--scenario", "scenarios", multiple=True, help="May be repeated.  [default: all packaged ones]")
@click.option("--seeds", type=click.IntRange(2, 100), default=4, show_default=True, help="Runs of each scenario.")
@click.option("--duration-s", type=click.FloatRange(min=10), default=150.0, show_default=True, help="Of each run.")
@click.option("--jobs", type=click.IntRange(1, 32), default=4, show_default=True, help="Real runs at a time.")
@click.option("--kept", is_flag=True, help="Compare the real runs at hand; make no new one.")
@click.option(
    "--corpus",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A lab corpus whose harmless networks are compared with the public captures.",
)
@click.option("--networks", type=click.IntRange(min=2), default=60, show_default=True, help="Of the corpus at most.")
@_DATA
@_CACHE
@common_options
@click.pass_obj
def gap(
    invocation: Invocation,
    out: Path,
    runs: Path | None,
    scenarios: tuple[str, ...],
    seeds: int,
    duration_s: float,
    jobs: int,
    kept: bool,
    corpus: Path | None,
    networks: int,
    data: Path | None,
    cache: Path | None,
) -> None:
    """Measure how well trees tell simulated words from real ones, and lab devices from public ones."""
    if runs is None and (corpus is None or data is None):
        raise RequestError("nothing to compare", "neither runs nor a corpus", "say --runs, or --corpus and --data")
    with needs_extra("bench"):
        from thingwarden.bench.gap_findings import compare_public, compare_worlds
        from thingwarden.bench.gap_report import figures, write_report
        from thingwarden.bench.gap_runs import Plan, make_runs, read_runs
        from thingwarden.bench.gap_words import read_lab_benign, read_public_benign
        from thingwarden.lab.recipe import list_scenarios

    found = {}
    if runs is not None:
        names = scenarios or tuple(recipe.name for recipe in list_scenarios())
        plan = Plan(scenarios=names, seeds=tuple(range(1, seeds + 1)), duration_s=duration_s)
        make_runs(plan, runs, jobs=jobs, only_kept=kept, report=invocation.remark)
        found["worlds"] = compare_worlds(plan, *read_runs(plan, runs))
    if corpus is not None and data is not None:
        found["public"] = compare_public(read_lab_benign(corpus, networks), read_public_benign(data, cache))
    write_report(found, out)
    for name, findings in found.items():
        measured = figures(findings)
        if invocation.wants_json:
            invocation.emit("domain_gap", {"comparison": name, "figures": measured})
        auc = measured["all"]
        invocation.show(
            f"{findings.names[0]} against {findings.names[1]}: AUC {auc['auc']:.3f} "
            f"({auc['auc_low']:.3f} to {auc['auc_high']:.3f}), subjects even {auc['even_auc']:.3f}"
        )
    invocation.show(f"Report: {out / 'domain-gap.md'}")


@click.command("growth")
@click.argument("corpus", type=click.Path(path_type=Path, file_okay=False, exists=True))
@_OUT
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("docs/images/lab-growth.svg"),
    show_default=True,
    help="The curves.",
)
@_DATA
@_CACHE
@common_options
@click.pass_obj
def growth(
    invocation: Invocation, corpus: Path, out: Path, picture: Path, data: Path | None, cache: Path | None
) -> None:
    """Count the distinct patterns in a growing part of CORPUS, and of the public captures."""
    with needs_extra("bench"):
        from thingwarden.bench.growth import GOAL_WORDS, draw_growth, measure_growth, render_growth

    curves = {"lab corpus": measure_growth(_lab_flows(corpus))}
    if data is not None:
        curves["public captures"] = measure_growth(_public_flows(data, cache))
    for path, text in ((out / "lab-growth.md", render_growth(curves)), (picture, draw_growth(curves))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    measured: dict[str, Any] = {name: curve.patterns_at(GOAL_WORDS) for name, curve in curves.items()}
    if invocation.wants_json:
        invocation.emit("lab_growth", {"words": GOAL_WORDS, "patterns": measured})
    invocation.show(f"Patterns in {GOAL_WORDS:,} words: {json.dumps(measured)}. Report: {out / 'lab-growth.md'}")


def _lab_flows(corpus: Path) -> Iterator[FlowBatch]:
    from thingwarden.ingest.lab_corpus import read_manifest, read_network

    for network in read_manifest(corpus).networks:
        yield read_network(corpus, network)


def _public_flows(data: Path, cache: Path | None) -> Iterator[FlowBatch]:
    from thingwarden.train.corpus import list_captures, load_sessions

    for capture in list_captures(data):
        if capture.kind != "table":
            yield from load_sessions(capture, cache)
