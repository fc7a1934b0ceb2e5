"""``thingwarden lab corpus``: what it makes, what it says of it, and what it refuses before anything is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thingwarden.cli import main
from thingwarden.ingest.lab_corpus import read_manifest

SMALL = "\n".join(
    (
        'name = "small"',
        "devices = [2, 3]\nduration_s = [1200, 1300]\nflows = [20, 40]",
        "attacks = [0, 0]\noddities = [0, 0]\n",
    )
)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_networks_are_made_and_counted(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["lab", "corpus", str(recipe), "--out", str(tmp_path / "out"), "--networks", "2", "--jobs", "1", "--json"]
    assert main(words) == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    manifest = read_manifest(tmp_path / "out")
    assert record["networks"] == len(manifest.networks) == 2
    assert record["flows"] == sum(network.flows for network in manifest.networks) > 0
    assert {network.purpose for network in manifest.networks} == {"train"}


def test_people_read_how_much_was_made(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "corpus", str(recipe), "--out", str(tmp_path / "out"), "--networks", "1", "--jobs", "1"]) == 0
    assert "Wrote 1 network with" in capsys.readouterr().out


@pytest.mark.parametrize(
    "more",
    [("--networks", "1", "--words", "5"), ("--words", "5", "--device-weeks", "1")],
)
def test_how_much_is_said_once(
    more: tuple[str, ...], recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lab", "corpus", str(recipe), "--out", str(tmp_path / "out"), *more]) == 2
    assert "more than once" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_wrong_recipe_is_refused_before_anything_is_made(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.write_text(SMALL + "attackers = 4\n")
    assert main(["lab", "corpus", str(recipe), "--out", str(tmp_path / "out"), "--networks", "1"]) == 2
    assert "attackers" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
