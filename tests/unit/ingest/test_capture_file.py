"""pcap and pcapng in all their dialects; a broken file is an error or a note, never a traceback."""

from __future__ import annotations

import io
import struct
from collections import Counter

import pytest

from packet_builder import START_S, block, conversation, enhanced, interface, pcap, section, udp
from thingwarden.domain.errors import InputError
from thingwarden.ingest import capture_file
from thingwarden.ingest.capture_file import CaptureReader

FRAME = udp(0.0).data
FRAMES = [udp(n * 0.25, bytes(n)) for n in range(50)]


def read(data: bytes) -> tuple[list[float], list[int], CaptureReader]:
    """Times, captured bytes, and the reader."""
    reader = CaptureReader(io.BytesIO(data), "made.pcap", Counter())
    frames = [frame for chunk in reader.frames() for frame in chunk]
    times = [at_s - START_S for frame in frames for at_s in frame.at_s.tolist()]
    return times, [size for frame in frames for size in frame.captured_bytes.tolist()], reader


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_pcap_dialects(order: str, nanoseconds: bool) -> None:
    times, sizes, reader = read(pcap(FRAMES, order=order, nanoseconds=nanoseconds))
    assert times == [frame.at_s for frame in FRAMES]
    assert sizes == [len(frame.data) for frame in FRAMES]
    assert reader.notes == []


def test_frames_are_the_same_however_small_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(pcap(FRAMES))[:2]
    monkeypatch.setattr(capture_file, "CHUNK_BYTES", 200)
    assert read(pcap(FRAMES))[:2] == whole


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_block_types(order: str) -> None:
    at_units = START_S * 10**6 + 500_000
    old = struct.pack(f"{order}HHIIII", 0, 0, at_units >> 32, at_units & 0xFFFFFFFF, len(FRAME), len(FRAME)) + FRAME
    simple = struct.pack(f"{order}I", len(FRAME)) + FRAME
    data = section(order) + interface(order) + enhanced(at_units, FRAME, order) + block(2, old, order)
    times, sizes, _ = read(data + block(3, simple, order) + block(5, bytes(12), order))
    assert times == [0.5, 0.5, 0.5]
    assert sizes == [len(FRAME)] * 3


@pytest.mark.parametrize(("option", "units_per_s"), [(6, 10**6), (9, 10**9), (3, 1000), (0x80 | 10, 1024)])
def test_pcapng_time_resolution(option: int, units_per_s: int) -> None:
    resolution = struct.pack("<HHB3x", 9, 1, option) + bytes(4)
    units = (START_S * 2 + 1) * units_per_s // 2
    times, _, _ = read(section() + interface(options=resolution) + enhanced(units, FRAME))
    assert times == [0.5]


def test_pcapng_time_offset() -> None:
    offset = struct.pack("<HHq", 14, 8, START_S) + bytes(4)
    times, _, _ = read(section() + interface(options=offset) + enhanced(1_500_000, FRAME))
    assert times == [1.5]


def test_pcapng_interfaces_differ_and_sections_start_anew() -> None:
    units = START_S * 10**6
    first = (
        section()
        + interface()
        + interface(link_type=101)
        + enhanced(units, FRAME)
        + enhanced(units, FRAME[14:], number=1)
    )
    second = section(">") + interface(">", link_type=101) + enhanced(units, FRAME[14:], ">")
    reader = CaptureReader(io.BytesIO(first + second), "made.pcapng", Counter())
    assert [[frame.link_type for frame in chunk] for chunk in reader.frames()] == [[1, 101], [101]]


def test_a_packet_of_an_unknown_interface_is_counted() -> None:
    _, sizes, reader = read(section() + interface() + enhanced(0, FRAME, number=7) + enhanced(0, FRAME))
    assert len(sizes) == 1
    assert reader.counts["unknown_interface"] == 1


def test_a_file_of_nothing_but_unknown_interfaces_has_no_frames() -> None:
    times, _, reader = read(section() + interface() + enhanced(0, FRAME, number=7))
    assert (times, reader.counts["unknown_interface"]) == ([], 1)


def test_a_block_that_claims_more_than_it_holds_is_counted() -> None:
    body = struct.pack("<IIIII", 0, 0, 0, 5000, 5000) + FRAME
    _, sizes, reader = read(section() + interface() + block(6, body) + enhanced(0, FRAME))
    assert len(sizes) == 1
    assert reader.counts["malformed_block"] == 1


@pytest.mark.parametrize("cut", [1, 15, 17, 40])
def test_a_cut_file_is_read_up_to_the_cut(cut: int) -> None:
    _, sizes, reader = read(pcap(conversation())[:-cut])
    assert len(sizes) == 7
    assert reader.counts["truncated_file"] == 1
    assert "the last record is cut" in reader.notes[0]


def test_a_cut_pcapng_is_read_up_to_the_cut() -> None:
    _, sizes, reader = read((section() + interface() + enhanced(0, FRAME) * 3)[:-5])
    assert len(sizes) == 2
    assert "the last block is cut" in reader.notes[0]


def test_a_corrupt_record_ends_the_reading_with_a_note() -> None:
    data = pcap(FRAMES[:2]) + struct.pack("<IIII", 0, 0, 0x7FFFFFFF, 1) + pcap(FRAMES[:1])[24:]
    _, sizes, reader = read(data)
    assert len(sizes) == 2
    assert reader.counts["corrupt_record"] == 1
    assert f"byte {len(pcap(FRAMES[:2]))}" in reader.notes[0]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty file"),
        (b"ab", "2 bytes in all"),
        (b"hello world, this is text", "starts with 68656c6c"),
        (pcap([])[:20], "file header cut"),
        (pcap([], link_type=147), "link type 147 is not supported"),
        (pcap([]) + struct.pack("<IIII", 0, 0, 0x7FFFFFFF, 1), "record claims 2147483647 bytes"),
        (section()[:8] + b"zzzz" + section()[12:], "byte-order magic"),
        (section() + interface(link_type=9999) + enhanced(0, FRAME), "link type 9999 is not supported"),
        (section() + block(1, b""), "interface block of 12 bytes"),
        (section() + interface(options=struct.pack("<HHB3x", 9, 1, 0xFF)), "timestamp resolution"),
        (struct.pack("<III", 0x0A0D0D0A, 7, 0x1A2B3C4D) + bytes(20), "block of 7 bytes"),
    ],
)
def test_what_is_no_capture_is_an_input_error(data: bytes, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        read(data)
    assert caught.value.what.startswith("made.pcap")
    assert caught.value.hint
