"""Packet captures to compare signature engines on, with the truth about each.

In: the folder of public captures, the lab's runs. Out: ``Recording``, and the labelled flows of each session.
Must never: give a flow a label that nobody stands for; what a file's name says is said of no single flow.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from thingwarden.bench.audit import match_flows
from thingwarden.bench.gap_runs import Plan
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.flow import FlowBatch, Labels
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.ingest.source import read_flows
from thingwarden.lab.labelling import label_flows
from thingwarden.lab.recipe import find_recipe, recipe_sha256
from thingwarden.lab.truth import read_timing, read_truth
from thingwarden.train.corpus import Capture, constant_labels, list_captures, load_capture, mask_labels
from thingwarden.train.weighting import require_labels

Collection: TypeAlias = Literal["malware", "benign", "set-up", "by name", "lab"]

ATTACK_ROUTES: Final = (
    ("34-1", "CTU-IoT-Malware-Capture-34-1", "*.irc.pcap*"),
    ("42-1", "CTU-IoT-Malware-Capture-42-1", "2019-01-10*.pcap*"),
)
"""Capture, folder and packets of what has labels by flow in a log and packets beside it."""

BENIGN_ROUTES: Final = (("4-1", "CTU-Honeypot-Capture-4-1", "*.pcap*"),)

ATTACKS_BY_NAME: Final = (
    "activeosfingerprinting", "amp.TCP.reflection.SYNACK", "amp.UDP.bacnet.IOT.37810", "arppoison", "aurora",
    "cryptowall4_c2", "ek_to_cryptowall4", "http_dvwa_directorytraversal", "http_dvwa_sqlinjection",
    "http_dvwa_sqlinjection_passwords", "pkt.TCP.DOMINATE.syn.ecn.cwr", "ratinfected", "sessionhijacking", "synscan",
)  # fmt: skip
"""Files under ``attacks`` whose name is that of an attack; the rest are lessons about ordinary traffic."""

WHOLE_PACKETS: Final = "snap_bytes = 65535\n"
"""Put before a packaged scenario: who reads payloads must be given them."""

_SLACK_S: Final = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Packets of one network, and where the truth about them is.

    Attributes:
        name: unique.
        collection: says how it is labelled and in which table it counts.
        sessions: for each session its files, in time order; no contestant remembers one session in the next.
        truth: the labelled log, or the folder of the lab's run; None where the collection says it all.
    """

    name: str
    collection: Collection
    sessions: tuple[tuple[Path, ...], ...]
    truth: Path | None = None


def list_recordings(data: Path, runs: Path | None) -> tuple[Recording, ...]:
    """Every capture with packets under ``data``, and every run of the lab in ``runs``.

    Raises:
        ConfigError: the folder holds none of the public captures.
    """
    captures = [capture for capture in list_captures(data) if capture.family in ("home-2020", "sentinel-2016")]
    benign = [
        Recording(name=capture.name, collection="benign", sessions=(capture.paths,))
        for capture in captures
        if capture.family == "home-2020"
    ]
    benign += [
        Recording(name=name, collection="benign", sessions=(tuple(sorted((data / "iot23" / folder).glob(pattern))),))
        for name, folder, pattern in BENIGN_ROUTES
    ]
    set_up = [
        Recording(name=capture.name, collection="set-up", sessions=tuple((path,) for path in capture.paths))
        for capture in captures
        if capture.family == "sentinel-2016"
    ]
    found = [*_list_routes(data), *benign, *set_up, *_list_by_name(data), *_list_runs(runs)]
    return tuple(item for item in found if item.sessions and item.sessions[0])


def _list_routes(data: Path) -> list[Recording]:
    found = []
    for name, folder, pattern in ATTACK_ROUTES:
        logs = sorted((data / "iot23" / folder).glob("conn.log*"))
        packets = tuple(sorted((data / "iot23" / folder).glob(pattern)))
        if logs and packets:
            found.append(Recording(name=name, collection="malware", sessions=(packets,), truth=logs[0]))
    return found


def _list_by_name(data: Path) -> list[Recording]:
    paths = sorted((data / "attacks").glob("*/*.pcap*"))
    return [
        Recording(name=name, collection="by name", sessions=((path,),))
        for path in paths
        if (name := path.name.partition(".pcap")[0]) in ATTACKS_BY_NAME
    ]


