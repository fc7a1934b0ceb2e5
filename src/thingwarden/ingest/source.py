"""Opens whatever holds flows: captures, logs, datasets.

In: a path and, if the caller knows better, a format. Out: a ``FlowFile``, or all its flows at once.
Must never: trust a file's name, or hold its flows twice.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
import numpy.typing as npt

from thingwarden.domain.flow import COLUMN_DTYPES, FlowBatch, Labels, Milestones
from thingwarden.domain.ports import FlowSource
from thingwarden.ingest.compression import STANDARD_INPUT, display_name, open_stream
from thingwarden.ingest.eve_flows import EveFlowSource
from thingwarden.ingest.pcap import HearLink, PcapSource
from thingwarden.ingest.recognise import Format, recognise
from thingwarden.ingest.ton_iot import TonIotSource
from thingwarden.ingest.zeek import ZeekSource
from thingwarden.ingest.zeek_json import ZeekJsonSource


class CountingSource(FlowSource, Protocol):
    """A source that accounts for what it read."""

    @property
    def counts(self) -> Mapping[str, int]:
        """What was read and what was left out, by reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFile:
    """An input whose format is known; a ``FlowSource``.

    Attributes:
        path: where it lies; ``-`` is standard input, which can be read only once.
        format: what it is.
        source: its reader.
    """

    path: Path
    format: Format
    source: CountingSource

    @property
    def counts(self) -> Mapping[str, int]:
        """What the current or last run over ``batches`` read and left out, by reason."""
        return self.source.counts

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the input, such as where a capture was cut."""
        return self.source.notes if isinstance(self.source, PcapSource) else ()

    def batches(self) -> Iterator[FlowBatch]:
        """Yield the flows in the order of the input.

        Raises:
            InputError: the input is not what it claims to be; names file, place and expectation.
        """
        return self.source.batches()


def open_source(
    path: Path,
    *,
    format: Format | None = None,  # noqa: A002
    hear_link: HearLink | None = None,
) -> FlowFile:
    """Recognise an input by its content and prepare to read it.

    Args:
        path: a file, compressed or not, or a pipe; ``-`` is standard input.
        format: what it is, instead of recognising it.
        hear_link: told what a capture's frames say about the link; logs say nothing.

    Raises:
        InputError: it is empty or of no supported format.
        RequestError: the path does not exist, is a folder or may not be read.
    """
    with ExitStack() as stack:
        stream = stack.enter_context(open_stream(path))
        found = format or recognise(_head(stream), display_name(path))
        if path != STANDARD_INPUT and path.is_file():
            return FlowFile(path=path, format=found, source=_reader(path, found, None, hear_link))
        stack.pop_all()
        return FlowFile(path=path, format=found, source=_reader(path, found, stream, hear_link))


def read_flows(
    path: Path,
    format: Format | None = None,  # noqa: A002
    progress: Callable[[int], None] | None = None,
) -> FlowBatch:
    """Read all flows of an input.

    Args:
        path: as for ``open_source``.
        format: what it is, instead of recognising it.
        progress: called after each batch with the number of flows read so far.

    Raises:
        InputError: the input is not what it claims to be.
        RequestError: the path does not exist, is a folder or may not be read.
    """
    parts = _Parts()
    for batch in open_source(path, format=format).batches():
        parts.add(batch)
        if progress is not None:
            progress(parts.count)
    return parts.join()


def _head(stream: BinaryIO) -> bytes:
    return cast(io.BufferedReader, stream).peek(1)


def _reader(path: Path, found: Format, stream: BinaryIO | None, hear_link: HearLink | None) -> CountingSource:
    match found:
        case Format.PCAP | Format.PCAPNG:
            return PcapSource(path, stream=stream, hear_link=hear_link)
        case Format.ZEEK_TSV:
            return ZeekSource(path, stream)
        case Format.EVE:
            return EveFlowSource(path, stream)
        case Format.ZEEK_JSON:
            return ZeekJsonSource(path, stream)
        case Format.TON_IOT:
            return TonIotSource(path, stream)


class _Parts:
    """Batches taken apart, so that joining frees one column's parts before it makes the next column."""

    def __init__(self) -> None:
        self.count = 0
        self._columns: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in COLUMN_DTYPES}
        self._labels: dict[str, list[npt.NDArray[Any]]] = {field.name: [] for field in fields(Labels)}
        self._milestones: list[Milestones] = []
        self._is_labelled = self._is_timed = True

    def add(self, batch: FlowBatch) -> None:
        if batch.milestones is not None:
            self._milestones.append(replace(batch.milestones, flow=batch.milestones.flow + self.count))
        self.count += len(batch)
        self._is_timed &= batch.is_timed
        for name, parts in self._columns.items():
            parts.append(getattr(batch, name))
        if batch.labels is None:
            self._is_labelled = False
            return
        for name, parts in self._labels.items():
            parts.append(getattr(batch.labels, name))

    def join(self) -> FlowBatch:
        if not self.count:
            return FlowBatch.empty()
        columns = {name: np.concatenate(self._columns.pop(name)) for name in COLUMN_DTYPES}
        labels = None
        if self._is_labelled:
            labels = Labels(**{name: np.concatenate(self._labels.pop(name)) for name in list(self._labels)})
        milestones = Milestones.join(self._milestones) if self._milestones else None
        return FlowBatch(**columns, labels=labels, is_timed=self._is_timed, milestones=milestones)
