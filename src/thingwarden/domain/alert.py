"""What a signature engine said about the traffic, as columns.

In: columns that ``ingest`` made from an engine's log. Out: ``AlertBatch``, frozen, all columns of equal length.
Must never: hold text that a terminal would act on; what an engine or a rule's author wrote is not ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from thingwarden.domain.errors import InputError

UNKNOWN_SIDE: Final = -1
"""In ``AlertBatch.attacker_is_orig``: the rule does not say which side attacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertBatch:
    """Alerts in the order of their log, as columns of equal length n.

    Attributes:
        at_s: float64 (n,), Unix seconds of the packet that raised the alert, or of the engine's giving up the flow.
        orig_address, resp_address: uint64 (n, 2), as in ``FlowBatch``; originator and responder of the flow where
            ``is_oriented``, else sender and receiver of the packet.
        orig_port, resp_port: uint16 (n,); for ICMP the type and code where told, else 0.
        proto: uint8 (n,), IANA protocol number; 0 where it is not told.
        is_oriented: bool (n,), whether the log says which side began the flow.
        attacker_is_orig: int8 (n,), which side the rule itself calls the attacker: 1 the one in ``orig_address``, 0
            the other, ``UNKNOWN_SIDE`` where it does not say.
        signature_id: int64 (n,).
        severity: uint8 (n,), 1 is the gravest.
        confidence: uint8 (n,), the rule's author on false alarms: 0 not told, 1 low, 2 medium, 3 high.
        signature, category: n texts, printable ASCII, bounded.
        passed_over: lines that hold no usable alert, by kind.
        flow_started_at_s: float64 (n,), Unix seconds at which the engine's flow began, NaN where it does not say; None
            where it never does.
    """

    at_s: npt.NDArray[np.float64]
    orig_address: npt.NDArray[np.uint64]
    resp_address: npt.NDArray[np.uint64]
    orig_port: npt.NDArray[np.uint16]
    resp_port: npt.NDArray[np.uint16]
    proto: npt.NDArray[np.uint8]
    is_oriented: npt.NDArray[np.bool_]
    attacker_is_orig: npt.NDArray[np.int8]
    signature_id: npt.NDArray[np.int64]
    severity: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]
    signature: tuple[str, ...]
    category: tuple[str, ...]
    passed_over: Mapping[str, int] = field(default_factory=dict)
    flow_started_at_s: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name, (dtype, shape) in ALERT_COLUMNS.items():
            column = getattr(self, name)
            if column.shape != (len(self.at_s), *shape) or column.dtype != dtype:
                raise InputError(
                    f"alerts, column {name}",
                    f"expected {len(self.at_s)} values of {dtype}, found {column.shape} of {column.dtype}",
                )
        if not len(self.signature) == len(self.category) == len(self.at_s):
            raise InputError("alerts", "each alert needs its signature's text and category")
        if self.flow_started_at_s is not None and self.flow_started_at_s.shape != self.at_s.shape:
            raise InputError("alerts, column flow_started_at_s", f"expected {len(self.at_s)} values")

    def __len__(self) -> int:
        return len(self.at_s)

    @classmethod
    def concatenate(cls, batches: Sequence[Self]) -> Self:
        """Join logs in order."""
        columns: dict[str, Any] = {
            name: np.concatenate([np.zeros((0, *shape), dtype=dtype), *(getattr(item, name) for item in batches)])
            for name, (dtype, shape) in ALERT_COLUMNS.items()
        }
        for name in ("signature", "category"):
            columns[name] = tuple(text for item in batches for text in getattr(item, name))
        unsaid = [np.full(len(item), np.nan) for item in batches]
        begun = [
            none if item.flow_started_at_s is None else item.flow_started_at_s
            for item, none in zip(batches, unsaid, strict=True)
        ]
        columns["flow_started_at_s"] = np.concatenate([np.zeros(0), *begun])
        passed_over: Counter[str] = Counter()
        for item in batches:
            passed_over.update(item.passed_over)
        return cls(**columns, passed_over=dict(passed_over))


ALERT_COLUMNS: Final[dict[str, tuple[np.dtype[Any], tuple[int, ...]]]] = {
    "at_s": (np.dtype(np.float64), ()),
    "orig_address": (np.dtype(np.uint64), (2,)),
    "resp_address": (np.dtype(np.uint64), (2,)),
    "orig_port": (np.dtype(np.uint16), ()),
    "resp_port": (np.dtype(np.uint16), ()),
    "proto": (np.dtype(np.uint8), ()),
    "is_oriented": (np.dtype(np.bool_), ()),
    "attacker_is_orig": (np.dtype(np.int8), ()),
    "signature_id": (np.dtype(np.int64), ()),
    "severity": (np.dtype(np.uint8), ()),
    "confidence": (np.dtype(np.uint8), ()),
}
"""Type and shape beyond the first dimension of every numeric column."""