def _list_runs(runs: Path | None) -> list[Recording]:
    manifests = sorted(runs.glob("*/manifest.json")) if runs is not None else []
    return [
        Recording(
            name=path.parent.name,
            collection="lab",
            sessions=(tuple(sorted(path.parent.glob("*.pcap.gz"))),),
            truth=path.parent,
        )
        for path in manifests
    ]


def load_session(recording: Recording, paths: tuple[Path, ...]) -> FlowBatch:
    """Flows of a session as our meter cuts them, labelled, in time order.

    Raises:
        InputError: a file is not what it claims to be.
    """
    flows = FlowBatch.concatenate([read_flows(path) for path in paths])
    flows = flows.take(np.argsort(flows.started_at_s, kind="stable"))
    match recording.collection:
        case "malware":
            assert recording.truth is not None
            return _label_as_log(recording, flows, recording.truth)
        case "lab":
            assert recording.truth is not None
            folder = recording.truth
            return label_flows(flows, read_truth(folder / "truth.json"), read_timing(folder / "timing.json"))
        case "by name":
            return _without_labels(flows)
        case _:
            return replace(flows, labels=constant_labels(len(flows), AttackClass.BENIGN))


def _label_as_log(recording: Recording, flows: FlowBatch, log: Path) -> FlowBatch:
    """Each flow with the label of the log's row that it is; without a label where the log has no such row."""
    capture = Capture(name=recording.name, family="iot23", group=recording.name, kind="attack", paths=(log,))
    labelled = load_capture(capture)
    rows, packet_rows = match_flows(labelled, flows)
    columns: dict[str, Any] = {}
    empty = require_labels(_without_labels(flows))
    for name in Labels.__dataclass_fields__:
        columns[name] = getattr(empty, name).copy()
        columns[name][packet_rows] = getattr(require_labels(labelled), name)[rows]
    return replace(flows, labels=Labels(**columns))


def _without_labels(flows: FlowBatch) -> FlowBatch:
    known = replace(flows, labels=constant_labels(len(flows), AttackClass.UNKNOWN))
    return mask_labels(known, np.ones(len(flows), dtype=np.bool_))


def make_runs(plan: Plan, folder: Path, jobs: int, report: Callable[[str], None] = lambda _: None) -> None:
    """Run packaged scenarios in network namespaces, whole packets kept, where ``folder`` does not hold them yet.

    Args:
        plan: which.
        folder: one folder per run is written into it.
        jobs: runs at a time; they mostly wait.
        report: told one line per run.

    Raises:
        ConfigError: a run failed; the message says what it wrote last.
    """
    recipes = folder / "recipes"
    recipes.mkdir(parents=True, exist_ok=True)
    for scenario in plan.scenarios:
        text = find_recipe(scenario).read_text(encoding="utf-8")
        (recipes / f"{scenario}.toml").write_text(WHOLE_PACKETS + text, encoding="utf-8")

    def make(item: tuple[int, str, int]) -> None:
        _, scenario, seed = item
        out = folder / f"{scenario}-{seed}-{plan.duration_s:g}s"
        if not _is_kept(out, recipes / f"{scenario}.toml"):
            _make_run(recipes / f"{scenario}.toml", seed, plan.duration_s, out)
            report(f"{scenario}, seed {seed}")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(make, plan.numbered))


def _is_kept(out: Path, recipe: Path) -> bool:
    manifest = out / "manifest.json"
    if not manifest.is_file():
        return False
    kept = json.loads(manifest.read_text(encoding="utf-8"))
    return bool(kept["recipe"]["sha256"] == recipe_sha256(recipe))


def _make_run(recipe: Path, seed: int, duration_s: float, out: Path) -> None:
    options = ["--seed", str(seed), "--duration-s", f"{duration_s:g}", "--out", str(out)]
    command = [sys.executable, "-m", "thingwarden", "lab", "run", str(recipe), *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=duration_s + _SLACK_S, check=False)  # noqa: S603  our own command line
    if ended.returncode != 0:
        said = " / ".join(ended.stderr.strip().splitlines()[-3:])
        raise ConfigError(f"run of {recipe.stem}, seed {seed}", said or "failed", "run it by hand: lab run")
