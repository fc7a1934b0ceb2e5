"""Runs of the same scenarios and seeds in both worlds, kept so that they are made once.

In: scenario names, seeds, a folder. Out: the flows of each run in each world.
Must never: take a run for one of another recipe, or a simulated run of other code.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final, Literal

import thingwarden.ingest
import thingwarden.lab
from thingwarden.bench.gap_words import RunFlows
from thingwarden.domain.errors import ConfigError
from thingwarden.ingest.source import read_flows
from thingwarden.lab.labelling import label_flows
from thingwarden.lab.recipe import find_recipe, recipe_sha256
from thingwarden.lab.truth import read_timing, read_truth

WORLDS: Final = ("simulated", "real")
_SLACK_S: Final = 600.0
"""How much longer than its duration a run may take before it is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which runs are compared.

    Attributes:
        scenarios: packaged ones, by name.
        seeds: each of them for each scenario.
        duration_s: of each run, in the scenario's time.
    """

    scenarios: tuple[str, ...]
    seeds: tuple[int, ...]
    duration_s: float

    @property
    def numbered(self) -> list[tuple[int, str, int]]:
        """Number, scenario and seed of each pair of runs."""
        return [(number, *pair) for number, pair in enumerate(product(self.scenarios, self.seeds))]

    def numbers_of(self, scenario: str) -> tuple[int, ...]:
        """Numbers of one scenario's pairs."""
        return tuple(number for number, name, _ in self.numbered if name == scenario)


def make_runs(
    plan: Plan, folder: Path, *, jobs: int, only_kept: bool = False, report: Callable[[str], None] = lambda _: None
) -> None:
    """Run what is missing: in simulated time always, for real where ``folder`` does not hold it yet.

    Args:
        plan: which runs.
        folder: one folder per run is written into it, ``<world>-<scenario>-<seed>``.
        jobs: real runs at a time; they mostly wait.
        only_kept: make no real run.
        report: told one line per run.

    Raises:
        ConfigError: a run failed; the message says what it wrote last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [
        (world, scenario, seed)
        for world in WORLDS
        for _, scenario, seed in plan.numbered
        if not (world == "real" and only_kept) and not _is_kept(world, scenario, seed, plan, folder)
    ]

    def make(task: tuple[Literal["simulated", "real"], str, int]) -> None:
        world, scenario, seed = task
        _make_run(world, scenario, seed, plan.duration_s, folder)
        report(f"{world}: {scenario}, seed {seed}")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(make, missing))


def read_runs(plan: Plan, folder: Path) -> tuple[list[RunFlows], list[RunFlows]]:
    """Simulated and real runs, pair by pair; a pair of which one is missing is left out.

    Raises:
        InputError: a run's files are not what a run writes.
    """
    both: tuple[list[RunFlows], list[RunFlows]] = ([], [])
    for number, scenario, seed in plan.numbered:
        paths = [_path(world, scenario, seed, plan.duration_s, folder) for world in WORLDS]
        if all((path / "manifest.json").is_file() for path in paths):
            for runs, path in zip(both, paths, strict=True):
                runs.append(read_run_folder(path, number))
    return both


def read_run_folder(folder: Path, number: int) -> RunFlows:
    """The labelled flows of one run, metered from its capture.

    Raises:
        InputError: a file is missing or not what a run writes.
    """
    truth = read_truth(folder / "truth.json")
    flows = read_flows(next(folder.glob("*.pcap.gz")))
    kinds = {name: device.kind for device in truth.devices for name in (device.mac, *device.addresses)}
    return RunFlows(run=number, flows=label_flows(flows, truth, read_timing(folder / "timing.json")), kinds=kinds)


def _path(world: str, scenario: str, seed: int, duration_s: float, folder: Path) -> Path:
    return folder / f"{world}-{scenario}-{seed}-{duration_s:g}s"


def _is_kept(world: str, scenario: str, seed: int, plan: Plan, folder: Path) -> bool:
    path = _path(world, scenario, seed, plan.duration_s, folder)
    if not (path / "manifest.json").is_file():
        return False
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    is_same_recipe = manifest["recipe"]["sha256"] == recipe_sha256(find_recipe(scenario))
    return is_same_recipe and (world == "real" or _read(path / "code") == code_sha256())


def _make_run(world: Literal["simulated", "real"], scenario: str, seed: int, duration_s: float, folder: Path) -> None:
    path = _path(world, scenario, seed, duration_s, folder)
    shutil.rmtree(path, ignore_errors=True)
    options = ["--seed", str(seed), "--duration-s", f"{duration_s:g}", "--out", str(path)]
    options += ["--simulated"] if world == "simulated" else []
    command = [sys.executable, "-m", "thingwarden", "lab", "run", scenario, *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=duration_s + _SLACK_S, check=False)  # noqa: S603  our own command line
    if ended.returncode != 0:
        shutil.rmtree(path, ignore_errors=True)
        said = " / ".join(ended.stderr.strip().splitlines()[-3:])
        raise ConfigError(f"{world} run of {scenario}, seed {seed}", said or "failed", "run it by hand: lab run")
    if world == "simulated":
        (path / "code").write_text(code_sha256(), encoding="utf-8")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def code_sha256() -> str:
    """Of all source that decides what a simulated run gives."""
    digest = hashlib.sha256()
    for package in (thingwarden.lab, thingwarden.ingest):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
