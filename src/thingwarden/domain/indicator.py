"""Lists of what is known to be bad: addresses, networks, domain names, JA4 fingerprints.

In: columns that ``ingest`` made from lists. Out: ``IndicatorSet``, frozen, all columns of equal length.
Must never: hold a network that is most of the internet, or a name that is not printable ASCII.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from thingwarden.domain.errors import InputError
from thingwarden.domain.sighting import SightingKind

KIND_CODE: Final = {SightingKind.ADDRESS: 0, SightingKind.DOMAIN: 1, SightingKind.JA4: 2}
"""In ``IndicatorSet.kind``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorSet:
    """Entries of one or several lists, as columns of equal length n.

    Attributes:
        kind: uint8 (n,), a value of ``KIND_CODE``.
        network: uint64 (n, 2), first address of the network, as in ``FlowBatch``; 0 for names.
        prefix_length: uint8 (n,), bits of the network, 0 to 128, for IPv4 from 96; 0 for names.
        name: n texts, the domain in lower case (``*.`` before it means its subdomains) or the fingerprint; empty for
            addresses.
        confidence: uint8 (n,), 1 to 100, how sure the list is.
        valid_from_s, valid_until_s: float64 (n,), Unix seconds; from the first until before the second.
        attack_class: int8 (n,), index into ``taxonomy.CLASSES`` where the list names one, else -1.
        origin: n texts, file and place.
        quote: n texts, what the list says about the entry, printable ASCII; empty where nothing.
        passed_over: entries that say nothing that can be matched, by reason.
    """

    kind: npt.NDArray[np.uint8]
    network: npt.NDArray[np.uint64]
    prefix_length: npt.NDArray[np.uint8]
    name: tuple[str, ...]
    confidence: npt.NDArray[np.uint8]
    valid_from_s: npt.NDArray[np.float64]
    valid_until_s: npt.NDArray[np.float64]
    attack_class: npt.NDArray[np.int8]
    origin: tuple[str, ...]
    quote: tuple[str, ...]
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.kind)
        for name, (dtype, shape) in INDICATOR_COLUMNS.items():
            column = getattr(self, name)
            if column.shape != (count, *shape) or column.dtype != dtype:
                raise InputError(f"indicators, column {name}", f"expected {count} values of {dtype}")
        if not len(self.name) == len(self.origin) == len(self.quote) == count:
            raise InputError("indicators", "each entry needs its name, origin and quote")

    def __len__(self) -> int:
        return len(self.kind)

    @classmethod
    def concatenate(cls, sets: Sequence[Self]) -> Self:
        """Join lists in order."""
        columns: dict[str, Any] = {
            name: np.concatenate([np.zeros((0, *shape), dtype=dtype), *(getattr(item, name) for item in sets)])
            for name, (dtype, shape) in INDICATOR_COLUMNS.items()
        }
        columns |= {name: tuple(text for item in sets for text in getattr(item, name)) for name in _TEXT_COLUMNS}
        passed_over: dict[str, int] = {}
        for item in sets:
            for reason, count in item.passed_over.items():
                passed_over[reason] = passed_over.get(reason, 0) + count
        return cls(**columns, passed_over=passed_over)


_TEXT_COLUMNS: Final = ("name", "origin", "quote")

INDICATOR_COLUMNS: Final[dict[str, tuple[np.dtype[Any], tuple[int, ...]]]] = {
    "kind": (np.dtype(np.uint8), ()),
    "network": (np.dtype(np.uint64), (2,)),
    "prefix_length": (np.dtype(np.uint8), ()),
    "confidence": (np.dtype(np.uint8), ()),
    "valid_from_s": (np.dtype(np.float64), ()),
    "valid_until_s": (np.dtype(np.float64), ()),
    "attack_class": (np.dtype(np.int8), ()),
}
"""Type and shape beyond the first dimension of every numeric column."""
