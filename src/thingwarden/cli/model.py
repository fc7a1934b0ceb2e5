"""``thingwarden model``: what a model is, and whether its files are what its manifest says.

In: a model folder. Out: its card and manifest, or the verdict on its hashes.
Must never: run a network whose files do not verify.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from thingwarden.cli.invocation import Invocation, common_options, table

if TYPE_CHECKING:
    from thingwarden.model.artifact import Artifact

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])


@click.group("model")
def model_group() -> None:
    """Show or verify a model; without PATH the one that the configuration names, else the packaged one."""


@model_group.command("show")
@click.argument("path", required=False, type=click.Path(path_type=Path, file_okay=False))
@common_options
@click.pass_obj
def show(invocation: Invocation, path: Path | None) -> None:
    """Show the model's card: what it was trained on, what it can do, where it fails."""
    artifact = open_artifact(invocation, path)
    if invocation.wants_json:
        invocation.emit(
            "model",
            {
                "path": str(artifact.path),
                "name": artifact.name,
                "manifest": artifact.manifest,
                "calibration": artifact.calibration,
                "card": artifact.card,
            },
        )
        return
    from rich.markdown import Markdown

    invocation.show(Markdown(artifact.card))


@model_group.command("verify")
@click.argument("path", required=False, type=click.Path(path_type=Path, file_okay=False))
@common_options
@click.pass_obj
def verify(invocation: Invocation, path: Path | None) -> None:
    """Check every file's hash and that the network runs here; exit 4 when something is wrong."""
    from thingwarden.model.scorer import FlowScorer

    artifact = open_artifact(invocation, path)
    scorer = FlowScorer(artifact)
    files = [
        {"name": name, "bytes": entry["bytes"], "sha256": entry["sha256"]}
        for name, entry in artifact.manifest["files"].items()
    ]
    if invocation.wants_json:
        invocation.emit(
            "model_verified",
            {
                "path": str(artifact.path),
                "name": artifact.name,
                "state_bytes_per_device": scorer.state_bytes,
                "files": files,
            },
        )
        return
    rows = [(entry["name"], f"{entry['bytes']:,}", entry["sha256"]) for entry in files]
    invocation.show(table(f"{artifact.name} in {artifact.path}", ("file", "bytes", "SHA-256"), rows, ("bytes",)))
    invocation.show("Every file is what the manifest says, and the network runs here.")


def model_option(command: AnyCommand) -> AnyCommand:
    """Add ``--model``; the command gets ``model``, None for the configured or packaged one."""
    return click.option(
        "--model", type=click.Path(path_type=Path, file_okay=False), help="Model folder instead of the configured one."
    )(command)


def open_artifact(invocation: Invocation, chosen: Path | None) -> Artifact:
    """The model that was chosen, else the configuration's, else the packaged one.

    Raises:
        ArtifactError: a file is missing or altered; names it and both hashes.
    """
    from thingwarden.config import PACKAGED_MODEL
    from thingwarden.model.artifact import load_artifact

    return load_artifact(chosen or invocation.loaded.settings.model.path or PACKAGED_MODEL)
