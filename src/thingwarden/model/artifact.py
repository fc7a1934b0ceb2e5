"""A model on disk: weights, vocabulary, calibration, taxonomy, card, and a manifest that pins each by hash.

In: a folder. Out: ``Artifact``, its files verified.
Must never: hand out a file whose hash differs from the manifest's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from thingwarden.domain.calibration import Calibration
from thingwarden.domain.errors import ArtifactError
from thingwarden.domain.taxonomy import CLASSES, TON_CLASSES
from thingwarden.domain.word import ROLES

FORMAT_VERSION: Final = 2
MANIFEST_NAME: Final = "manifest.json"
FILE_NAMES: Final = ("model.onnx", "habit.onnx", "vocabulary.json", "calibration.json", "taxonomy.json", "card.md")
LARGEST_FILE_BYTES: Final = 512 * 1024 * 1024
"""No artifact file may be larger; a base model of 10 M parameters takes 40 MB."""

_RETRAIN: Final = "reinstall the package, or train one with `thingwarden train`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A verified model.

    Attributes:
        path: its folder.
        network: the bytes of the ONNX file that reads words.
        habit: those of the one that says from a summary what is usual.
        vocabulary: the vocabulary's JSON, for the encoder to build.
        calibration: constants that turn scores into verdicts.
        card: the model card, Markdown.
        manifest: name, version, hashes and how it was trained.
    """

    path: Path
    network: bytes
    habit: bytes
    vocabulary: Mapping[str, Any]
    calibration: Calibration
    card: str
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.manifest.get("name", self.path.name))


def load_artifact(path: Path) -> Artifact:
    """Read a model folder and verify every file.

    Raises:
        ArtifactError: a file is missing or altered, or made for another version; names the file and both hashes.
    """
    manifest = _read_manifest(path / MANIFEST_NAME)
    contents = {name: _read_verified(path / name, manifest) for name in FILE_NAMES}
    _check_taxonomy(path / "taxonomy.json", contents["taxonomy.json"])
    return Artifact(
        path=path,
        network=contents["model.onnx"],
        habit=contents["habit.onnx"],
        vocabulary=_parse(path / "vocabulary.json", contents["vocabulary.json"]),
        calibration=Calibration.from_json(contents["calibration.json"].decode()),
        card=contents["card.md"].decode(),
        manifest=manifest,
    )


def write_artifact(path: Path, contents: Mapping[str, bytes], **described: Any) -> None:
    """Write a model folder; the manifest goes last, so that a cut-off write never verifies.

    Args:
        path: the folder, made if absent.
        contents: every one of ``FILE_NAMES`` but the taxonomy, which is this version's.
        described: further manifest entries: name, version, how it was trained.
    """
    path.mkdir(parents=True, exist_ok=True)
    (path / MANIFEST_NAME).unlink(missing_ok=True)
    files = {**contents, "taxonomy.json": _dump(_taxonomy())}
    for name in FILE_NAMES:
        (path / name).write_bytes(files[name])
    listed = {name: {"sha256": _sha256(files[name]), "bytes": len(files[name])} for name in FILE_NAMES}
    (path / MANIFEST_NAME).write_bytes(_dump({"format_version": FORMAT_VERSION, **described, "files": listed}))


def _taxonomy() -> dict[str, list[str]]:
    return {
        "classes": [attack_class.value for attack_class in CLASSES],
        "ton_classes": list(TON_CLASSES),
        "roles": list(ROLES),
    }


def _dump(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = _parse(path, _read(path))
    if manifest.get("format_version") != FORMAT_VERSION:
        raise ArtifactError(
            str(path), f"format version {manifest.get('format_version')!r}, expected {FORMAT_VERSION}", _RETRAIN
        )
    if not isinstance(manifest.get("files"), dict):
        raise ArtifactError(str(path), "lists no files", _RETRAIN)
    return manifest


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise ArtifactError(str(path), f"larger than {LARGEST_FILE_BYTES} bytes", _RETRAIN)
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(str(path), f"cannot be read ({error.strerror})", _RETRAIN) from error


def _read_verified(path: Path, manifest: Mapping[str, Any]) -> bytes:
    entry = manifest["files"].get(path.name)
    if not isinstance(entry, dict):
        raise ArtifactError(str(path), "is not in the manifest", _RETRAIN)
    content = _read(path)
    found = _sha256(content)
    if found != entry.get("sha256"):
        raise ArtifactError(
            str(path), f"altered: SHA-256 is {found}, the manifest says {entry.get('sha256')}", _RETRAIN
        )
    return content


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError as error:
        raise ArtifactError(str(path), f"not JSON: {error}", _RETRAIN) from error
    if not isinstance(document, dict):
        raise ArtifactError(str(path), "not a JSON object", _RETRAIN)
    return document


def _check_taxonomy(path: Path, content: bytes) -> None:
    if _parse(path, content) != _taxonomy():
        raise ArtifactError(str(path), "names other classes than this version", _RETRAIN)
