"""The folder that a run leaves, the same for either world: capture, truth, timing, labelled flows, manifest.

In: a capture and what was planned and measured. Out: ``<name>.pcap.gz``, ``truth.json``, ``timing.json``,
``conn.log.gz``, ``manifest.json``.
Must never: put into ``truth.json`` what the seed does not decide, or a file beside the manifest that it does not name.
"""

from __future__ import annotations

import hashlib
import json
import platform
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import thingwarden
from thingwarden.domain.flow import FlowBatch
from thingwarden.ingest.conn_log import write_conn_log
from thingwarden.ingest.pcap import PcapSource
from thingwarden.lab.labelling import label_flows
from thingwarden.lab.recipe import Recipe, recipe_sha256
from thingwarden.lab.timeline import Schedule
from thingwarden.lab.truth import Timing, truth_from_schedule, write_timing, write_truth

MANIFEST_FORMAT: Final = "thingwarden-lab-run/2"
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run was, beside its capture.

    Attributes:
        recipe: what was asked for; ``recipe_path`` is its file.
        schedule: what was drawn from it.
        world: in which it ran.
        timing: when its actions really took place.
        dropped_count: packets that the capture missed; -1 unknown.
        links: by what the condition was brought about, and what each direction passed and dropped.
        failures: of the lab itself: a host and what went wrong there.
        tools: versions of the programs that took part.
    """

    recipe: Recipe
    recipe_path: Path
    schedule: Schedule
    world: Literal["real", "simulated"]
    timing: Timing
    dropped_count: int = 0
    links: Mapping[str, Any] = field(default_factory=dict)
    failures: Sequence[str] = ()
    tools: Mapping[str, str] = field(default_factory=dict)


def write_outcome(run: Run, capture: Path, folder: Path, *, flows: FlowBatch | None = None) -> Path:
    """Write the folder.

    Args:
        run: what is known of the run.
        capture: its packets, pcap.
        folder: made where missing; files of the same names are replaced.
        flows: of the capture, labelled by what caused them; metered and labelled by the truth where not given.

    Returns:
        the manifest's path.

    Raises:
        InputError: the capture cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    truth = truth_from_schedule(run.schedule)
    files = [folder / name for name in (f"{run.recipe.name}.pcap.gz", "truth.json", "timing.json", "conn.log.gz")]
    packed, truth_path, timing_path, conn_log = files
    compress(capture, packed)
    write_truth(truth, truth_path)
    write_timing(run.timing, timing_path)
    if flows is None:
        metered = FlowBatch.concatenate(list(PcapSource(packed).batches()))
        flows = label_flows(metered, truth, run.timing)
    plain = conn_log.with_suffix("")
    with plain.open("w", encoding="utf-8", newline="\n") as out:
        write_conn_log([flows], out, is_labelled=True)
    compress(plain, conn_log)
    plain.unlink()
    manifest = folder / "manifest.json"
    content = {**_described_run(run), **_counts(flows), "files": {path.name: _described(path) for path in files}}
    manifest.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return manifest


def compress(source: Path, target: Path) -> None:
    """Write ``source`` as gzip without name and time inside, so that equal captures are equal files."""
    packer = zlib.compressobj(level=9, wbits=31)
    with source.open("rb") as raw, target.open("wb") as packed:
        while chunk := raw.read(_CHUNK_BYTES):
            packed.write(packer.compress(chunk))
        packed.write(packer.flush())


def _described_run(run: Run) -> dict[str, Any]:
    schedule = run.schedule
    return {
        "format": MANIFEST_FORMAT,
        "scenario": run.recipe.name,
        "world": run.world,
        "exclude_from_training": run.recipe.exclude_from_training,
        "seed": schedule.seed,
        "duration_s": schedule.duration_s,
        "condition": schedule.condition.name,
        "began_at": run.timing.began_at.isoformat(),
        "snap_bytes": run.recipe.snap_bytes,
        "dropped_packets": run.dropped_count,
        "links": dict(run.links),
        "failures": list(run.failures),
        "recipe": {"name": run.recipe_path.name, "sha256": recipe_sha256(run.recipe_path)},
        "tools": {"thingwarden": thingwarden.__version__, "python": platform.python_version(), **run.tools},
        "command": _command(run),
    }


def _command(run: Run) -> str:
    schedule = run.schedule
    options = [f"--seed {schedule.seed}"] if schedule.seed != run.recipe.seed else []
    options += [f"--duration-s {schedule.duration_s:g}"] if schedule.duration_s != run.recipe.duration_s else []
    options += [f"--condition {schedule.condition.name}"] if schedule.condition.name != run.recipe.condition else []
    options += ["--simulated"] if run.world == "simulated" else []
    return " ".join(["thingwarden lab run", run.recipe.name, *options, "--out DIR"])


def _counts(flows: FlowBatch) -> dict[str, Any]:
    assert flows.labels is not None
    malicious_count = int((flows.labels.malicious == 1).sum())
    return {"flow_count": len(flows), "malicious_flow_count": malicious_count}


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as content:
        return {"sha256": hashlib.file_digest(content, "sha256").hexdigest(), "size_bytes": path.stat().st_size}
