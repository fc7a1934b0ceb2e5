"""Words of evidence and what others said about them, in one order, cut by whom they speak against.

In: ``EvidenceColumns`` with their devices, roles and positions. Out: the same, merged, grouped, picked, joined.
Must never: change the order of what stands at one position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from thingwarden.detect.attribution import WINDOW_WORDS
from thingwarden.detect.evidence import Evidence
from thingwarden.detect.tally import NO_SIGHTING, EvidenceColumns
from thingwarden.domain.word import ROLES, WordBatch

_Kind = TypeVar("_Kind", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Stream:
    """Words of evidence of all devices in order; ``position`` int64 (n,), where each stands in its chunk, rises."""

    device: npt.NDArray[np.int32]
    role: npt.NDArray[np.int8]
    position: npt.NDArray[np.int64]
    columns: EvidenceColumns


def group_by_track(
    device: npt.NDArray[np.int32], role: npt.NDArray[np.int8]
) -> Iterator[tuple[tuple[int, int], npt.NDArray[np.int64]]]:
    """Positions of each device and role, in order of their first."""
    if not len(device):
        return
    key = device.astype(np.int64) * len(ROLES) + role
    order = np.argsort(key, kind="stable")
    bounds = np.flatnonzero(np.diff(key[order])) + 1
    for members in sorted(np.split(order, bounds), key=lambda members: int(members[0])):
        device_index, role_index = divmod(int(key[members[0]]), len(ROLES))
        yield (device_index, role_index), members


def merge_streams(first: Stream, second: Stream) -> Stream:
    """Both streams in the order of their positions."""
    position = np.concatenate([first.position, second.position])
    order = np.argsort(position, kind="stable")
    return Stream(
        device=np.concatenate([first.device, second.device])[order],
        role=np.concatenate([first.role, second.role])[order],
        position=position[order],
        columns=pick(join([first.columns, second.columns]), order),
    )


def within_reach(parts: Sequence[EvidenceColumns]) -> list[EvidenceColumns]:
    """The remembered words of evidence among the last ``WINDOW_WORDS`` words of their device: no sighting, no probe."""
    parts = [_remembered(part) for part in parts]
    parts = [part for part in parts if len(part.number)]
    if not parts:
        return []
    oldest = int(parts[-1].number[-1]) - WINDOW_WORDS
    near = [part for part in parts if part.number[-1] > oldest]
    return [pick(part, part.number > oldest) if part.number[0] <= oldest else part for part in near]


def _remembered(part: EvidenceColumns) -> EvidenceColumns:
    is_kept = (part.sighting == NO_SIGHTING) & ~part.is_probe
    return part if is_kept.all() else pick(part, is_kept)


def without(parts: Sequence[EvidenceColumns], is_gone: npt.NDArray[np.bool_]) -> list[EvidenceColumns]:
    """The words of evidence that name none of these flows; ``is_gone`` is by row, ``NO_FLOW`` its last."""
    kept = [part if not is_gone[part.flow].any() else pick(part, ~is_gone[part.flow]) for part in parts]
    return [part for part in kept if len(part.flow)]


def pick(columns: EvidenceColumns, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_] | slice) -> EvidenceColumns:
    """The words at ``rows``, in that order."""
    return columns.take(rows)


def join(parts: Sequence[EvidenceColumns]) -> EvidenceColumns:
    """The words of at least one part, one after the other."""
    names = [item.name for item in fields(EvidenceColumns)]
    return EvidenceColumns(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


class Course:
    """How far devices have come, from chunk to chunk: by this both statistics lose what quiet words take off.

    Attributes:
        said: int64, words of each device so far, probes aside.
    """

    def __init__(self) -> None:
        self.said = np.zeros(0, dtype=np.int64)
        self._calm = np.zeros(0, dtype=np.int64)

    def follow(self, words: WordBatch, evidence: Evidence) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Of each of at least one word, how many its device has said, and quanta of calm of its device and role."""
        self.said, number = running_sums(self.said, words.device, ~words.is_probe)
        key = words.device.astype(np.int64) * len(ROLES) + evidence.role
        self._calm, calm = running_sums(self._calm, key, np.maximum(-evidence.strange, 0))
        return number, calm


def running_sums(
    totals: npt.NDArray[np.int64], key: npt.NDArray[np.integer], amount: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sums per key that go on from chunk to chunk.

    Args:
        totals: int64 (k,), the sums so far by key, changed in place; a key beyond them has none yet.
        key: (n,), at least 0, n at least 1.
        amount: (n,), whole numbers.

    Returns:
        The sums after these, as long as needed, and int64 (n,), the sum of each one's key up to it and with it.
    """
    order = np.argsort(key, kind="stable")
    counts = np.bincount(key, minlength=1)
    so_far = np.concatenate([[0], np.cumsum(amount[order], dtype=np.int64)])
    starts = np.cumsum(counts) - counts
    totals = grown(totals, len(counts))
    running = np.empty(len(key), dtype=np.int64)
    running[order] = so_far[1:] - np.repeat(so_far[starts], counts) + totals[key[order]]
    totals[: len(counts)] += so_far[starts + counts] - so_far[starts]
    return totals, running


def page_sums(start: int, falls: npt.NDArray[np.int64], gains: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Page's sum after each word: it falls, never below 0, and then gains.

    Args:
        start: quanta before the first word, at least 0.
        falls, gains: int64 (n,), quanta, at least 0.
    """
    before = start + np.cumsum(gains) - gains - np.cumsum(falls)
    return np.asarray(before - np.minimum(np.minimum.accumulate(before), 0) + gains)


def grown(column: npt.NDArray[_Kind], length: int) -> npt.NDArray[_Kind]:
    """The column, at least ``length`` long, filled up with zeros; grows by doubling."""
    if len(column) >= length:
        return column
    longer = np.zeros(max(length, 2 * len(column)), dtype=column.dtype)
    longer[: len(column)] = column
    return longer
