"""Figures over several inputs, each judged as a network of its own.

In: ``Judged`` inputs, labelled. Out: the object that ``thingwarden evaluate --json`` prints.
Must never: let one input's history reach another's verdicts; it only joins what was judged apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from thingwarden.bench.metrics import evaluate_flows
from thingwarden.domain.detection import FlowVerdicts
from thingwarden.domain.flow import DETAIL_LENGTH, FlowBatch, Labels
from thingwarden.domain.incident import Incident
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was said about one input.

    Attributes:
        flows: labelled.
        verdicts: one per flow.
        incidents: raised over these flows.
    """

    flows: FlowBatch
    verdicts: FlowVerdicts
    incidents: tuple[Incident, ...]


def evaluate_judged(inputs: Sequence[Judged]) -> dict[str, Any]:
    """The figures over all inputs; patterns are told apart by input.

    Args:
        inputs: at least one.

    Raises:
        InputError: an input has no labels.
    """
    flows = FlowBatch.concatenate([item.flows for item in inputs])
    capture = np.repeat(np.arange(len(inputs)), [len(item.flows) for item in inputs])
    return evaluate_flows(flows, _join_verdicts(inputs), _join_incidents(inputs), capture)


def label_all(flows: FlowBatch, attack_class: AttackClass) -> FlowBatch:
    """The flows, each labelled as that class, whatever labels they had."""
    count = len(flows)
    labels = Labels(
        malicious=np.full(count, attack_class is not AttackClass.BENIGN, dtype=np.int8),
        attack_class=np.full(count, CLASS_INDEX[attack_class], dtype=np.int8),
        ton_class=np.full(count, -1, dtype=np.int8),
        detail=np.full(count, attack_class.value.encode(), dtype=f"S{DETAIL_LENGTH}"),
    )
    return replace(flows, labels=labels)


def _join_verdicts(inputs: Sequence[Judged]) -> FlowVerdicts:
    columns: dict[str, Any] = {
        field.name: np.concatenate([getattr(item.verdicts, field.name) for item in inputs])
        for field in fields(FlowVerdicts)
    }
    return FlowVerdicts(**columns)


def _join_incidents(inputs: Sequence[Judged]) -> list[Incident]:
    """All incidents, their detections naming rows of the joined flows."""
    joined: list[Incident] = []
    first_row = 0
    for item in inputs:
        for incident in item.incidents:
            moved = tuple(replace(detection, flow=detection.flow + first_row) for detection in incident.detections)
            joined.append(replace(incident, detections=moved))
        first_row += len(item.flows)
    return joined
