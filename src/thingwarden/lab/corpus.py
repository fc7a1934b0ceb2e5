"""Makes a corpus: many random networks simulated in worker processes, one file of flows each, and their manifest.

In: a corpus recipe, a seed, how much is wanted. Out: a folder as ``ingest.lab_corpus`` describes it.
Must never: let the number of processes, an interruption or the order of finishing change a byte of the outcome.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count as count_up
from pathlib import Path
from typing import Final

import numpy as np

import thingwarden.domain
import thingwarden.ingest
import thingwarden.lab
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.encode.sentence import local_ends
from thingwarden.ingest.lab_corpus import LabDevice, LabManifest, LabNetwork, write_manifest, write_network
from thingwarden.lab.behaviour.catalogue import ACTS, live
from thingwarden.lab.draw import CorpusRecipe, Purpose, describe_condition, draw_network, present_s
from thingwarden.lab.simulated.capture import Meter
from thingwarden.lab.simulated.run import Simulation
from thingwarden.lab.timeline import Perform, Schedule
from thingwarden.lab.truth import event_kind

JOURNAL_FILE: Final = "drawn.jsonl"
"""One line per finished network, in the order of finishing, so that a run that was cut off goes on."""

DAY_S: Final = 86_400.0
PACKETS_PER_FLOW: Final = 20
"""Where flows are bounded, so are packets: sessions that talk for days give few words for much work."""
_PR_SET_PDEATHSIG: Final = 1
"""prctl(2)."""
_AHEAD: Final = 2
"""Networks per worker that are under way: while the first ones are waited for, nobody idles."""

Simulate = Callable[[Schedule, int | None], tuple[FlowBatch, float]]
"""Runs a schedule and ends early where it has given so many flows; the labelled flows, and when it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """How much is wanted; the first of these that is reached ends the corpus, None is not looked at.

    Attributes:
        networks: how many.
        words: in all networks together, see ``count_words``.
        device_weeks: of the devices that were there.
    """

    networks: int | None = None
    words: int | None = None
    device_weeks: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A network that is on disk, and its number of words."""

    network: LabNetwork
    words: int

    @property
    def number(self) -> int:
        """Of the network."""
        return self.network.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is done; ``done_ratio`` is the share of the goal."""

    networks: int
    flows: int
    words: int
    device_weeks: float
    done_ratio: float


@dataclass(frozen=True, slots=True)
class _Task:
    recipe: CorpusRecipe
    folder: Path
    seed: int
    number: int
    purpose: Purpose
    simulate: Simulate


def simulate_flows(schedule: Schedule, flows_most: int | None = None) -> tuple[FlowBatch, float]:
    """Run a schedule in simulated time, to its end or until it has given so many flows, or very many packets.

    Returns:
        The labelled flows, those still open at the end among them, and the second in which it ended.
    """
    run = Simulation(schedule, live, ACTS)
    meter = Meter(run.labels, run.began_at_s)
    batches: list[FlowBatch] = []
    flow_count, packet_count, ended_s = 0, 0, schedule.duration_s
    for rows in run.packets():
        batches.append(meter.push(rows))
        flow_count += len(batches[-1])
        packet_count += len(rows)
        if flows_most is not None and (flow_count >= flows_most or packet_count >= PACKETS_PER_FLOW * flows_most):
            ended_s = float(rows["at_s"][-1])
            break
    return FlowBatch.concatenate([*batches, meter.finish()]), ended_s


