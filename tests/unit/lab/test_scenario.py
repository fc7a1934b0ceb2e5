"""What a run promises before it runs, and that the packaged sample is what its manifest says."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

import thingwarden
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import CLASSES
from thingwarden.ingest.pcap import PcapSource
from thingwarden.lab.scenario import _dies_tidily, run_scenario
from thingwarden.lab.truth import label_flows, read_truth

RECIPE = Path(__file__).parents[3] / "recipes" / "sample.toml"
SAMPLE = Path(thingwarden.__file__).parent / "data" / "sample"
MAX_SAMPLE_BYTES = 5_000_000


def test_a_wrong_recipe_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("name = 3", encoding="utf-8")
    with pytest.raises(ConfigError):
        run_scenario(tmp_path / "wrong.toml", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_termination_becomes_an_exception_and_the_old_handler_returns() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught, _dies_tidily():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


class TestPackagedSample:
    def test_its_files_are_the_ones_of_its_manifest(self) -> None:
        manifest = json.loads((SAMPLE / "manifest.json").read_text(encoding="utf-8"))
        for name, described in manifest["files"].items():
            assert hashlib.sha256((SAMPLE / name).read_bytes()).hexdigest() == described["sha256"], name
        assert manifest["recipe"]["sha256"] == hashlib.sha256(RECIPE.read_bytes()).hexdigest()

    def test_it_may_not_be_trained_on(self) -> None:
        manifest = json.loads((SAMPLE / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["exclude_from_training"] is True

    def test_it_is_small_and_complete(self) -> None:
        manifest = json.loads((SAMPLE / "manifest.json").read_text(encoding="utf-8"))
        assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < MAX_SAMPLE_BYTES
        assert manifest["dropped_packets"] == 0

    def test_its_flows_show_every_attack_and_mishap(self) -> None:
        flows = FlowBatch.concatenate(list(PcapSource(SAMPLE / "sample.pcap.gz").batches()))
        labels = label_flows(flows, read_truth(SAMPLE / "truth.json")).labels
        assert labels is not None
        counts = np.bincount(labels.attack_class, minlength=len(CLASSES))
        seen = {attack_class.value for attack_class, count in zip(CLASSES, counts, strict=True) if count}
        assert seen == {"benign", "scan", "brute_force", "download", "c2", "dos"}
        assert {b"benign:reboot", b"benign:dns_outage"} <= set(labels.detail.tolist())
