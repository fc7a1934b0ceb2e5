"""The evasion run: every contestant, evasion and strength, cell by cell, so that a run that was cut off goes on.

In: a folder of simulated networks; contestants with their thresholds fixed. Out: records in a folder, figures.
Must never: reuse a cell of other networks, another model, another seed or another state of the source.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from thingwarden import __version__
from thingwarden.bench.accuracy import all_makers, cache_folder, source_digest
from thingwarden.bench.contestants import Contestant, FittedScorer, ScoringContestant
from thingwarden.bench.evasion import EVASIONS, UNCHANGED
from thingwarden.bench.evasion_frog import GROWTHS_PER_H, KINDS, WARM_UPS_H, cast_frogs, grow_attack, warm_up
from thingwarden.bench.evasion_frog_measure import measure_streams, summarise_frog
from thingwarden.bench.evasion_measure import Network, Record, Stage, summarise_evasion
from thingwarden.bench.evasion_rows import attack_mask, campaigns
from thingwarden.bench.metrics import device_days
from thingwarden.bench.weeks import describe_thresholds
from thingwarden.domain.errors import InputError, RequestError
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.model.artifact import Artifact
from thingwarden.model.scorer import FlowScorer
from thingwarden.train.corpus import LabCorpus, load_corpus, load_lab
from thingwarden.train.folds import load_plan, view_fold

STREAMS: Final = 8
"""Boiling frogs of each kind of attack."""

RECORDED_ATTACK_FLOWS: Final = 1_000
"""Of each attack of a recorded capture, its first ones: a flood of ten thousand tells no more and takes ten times as
long."""

RECORDED: Final = "recorded"
"""Name of the curve over recorded captures; all others are over simulated networks."""

FROG: Final = "boiling-frog"
WARM_UP: Final = "warm-up"
FAMILIES: Final = (*EVASIONS, FROG, WARM_UP)
"""What can be measured, by name."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """Who is measured.

    Attributes:
        name: names cells and table rows.
        identity: all that its verdicts depend on besides networks, seed and source.
        origin: what a report says of where it comes from and how its thresholds were set.
        make: gives it fitted; called only where a cell is missing.
        recorded: captures with attacks that it never learned from, beside the simulated networks.
    """

    name: str
    identity: str
    origin: str
    make: Callable[[], Contestant]
    recorded: tuple[Network, ...] = ()


def shipped_entrant(artifact: Artifact) -> Entrant:
    """A model with the thresholds that it ships with."""

    def make() -> Contestant:
        vocabulary = Vocabulary.from_json(artifact.vocabulary)
        fitted = FittedScorer(vocabulary=vocabulary, scorer=FlowScorer(artifact), calibration=artifact.calibration)
        return ScoringContestant.ready(artifact.name, fitted)

    trained_at = artifact.manifest.get("trained_at", "no date")
    return Entrant(
        name=artifact.name,
        identity=json.dumps(artifact.manifest, sort_keys=True),
        origin=f"The model of {trained_at} as it ships: {describe_thresholds(artifact.calibration)}.",
        make=make,
    )


def fold_entrants(names: Sequence[str], data: Path, fold: int, seed: int, plan_path: Path) -> list[Entrant]:
    """Contestants of the referee, each fitted on an outer fold of the public captures when first needed.

    Args:
        names: of ``accuracy.all_makers``.
        data: folder of the public captures.
        fold: whose captures nobody learns from: they are measured too. Thresholds are set as in the referee.
        seed: of the fitting.
        plan_path: the fold plan.

    Raises:
        RequestError: an unknown contestant or fold.
        ConfigError: no captures, or no fold plan.
    """
    makers, plan = all_makers(), load_plan(plan_path)
    unknown = sorted(set(names) - set(makers))
    if unknown:
        raise RequestError(f"contestant {unknown[0]}", "is not known", f"choose among {', '.join(makers)}")
    if fold >= plan.count:
        raise RequestError(f"fold {fold}", "is not in the plan", f"choose one of 0 to {plan.count - 1}")
    view = view_fold(plan, load_corpus(data, cache_folder()), fold)
    attacked = [part for part in view.test if part.capture.kind == "attack"]
    recorded = tuple(
        Network(part.capture.name, shorten_attacks(part.flows), device_days(part.flows)) for part in attacked
    )

    def entrant(name: str) -> Entrant:
        def make() -> Contestant:
            contestant = makers[name]()
            contestant.fit(view.blind(), seed)
            return contestant

        shown = f"{name}, fold {fold}"
        return Entrant(
            name=shown,
            identity=f"{plan.sha256} {shown} {seed}",
            origin=f"Fitted on the public captures but fold {fold}, seed {seed}; thresholds by the referee.",
            make=make,
            recorded=recorded,
        )

    return [entrant(name) for name in names]


def shorten_attacks(flows: FlowBatch, most: int = RECORDED_ATTACK_FLOWS) -> FlowBatch:
    """The flows without what comes after the first ``most`` of each attack."""
    kept = np.ones(len(flows), dtype=np.bool_)
    for rows in campaigns(flows, attack_mask(flows), by_host=False):
        kept[rows[most:]] = False
    return flows.take(kept)


def run_evasion(
    entrants: Sequence[Entrant],
    corpus: Path,
    kept: Path,
    *,
    families: Sequence[str] = FAMILIES,
    network_limit: int | None = None,
    seed: int = 0,
    progress: Progress = lambda _done, _total: None,
) -> dict[str, Any]:
    """Measure what is missing; figures of all.

    Args:
        entrants: whom; each name once.
        corpus: folder of simulated networks.
        kept: folder for cells; made where it is missing.
        families: which of ``FAMILIES``.
        network_limit: so many networks of the corpus at most.
        seed: of all that evasions draw.
        progress: told how many cells are done, and of how many.

    Returns:
        The content of ``evasion.json``.

    Raises:
        InputError: no lab corpus, or none of its networks holds an attack.
        RequestError: an unknown family.
    """
    unknown = sorted(set(families) - set(FAMILIES))
    if unknown:
        raise RequestError(f"evasion {unknown[0]}", "is not known", f"choose among {', '.join(FAMILIES)}")
    lab = load_lab(corpus)
    parts = lab.parts[:network_limit]
    if not any(part.capture.kind == "attack" for part in parts):
        raise InputError(str(corpus), "no network holds an attack", "make one with: lab corpus recipes/lab-corpus.toml")
    simulated = [Network(p.capture.name, p.flows, lab.find(p.capture.name).device_days) for p in parts]
    wanted = [(entrant, family) for entrant in entrants for family in families]
    total = sum(len(strengths_of(family)) for _, family in wanted)
    source = source_digest()
    measured: dict[str, dict[str, Any]] = {entrant.name: {} for entrant in entrants}
    done = 0
    progress(done, total)
    for entrant in entrants:
        bench = _Bench(entrant, simulated, kept / _cell_folder(entrant, lab, len(parts), seed, source), seed)
        for family in families:
            cells = {}
            for strength in strengths_of(family):
                cells[strength] = bench.cell(family, strength)
                done += 1
                progress(done, total)
            measured[entrant.name][family] = _summarise(family, cells, [network.name for network in entrant.recorded])
    return {
        "corpus_sha256": lab.sha256,
        "corpus_seed": lab.manifest.seed,
        "seed": seed,
        "version": __version__,
        "source_sha256": source,
        "networks": sum(part.capture.kind == "attack" for part in parts),
        "origins": {entrant.name: entrant.origin for entrant in entrants},
        "recorded": {entrant.name: [network.name for network in entrant.recorded] for entrant in entrants},
        "contestants": measured,
    }


def strengths_of(family: str) -> tuple[float, ...]:
    """Strengths that are measured, the one that changes nothing first."""
    if family == FROG:
        return GROWTHS_PER_H
    return WARM_UPS_H if family == WARM_UP else (UNCHANGED, *EVASIONS[family].strengths)


def _summarise(family: str, cells: Mapping[float, Any], recorded: Sequence[str]) -> dict[str, Any]:
    if family in EVASIONS:
        curves = summarise_evasion({strength: _of(cell, recorded, False) for strength, cell in cells.items()})
        if recorded:
            of_recorded = {strength: _of(cell, recorded, True) for strength, cell in cells.items()}
            curves[RECORDED] = summarise_evasion(of_recorded)["all"]
        return curves
    kinds = {kind for cell in cells.values() for kind in cell}
    return {
        kind: summarise_frog({strength: cell.get(kind, []) for strength, cell in cells.items()})
        for kind in sorted(kinds)
    }


def _of(records: Sequence[Record], names: Sequence[str], is_among: bool) -> list[Record]:
    return [record for record in records if (record["network"] in names) is is_among]


def _cell_folder(entrant: Entrant, lab: LabCorpus, networks: int, seed: int, source: str) -> str:
    """Named after all that the cells in it depend on."""
    depends = [entrant.identity, lab.sha256, source, str(seed), str(networks)]
    digest = hashlib.sha256("\n".join(depends).encode()).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', entrant.name)}.{digest}"


class _Bench:
    """Makes one entrant's cells, or takes them from the folder."""

    def __init__(self, entrant: Entrant, simulated: Sequence[Network], folder: Path, seed: int) -> None:
        self._entrant = entrant
        self._simulated = simulated
        self._folder = folder
        self._seed = seed

    @cached_property
    def _contestant(self) -> Contestant:
        return self._entrant.make()

    @cached_property
    def _stage(self) -> Stage:
        attacked = [network for network in self._simulated if attack_mask(network.flows).any()]
        return Stage(self._contestant, [*attacked, *self._entrant.recorded])

    def cell(self, family: str, strength: float) -> Any:
        """Records of one family at one strength: a list, or one per kind of attack where something grows."""
        path = self._folder / f"{family}.{strength:g}.json"
        if not path.is_file():
            self._folder.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".partial")
            unfinished.write_text(json.dumps(self._measure(family, strength)), encoding="utf-8")
            unfinished.replace(path)
        return json.loads(path.read_text(encoding="utf-8"))

    def _measure(self, family: str, strength: float) -> Any:
        if family in EVASIONS:
            return self._stage.measure(EVASIONS[family], strength, self._seed)
        kinds = tuple(KINDS) if family == FROG else (AttackClass.C2,)
        return {kind.value: list(self._measure_frogs(family, kind, strength)) for kind in kinds}

    def _measure_frogs(self, family: str, kind: AttackClass, strength: float) -> Iterator[Record]:
        networks = [(network.name, network.flows) for network in self._simulated]
        for number, cast in enumerate(cast_frogs(networks, kind, STREAMS, self._seed)):
            stream = grow_attack(cast, strength) if family == FROG else warm_up(cast, strength, self._seed + number)
            yield from measure_streams([stream], self._contestant)
