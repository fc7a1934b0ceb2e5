"""``thingwarden evaluate``: the model's figures on labelled input.

In: labelled captures or logs. Out: rates, F1 and incidents, by row and by pattern.
Must never: let a label reach the model; tune anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from thingwarden.cli.inputs import Input, InputPath, SourceChain, format_from_name, format_option, open_inputs
from thingwarden.cli.invocation import Invocation, common_options, table
from thingwarden.cli.model import model_option, open_artifact
from thingwarden.cli.replay import compose_replay, judging

if TYPE_CHECKING:
    from rich.table import Table

    from thingwarden.bench.evaluate import Judged
    from thingwarden.model.artifact import Artifact

LABEL_NAMES: Final = (
    "benign", "scan", "brute_force", "dos", "ddos", "c2", "download", "exploit", "mitm", "lateral", "exfiltration",
    "unknown",
)  # fmt: skip
"""Wire names of ``taxonomy.CLASSES``, written out so that ``--help`` needs no stage (tested)."""


@click.command("evaluate")
@click.argument("paths", type=InputPath, nargs=-1, required=True, metavar="PATH...")
@click.option("--label", type=click.Choice(LABEL_NAMES), help="What every flow is, instead of the input's own labels.")
@model_option
@format_option
@common_options
@click.pass_obj
def evaluate(
    invocation: Invocation, paths: tuple[Path, ...], label: str | None, model: Path | None, format_name: str | None
) -> None:
    """Judge labelled input and compare: IoT-23, TON_IoT, or anything that --label speaks for.

    Each PATH is judged by itself, as a network of its own.
    """
    from thingwarden.bench.evaluate import evaluate_judged

    artifact = open_artifact(invocation, model)
    inputs = open_inputs(paths, format_from_name(format_name))
    figures = evaluate_judged([_judge(invocation, artifact, item, label) for item in inputs])
    if invocation.wants_json:
        invocation.emit_bare(figures)
        return
    invocation.show(_rates_table(figures), _classes_table(figures), _incidents_line(figures["incidents"]))


def _judge(invocation: Invocation, artifact: Artifact, item: Input, label: str | None) -> Judged:
    """One input, judged with everything fresh."""
    from thingwarden.bench.evaluate import Judged, label_all
    from thingwarden.domain.taxonomy import AttackClass

    with judging(invocation, item.file.path.name) as progress:
        result = compose_replay(invocation, SourceChain([item]), artifact, None, progress).run()
    invocation.remark_all(item.notes)
    flows = result.flows if label is None else label_all(result.flows, AttackClass(label))
    return Judged(flows=flows, verdicts=result.verdicts, incidents=result.incidents)


def _rates_table(figures: Mapping[str, Any]) -> Table:
    rows = [
        (name, count, *(_figure(figures[key][rate]) for rate in ("tpr", "fpr", "macro_f1")))
        for name, key, count in (
            ("by row", "by_row", f"{figures['rows']:,}"),
            ("by pattern", "by_pattern", f"{figures['patterns']:,}"),
        )
    ]
    columns = ("weighting", "flows", "true positive rate", "false positive rate", "macro-F1")
    return table("", columns, rows, numeric=columns[1:])


def _classes_table(figures: Mapping[str, Any]) -> Table:
    by_row, by_pattern = figures["by_row"]["per_class"], figures["by_pattern"]["per_class"]
    rows = [
        (
            name.replace("_", " "),
            f"{by_row[name]['weight']:,.0f}",
            *(_figure(by_row[name][key]) for key in ("precision", "recall", "f1")),
            *(_figure(by_pattern[name][key]) for key in ("precision", "recall", "f1")),
        )
        for name in by_row
    ]
    columns = ("class", "rows", "precision", "recall", "F1", "precision *", "recall *", "F1 *")
    return table("by class; * by pattern", columns, rows, numeric=columns[1:])


def _incidents_line(incidents: Mapping[str, Any]) -> str:
    rate = incidents["false_per_device_day"]
    per_day = "" if rate is None else f", {rate:.2f} false a device-day"
    return (
        f"Incidents: {incidents['true']} true, {incidents['false']} false "
        f"in {incidents['device_days']:.2f} device-days{per_day}."
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
