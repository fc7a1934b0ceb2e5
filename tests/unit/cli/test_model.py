"""``thingwarden model``: cards are shown, altered files are named with both hashes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from thingwarden.cli import main
from thingwarden.domain.calibration import Calibration
from thingwarden.model.artifact import write_artifact


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artifact whose files verify but whose network is none."""
    contents = {
        "model.onnx": b"no network",
        "habit.onnx": b"nothing usual",
        "vocabulary.json": b"{}",
        "calibration.json": Calibration().to_json().encode(),
        "card.md": b"# tiny\n\nA card for tests.\n",
    }
    write_artifact(tmp_path / "tiny", contents, name="tiny")
    return tmp_path / "tiny"


def test_show_prints_the_card(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "show", str(folder)]) == 0
    assert "A card for tests." in capsys.readouterr().out


def test_show_under_json_gives_manifest_calibration_and_card(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "show", str(folder), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["type"] == "model"
    assert shown["name"] == "tiny"
    assert shown["manifest"]["files"]["card.md"]["bytes"] == len(b"# tiny\n\nA card for tests.\n")
    assert shown["calibration"]["flow_threshold"] == Calibration().flow_threshold


def test_a_network_that_cannot_run_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "verify", str(folder)]) == 4
    assert str(folder / "model.onnx") in capsys.readouterr().err


def test_an_altered_file_is_named_with_both_hashes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "card.md").write_bytes(b"altered")
    assert main(["model", "verify", str(folder)]) == 4
    said = capsys.readouterr().err
    assert str(folder / "card.md") in said
    assert hashlib.sha256(b"altered").hexdigest() in said
    assert hashlib.sha256(b"# tiny\n\nA card for tests.\n").hexdigest() in said


def test_a_missing_model_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "verify", str(tmp_path / "none")]) == 4
    assert str(tmp_path / "none" / "manifest.json") in capsys.readouterr().err


def test_the_configuration_names_the_model(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[model]\npath = "{folder}"\n')
    assert main(["model", "show", "--json", "--config", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(folder)
