"""Names that a sensor heard devices say: domains asked for or connected to, TLS fingerprints.

In: columns that ``ingest`` made from a sensor's log. Out: ``HeardNames``, frozen, all columns of equal length.
Must never: reach a model; names are compared with lists and with nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from thingwarden.domain.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardNames:
    """Names in the order of their log, as columns of equal length n.

    Attributes:
        at_s: float64 (n,), Unix seconds.
        orig_address, resp_address, orig_port, resp_port, proto: as in ``AlertBatch``; who said the name, and to whom.
        kind: uint8 (n,), a value of ``indicator.KIND_CODE``.
        is_question: bool (n,), whether the name was only asked for (DNS), not connected to.
        name: n texts, printable ASCII in lower case.
    """

    at_s: npt.NDArray[np.float64]
    orig_address: npt.NDArray[np.uint64]
    resp_address: npt.NDArray[np.uint64]
    orig_port: npt.NDArray[np.uint16]
    resp_port: npt.NDArray[np.uint16]
    proto: npt.NDArray[np.uint8]
    kind: npt.NDArray[np.uint8]
    is_question: npt.NDArray[np.bool_]
    name: tuple[str, ...]

    def __post_init__(self) -> None:
        count = len(self.at_s)
        for name, (dtype, shape) in HEARD_COLUMNS.items():
            column = getattr(self, name)
            if column.shape != (count, *shape) or column.dtype != dtype:
                raise InputError(f"heard names, column {name}", f"expected {count} values of {dtype}")
        if len(self.name) != count:
            raise InputError("heard names", "each needs its text")

    def __len__(self) -> int:
        return len(self.at_s)

    @classmethod
    def concatenate(cls, batches: Sequence[Self]) -> Self:
        """Join logs in order."""
        columns: dict[str, Any] = {
            name: np.concatenate([np.zeros((0, *shape), dtype=dtype), *(getattr(item, name) for item in batches)])
            for name, (dtype, shape) in HEARD_COLUMNS.items()
        }
        return cls(**columns, name=tuple(text for item in batches for text in item.name))


HEARD_COLUMNS: Final[dict[str, tuple[np.dtype[Any], tuple[int, ...]]]] = {
    "at_s": (np.dtype(np.float64), ()),
    "orig_address": (np.dtype(np.uint64), (2,)),
    "resp_address": (np.dtype(np.uint64), (2,)),
    "orig_port": (np.dtype(np.uint16), ()),
    "resp_port": (np.dtype(np.uint16), ()),
    "proto": (np.dtype(np.uint8), ()),
    "kind": (np.dtype(np.uint8), ()),
    "is_question": (np.dtype(np.bool_), ()),
}
"""Type and shape beyond the first dimension of every numeric column."""
