"""A folder of simulated networks: ``manifest.json`` and one file of flow columns per network.

In: labelled ``FlowBatch``es of networks and what is known about each. Out: ``LabManifest``; the flows, one at a time.
Must never: read a file that is not the one whose hash the manifest names, or one outside the folder.

The flows of a network are labelled and in time order, their ends flagged local or not; with them is kept how they stood
at their milestones. ``labels.detail`` is
``<class>:<act>``, harmless acts included, or one of both; empty or ``benign`` for a device's habits.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import FlowBatch
from thingwarden.ingest.columns import read_columns, write_columns

FORMAT: Final = "thingwarden-lab-corpus/2"
"""Raised whenever a file of an earlier version could not be learned from as one of this version is; 2: milestones."""

MANIFEST_FILE: Final = "manifest.json"
LARGEST_MANIFEST_BYTES: Final = 256 * 2**20

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LabDevice(_Record):
    """A device of a network; ``ip`` is its IPv4 address, ``mac`` colon-separated."""

    name: str
    kind: str
    ip: str
    mac: str


class LabNetwork(_Record):
    """One simulated network.

    Attributes:
        name: ``net-`` and five digits; folds go by the number.
        file: its columns, beside the manifest.
        seed: that the network was drawn from.
        sha256: of the file.
        flows: how many.
        device_days: simulated days, summed over the devices that were there.
        devices: all of them, the gateway aside.
        acts: keys of the attacks that were carried out; empty in a harmless network.
        chores: keys of the harmless acts, hard negatives among them.
        condition: name of the network condition; a drawn one has a name too.
        purpose: ``train`` may be learned from or tested on by the fold plan; ``count`` is for counting false
            incidents only, and holds no attack.
    """

    name: Annotated[str, Field(pattern=r"^net-[0-9]{5}$")]
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+\.npz$")]
    seed: int
    sha256: Sha256
    flows: Annotated[int, Field(ge=0)]
    device_days: Annotated[float, Field(ge=0.0)]
    devices: tuple[LabDevice, ...]
    acts: tuple[str, ...]
    chores: tuple[str, ...] = ()
    condition: str
    purpose: Literal["train", "count"]

    @property
    def number(self) -> int:
        """The digits of the name."""
        return int(self.name.removeprefix("net-"))


class LabManifest(_Record):
    """All networks of a corpus, by name.

    Attributes:
        format: ``FORMAT``.
        recipe_sha256: of the recipe that the networks were drawn by.
        seed: of the whole corpus.
        networks: each name once.
    """

    format: Literal["thingwarden-lab-corpus/2"] = FORMAT
    recipe_sha256: Sha256
    seed: int
    networks: tuple[LabNetwork, ...]


def write_network(folder: Path, flows: FlowBatch, network: LabNetwork) -> LabNetwork:
    """Write a network's flows; the entry comes back with the hash and the number of what was written.

    Args:
        folder: exists.
        flows: labelled, timed, in time order.
        network: its ``sha256`` and ``flows`` are replaced.

    Raises:
        InputError: the flows have no labels or no time, are out of order, or a ``count`` network holds an attack.
    """
    path = folder / network.file
    _require_usable(path, flows, network)
    write_columns(flows, path)
    return network.model_copy(update={"sha256": _hash(path), "flows": len(flows)})


def write_manifest(folder: Path, manifest: LabManifest) -> None:
    """Write ``manifest.json``, last of all: a folder without it is not a corpus."""
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1) + "\n")


def read_manifest(folder: Path) -> LabManifest:
    """What the folder holds.

    Raises:
        InputError: there is no manifest, or it is not one of this format; two networks share a name.
    """
    path = folder / MANIFEST_FILE
    try:
        if path.stat().st_size > LARGEST_MANIFEST_BYTES:
            raise InputError(str(path), f"larger than {LARGEST_MANIFEST_BYTES} bytes", "draw the corpus in parts")
        content = path.read_bytes()
        _refuse_other_version(path, content)
        manifest = LabManifest.model_validate_json(content)
    except (OSError, ValidationError) as error:
        raise InputError(str(path), f"not the manifest of a lab corpus: {error}", f"expected {FORMAT}") from error
    if len({network.name for network in manifest.networks}) != len(manifest.networks):
        raise InputError(str(path), "two networks have one name", "draw the corpus anew")
    return manifest


def _refuse_other_version(path: Path, content: bytes) -> None:
    """A corpus of another version is not damaged, and what to do about it is known."""
    try:
        document = json.loads(content)
    except ValueError:
        return
    found = document.get("format") if isinstance(document, dict) else None
    if isinstance(found, str) and found != FORMAT and re.fullmatch(r"thingwarden-lab-corpus/[0-9]{1,4}", found):
        hint = "draw the corpus anew: thingwarden lab corpus"
        raise InputError(str(path), f"made by another version: expected {FORMAT}, found {found}", hint)


def read_network(folder: Path, network: LabNetwork) -> FlowBatch:
    """A network's flows, labelled and in time order.

    Raises:
        InputError: the file is missing, not what the manifest says, or not usable flows.
    """
    path = folder / network.file
    if not path.is_file() or _hash(path) != network.sha256:
        raise InputError(str(path), "missing, or not the file that the manifest names", "draw the corpus anew")
    flows = read_columns(path)
    if len(flows) != network.flows:
        raise InputError(str(path), f"expected {network.flows} flows, found {len(flows)}", "draw the corpus anew")
    _require_usable(path, flows, network)
    return flows


def manifest_digest(folder: Path) -> str:
    """SHA-256 of the manifest, which holds that of every network.

    Raises:
        InputError: there is none.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise InputError(str(path), "not there", f"expected a folder of {FORMAT}")
    return _hash(path)


def split_acts(detail: npt.NDArray[np.bytes_]) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """The acts that flows belong to, by ``labels.detail``.

    Args:
        detail: (n,).

    Returns:
        Names, each once, and for each flow the index of its own, int64 (n,); the name of a habit is empty.
    """
    texts, inverse = np.unique(detail, return_inverse=True)
    found = [_act_name(text.decode("latin-1")) for text in texts.tolist()]
    names = tuple(sorted(set(found)))
    return names, np.array([names.index(name) for name in found], dtype=np.int64)[inverse.ravel()]


def _act_name(detail: str) -> str:
    """Without the class before a colon and the number after a hyphen."""
    name = detail.rpartition(":")[2]
    return "" if name == "benign" else re.sub(r"-[0-9]+$", "", name)


def _require_usable(path: Path, flows: FlowBatch, network: LabNetwork) -> None:
    if flows.labels is None or not flows.is_timed:
        raise InputError(str(path), "expected labelled flows with time", "label them before they are written")
    if (np.diff(flows.started_at_s) < 0.0).any():
        raise InputError(str(path), "expected flows in time order", "sort them by started_at_s")
    if network.purpose == "count" and (flows.labels.malicious != 0).any():
        raise InputError(str(path), "a network to count false incidents in holds an attack", "draw it without acts")


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
