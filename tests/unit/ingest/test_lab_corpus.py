"""The corpus folder: what is written is read, and nothing but what the manifest names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lab_builder import build_lab, network_entry, network_flows
from thingwarden.domain.errors import InputError
from thingwarden.ingest.lab_corpus import (
    MANIFEST_FILE,
    manifest_digest,
    read_manifest,
    read_network,
    split_acts,
    write_network,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build_lab(tmp_path / "lab", networks=2, counted=1, devices=2, lives=2)


def test_every_network_comes_back(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert [network.purpose for network in manifest.networks] == ["train", "train", "count"]
    for network in manifest.networks:
        assert len(read_network(folder, network)) == network.flows > 0
    assert [network.number for network in manifest.networks] == [0, 1, 2]


def test_equal_networks_make_an_equal_folder(folder: Path, tmp_path: Path) -> None:
    again = build_lab(tmp_path / "again", networks=2, counted=1, devices=2, lives=2)
    assert manifest_digest(again) == manifest_digest(folder)
    other = build_lab(tmp_path / "other", networks=2, counted=1, devices=2, lives=3)
    assert manifest_digest(other) != manifest_digest(folder)


def test_a_file_that_the_manifest_does_not_name_is_refused(folder: Path) -> None:
    first, second, _ = read_manifest(folder).networks
    (folder / first.file).write_bytes((folder / second.file).read_bytes())
    with pytest.raises(InputError, match="not the file"):
        read_network(folder, first)
    (folder / first.file).unlink()
    with pytest.raises(InputError, match="missing"):
        read_network(folder, first)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "thingwarden-lab-corpus/9"},
        {"networks": [{"name": "net-00000"}]},
        {"surprise": 1},
        {"recipe_sha256": "short"},
    ],
)
def test_another_manifest_is_refused(folder: Path, change: dict[str, object]) -> None:
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=r"manifest\.json"):
        read_manifest(folder)


def test_a_corpus_of_an_earlier_version_is_told_from_a_damaged_one(folder: Path) -> None:
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": "thingwarden-lab-corpus/1"}))
    with pytest.raises(InputError, match="made by another version") as refused:
        read_manifest(folder)
    assert "thingwarden lab corpus" in (refused.value.hint or "")


@pytest.mark.parametrize("file", ["../secret.npz", "/etc/passwd", "a/b.npz", "net.txt"])
def test_a_file_outside_the_folder_is_refused(folder: Path, file: str) -> None:
    path = folder / MANIFEST_FILE
    manifest = json.loads(path.read_text())
    manifest["networks"][0]["file"] = file
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="file"):
        read_manifest(folder)


def test_two_networks_of_one_name_are_refused(folder: Path) -> None:
    path = folder / MANIFEST_FILE
    manifest = json.loads(path.read_text())
    manifest["networks"][1]["name"] = manifest["networks"][0]["name"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="one name"):
        read_manifest(folder)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    for read in (read_manifest, manifest_digest):
        with pytest.raises(InputError, match=r"manifest\.json"):
            read(tmp_path)


def test_only_usable_flows_are_written(tmp_path: Path) -> None:
    flows = network_flows(1, attacked=True)
    entry = network_entry(0, devices=3, attacked=True)
    for wrong, why in (
        (replace(flows, labels=None), "labelled"),
        (replace(flows, is_timed=False), "labelled"),
        (flows.take(np.arange(len(flows))[::-1]), "time order"),
    ):
        with pytest.raises(InputError, match=why):
            write_network(tmp_path, wrong, entry)
    with pytest.raises(InputError, match="holds an attack"):
        write_network(tmp_path, flows, entry.model_copy(update={"purpose": "count"}))


def test_acts_are_told_by_name_whatever_class_and_number_stand_beside_them() -> None:
    detail = np.array([b"", b"benign", b"scan:port_scan-3", b"port_scan", b"benign:firmware_update"], dtype="S48")
    names, act = split_acts(detail)
    assert [names[code] for code in act] == ["", "", "port_scan", "port_scan", "firmware_update"]
    assert split_acts(detail[:0])[1].tolist() == []
