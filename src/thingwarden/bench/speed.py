"""Speed and memory of the detector on one core: the live path in small batches, single words, peers, the process.

In: a model artifact and a flow log. Out: figures, which ``speed_report`` writes.
Must never: leave out what a real stream pays for: encoding, scoring, judging and explaining all count.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from thingwarden.bench.detector_memory import ROUNDS, measure_memory
from thingwarden.bench.live_traffic import DEVICE_COUNT, SCENARIOS, Scenario, make_traffic
from thingwarden.bench.streaming import Detector, Stream, summarise
from thingwarden.bench.words import sum_up_history
from thingwarden.domain.errors import RequestError
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.word import WordBatch
from thingwarden.encode.sentence import SentenceEncoder
from thingwarden.encode.vocabulary import Vocabulary
from thingwarden.ingest.source import read_flows
from thingwarden.model.artifact import Artifact, load_artifact
from thingwarden.model.scorer import FlowScorer

GOAL_WORDS_PER_S: Final = 50_000
BUDGETS_MS: Final = (5, 20, 50)
"""How long words may wait for others; at the goal's rate so many come together in that time."""

SINGLE: Final = "single"
"""The batch that nobody waits for: one event, which is one word, or two where both ends are devices."""

LOG_WORDS: Final = 2048
"""Words scored at a time where a log is read as fast as it can be."""

FLOW_COUNT: Final = 12_000
SINGLE_FLOW_COUNT: Final = 1500
_KIBIBYTE: Final = 1024
_PEER_CLASSES: Final = 10

Progress = Callable[[str], None]


