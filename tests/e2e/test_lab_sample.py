"""The sample's scenario runs for real, shortened, and leaves a capture with its truth and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import CLASSES
from thingwarden.ingest.pcap import PcapSource
from thingwarden.lab.scenario import run_scenario
from thingwarden.lab.truth import label_flows, read_truth

SAMPLE = Path(__file__).parents[2] / "recipes" / "sample.toml"
NAMESPACES = Path("/run/netns")

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a run of 20 s left."""
    folder = tmp_path_factory.mktemp("lab")
    run_scenario(SAMPLE, folder, seed=5, duration_s=20)
    return folder


def namespaces_of(pid: int) -> list[str]:
    """The namespaces that the lab of process ``pid`` has now."""
    return sorted(path.name for path in NAMESPACES.glob(f"tw-{pid:x}-*"))


def test_the_manifest_describes_what_lies_beside_it(outcome: Path) -> None:
    manifest = json.loads((outcome / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["exclude_from_training"] is True
    assert manifest["seed"] == 5
    assert manifest["dropped_packets"] == 0
    assert sorted(manifest["files"]) == ["sample.pcap.gz", "truth.json"]
    for name, described in manifest["files"].items():
        assert (outcome / name).stat().st_size == described["size_bytes"]


def test_every_attack_is_in_the_metered_capture_under_its_label(outcome: Path) -> None:
    flows = FlowBatch.concatenate(list(PcapSource(outcome / "sample.pcap.gz").batches()))
    labels = label_flows(flows, read_truth(outcome / "truth.json")).labels
    assert labels is not None
    counts = np.bincount(labels.attack_class, minlength=len(CLASSES))
    found = {attack_class.value: int(count) for attack_class, count in zip(CLASSES, counts, strict=True) if count}
    assert found.keys() == {"benign", "scan", "brute_force", "download", "c2", "dos"}
    assert found["scan"] > 20
    assert found["dos"] > 100
    assert found["benign"] > 20


def test_nothing_is_left_behind(outcome: Path) -> None:
    assert outcome.is_dir()
    assert namespaces_of(os.getpid()) == []


def test_a_run_that_is_terminated_tears_its_lab_down(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from thingwarden.lab.scenario import run_scenario; "
    program += "run_scenario(Path(sys.argv[1]), Path(sys.argv[2]), duration_s=60)"
    process = subprocess.Popen([sys.executable, "-c", program, str(SAMPLE), str(tmp_path)])
    deadline_s = time.monotonic() + 15
    while len(namespaces_of(process.pid)) < 11:
        assert time.monotonic() < deadline_s, "the lab was never built"
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 128 + signal.SIGTERM
    assert namespaces_of(process.pid) == []
    assert list(tmp_path.iterdir()) == []
