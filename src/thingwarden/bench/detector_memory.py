"""Peak memory of the detector's process with 1,000 devices and full tables, section by section.

In: the folder of a model. Out: ``Section``s, as a fresh process told them.
Must never: import before its section what a detector needs, or at all what it does not: another process makes the
traffic.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from thingwarden.domain.errors import RequestError

if TYPE_CHECKING:
    from thingwarden.domain.flow import FlowBatch

DEVICE_COUNT: Final = 1000
FLOWS_AT_HAND: Final = 4096
"""Flows of one batch, whose columns the process holds beside its tables."""

ROUNDS: Final = (12, 24)
"""Batches in which 1,000 devices are met, and in which every flow reaches another peer and port: more than the tables
hold."""

_DEVICES_AT_A_TIME: Final = 250
_KIBIBYTE: Final = 1024


@dataclass(frozen=True, slots=True)
class Section:
    """A stage of the process's life: what was added, resident bytes after it, and the peak so far."""

    name: str
    resident_bytes: int
    peak_bytes: int


def measure_memory(model: Path, *, rounds: tuple[int, int] = ROUNDS) -> list[Section]:
    """Run a detector in a process of its own.

    Args:
        model: folder of the artifact.
        rounds: batches of flows in which devices are met, at least 4, and in which the tables fill.

    Raises:
        RequestError: the process failed.
    """
    import subprocess  # here, for the detector's process is this module too, and should not hold what it does not use
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        for number, flows in enumerate(make_life(*rounds)):
            name = "meet" if number < rounds[0] else "fill"
            _write_flows(flows, Path(folder, f"{name}-{number:03d}"))
        command = [sys.executable, "-m", "thingwarden.bench.detector_memory", str(model), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode:
        raise RequestError("detector memory", f"ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return [Section(**json.loads(line)) for line in done.stdout.splitlines()]


def make_life(meeting_rounds: int, filling_rounds: int) -> Iterator[FlowBatch]:
    """Batches of 1,000 devices' flows, one after another in time; the last ones reach a new peer with every flow."""
    import numpy as np

    from thingwarden.bench.live_traffic import SCENARIOS, make_traffic

    draw = np.random.default_rng(0)
    for turn in range(meeting_rounds + filling_rounds):
        first = turn * _DEVICES_AT_A_TIME % DEVICE_COUNT
        flows = make_traffic(SCENARIOS[0], FLOWS_AT_HAND, device_count=_DEVICES_AT_A_TIME, first_host=first, seed=turn)
        flows.started_at_s[:] += turn * FLOWS_AT_HAND / SCENARIOS[0].flows_per_s
        if turn >= meeting_rounds:
            public = draw.integers(0x0B000000, 0x40000000, len(flows)).astype(np.uint64)
            flows.resp_address[:, 1] = np.uint64(0xFFFF << 32) | public
            flows.resp_port[:] = draw.integers(1, 65536, len(flows))
        yield flows


def live(model: Path, life: Path) -> None:
    """Be a detector: load, meet 1,000 devices, then fill every table; say after each how much memory is held."""
    _tell("python")
    import numpy  # noqa: F401, ICN001 - only its memory is wanted

    _tell("numpy")
    import onnxruntime  # noqa: F401

    _tell("onnxruntime")
    from thingwarden.bench.streaming import Detector

    _tell("thingwarden")
    from thingwarden.model.artifact import load_artifact

    detector = Detector.fresh(load_artifact(model))
    _tell("model")
    for name, section in (("meet", f"{DEVICE_COUNT:,} devices"), ("fill", "full tables")):
        for folder in sorted(life.glob(f"{name}-*")):
            detector.stream(_read_flows(folder))
        _tell(section)


def _write_flows(flows: FlowBatch, folder: Path) -> None:
    import numpy as np

    from thingwarden.domain.flow import COLUMN_DTYPES, MILESTONE_DTYPES

    for part, source, names in (("flows", flows, COLUMN_DTYPES), ("milestones", flows.milestones, MILESTONE_DTYPES)):
        (folder / part).mkdir(parents=True)
        for name in names:
            np.save(folder / part / name, getattr(source, name))


def _read_flows(folder: Path) -> FlowBatch:
    import numpy as np

    from thingwarden.domain.flow import COLUMN_DTYPES, MILESTONE_DTYPES, FlowBatch, Milestones

    columns = {name: np.load(folder / "flows" / f"{name}.npy") for name in COLUMN_DTYPES}
    noted = {name: np.load(folder / "milestones" / f"{name}.npy") for name in MILESTONE_DTYPES}
    return FlowBatch(**columns, milestones=Milestones(**noted))


def _tell(name: str) -> None:
    status = Path("/proc/self/status").read_text()
    resident, peak = (int(re.findall(rf"{key}:\s+(\d+)", status)[0]) * _KIBIBYTE for key in ("VmRSS", "VmHWM"))
    sys.stdout.write(json.dumps({"name": name, "resident_bytes": resident, "peak_bytes": peak}) + "\n")


if __name__ == "__main__":
    live(Path(sys.argv[1]), Path(sys.argv[2]))
