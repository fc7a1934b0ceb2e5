"""Captures are found with their truth, and no flow gets a label that nobody stands for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from packet_builder import conversation, meter, pcap, udp
from thingwarden.bench.gap_runs import Plan
from thingwarden.bench.recordings import Recording, list_recordings, load_session, make_runs
from thingwarden.config import PACKAGED_SAMPLE
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.ingest.conn_log import write_conn_log
from thingwarden.lab.recipe import SCENARIOS, recipe_sha256
from thingwarden.train.corpus import constant_labels
from thingwarden.train.weighting import require_labels

FRAMES = [*conversation(), udp(2.0), udp(2.1, from_client=False)]


def _write(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    packets = pcap(FRAMES)
    for name in ("benign/home-devices-2020/plug/2.pcap", "benign/home-devices-2020/plug/1.pcap",
                 "benign/iot-sentinel-2016/lamp/Setup-1.pcap", "benign/iot-sentinel-2016/lamp/Setup-2.pcap",
                 "attacks/book/synscan.pcap", "attacks/book/icmp_echo.pcap",
                 "iot23/CTU-IoT-Malware-Capture-42-1/2019-01-10-x.pcap",
                 "iot23/CTU-Honeypot-Capture-4-1/2018-10-25-x.pcap"):  # fmt: skip
        _write(tmp_path / name, packets)
    _write_log(tmp_path / "iot23/CTU-IoT-Malware-Capture-42-1/conn.log.labeled", meter(FRAMES).take(np.array([0])))
    return tmp_path


def _write_log(path: Path, flows: FlowBatch) -> None:
    from dataclasses import replace

    with path.open("w") as out:
        labelled = replace(flows, labels=constant_labels(len(flows), AttackClass.C2))
        write_conn_log([labelled], out, is_labelled=True)


def _by_name(data: Path, runs: Path | None = None) -> dict[str, Recording]:
    return {recording.name: recording for recording in list_recordings(data, runs)}


def test_every_capture_with_packets_is_found_in_its_collection(data: Path) -> None:
    found = _by_name(data)
    assert {name: item.collection for name, item in found.items()} == {
        "42-1": "malware", "home/plug": "benign", "4-1": "benign", "sentinel/lamp": "set-up", "synscan": "by name",
    }  # fmt: skip
    assert [path.name for path in found["home/plug"].sessions[0]] == ["1.pcap", "2.pcap"], "days of one device"
    assert [len(session) for session in found["sentinel/lamp"].sessions] == [1, 1], "sessions apart"


def test_flows_of_malware_have_the_labels_of_the_logs_rows_and_others_none(data: Path) -> None:
    recording = _by_name(data)["42-1"]
    flows = load_session(recording, recording.sessions[0])
    assert require_labels(flows).malicious.tolist() == [1, -1]


def test_what_a_files_name_says_is_said_of_no_flow(data: Path) -> None:
    recording = _by_name(data)["synscan"]
    labels = require_labels(load_session(recording, recording.sessions[0]))
    assert (labels.malicious == -1).all() and (labels.attack_class == -1).all()


def test_benign_captures_are_benign(data: Path) -> None:
    recording = _by_name(data)["home/plug"]
    labels = require_labels(load_session(recording, recording.sessions[0]))
    assert labels.malicious.tolist() == [0] * 4


def test_a_run_of_the_lab_is_labelled_by_its_truth(data: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(PACKAGED_SAMPLE.parent, runs / "sample-1")
    recording = _by_name(data, runs)["sample-1"]
    labels = require_labels(load_session(recording, recording.sessions[0]))
    manifest = json.loads((runs / "sample-1" / "manifest.json").read_text())
    assert len(labels.malicious) == manifest["flow_count"]
    assert int((labels.malicious == 1).sum()) == manifest["malicious_flow_count"]


def test_a_run_at_hand_is_not_made_again_unless_its_recipe_changed(tmp_path: Path) -> None:
    plan = Plan(scenarios=("home-day",), seeds=(1,), duration_s=10.0)
    with pytest.raises(ConfigError, match="run of broken"):
        broken = tmp_path / "broken.toml"
        broken.write_text("nonsense")
        make_runs(Plan(scenarios=(str(broken.with_suffix("")),), seeds=(1,), duration_s=10.0), tmp_path / "none", 1)
    recipes = tmp_path / "runs" / "recipes"
    recipes.mkdir(parents=True)
    whole = recipes / "home-day.toml"
    whole.write_text("snap_bytes = 65535\n" + (SCENARIOS / "home-day.toml").read_text())
    kept = tmp_path / "runs" / "home-day-1-10s" / "manifest.json"
    _write(kept, json.dumps({"recipe": {"sha256": recipe_sha256(whole)}}).encode())
    said: list[str] = []
    make_runs(plan, tmp_path / "runs", 1, said.append)
    assert said == []


@pytest.mark.root
def test_a_run_keeps_whole_packets(tmp_path: Path) -> None:
    said: list[str] = []
    make_runs(Plan(scenarios=("plant",), seeds=(3,), duration_s=8.0), tmp_path, 1, said.append)
    manifest = json.loads((tmp_path / "plant-3-8s" / "manifest.json").read_text())
    assert manifest["snap_bytes"] == 65_535
    assert said == ["plant, seed 3"]
