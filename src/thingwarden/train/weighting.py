"""How much a flow counts, so that a flood of one pattern is not a thousand right answers.

In: labelled flows and the capture of each. Out: a weight per flow.
Must never: depend on a model or its vocabulary; two models are judged with the same weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import FlowBatch, Labels
from thingwarden.encode.vocabulary import NAMED_PORTS, PORT_RANGE_STARTS, collapse_service


def weigh_patterns(flows: FlowBatch, capture: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.float64]:
    """Weight 1/n of each flow, n being the flows of the same capture, label and pattern.

    Args:
        flows: labelled.
        capture: int64 (n,), which capture each flow is of; None where all are of one.

    Returns:
        float64 (n,), 0 where the label is not to be used; the sum is the number of distinct patterns.

    Raises:
        InputError: the flows have no labels.
    """
    labels = require_labels(flows)
    columns: list[npt.NDArray[Any]] = [capture if capture is not None else np.zeros(len(flows), dtype=np.int64)]
    columns += [labels.malicious, labels.attack_class, labels.ton_class, *pattern_columns(flows)]
    code = np.zeros(len(flows), dtype=np.int64)
    for column in columns:
        values = np.unique(column, return_inverse=True)[1]
        code = np.unique(code * (int(values.max(initial=0)) + 1) + values, return_inverse=True)[1]
    counts = np.bincount(code, minlength=1)[code] if len(code) else np.ones(0)
    return np.where(labels.malicious < 0, 0.0, 1.0 / counts)


def pattern_columns(flows: FlowBatch) -> list[npt.NDArray[Any]]:
    """What makes a flow's pattern, column by column: flows that agree in all of them show a model the same."""
    counts = (flows.orig_bytes, flows.resp_bytes, flows.orig_packets, flows.resp_packets)
    return [
        flows.proto,
        _services(flows.service),
        flows.conn_state,
        flows.history,
        port_classes(flows.resp_port),
        *(log2_classes(count) for count in counts),
    ]


def port_classes(port: npt.NDArray[np.uint16]) -> npt.NDArray[np.int64]:
    """The port itself where it is a named one, else minus the number of its range, int64 (n,)."""
    ranges = np.searchsorted(PORT_RANGE_STARTS, port, side="right")
    return np.where(np.isin(port, NAMED_PORTS), port.astype(np.int64), -ranges)


def log2_classes(count: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number of binary digits of each count, int64 (n,); -1 where it is unknown."""
    digits = np.ceil(np.log2(np.maximum(count, 0) + 1.0)).astype(np.int64)
    return np.where(count < 0, -1, digits)


def _services(service: npt.NDArray[np.bytes_]) -> npt.NDArray[np.bytes_]:
    unique, inverse = np.unique(service, return_inverse=True)
    names: npt.NDArray[np.bytes_] = np.array([collapse_service(name) for name in unique.tolist()], dtype="S24")[inverse]
    return names


def require_labels(flows: FlowBatch) -> Labels:
    """The flows' labels.

    Raises:
        InputError: there are none.
    """
    if flows.labels is None:
        raise InputError("labels", "the flows carry none", "give a labelled log, or say --label benign")
    return flows.labels