def make_corpus(
    recipe: CorpusRecipe,
    folder: Path,
    goal: Goal,
    *,
    seed: int = 0,
    purpose: Purpose = "train",
    jobs: int = 1,
    simulate: Simulate = simulate_flows,
    report: Callable[[Progress], None] = lambda _: None,
) -> LabManifest:
    """Draw, simulate and write networks from number 0 on until the goal is reached; the manifest comes last.

    Args:
        recipe: the ranges.
        folder: made where it is missing; what an earlier run of the same recipe, seed and code left is kept.
        goal: how much is wanted.
        seed: of the corpus.
        purpose: see ``LabNetwork``.
        jobs: worker processes; 1 simulates in this one.
        simulate: a function of some module, so that worker processes can import it.
        report: is told after each network, in the order of their numbers.

    Raises:
        ConfigError: the folder holds another corpus.
        InputError: the simulation gave flows that a corpus must not hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    journal = _Journal(folder, _origin(recipe, seed, purpose))
    kept = journal.read()
    tasks = (_Task(recipe, folder, seed, number, purpose, simulate) for number in count_up())
    made: list[Made] = []
    with _finished(tasks, kept, jobs) as finished:
        while not _is_reached(goal, made):
            made.append(next(finished))
            if made[-1].number not in kept:
                journal.note(made[-1])
            report(_progress(goal, made))
    _remove_others(folder, made)
    manifest = LabManifest(recipe_sha256=recipe.sha256, seed=seed, networks=tuple(item.network for item in made))
    write_manifest(folder, manifest)
    return manifest


def count_words(flows: FlowBatch) -> int:
    """Words that an encoder makes of the flows: two for each side that has a sentence."""
    is_local = local_ends(flows)
    is_self = (flows.orig_address == flows.resp_address).all(axis=1)
    return 2 * len(flows) + 2 * int((is_local.all(axis=1) & ~is_self).sum())


def describe_network(schedule: Schedule, number: int, purpose: Purpose, ended_s: float) -> LabNetwork:
    """What the manifest says of a network, but for its flows.

    Args:
        schedule: what was run.
        number: in the corpus.
        purpose: see ``LabNetwork``.
        ended_s: when the run ended, in seconds since its beginning.
    """
    carried_out = [item for item in schedule.planned if item.at_s < ended_s]
    attacks = {
        item.event: item.action.act
        for item in carried_out
        if isinstance(item.action, Perform) and item.action.attack_class is not AttackClass.BENIGN
    }
    oddities = {event_kind(item.event) for item in carried_out if item.event not in attacks}
    return LabNetwork(
        name=f"net-{number:05d}",
        file=f"net-{number:05d}.npz",
        seed=schedule.seed,
        sha256="0" * 64,
        flows=0,
        device_days=round(sum(present_s(schedule, ended_s).values()) / DAY_S, 6),
        devices=tuple(
            LabDevice(name=host.name, kind=host.kind, ip=host.address, mac=host.mac) for host in schedule.hosts
        ),
        acts=tuple(sorted(set(attacks.values()))),
        chores=tuple(sorted(oddities)),
        condition=describe_condition(schedule.condition),
        purpose=purpose,
    )


def _make(task: _Task) -> Made:
    """What a worker does."""
    schedule = draw_network(task.recipe, seed=task.seed, number=task.number, purpose=task.purpose)
    most = task.recipe.flows_most if task.purpose == "train" else None
    flows, ended_s = task.simulate(schedule, most)
    flows = flows.take(np.argsort(flows.started_at_s, kind="stable"))
    network = describe_network(schedule, task.number, task.purpose, ended_s)
    return Made(network=write_network(task.folder, flows, network), words=count_words(flows))


@contextmanager
def _finished(tasks: Iterator[_Task], kept: Mapping[int, Made], jobs: int) -> Iterator[Iterator[Made]]:
    """Networks in the order of their numbers, made a little ahead of the one that is asked for."""
    if jobs == 1:
        yield (kept.get(task.number) or _make(task) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_die_with_parent) as pool:
        try:
            yield _in_order(pool, tasks, kept, jobs)
        finally:
            pool.shutdown(cancel_futures=True)


def _die_with_parent() -> None:
    """A worker whose parent was killed would work on for nobody."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _in_order(pool: ProcessPoolExecutor, tasks: Iterator[_Task], kept: Mapping[int, Made], jobs: int) -> Iterator[Made]:
    waiting: deque[Future[Made] | Made] = deque()
    for task in tasks:
        waiting.append(kept.get(task.number) or pool.submit(_make, task))
        if len(waiting) >= _AHEAD * jobs:
            first = waiting.popleft()
            yield first if isinstance(first, Made) else first.result()


def _is_reached(goal: Goal, made: list[Made]) -> bool:
    return _done_ratio(goal, made) >= 1.0


def _done_ratio(goal: Goal, made: list[Made]) -> float:
    parts = [
        (goal.networks, len(made)),
        (goal.words, sum(item.words for item in made)),
        (goal.device_weeks, sum(item.network.device_days for item in made) / 7.0),
    ]
    return max((done / wanted for wanted, done in parts if wanted is not None), default=1.0)


def _progress(goal: Goal, made: list[Made]) -> Progress:
    return Progress(
        networks=len(made),
        flows=sum(item.network.flows for item in made),
        words=sum(item.words for item in made),
        device_weeks=sum(item.network.device_days for item in made) / 7.0,
        done_ratio=min(1.0, _done_ratio(goal, made)),
    )


def _remove_others(folder: Path, made: list[Made]) -> None:
    """Networks that were made ahead, or by an earlier and longer run."""
    files = {item.network.file for item in made}
    for path in folder.glob("net-*.npz"):
        if path.name not in files:
            path.unlink()


@dataclass(frozen=True, slots=True)
class _Journal:
    """What is finished; void where the code was another one."""

    folder: Path
    origin: str

    def read(self) -> dict[int, Made]:
        """The networks whose files are still what was written; whatever else the journal holds is dropped.

        Raises:
            ConfigError: the folder holds a corpus of another recipe, seed or purpose, which is not to be lost.
        """
        lines = self._lines()
        if lines and lines[0].split()[:-1] != self.origin.split()[:-1]:
            hint = "name another folder, or remove it"
            raise ConfigError(str(self.folder), "holds a corpus of another recipe, seed or purpose", hint)
        found = map(_made_from_line, lines[1:] if lines[:1] == [self.origin] else [])
        kept = {made.number: made for made in found if made is not None and self._is_intact(made)}
        text = "".join(f"{line}\n" for line in (self.origin, *map(_line_from_made, kept.values())))
        self._path.write_text(text, encoding="utf-8")
        return kept

    def note(self, made: Made) -> None:
        """Add one network."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(_line_from_made(made) + "\n")

    @property
    def _path(self) -> Path:
        return self.folder / JOURNAL_FILE

    def _lines(self) -> list[str]:
        return self._path.read_text(encoding="utf-8", errors="replace").splitlines() if self._path.is_file() else []

    def _is_intact(self, made: Made) -> bool:
        path = self.folder / made.network.file
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == made.network.sha256


def _line_from_made(made: Made) -> str:
    return json.dumps({"words": made.words, "network": made.network.model_dump(mode="json")})


def _made_from_line(line: str) -> Made | None:
    """None where the line was cut off."""
    try:
        record = json.loads(line)
        return Made(network=LabNetwork.model_validate(record["network"]), words=int(record["words"]))
    except (ValueError, KeyError, TypeError):
        return None


def _origin(recipe: CorpusRecipe, seed: int, purpose: Purpose) -> str:
    return f"{recipe.sha256} {seed} {purpose} {_code_sha256()}"


@cache
def _code_sha256() -> str:
    """Of all source that decides what a network's flows are."""
    digest = hashlib.sha256()
    for package in (thingwarden.domain, thingwarden.ingest, thingwarden.lab):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
