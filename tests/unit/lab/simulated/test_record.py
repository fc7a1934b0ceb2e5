"""A simulated run leaves the same folder as a real one, the same bytes for the same seed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from thingwarden.domain.flow import FlowBatch
from thingwarden.ingest.pcap import PcapSource
from thingwarden.lab.recipe import find_recipe
from thingwarden.lab.simulated.record import run_simulated


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the sample leaves."""
    made = tmp_path_factory.mktemp("simulated") / "one"
    run_simulated(find_recipe("sample"), made, seed=4, duration_s=60.0)
    return made


def test_the_manifest_says_that_it_was_simulated(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["world"], manifest["seed"], manifest["duration_s"]) == ("simulated", 4, 60.0)
    assert manifest["command"].endswith("--simulated --out DIR")
    assert manifest["flow_count"] > 50
    assert manifest["malicious_flow_count"] > 0
    assert set(manifest["files"]) == {"sample.pcap.gz", "truth.json", "timing.json", "conn.log.gz"}


def test_the_capture_holds_the_flows_of_the_log(folder: Path) -> None:
    flows = FlowBatch.concatenate(list(PcapSource(folder / "sample.pcap.gz").batches()))
    rows = [
        line.split("\t")
        for line in gzip.decompress((folder / "conn.log.gz").read_bytes()).decode().splitlines()
        if not line.startswith("#")
    ]
    assert len(rows) == len(flows)
    assert sorted(float(row[0]) for row in rows) == pytest.approx(np.sort(flows.started_at_s).tolist(), abs=2e-6)
    assert sum(int(row[17]) for row in rows) == int(flows.orig_ip_bytes.sum())


def test_equal_seeds_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    run_simulated(find_recipe("sample"), tmp_path / "other", seed=4, duration_s=60.0)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes(), path.name
