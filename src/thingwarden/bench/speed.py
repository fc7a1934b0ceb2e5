"""Speed and memory: flows per second from FlowBatch to verdict on one core, and the peak memory of ``replay``.

In: a model artifact and a flow log. Out: ``speed.json`` and ``speed.md``.
Must never: leave out what a real stream pays for: encoding, scoring, judging and correlating all count.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from thingwarden.detect.correlate import Correlator
from thingwarden.detect.verdict import FlowJudge
from thingwarden.domain.errors import RequestError
from thingwarden.domain.flow import FlowBatch
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.ingest.source import read_flows
from thingwarden.model.artifact import Artifact, load_artifact
from thingwarden.model.scorer import FlowScorer

CHUNK_WORDS: Final = 2048
"""Words that a live sensor gathers at most before it scores; smaller chunks cost more per word."""

_KIBIBYTE: Final = 1024


def measure_speed(model: Path, log: Path, out: Path, *, repeats: int = 5) -> dict[str, Any]:
    """Measure, write ``speed.json`` and ``speed.md`` into ``out``, return what the JSON holds.

    Args:
        model: folder of the artifact.
        log: a flow log or capture, such as IoT-23 34-1's conn.log.
        out: folder for the report.
        repeats: runs of each kind; the median is reported, all are listed.

    Raises:
        ArtifactError: the model is missing or altered.
        InputError: the log is not what it claims to be.
        RequestError: ``replay`` failed.
    """
    artifact = load_artifact(model)
    flows = read_flows(log)
    run_on_one_core()
    rates = [len(flows) / stream_once(artifact, flows) for _ in range(repeats)]
    peaks = [replay_peak_bytes(model, log) for _ in range(max(1, repeats // 2))]
    figures: dict[str, Any] = {
        "log": log.name,
        "flows": len(flows),
        "model": artifact.name,
        "chunk_words": CHUNK_WORDS,
        "flows_per_s": statistics.median(rates),
        "flows_per_s_runs": rates,
        "replay_peak_bytes": statistics.median(peaks),
        "replay_peak_bytes_runs": peaks,
        "machine": describe_machine(),
    }
    write_speed(figures, out)
    return figures


def run_on_one_core() -> None:
    """Keep this process to one of the cores that it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def stream_once(artifact: Artifact, flows: FlowBatch) -> float:
    """Seconds from the batch to all verdicts and incidents, with everything fresh."""
    scorer = FlowScorer(artifact)
    encoder = SentenceEncoder(Vocabulary.from_json(artifact.vocabulary))
    judge = FlowJudge(len(flows), artifact.calibration)
    correlator = Correlator(artifact.calibration, encoder.devices)
    began_s = time.perf_counter()
    for words in encoder.encode(flows, CHUNK_WORDS):
        scores = scorer.score(words)
        judge.update(words, scores)
        correlator.update(words, scores, flows)
    judge.verdicts()
    correlator.finish(flows)
    return time.perf_counter() - began_s


def replay_peak_bytes(model: Path, log: Path) -> int:
    """Peak resident memory of ``thingwarden replay`` on ``log``, in a process of its own.

    Raises:
        RequestError: the command failed.
    """
    command = [sys.executable, "-m", "thingwarden", "replay", str(log), "--model", str(model), "--no-journal", "--json"]
    return peak_bytes(command)


def peak_bytes(command: list[str]) -> int:
    """Peak resident memory of a command, measured by a parent that has no other child.

    Raises:
        RequestError: the command failed.
    """
    watcher = (
        "import resource, subprocess, sys;"
        "code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode;"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss);"
        "sys.exit(code)"
    )
    done = subprocess.run(  # noqa: S603 - the command is built above, from paths
        [sys.executable, "-c", watcher, *command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RequestError(" ".join(command[:4]), f"ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return int(done.stdout.strip().splitlines()[-1]) * _KIBIBYTE


def describe_machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "own_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIBIBYTE,
    }


def _processor_name(read: Callable[[], str] = lambda: Path("/proc/cpuinfo").read_text()) -> str:
    try:
        lines = [line for line in read().splitlines() if line.startswith("model name")]
    except OSError:
        lines = []
    return lines[0].partition(":")[2].strip() if lines else platform.machine()


def write_speed(figures: dict[str, Any], out: Path) -> None:
    """Write ``speed.json`` and ``speed.md``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "speed.json").write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    machine = figures["machine"]
    lines = [
        "# Speed",
        "",
        f"- {figures['flows_per_s']:,.0f} flows/s from FlowBatch to verdict and incident, one core, "
        f"chunks of {figures['chunk_words']} words (goal: 20,000).",
        f"- {figures['replay_peak_bytes'] / 1e6:.0f} MB peak resident memory of `thingwarden replay` (goal: 150).",
        "",
        f"Log {figures['log']}, {figures['flows']:,} flows; model {figures['model']}; {machine['processor']}, "
        f"Python {machine['python']}. Medians; all runs are in speed.json. No ARM machine was at hand.",
    ]
    (out / "speed.md").write_text("\n".join(lines) + "\n")
