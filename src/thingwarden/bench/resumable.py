"""Runs many measurements that know nothing of each other, in worker processes, and keeps each as a file.

In: a function and what to give it, by name. Out: what it returned, by name; one JSON file each in a folder.
Must never: measure again what is kept, or leave half a file.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import thingwarden
from thingwarden.model.artifact import Artifact

Record: TypeAlias = dict[str, Any]
_Task = TypeVar("_Task")

_PR_SET_PDEATHSIG: Final = 1
"""prctl(2)."""

_STAGES: Final = ("domain", "ingest", "encode", "model", "detect", "respond", "lab")
"""Packages that decide what becomes of simulated traffic."""


def run_all(
    work: Callable[[_Task], Record],
    tasks: Mapping[str, _Task],
    kept: Path,
    *,
    jobs: int,
    progress: Callable[[int, int], None],
) -> dict[str, Record]:
    """Do what is not done yet.

    Args:
        work: a function of some module, so that worker processes can import it.
        tasks: what to give it, by the name of the file that keeps the outcome.
        kept: folder; made where it is missing.
        jobs: worker processes; 1 works in this one.
        progress: told how many are done, and of how many.

    Returns:
        The outcomes in the order of ``tasks``, whichever was done first.
    """
    kept.mkdir(parents=True, exist_ok=True)
    missing = {name: task for name, task in tasks.items() if not _path(kept, name).is_file()}
    done = len(tasks) - len(missing)
    progress(done, len(tasks))
    for name, record in _finished(work, missing, jobs):
        unfinished = _path(kept, name).with_suffix(".partial")
        unfinished.write_text(json.dumps(record), encoding="utf-8")
        unfinished.replace(_path(kept, name))
        done += 1
        progress(done, len(tasks))
    return {name: json.loads(_path(kept, name).read_text(encoding="utf-8")) for name in tasks}


def state_digest(artifact: Artifact, *further: Path) -> str:
    """16 hexadecimal digits that change with the model, the source of the stages, or a further source file."""
    digest = hashlib.sha256(artifact.network)
    digest.update(json.dumps(artifact.vocabulary, sort_keys=True).encode())
    digest.update(artifact.calibration.to_json().encode())
    root = Path(thingwarden.__path__[0])
    sources = [path for stage in _STAGES for path in sorted((root / stage).rglob("*.py"))]
    for path in (root / "pipeline.py", *sources, *further):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _path(kept: Path, name: str) -> Path:
    return kept / f"{name}.json"


def _finished(work: Callable[[_Task], Record], tasks: Mapping[str, _Task], jobs: int) -> Iterator[tuple[str, Record]]:
    if jobs == 1 or len(tasks) < 2:
        yield from ((name, work(task)) for name, task in tasks.items())
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_die_with_parent) as pool:
        try:
            names = {pool.submit(work, task): name for name, task in tasks.items()}
            for future in as_completed(names):
                yield names[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _die_with_parent() -> None:
    """A worker whose parent was killed would wait for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