def measure_speed(
    model: Path,
    log: Path,
    *,
    repeats: int = 5,
    flow_count: int = FLOW_COUNT,
    memory_rounds: tuple[int, int] = ROUNDS,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure everything.

    Args:
        model: folder of the artifact.
        log: a flow log or capture, such as IoT-23 34-1's conn.log.
        repeats: runs of each kind; medians are reported, all runs listed.
        flow_count: flows of each scenario; an eighth of them one by one.
        memory_rounds: see ``measure_memory``.
        progress: told what is being measured.

    Raises:
        ArtifactError: the model is missing or altered.
        InputError: the log is not what it claims to be.
        RequestError: ``replay`` or the detector's process failed.
    """
    tell = progress or (lambda step: None)
    artifact, flows = load_artifact(model), read_flows(log)
    load = os.getloadavg()
    run_on_one_core()
    scenarios = {}
    for scenario in SCENARIOS:
        tell(f"{scenario.name}: {scenario.says}")
        scenarios[scenario.name] = measure_scenario(artifact, scenario, flow_count, repeats)
    tell("peers on the same words")
    peers = measure_peers(artifact, make_traffic(SCENARIOS[0], flow_count), repeats)
    tell("memory")
    peaks = [replay_peak_bytes(model, log) for _ in range(max(1, repeats // 2))]
    rates = [_flows_per_s(artifact, flows) for _ in range(repeats)]
    return {
        "model": artifact.name,
        "model_bytes": sum(entry["bytes"] for entry in artifact.manifest["files"].values()),
        "repeats": repeats,
        "scenarios": scenarios,
        "peers": peers,
        "state_bytes": describe_state(artifact),
        "memory": [asdict(section) for section in measure_memory(model, rounds=memory_rounds)],
        "log": {"name": log.name, "flows": len(flows), "flows_per_s": statistics.median(rates), "runs": rates},
        "replay_peak_bytes": statistics.median(peaks),
        "replay_peak_bytes_runs": peaks,
        "machine": {**describe_machine(), "load_before": load, "load_after": os.getloadavg()},
    }


def measure_scenario(artifact: Artifact, scenario: Scenario, flow_count: int, repeats: int) -> dict[str, Any]:
    """Words per second and seconds per batch of one scenario, by latency budget; runs take turns."""
    flows = make_traffic(scenario, flow_count)
    sizes = {str(budget): GOAL_WORDS_PER_S * budget // 1000 for budget in BUDGETS_MS} | {SINGLE: 1}
    few = flows.take(np.arange(max(1, min(len(flows), flow_count * SINGLE_FLOW_COUNT // FLOW_COUNT))))
    runs: dict[str, list[Stream]] = {name: [] for name in sizes}
    for _ in range(repeats):
        for name, words in sizes.items():
            runs[name].append(Detector.fresh(artifact).stream(few if name == SINGLE else flows, words))
    return {"says": scenario.says, "by_budget_ms": {name: summarise(streams) for name, streams in runs.items()}}


def measure_peers(artifact: Artifact, flows: FlowBatch, repeats: int) -> dict[str, Any]:
    """What others need for the words of the same flows: the network alone, and LightGBM with sums of the past.

    Returns:
        ``network_words_per_s``: the network over all words at once, the most that the live path could reach;
        ``lightgbm_flows_per_s``: trees of the referee's size over closing words, in batches of 20 ms, their history
        summed within the batch only; None where LightGBM is not installed.
    """
    vocabulary = Vocabulary.from_json(artifact.vocabulary)
    chunks = list(SentenceEncoder(vocabulary).encode(flows, GOAL_WORDS_PER_S * 20 // 1000))
    words = WordBatch.concatenate(chunks)
    network = [len(words) / _seconds(lambda: FlowScorer(artifact).score(words)) for _ in range(repeats)]
    judge = _grow_trees(words)
    if judge is None:
        return {"network_words_per_s": statistics.median(network), "lightgbm_flows_per_s": None}
    boosted = [len(flows) / _seconds(lambda: [judge(chunk) for chunk in chunks]) for _ in range(repeats)]
    return {
        "network_words_per_s": statistics.median(network),
        "lightgbm_flows_per_s": statistics.median(boosted),
        "lightgbm_flows_per_s_runs": boosted,
    }


def _grow_trees(words: WordBatch) -> Callable[[WordBatch], object] | None:
    """LightGBM as the referee grows it, on classes drawn by lot, which fill every tree; only its speed is wanted."""
    try:
        from thingwarden.bench.learners import Boosting, BoostingSetting
    except ImportError:
        return None
    from thingwarden.bench.words import Examples

    model = Boosting(BoostingSetting(leaves=15, least_hessian=1.0, rounds=100))
    closes = np.flatnonzero(words.is_close)
    label = np.random.default_rng(0).integers(0, _PEER_CLASSES, len(closes))
    examples = Examples(
        fields=words.fields[closes],
        history=sum_up_history(words)[closes],
        label=label,
        weight=np.ones(len(closes)),
    )
    model.fit(examples, _PEER_CLASSES, seed=0)

    def judge(chunk: WordBatch) -> object:
        ended = np.flatnonzero(chunk.is_close)
        return model.predict(chunk.fields[ended], sum_up_history(chunk)[ended]) if len(ended) else None

    return judge


def _seconds(work: Callable[[], object]) -> float:
    """Seconds of this thread's processor time."""
    began_at_s = time.thread_time()
    work()
    return time.thread_time() - began_at_s


def _flows_per_s(artifact: Artifact, flows: FlowBatch) -> float:
    return len(flows) / float(Detector.fresh(artifact).stream(flows, LOG_WORDS).seconds.sum())


def describe_state(artifact: Artifact) -> dict[str, int]:
    """Bytes of state per device by owner, and what all devices share at most."""
    detector = Detector.fresh(artifact)
    network = FlowScorer(artifact).state_bytes
    return {
        "network": network,
        "latest_words": detector.scorer.state_bytes - network,
        "rhythm": detector.encoder.device_bytes,
        "shared": detector.encoder.shared_bytes,
    }


def run_on_one_core() -> None:
    """Keep this process to one of the cores that it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def replay_peak_bytes(model: Path, log: Path) -> int:
    """Peak resident memory of ``thingwarden replay`` on ``log``, in a process of its own.

    Raises:
        RequestError: the command failed.
    """
    command = [sys.executable, "-m", "thingwarden", "replay", str(log), "--model", str(model), "--no-journal", "--json"]
    return peak_bytes(command)


def peak_bytes(command: Sequence[str]) -> int:
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
        "device_count": DEVICE_COUNT,
    }


def _processor_name(read: Callable[[], str] = lambda: Path("/proc/cpuinfo").read_text()) -> str:
    try:
        lines = [line for line in read().splitlines() if line.startswith("model name")]
    except OSError:
        lines = []
    return lines[0].partition(":")[2].strip() if lines else platform.machine()
