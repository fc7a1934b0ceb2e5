"""Inputs as commands take them: paths, perhaps a format, and what became of their rows.

In: arguments. Out: opened sources, their flows, the remarks that people are shown.
Must never: hide what was skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from thingwarden.domain.errors import RequestError

if TYPE_CHECKING:
    from thingwarden.domain.flow import FlowBatch
    from thingwarden.ingest.pcap import HearLink
    from thingwarden.ingest.recognise import Format
    from thingwarden.ingest.source import FlowFile

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])

FORMAT_NAMES: Final = ("pcap", "pcapng", "zeek-tsv", "zeek-json", "eve", "ton-iot")
"""Values of ``ingest.recognise.Format``, written out so that ``--help`` needs no stage (tested)."""

InputPath: Final = click.Path(path_type=Path, allow_dash=True)

_USED: Final = ("rows", "flows", "frames", "packets")


def format_option(command: AnyCommand) -> AnyCommand:
    """Add ``--format``; the command gets ``format_name``, None to recognise by content."""
    return click.option(
        "--format", "format_name", type=click.Choice(FORMAT_NAMES), help="What the input is, instead of recognising it."
    )(command)


def data_option(command: AnyCommand) -> AnyCommand:
    """Add ``--data``, the folder of public captures; the command gets ``data``."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        envvar="THINGWARDEN_DATA",
        required=True,
        help="Folder of the public captures; THINGWARDEN_DATA says the same.",
    )(command)


def lab_option(command: AnyCommand) -> AnyCommand:
    """Add ``--lab``, the folder of a corpus of simulated networks; the command gets ``lab``, None without one."""
    return click.option(
        "--lab",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="Folder of simulated networks, as `thingwarden lab corpus` writes it.",
    )(command)


def plan_option(command: AnyCommand) -> AnyCommand:
    """Add ``--plan``, the fold plan; the command gets ``plan``."""
    return click.option(
        "--plan",
        type=click.Path(path_type=Path, dir_okay=False),
        default=Path("recipes/folds.toml"),
        show_default=True,
        help="The fold plan.",
    )(command)


def format_from_name(name: str | None) -> Format | None:
    """The format of that name; None for None."""
    from thingwarden.ingest.recognise import Format

    return None if name is None else Format(name)


@dataclass(frozen=True, slots=True)
class Input:
    """One opened input.

    Attributes:
        file: what reads it.
    """

    file: FlowFile

    @property
    def notes(self) -> list[str]:
        """After reading: what a person should know, where it was cut and what was left out."""
        notes = [f"{self.file.path}: {note}" for note in getattr(self.file.source, "notes", ())]
        left_out = left_out_counts(self.file.counts)
        if left_out:
            said = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in left_out.items())
            notes.append(f"{self.file.path}: left out {said}")
        return notes


def open_inputs(paths: Sequence[Path], known_format: Format | None, hear_link: HearLink | None = None) -> list[Input]:
    """Recognise every input before any is read.

    Args:
        paths: of the inputs.
        known_format: what all of them are; None to recognise each.
        hear_link: told what captures say about the link.

    Raises:
        InputError: one is of no supported format.
        RequestError: one does not exist, or standard input is named twice.
    """
    from thingwarden.ingest.source import open_source

    if sum(path == Path("-") for path in paths) > 1:
        raise RequestError("standard input", "is named more than once", "name it once")
    return [Input(open_source(path, format=known_format, hear_link=hear_link)) for path in paths]


def left_out_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Of a source's counts, those of what was not used."""
    return {reason: count for reason, count in counts.items() if count and reason not in _USED}


class SourceChain:
    """Several inputs as one ``FlowSource``: parts of the same traffic.

    Args:
        inputs: in the order in which to read them.
    """

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._inputs = inputs

    def batches(self) -> Iterator[FlowBatch]:
        """Yield the batches of each input in turn.

        Raises:
            InputError: an input is not what it claims to be.
            RequestError: some inputs tell time and others do not.
        """
        is_timed: bool | None = None
        for item in self._inputs:
            for batch in item.file.batches():
                if is_timed is not None and batch.is_timed is not is_timed:
                    raise RequestError(
                        str(item.file.path),
                        f"{'tells' if batch.is_timed else 'does not tell'} time, unlike the inputs before it",
                        "judge them in separate runs",
                    )
                is_timed = batch.is_timed
                yield batch
