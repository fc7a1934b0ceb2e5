"""Inputs as commands take them: a path, perhaps a format, and what became of their rows.

In: arguments. Out: opened sources, their flows, the counts that people are shown.
Must never: hide what was skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from thingwarden.cli.invocation import Invocation

if TYPE_CHECKING:
    from thingwarden.ingest.recognise import Format
    from thingwarden.ingest.source import FlowFile

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])

FORMAT_NAMES: Final = ("pcap", "pcapng", "zeek-tsv", "zeek-json", "ton-iot")
"""Values of ``ingest.recognise.Format``, written out so that ``--help`` needs no stage (tested)."""

InputPath: Final = click.Path(path_type=Path, allow_dash=True)


def format_option(command: AnyCommand) -> AnyCommand:
    """Add ``--format``; the command gets ``format_name``, None to recognise by content."""
    return click.option(
        "--format", "format_name", type=click.Choice(FORMAT_NAMES), help="What the input is, instead of recognising it."
    )(command)


def format_from_name(name: str | None) -> Format | None:
    """The format of that name; None for None."""
    from thingwarden.ingest.recognise import Format

    return None if name is None else Format(name)


def notes_of(source: FlowFile) -> list[str]:
    """What a person should know about an input that was read to its end: cuts, and what was left out."""
    notes = [f"{source.path}: {note}" for note in getattr(source.source, "notes", ())]
    left_out = left_out_counts(source.counts)
    if left_out:
        said = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in left_out.items())
        notes.append(f"{source.path}: left out {said}")
    return notes


def left_out_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Of a source's counts, those of what was not used."""
    return {reason: count for reason, count in counts.items() if count and reason not in _USED}


_USED: Final = ("rows", "flows", "frames", "packets")


def tell_notes(invocation: Invocation, source: FlowFile) -> None:
    """Say on stderr what a person should know about an input."""
    for note in notes_of(source):
        invocation.remark(note)
