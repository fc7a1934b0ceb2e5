"""Packets of captures that another program is still writing: a pipe, or a folder in which files rotate.

In: standard input, or a folder. Out: packets as they are written, as a live source gives them.
Must never: hold more than ``QUEUED_CHUNKS`` that nobody asked for (the writer waits instead), or lose what was written.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, Self, cast

from thingwarden.domain.errors import InputError, RequestError
from thingwarden.domain.packet import PacketBatch, PacketsRead
from thingwarden.ingest.pcap import PcapSource

QUEUED_CHUNKS: Final = 8
POLL_S: Final = 0.05
"""How often a file that has been read to its end is looked at again."""

_WRITER_DELAY_S: Final = 1.0
"""tcpdump hands over what it has at least once a second, so that what is still to come may be so much older."""
_PACKED_SUFFIXES: Final = (".gz", ".bz2", ".xz", ".zst")
"""What rotation leaves behind when it compresses a file that has been read already."""

Parts = Callable[[threading.Event], Iterator[tuple[Path, BinaryIO]]]
"""Yields one capture after the other, by name, until there is no other or the event is set."""


class GrowingSource:
    """Captures read while they are written; a ``PacketSource``.

    Args:
        parts: the captures, each read to its end before the next is asked for.
        is_lenient: whether a part that is no capture is noted and passed over, instead of ending the source.
    """

    def __init__(self, parts: Parts, *, is_lenient: bool = False) -> None:
        self._is_lenient = is_lenient
        self._is_closed = threading.Event()
        self._queue: queue.Queue[PacketBatch | InputError | None] = queue.Queue(QUEUED_CHUNKS)
        self._done: Counter[str] = Counter()
        self._notes: list[str] = []
        self._current: PcapSource | None = None
        self._last_at_s, self._read_at_s = 0.0, time.monotonic()
        self._thread = threading.Thread(target=self._run, args=(parts,), name="growing capture", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Read no further; safe to call twice. A reader that waits for a pipe ends with the process."""
        self._is_closed.set()

    @property
    def counts(self) -> Mapping[str, int]:
        """What was read and what was left out, by reason, over all captures so far."""
        current = self._current
        total = Counter(self._done)
        if current is not None:
            total.update(current.counts)
        return {reason: count for reason, count in total.items() if count}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the captures, such as where one was cut."""
        return tuple(self._notes)

    @property
    def dropped_count(self) -> int:
        """Nothing is dropped here: the writer waits, and counts what it drops itself."""
        return 0

    def read(self, wait_s: float) -> PacketsRead:
        """The packets that came; waits for so many seconds at most.

        Raises:
            InputError: a capture is none, or of a link type that is not supported.
        """
        try:
            said = self._queue.get(timeout=wait_s) if wait_s > 0 else self._queue.get_nowait()
        except queue.Empty:
            waited_s = time.monotonic() - self._read_at_s - _WRITER_DELAY_S
            return PacketsRead(packets=PacketBatch.empty(), upto_s=self._last_at_s + max(waited_s, 0.0))
        if isinstance(said, InputError):
            raise said
        if said is None:
            return PacketsRead(packets=PacketBatch.empty(), upto_s=self._last_at_s, is_over=True)
        self._last_at_s, self._read_at_s = float(said.at_s.max()), time.monotonic()
        return PacketsRead(packets=said, upto_s=self._last_at_s)

    def _run(self, parts: Parts) -> None:
        try:
            for path, stream in parts(self._is_closed):
                with stream:
                    self._read_part(path, stream)
        except InputError as error:
            self._put(error)
        else:
            self._put(None)

    def _read_part(self, path: Path, stream: BinaryIO) -> None:
        self._current = source = PcapSource(path, stream=stream, is_growing=True)
        try:
            for packets in source.packets():
                if len(packets):
                    self._put(packets)
        except InputError as error:
            if not self._is_lenient:
                raise
            self._done["unreadable_file"] += 1
            self._notes.append(str(error))
        finally:
            self._current = None
            self._done.update(source.counts)
            self._notes += source.notes

    def _put(self, said: PacketBatch | InputError | None) -> None:
        while not self._is_closed.is_set():
            try:
                self._queue.put(said, timeout=POLL_S)
            except queue.Full:
                continue
            return


def pipe(descriptor: int, name: str) -> Parts:
    """What a program writes into ``descriptor``, until it closes it."""

    def parts(is_closed: threading.Event) -> Iterator[tuple[Path, BinaryIO]]:
        yield Path(name), cast(BinaryIO, os.fdopen(descriptor, "rb", buffering=0, closefd=False))

    return parts


def rotating_folder(folder: Path) -> Parts:
    """The file of ``folder`` that is being written, then the one begun after it, and so on without end.

    Raises:
        RequestError: there is no such folder.
    """
    if not folder.is_dir():
        raise RequestError(str(folder), "is no folder", "name the folder that captures are written into")

    def parts(is_closed: threading.Event) -> Iterator[tuple[Path, BinaryIO]]:
        place: _Place | None = None
        while not is_closed.is_set():
            found = _places(folder)
            later = found[-1:] if place is None else [each for each in found if each > place]
            if not later:
                time.sleep(POLL_S)
                continue
            try:
                tail = _Tail(folder, later[0], is_closed)
            except FileNotFoundError:
                place = later[0]
                continue
            yield folder / later[0].name, cast(BinaryIO, tail)
            place = tail.place

    return parts


class _Place(NamedTuple):
    """Where a file stands in the order of rotation: when it was last written, then its name."""

    written_ns: int
    name: str


def _places(folder: Path) -> list[_Place]:
    """The captures of a folder in the order in which they were last written."""
    places: list[_Place] = []
    for entry in os.scandir(folder):
        if entry.name.startswith(".") or entry.name.endswith(_PACKED_SUFFIXES):
            continue
        try:
            if entry.is_file():
                places.append(_Place(entry.stat().st_mtime_ns, entry.name))
        except FileNotFoundError:
            continue
    return sorted(places)


class _Tail:
    """A file that may still grow: it ends only when a later one is there, or it was begun anew."""

    def __init__(self, folder: Path, place: _Place, is_closed: threading.Event) -> None:
        self._folder, self._is_closed = folder, is_closed
        self._descriptor = os.open(folder / place.name, os.O_RDONLY | os.O_CLOEXEC)
        self._offset_bytes = 0
        self.place = place

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def read(self, count: int) -> bytes:
        """At least one byte; none at the end."""
        while not self._is_closed.is_set():
            # Asked for before reading: what is written until the next file begins is then still read.
            is_over = self._is_over()
            part = os.read(self._descriptor, count)
            if part:
                self._offset_bytes += len(part)
                self.place = _Place(os.fstat(self._descriptor).st_mtime_ns, self.place.name)
                return part
            if is_over:
                return b""
            time.sleep(POLL_S)
        return b""

    def _is_over(self) -> bool:
        now = os.fstat(self._descriptor)
        if now.st_size < self._offset_bytes:
            return True
        here = _Place(now.st_mtime_ns, self.place.name)
        return any(place > here for place in _places(self._folder))
