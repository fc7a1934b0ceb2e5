"""A model folder verifies, or names the file that does not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from flow_builder import VOCABULARY
from thingwarden.cli import main
from thingwarden.domain.calibration import Calibration
from thingwarden.domain.errors import ArtifactError
from thingwarden.model import artifact
from thingwarden.model.artifact import FILE_NAMES, FORMAT_VERSION, MANIFEST_NAME, load_artifact, write_artifact

NETWORK = b"not a network, but bytes with a hash"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tiny"
    contents = {
        "model.onnx": NETWORK,
        "habit.onnx": b"what is usual",
        "vocabulary.json": json.dumps(VOCABULARY.to_json()).encode(),
        "calibration.json": Calibration(flow_threshold=0.7).to_json().encode(),
        "card.md": b"# A card\n",
    }
    write_artifact(path, contents, name="tiny model", seed=4)
    return path


def _rewrite(folder: Path, name: str, content: bytes) -> None:
    """Change a file and let the manifest agree, as another version or another tool would."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))


def test_what_is_written_is_what_is_loaded(folder: Path) -> None:
    loaded = load_artifact(folder)
    assert (loaded.network, loaded.card, loaded.name) == (NETWORK, "# A card\n", "tiny model")
    assert loaded.calibration == Calibration(flow_threshold=0.7)
    assert loaded.vocabulary == VOCABULARY.to_json()
    assert (loaded.manifest["seed"], loaded.manifest["format_version"]) == (4, FORMAT_VERSION)


@pytest.mark.parametrize("name", FILE_NAMES)
def test_an_altered_file_is_named_with_both_hashes(folder: Path, name: str) -> None:
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(before + b" ")
    with pytest.raises(ArtifactError) as refused:
        load_artifact(folder)
    assert refused.value.what == str(folder / name)
    assert hashlib.sha256(before).hexdigest() in refused.value.why
    assert hashlib.sha256(before + b" ").hexdigest() in refused.value.why
    assert refused.value.exit_code == 4 and refused.value.hint


@pytest.mark.parametrize("name", [*FILE_NAMES, MANIFEST_NAME])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError) as refused:
        load_artifact(folder)
    assert refused.value.what == str(folder / name)


@pytest.mark.parametrize("name", ["vocabulary.json", "taxonomy.json"])
@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff", b"7"])
def test_a_file_that_is_no_json_object_is_named(folder: Path, name: str, content: bytes) -> None:
    _rewrite(folder, name, content)
    with pytest.raises(ArtifactError) as refused:
        load_artifact(folder)
    assert refused.value.what == str(folder / name)


def test_another_taxonomy_is_refused(folder: Path) -> None:
    taxonomy = json.loads((folder / "taxonomy.json").read_bytes())
    taxonomy["classes"].reverse()
    _rewrite(folder, "taxonomy.json", json.dumps(taxonomy).encode())
    with pytest.raises(ArtifactError, match="other classes"):
        load_artifact(folder)


@pytest.mark.parametrize("content", [b"{}", b"null", b"not JSON"])
def test_a_foreign_calibration_is_refused(folder: Path, content: bytes) -> None:
    _rewrite(folder, "calibration.json", content)
    with pytest.raises(ArtifactError, match="calibration"):
        load_artifact(folder)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[1]", "not a JSON object"),
        (b"{", "not JSON"),
        (b"{}", "format version None"),
        (b'{"format_version": 1, "files": {}}', "format version 1, expected 2"),
        (b'{"format_version": 2}', "lists no files"),
        (b'{"format_version": 2, "files": []}', "lists no files"),
    ],
)
def test_a_foreign_manifest_is_refused(folder: Path, content: bytes, why: str) -> None:
    (folder / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(ArtifactError, match=why) as refused:
        load_artifact(folder)
    assert refused.value.what == str(folder / MANIFEST_NAME)


def test_a_file_that_the_manifest_does_not_list_is_not_trusted(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
    del manifest["files"]["card.md"]
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"card\.md: is not in the manifest"):
        load_artifact(folder)


def test_a_file_too_large_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "LARGEST_FILE_BYTES", 8)
    with pytest.raises(ArtifactError, match="larger than 8 bytes"):
        load_artifact(folder)


def test_a_write_that_was_cut_off_never_verifies(folder: Path) -> None:
    with pytest.raises(KeyError):
        write_artifact(folder, {"model.onnx": b"newer"}, name="cut off")
    with pytest.raises(ArtifactError, match=MANIFEST_NAME):
        load_artifact(folder)


def test_the_command_line_exits_with_four(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "model.onnx").write_bytes(b"altered")
    assert main(["model", "show", str(folder)]) == 4
    assert "model.onnx" in capsys.readouterr().err
