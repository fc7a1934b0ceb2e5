"""Captures are read while they are written: from a pipe, and in a folder in which files rotate."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from packet_builder import Frame, enhanced, interface, pcap, section, tcp, udp
from thingwarden.domain.errors import InputError, RequestError
from thingwarden.ingest.growing import QUEUED_CHUNKS, GrowingSource, pipe, rotating_folder

FRAMES = [udp(float(number), b"packet %d" % number) for number in range(6)]
LIMIT_S = 20.0


def records(frames: list[Frame]) -> bytes:
    """The records of a capture without its header."""
    return pcap(frames)[24:]


def read_packets(source: GrowingSource, count: int) -> int:
    """How many packets come until there are ``count``, or the source is over."""
    seen, deadline_s = 0, time.monotonic() + LIMIT_S
    while seen < count:
        assert time.monotonic() < deadline_s, f"{seen} of {count} packets"
        read = source.read(0.1)
        seen += len(read.packets)
        if read.is_over:
            break
    return seen


def is_over(source: GrowingSource) -> bool:
    deadline_s = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline_s:
        if source.read(0.1).is_over:
            return True
    return False


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def test_a_packet_is_given_as_soon_as_it_is_written(ends: tuple[int, int]) -> None:
    reading, writing = ends
    with GrowingSource(pipe(reading, "pipe")) as source:
        os.write(writing, pcap([]))
        for frame in FRAMES:
            os.write(writing, records([frame]))
            assert read_packets(source, 1) == 1
        os.close(writing)
        assert is_over(source)
        assert source.counts == {"frames": 6, "packets": 6}


def test_records_may_come_in_any_pieces(ends: tuple[int, int]) -> None:
    reading, writing = ends
    data = pcap(FRAMES)
    with GrowingSource(pipe(reading, "pipe")) as source:
        for at in range(0, len(data), 7):
            os.write(writing, data[at : at + 7])
            time.sleep(0.001)
        os.close(writing)
        assert read_packets(source, len(FRAMES)) == len(FRAMES)


def test_pcapng_grows_too(ends: tuple[int, int]) -> None:
    reading, writing = ends
    with GrowingSource(pipe(reading, "pipe")) as source:
        os.write(writing, section() + interface())
        for number, frame in enumerate(FRAMES):
            os.write(writing, enhanced(number, frame.data))
            assert read_packets(source, 1) == 1
        os.close(writing)
        assert is_over(source)


def test_time_goes_on_while_nothing_comes(ends: tuple[int, int]) -> None:
    reading, writing = ends
    with GrowingSource(pipe(reading, "pipe")) as source:
        assert source.read(0.0).upto_s == 0
        os.write(writing, pcap(FRAMES[:1]))
        assert read_packets(source, 1) == 1
        before = source.read(0.0).upto_s
        time.sleep(1.3)
        assert before < source.read(0.0).upto_s < before + LIMIT_S
        os.close(writing)


def test_the_writer_waits_for_a_slow_reader(ends: tuple[int, int]) -> None:
    reading, writing = ends
    os.set_blocking(writing, False)
    data = pcap([tcp(0, "A", payload=bytes(1400))] * 2000)[24:]
    with GrowingSource(pipe(reading, "pipe")) as source:
        os.write(writing, pcap([]))
        sent, idle = 0, 0
        while idle < 20:
            try:
                sent += os.write(writing, data[sent : sent + 65536])
            except BlockingIOError:
                idle += 1
                time.sleep(0.05)
        assert sent < (QUEUED_CHUNKS + 4) * 65536 < len(data)
        os.close(writing)
        whole = sent // (len(data) // 2000)
        assert read_packets(source, whole) == whole


def test_what_is_no_capture_is_said(ends: tuple[int, int]) -> None:
    reading, writing = ends
    with GrowingSource(pipe(reading, "pipe")) as source:
        os.write(writing, b"GET / HTTP/1.1" + bytes(20))
        with pytest.raises(InputError, match="pipe at byte 0: starts with"):
            read_packets(source, 1)
        os.close(writing)


def test_a_pipe_that_ends_within_a_record_says_so(ends: tuple[int, int]) -> None:
    reading, writing = ends
    with GrowingSource(pipe(reading, "pipe")) as source:
        os.write(writing, pcap(FRAMES[:2])[:-3])
        os.close(writing)
        assert is_over(source)
        assert "the last record is cut" in source.notes[0]


def test_files_are_followed_in_the_order_of_writing(tmp_path: Path) -> None:
    (tmp_path / "old.pcap").write_bytes(pcap(FRAMES[:3]))
    os.utime(tmp_path / "old.pcap", ns=(1, 1))
    current = tmp_path / "b.pcap"
    current.write_bytes(pcap(FRAMES[:1]))
    with GrowingSource(rotating_folder(tmp_path), is_lenient=True) as source:
        assert read_packets(source, 1) == 1
        with current.open("ab") as file:
            file.write(records(FRAMES[1:2]))
        assert read_packets(source, 1) == 1
        time.sleep(0.02)
        (tmp_path / "c.pcap").write_bytes(pcap(FRAMES[2:4]))
        time.sleep(0.02)
        (tmp_path / "a.pcap").write_bytes(pcap(FRAMES[4:5]))
        (tmp_path / "b.pcap.gz").write_bytes(b"not read")
        assert read_packets(source, 3) == 3
        assert source.counts["packets"] == 5


def test_a_file_that_is_begun_anew_is_read_anew(tmp_path: Path) -> None:
    ring = tmp_path / "ring.pcap"
    ring.write_bytes(pcap(FRAMES[:3]))
    with GrowingSource(rotating_folder(tmp_path), is_lenient=True) as source:
        assert read_packets(source, 3) == 3
        time.sleep(0.02)
        ring.write_bytes(pcap(FRAMES[3:4]))
        assert read_packets(source, 1) == 1


def test_what_is_no_capture_in_a_folder_is_counted_and_passed_over(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"what is this? " * 4)
    with GrowingSource(rotating_folder(tmp_path), is_lenient=True) as source:
        time.sleep(0.1)
        (tmp_path / "a.pcap").write_bytes(pcap(FRAMES[:2]))
        assert read_packets(source, 2) == 2
        assert source.counts["unreadable_file"] == 1
        assert "notes.txt" in source.notes[0]


def test_an_empty_folder_is_waited_for_and_a_missing_one_is_said(tmp_path: Path) -> None:
    with GrowingSource(rotating_folder(tmp_path), is_lenient=True) as source:
        assert len(source.read(0.1).packets) == 0
        (tmp_path / "a.pcap").write_bytes(pcap(FRAMES[:2]))
        assert read_packets(source, 2) == 2
    with pytest.raises(RequestError, match="is no folder"):
        rotating_folder(tmp_path / "missing")
