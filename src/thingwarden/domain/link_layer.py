"""What hosts say about who is who on their link: ARP, neighbour discovery, routers' and DHCP servers' announcements.

In: columns that ``ingest.link_layer`` decoded. Out: ``LinkBatch``, frozen, all columns of equal length.
Must never: hold text, or anything that no ordinary host may say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt


class LinkKind(IntEnum):
    """What is said; the value is the code in ``LinkBatch.kind``."""

    MENTION = 0
    """An address of the sender's own, said by the way."""
    QUESTION = 1
    """Who has an address; the sender's own is said by the way, unless it has none yet."""
    ANSWER = 2
    """An address, said in the form of an answer."""
    ANNOUNCEMENT = 3
    """An address, said to whom it may concern: gratuitous ARP, unsolicited neighbour advertisement."""
    ROUTER = 4
    """An address, said by a router that offers itself as a way out."""
    DHCP_SERVER = 5
    """A DHCP server leases an address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkBatch:
    """Statements in the order of their capture, as columns of equal length n.

    Attributes:
        at_s: float64 (n,), Unix seconds.
        kind: uint8 (n,), a ``LinkKind``.
        segment: uint16 (n,), the outermost VLAN identifier; 0 untagged.
        address: uint64 (n, 2), the claimed address, as in ``PacketBatch``; of a DHCP server its identifier; zeros where
            nothing is claimed.
        mac: uint64 (n,), to whom the claimed address is said to belong.
        sender_mac: uint64 (n,), who sent the frame.
        asked: uint64 (n, 2), the address that a question is about; of an answer, to whose question; of a DHCP server,
            the gateway that it names; zeros for none.
    """

    at_s: npt.NDArray[np.float64]
    kind: npt.NDArray[np.uint8]
    segment: npt.NDArray[np.uint16]
    address: npt.NDArray[np.uint64]
    mac: npt.NDArray[np.uint64]
    sender_mac: npt.NDArray[np.uint64]
    asked: npt.NDArray[np.uint64]

    def __post_init__(self) -> None:
        for name, (dtype, shape) in LINK_COLUMNS.items():
            column = getattr(self, name)
            if column.dtype != dtype or column.shape != (len(self.at_s), *shape):
                raise ValueError(f"link column {name}: {column.dtype} {column.shape}, expected {dtype} {shape}")

    def __len__(self) -> int:
        return len(self.at_s)

    def take(self, rows: npt.NDArray[Any]) -> Self:
        """The statements at ``rows`` (indices or boolean mask), in that order."""
        return replace(self, **{name: getattr(self, name)[rows] for name in LINK_COLUMNS})

    @classmethod
    def concatenate(cls, batches: Sequence[Self]) -> Self:
        """Join batches, one after the other."""
        if not batches:
            return cls.empty()
        return cls(**{name: np.concatenate([getattr(batch, name) for batch in batches]) for name in LINK_COLUMNS})

    @classmethod
    def empty(cls) -> Self:
        """No statement at all."""
        return cls(**{name: np.zeros((0, *shape), dtype=dtype) for name, (dtype, shape) in LINK_COLUMNS.items()})


LINK_COLUMNS: Final[dict[str, tuple[np.dtype[Any], tuple[int, ...]]]] = {
    "at_s": (np.dtype(np.float64), ()),
    "kind": (np.dtype(np.uint8), ()),
    "segment": (np.dtype(np.uint16), ()),
    "address": (np.dtype(np.uint64), (2,)),
    "mac": (np.dtype(np.uint64), ()),
    "sender_mac": (np.dtype(np.uint64), ()),
    "asked": (np.dtype(np.uint64), (2,)),
}
