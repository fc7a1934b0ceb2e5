"""Words for the gap test: acts and kinds are named, public devices keep their physical kind, attacks are left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thingwarden.bench.gap_words import (
    WORDS_PER_RUN,
    RunFlows,
    fit_vocabulary,
    read_lab_benign,
    read_public_benign,
    read_run,
    read_sampled,
    read_world,
)
from thingwarden.domain.flow import FlowBatch, Labels
from thingwarden.domain.taxonomy import CLASS_INDEX, AttackClass
from thingwarden.ingest.lab_corpus import LabDevice, LabManifest, LabNetwork, write_manifest, write_network
from thingwarden.testing import FlowSpec, build_flows
from thingwarden.train.corpus import GROUP_OF


def _labelled(flows: FlowBatch, attacks: dict[int, bytes]) -> FlowBatch:
    count = len(flows)
    malicious = np.zeros(count, dtype=np.int8)
    detail = np.full(count, b"benign", dtype="S48")
    for row, name in attacks.items():
        malicious[row], detail[row] = 1, name
    attack_class = (malicious * CLASS_INDEX[AttackClass.SCAN]).astype(np.int8)
    ton_class = np.full(count, -1, dtype=np.int8)
    labels = Labels(malicious=malicious, attack_class=attack_class, ton_class=ton_class, detail=detail)
    return replace(flows, labels=labels)


def _run(number: int = 3) -> RunFlows:
    flows = build_flows(
        [
            FlowSpec(orig="192.168.1.10", service="ssl"),
            FlowSpec(at_s=1, orig="192.168.1.11", resp="198.51.100.9", resp_port=23, conn_state="S0"),
            FlowSpec(at_s=2, orig="192.168.1.10", resp="192.168.1.11"),
        ]
    )
    kinds = {"192.168.1.10": "plug", "192.168.1.11": "camera"}
    return RunFlows(run=number, flows=_labelled(flows, {1: b"scan:scan_slow-2"}), kinds=kinds)


def test_words_are_named_by_act_or_by_the_kind_of_who_speaks() -> None:
    run = _run()
    words = read_run(run, fit_vocabulary([run] * 4))
    named = list(zip(words.subject.tolist(), words.malicious.tolist(), strict=True))
    assert sorted(set(named)) == [(b"camera", False), (b"plug", False), (b"scan_slow", True)]
    assert named.count((b"plug", False)) == 4
    assert named.count((b"scan_slow", True)) == 2
    assert set(words.run.tolist()) == {3}


def test_a_token_of_either_world_is_in_the_vocabulary() -> None:
    assert fit_vocabulary([_run()] * 4).services == (b"ssl",)


def test_runs_keep_their_numbers_and_busy_ones_are_sampled() -> None:
    many = build_flows([FlowSpec(at_s=n) for n in range(WORDS_PER_RUN)])
    busy = RunFlows(run=8, flows=_labelled(many, {}), kinds={})
    vocabulary = fit_vocabulary([busy])
    assert np.bincount(read_world([_run(), busy], vocabulary).run)[[3, 8]].tolist() == [8, 2 * WORDS_PER_RUN]
    assert np.bincount(read_sampled([_run(), busy], vocabulary).run)[[3, 8]].tolist() == [8, WORDS_PER_RUN]


def _network(number: int, acts: tuple[str, ...]) -> LabNetwork:
    return LabNetwork(
        name=f"net-{number:05d}",
        file=f"net-{number:05d}.npz",
        seed=number,
        sha256="0" * 64,
        flows=0,
        device_days=1.0,
        devices=(LabDevice(name="plug-1", kind="plug", ip="192.168.1.10", mac="02:00:00:00:00:01"),),
        acts=acts,
        condition="home",
        purpose="train",
    )


def test_networks_under_attack_are_left_out_whole(tmp_path: Path) -> None:
    networks = [
        write_network(tmp_path, _run().flows if acts else _labelled(_run().flows, {}), _network(number, acts))
        for number, acts in enumerate([("scan_slow",), (), ()])
    ]
    write_manifest(tmp_path, LabManifest(recipe_sha256="0" * 64, seed=0, networks=tuple(networks)))
    runs = read_lab_benign(tmp_path, 9)
    assert [run.run for run in runs] == [1, 2]
    assert runs[0].kinds == {"192.168.1.10": "plug", "02:00:00:00:00:01": "plug"}
    assert len(read_lab_benign(tmp_path, 1)) == 1


@pytest.mark.data
def test_public_devices_of_one_physical_kind_share_a_number(data_folder: Path, tmp_path: Path) -> None:
    runs = read_public_benign(data_folder, tmp_path)
    assert len({run.run for run in runs}) < len(runs)
    assert len({run.run for run in runs}) >= len(set(GROUP_OF.values()))
    assert not any(labels.malicious.any() for run in runs if (labels := run.flows.labels) is not None)
