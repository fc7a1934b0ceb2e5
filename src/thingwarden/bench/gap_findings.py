"""The two comparisons: simulated with real runs of the same scenarios, and the lab's harmless life with the public's.

In: runs in both worlds; a corpus and the public captures. Out: ``GapFindings``.
Must never: judge a world by words that the other world could not have had, such as of a run that it lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from thingwarden.bench.domain_gap import (
    Gap,
    Offence,
    WorldWords,
    find_offences,
    find_uncovered,
    rename_runs,
    tell_apart,
)
from thingwarden.bench.gap_runs import Plan
from thingwarden.bench.gap_words import RunFlows, fit_vocabulary, read_sampled, read_world
from thingwarden.domain.errors import RequestError
from thingwarden.encode.vocabulary import Vocabulary

Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class GapFindings:
    """What one comparison of two worlds gave.

    Attributes:
        names: of the two worlds.
        gaps: by what was compared, such as ``all``, ``benign`` or a scenario; None where nothing could be held out.
        offences: buckets whose shares differ most.
        uncovered: buckets that several runs of the second world show and the first hardly ever.
        vocabulary: that both were read by.
    """

    names: tuple[str, str]
    gaps: Mapping[str, Gap | None]
    offences: Sequence[Offence]
    uncovered: Sequence[Offence]
    vocabulary: Vocabulary


def compare_worlds(plan: Plan, simulated: Sequence[RunFlows], real: Sequence[RunFlows]) -> GapFindings:
    """Words of the same scenarios and seeds in both worlds: together, by label, and scenario by scenario.

    Args:
        plan: which the runs were made by.
        simulated, real: with equal numbers for the same scenario and seed.

    Raises:
        RequestError: there are too few runs to hold any out.
    """
    _require_runs(simulated, real)
    vocabulary = fit_vocabulary([*simulated, *real])
    worlds = read_world(simulated, vocabulary), read_world(real, vocabulary)
    gaps: dict[str, Gap | None] = {"all": tell_apart(*worlds)}
    gaps["benign"] = _tell_part(worlds, lambda world: ~world.malicious)
    gaps["malicious"] = _tell_part(worlds, lambda world: world.malicious)
    for scenario in plan.scenarios:
        gaps[scenario] = _tell_part(worlds, partial(_is_of, numbers=plan.numbers_of(scenario)))
    return GapFindings(
        names=("simulated", "real"), gaps=gaps, offences=find_offences(*worlds), uncovered=(), vocabulary=vocabulary
    )


def compare_public(lab: Sequence[RunFlows], public: Sequence[RunFlows]) -> GapFindings:
    """Harmless words of simulated networks and of public devices, networks and physical kinds of device held out.

    Raises:
        RequestError: there are too few of either to hold any out.
    """
    _require_runs(lab, public)
    vocabulary = fit_vocabulary([*lab, *public])
    lab_words = read_sampled(lab, vocabulary)
    public_words = rename_runs(read_sampled(public, vocabulary), 1 + max(run.run for run in lab))
    return GapFindings(
        names=("lab", "public"),
        gaps={"all": tell_apart(lab_words, public_words)},
        offences=find_offences(_as_one_subject(lab_words), _as_one_subject(public_words)),
        uncovered=find_uncovered(lab_words, public_words),
        vocabulary=vocabulary,
    )


def _as_one_subject(world: WorldWords) -> WorldWords:
    """Public captures do not say what kind of device speaks."""
    return replace(world, subject=np.full(len(world), b"any device", dtype="S48"))


def _is_of(world: WorldWords, numbers: Sequence[int]) -> Mask:
    return np.isin(world.run, numbers)


def _tell_part(worlds: tuple[WorldWords, WorldWords], wanted: Callable[[WorldWords], Mask]) -> Gap | None:
    return tell_apart(*(world.take(wanted(world)) for world in worlds))


def _require_runs(first: Sequence[RunFlows], second: Sequence[RunFlows]) -> None:
    if min(len({run.run for run in runs}) for runs in (first, second)) < 2:
        raise RequestError("runs to compare", "fewer than two in one of the worlds", "make more of them")
