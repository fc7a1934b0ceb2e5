"""``thingwarden evaluate``: the model's figures on labelled input.

In: labelled captures or logs. Out: rates, F1 and incidents, by row and by pattern.
Must never: let a label reach the model; tune anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import numpy as np

from thingwarden.cli.inputs import Input, InputPath, SourceChain, format_from_name, format_option, open_inputs
from thingwarden.cli.invocation import Invocation, common_options, table
from thingwarden.cli.model import model_option, open_artifact
from thingwarden.cli.replay import compose_replay, judging

if TYPE_CHECKING:
    from rich.table import Table

    from thingwarden.domain.detection import FlowVerdicts
    from thingwarden.domain.flow import FlowBatch
    from thingwarden.domain.incident import Incident
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
    from thingwarden.bench.metrics import evaluate_flows
    from thingwarden.domain.flow import FlowBatch

    artifact = open_artifact(invocation, model)
    judged = [_judge(invocation, artifact, item, label) for item in open_inputs(paths, format_from_name(format_name))]
    flows = FlowBatch.concatenate([part for part, _, _ in judged])
    capture = np.repeat(np.arange(len(judged)), [len(part) for part, _, _ in judged])
    verdicts = _join_verdicts([part for _, part, _ in judged])
    figures = evaluate_flows(flows, verdicts, _join_incidents(judged), capture)
    if invocation.wants_json:
        invocation.emit_bare(figures)
        return
    invocation.show(_rates_table(figures), _classes_table(figures), _incidents_line(figures["incidents"]))


Judged = tuple["FlowBatch", "FlowVerdicts", tuple["Incident", ...]]


def _judge(invocation: Invocation, artifact: Artifact, item: Input, label: str | None) -> Judged:
    """One input's flows with their labels, verdicts and incidents."""
    with judging(invocation, item.file.path.name) as progress:
        result = compose_replay(invocation, SourceChain([item]), artifact, None, progress).run()
    invocation.remark_all(item.notes)
    flows = result.flows if label is None else _labelled(result.flows, label)
    return flows, result.verdicts, result.incidents


def _labelled(flows: FlowBatch, label: str) -> FlowBatch:
    """The flows, each with the same label."""
    from thingwarden.domain.flow import Labels
    from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass

    attack_class = AttackClass(label)
    labels = Labels(
        malicious=np.full(len(flows), attack_class is not AttackClass.BENIGN, dtype=np.int8),
        attack_class=np.full(len(flows), CLASS_INDEX[attack_class], dtype=np.int8),
        ton_class=np.full(len(flows), -1, dtype=np.int8),
        detail=np.full(len(flows), label.encode(), dtype="S48"),
    )
    return replace(flows, labels=labels)


def _join_verdicts(parts: Sequence[FlowVerdicts]) -> FlowVerdicts:
    from dataclasses import fields

    from thingwarden.domain.detection import FlowVerdicts

    columns: dict[str, Any] = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(FlowVerdicts)
    }
    return FlowVerdicts(**columns)


def _join_incidents(judged: Sequence[Judged]) -> list[Incident]:
    """All incidents, their detections naming rows of the joined flows."""
    joined: list[Incident] = []
    first_row = 0
    for flows, _, incidents in judged:
        for incident in incidents:
            moved = tuple(replace(item, flow=item.flow + first_row) for item in incident.detections)
            joined.append(replace(incident, detections=moved))
        first_row += len(flows)
    return joined


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
