"""The corpus: the same bytes however it is made, resumed where it was cut off, no more and no less than wanted."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thingwarden.domain.errors import ConfigError
from thingwarden.domain.flow import FlowBatch, Labels
from thingwarden.ingest.lab_corpus import LabManifest, read_manifest, read_network
from thingwarden.lab.corpus import JOURNAL_FILE, Goal, Progress, count_words, make_corpus
from thingwarden.lab.draw import CorpusRecipe
from thingwarden.lab.timeline import Schedule
from thingwarden.testing import FlowSpec, build_flows

RECIPE = CorpusRecipe(name="test", devices=(2, 4), attacks=(0, 0), oddities=(0, 0))


def simulate(schedule: Schedule, flows_most: int | None) -> tuple[FlowBatch, float]:
    """Flows that only the schedule decides: one per host and minute, out of order."""
    minutes = min(int(schedule.duration_s // 60), 30, (flows_most or 10_000) // len(schedule.hosts))
    specs = [
        FlowSpec(at_s=60.0 * minute, orig=host.address, orig_port=1024 + schedule.seed % 60_000)
        for host in schedule.hosts
        for minute in range(minutes)
    ]
    flows = build_flows(specs)
    nothing = np.zeros(len(flows), dtype=np.int8)
    labels = Labels(malicious=nothing, attack_class=nothing, ton_class=nothing - 1, detail=np.zeros(len(flows), "S48"))
    return replace(flows, labels=labels), schedule.duration_s


def failing(schedule: Schedule, flows_most: int | None) -> tuple[FlowBatch, float]:
    """Interrupted at the third network."""
    if schedule.scenario == "net-00002":
        raise KeyboardInterrupt
    return simulate(schedule, flows_most)


def unused(schedule: Schedule, flows_most: int | None) -> tuple[FlowBatch, float]:
    raise AssertionError(f"{schedule.scenario} was made again")


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.name != JOURNAL_FILE
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LabManifest]:
    folder = tmp_path_factory.mktemp("corpus")
    return folder, make_corpus(RECIPE, folder, Goal(networks=5), simulate=simulate, seed=3)


def test_the_folder_is_what_the_format_says(made: tuple[Path, LabManifest]) -> None:
    folder, manifest = made
    assert read_manifest(folder) == manifest
    assert [network.number for network in manifest.networks] == [0, 1, 2, 3, 4]
    assert manifest.recipe_sha256 == RECIPE.sha256
    for network in manifest.networks:
        flows = read_network(folder, network)
        assert len(flows) == network.flows > 0
        assert len(network.devices) in (2, 3, 4)
        assert network.device_days > 0


def test_processes_change_no_byte(made: tuple[Path, LabManifest], tmp_path: Path) -> None:
    make_corpus(RECIPE, tmp_path, Goal(networks=5), simulate=simulate, seed=3, jobs=2)
    assert _hashes(tmp_path) == _hashes(made[0])


def test_what_was_cut_off_goes_on(made: tuple[Path, LabManifest], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make_corpus(RECIPE, tmp_path, Goal(networks=5), simulate=failing, seed=3)
    assert not (tmp_path / "manifest.json").exists()
    with (tmp_path / JOURNAL_FILE).open("a") as journal:
        journal.write('{"words": 12, "netw')
    with pytest.raises(AssertionError, match="net-00002"):
        make_corpus(RECIPE, tmp_path, Goal(networks=5), simulate=unused, seed=3)
    make_corpus(RECIPE, tmp_path, Goal(networks=5), simulate=simulate, seed=3)
    assert _hashes(tmp_path) == _hashes(made[0])
    make_corpus(RECIPE, tmp_path, Goal(networks=5), simulate=unused, seed=3)


def test_an_altered_network_is_made_again(made: tuple[Path, LabManifest], tmp_path: Path) -> None:
    make_corpus(RECIPE, tmp_path, Goal(networks=2), simulate=simulate, seed=3)
    (tmp_path / "net-00001.npz").write_bytes(b"")
    with pytest.raises(AssertionError, match="net-00001"):
        make_corpus(RECIPE, tmp_path, Goal(networks=2), simulate=unused, seed=3)


@pytest.mark.parametrize("change", [{"seed": 4}, {"purpose": "count"}])
def test_another_corpus_is_neither_resumed_nor_replaced(tmp_path: Path, change: dict[str, object]) -> None:
    make_corpus(RECIPE, tmp_path, Goal(networks=1), simulate=simulate, seed=3)
    with pytest.raises(ConfigError, match="another recipe, seed or purpose"):
        make_corpus(RECIPE, tmp_path, Goal(networks=1), simulate=unused, **{"seed": 3, **change})  # type: ignore[arg-type]


def test_a_shorter_corpus_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    make_corpus(RECIPE, tmp_path, Goal(networks=4), simulate=simulate, seed=3)
    make_corpus(RECIPE, tmp_path, Goal(networks=2), simulate=unused, seed=3)
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == ["net-00000.npz", "net-00001.npz"]


def test_words_and_device_weeks_end_a_corpus(tmp_path: Path) -> None:
    seen: list[Progress] = []
    manifest = make_corpus(RECIPE, tmp_path / "words", Goal(words=400), simulate=simulate, report=seen.append)
    assert seen[-1].words >= 400 > (seen[-2].words if len(seen) > 1 else 0)
    assert seen[-1].done_ratio == 1.0
    assert len(manifest.networks) == len(seen)
    weeks = make_corpus(RECIPE, tmp_path / "weeks", Goal(device_weeks=5.0), simulate=simulate, purpose="count")
    assert (
        sum(network.device_days for network in weeks.networks) / 7 == sum(len(n.devices) for n in weeks.networks) >= 5
    )
    assert {network.purpose for network in weeks.networks} == {"count"}


def test_words_of_flows_inside_the_lan_are_counted_for_both_sides() -> None:
    flows = build_flows([FlowSpec(), FlowSpec(resp="192.168.1.20"), FlowSpec(resp="192.168.1.10")])
    assert count_words(flows) == 2 + 4 + 2
