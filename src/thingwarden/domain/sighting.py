"""What is known beside the model: a rule's alert, a listed address or name that was met, claims on the link.

In: values from ``detect``. Out: ``SightingBatch``, columns for all of them; ``Sighting``, one line of an incident.
Must never: hold text of others outside ``Sighting.quote``, which is printable, bounded and shown between quotes.
Source: STIX 2.1, section 5.3, for the word: a sighting is that something known to threat intelligence was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, IntEnum
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from thingwarden.domain.errors import InputError


class SightingKind(Enum):
    """What was recognised; the value is the wire name."""

    SIGNATURE = "signature"
    ADDRESS = "address"
    DOMAIN = "domain"
    JA4 = "ja4"
    LINK_LAYER = "link_layer"


class Grade(IntEnum):
    """How much a sighting is worth; ordered."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SightingSource:
    """A rule or a list's entry that was met, or what was seen on the link.

    Attributes:
        kind: what it recognises.
        name: of the rule or the entry, in our own words: numbers, addresses and names of printable ASCII. Of what was
            seen on the link, what the device does, as words that follow "it".
        origin: the file that it stands in, with its place there; empty for a rule and for the link.
        quote: what its author calls it, printable ASCII, bounded; empty where nothing is said.
        mac: of the device that it is about, where it is about no flow; else None.
        log_odds_nats: where it is about no flow, what it says by itself; else 0.
    """

    kind: SightingKind
    name: str
    origin: str
    quote: str
    mac: str | None = None
    log_odds_nats: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A rule, a list's entry or something seen on the link that speaks for an incident.

    Attributes:
        kind, name, origin, quote: as in ``SightingSource``.
        grade: of its gravest sighting.
        weight_nats: what it adds to the alarm statistic, once an hour; caps may have cut it.
        hour_count: in how many hours of traffic time it was counted.
        first_at: aware UTC, when it was first counted.
    """

    kind: SightingKind
    name: str
    origin: str
    quote: str
    grade: Grade
    weight_nats: float
    hour_count: int
    first_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SightingBatch:
    """Sightings on flows, as columns of equal length n, in any order.

    Attributes:
        flow: int64 (n,), row of the flow; ``NO_FLOW`` where its source names a device instead.
        is_orig: bool (n,), which end of the flow the sighting is about: the originator or the responder.
        is_offender: bool (n,), whether it accuses that end or device; otherwise that is the target.
        at_s: float64 (n,), Unix seconds at which it could be known, within the flow if there is one.
        grade: uint8 (n,), a ``Grade``.
        attack_class: int8 (n,), index into ``taxonomy.CLASSES`` where the source names one, else -1.
        source: int32 (n,), index into ``sources``.
        sources: the rules and entries that were met.
    """

    flow: npt.NDArray[np.int64]
    is_orig: npt.NDArray[np.bool_]
    is_offender: npt.NDArray[np.bool_]
    at_s: npt.NDArray[np.float64]
    grade: npt.NDArray[np.uint8]
    attack_class: npt.NDArray[np.int8]
    source: npt.NDArray[np.int32]
    sources: tuple[SightingSource, ...]

    def __post_init__(self) -> None:
        for name, dtype in SIGHTING_COLUMNS.items():
            column = getattr(self, name)
            if column.shape != self.flow.shape or column.dtype != dtype:
                raise InputError(f"sightings, column {name}", f"expected {len(self.flow)} values of {dtype}")

    def __len__(self) -> int:
        return len(self.flow)

    def take(self, rows: npt.NDArray[Any]) -> Self:
        """The sightings at ``rows`` (indices or boolean mask), in that order."""
        return replace(self, **{name: getattr(self, name)[rows] for name in SIGHTING_COLUMNS})

    @classmethod
    def concatenate(cls, batches: Sequence[Self]) -> Self:
        """Join batches, each with its own sources."""
        if not batches:
            return cls.empty()
        columns = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in SIGHTING_COLUMNS}
        offsets = np.cumsum([0, *(len(batch.sources) for batch in batches[:-1])])
        moved = [batch.source + offset for batch, offset in zip(batches, offsets, strict=True)]
        columns["source"] = np.concatenate(moved).astype(np.int32)
        return cls(**columns, sources=tuple(source for batch in batches for source in batch.sources))

    @classmethod
    def empty(cls) -> Self:
        """No sighting at all."""
        return cls(**{name: np.zeros(0, dtype=dtype) for name, dtype in SIGHTING_COLUMNS.items()}, sources=())


NO_FLOW: Final = -1
"""In ``SightingBatch.flow``: it is about a device, by what no flow shows."""

NO_CLASS: Final = -1
"""In ``SightingBatch.attack_class``: the source names no class of attack."""

SIGHTING_COLUMNS: Final[dict[str, np.dtype[Any]]] = {
    "flow": np.dtype(np.int64),
    "is_orig": np.dtype(np.bool_),
    "is_offender": np.dtype(np.bool_),
    "at_s": np.dtype(np.float64),
    "grade": np.dtype(np.uint8),
    "attack_class": np.dtype(np.int8),
    "source": np.dtype(np.int32),
}
