"""Compressed input: what comes out is what went in, and nothing damaged or hostile gets far."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import random
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from thingwarden.domain.errors import InputError, RequestError
from thingwarden.ingest import compression
from thingwarden.ingest.compression import BUFFER_BYTES, RATIO_FLOOR_BYTES, open_stream

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
NOISE = random.Random(7).randbytes(300_000)


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "input"
    path.write_bytes(content)
    return path


def read_all(path: Path) -> bytes:
    with open_stream(path) as stream:
        return stream.read()


def test_plain_content_passes_unchanged(tmp_path: Path) -> None:
    assert read_all(write(tmp_path, NOISE)) == NOISE


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize(
    "content", [b"", b"x", NOISE, NOISE + b"\0" * 2_000_000], ids=["empty", "one", "noise", "mixed"]
)
def test_compressed_content_comes_back(tmp_path: Path, kind: str, content: bytes) -> None:
    assert read_all(write(tmp_path, COMPRESS[kind](content))) == content


@pytest.mark.parametrize("kind", COMPRESS)
def test_members_follow_each_other_with_padding(tmp_path: Path, kind: str) -> None:
    compress = COMPRESS[kind]
    packed = compress(b"first ") + compress(b"") + b"\0" * 8 + compress(b"second")
    assert read_all(write(tmp_path, packed)) == b"first second"


@pytest.mark.parametrize("kind", COMPRESS)
def test_first_peek_shows_a_whole_buffer(tmp_path: Path, kind: str) -> None:
    with open_stream(write(tmp_path, COMPRESS[kind](NOISE))) as stream:
        assert isinstance(stream, io.BufferedReader)
        assert stream.peek(1) == NOISE[:BUFFER_BYTES]


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("kept_ratio", [0.1, 0.5, 0.99])
def test_cut_data_is_named_with_its_offset(tmp_path: Path, kind: str, kept_ratio: float) -> None:
    packed = COMPRESS[kind](NOISE)
    path = write(tmp_path, packed[: int(len(packed) * kept_ratio)])
    with pytest.raises(InputError, match=rf"input: {kind} data ends before its end marker.*byte [\d,]+"):
        read_all(path)


@pytest.mark.parametrize("kind", COMPRESS)
def test_what_came_before_the_cut_is_delivered(tmp_path: Path, kind: str) -> None:
    packed = COMPRESS[kind](NOISE)
    with open_stream(write(tmp_path, packed[: len(packed) // 2])) as stream:
        head = stream.read1(100_000)
        assert head
        assert NOISE.startswith(head)


@pytest.mark.parametrize("kind", COMPRESS)
def test_every_cut_of_a_small_file_is_an_input_error(tmp_path: Path, kind: str) -> None:
    packed = COMPRESS[kind](b"some flows\n" * 20)
    for kept in range(6, len(packed)):
        with pytest.raises(InputError):
            read_all(write(tmp_path, packed[:kept]))


@pytest.mark.parametrize("kind", COMPRESS)
def test_flipped_bytes_never_escape_as_another_error(tmp_path: Path, kind: str) -> None:
    packed = COMPRESS[kind](b"some flows\n" * 50 + NOISE[:500])
    rng = random.Random(3)
    for _ in range(200):
        damaged = bytearray(packed)
        damaged[rng.randrange(6, len(packed))] ^= 1 << rng.randrange(8)
        try:
            read_all(write(tmp_path, bytes(damaged)))
        except InputError as error:
            assert kind in error.why


@pytest.mark.parametrize("kind", COMPRESS)
def test_rubbish_after_the_last_member_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match="corrupt"):
        read_all(write(tmp_path, COMPRESS[kind](b"flows") + b"rubbish that is no member"))


def bomb(kind: str, zero_bytes: int) -> bytes:
    chunk = bytes(1 << 20)
    if kind == "gzip":
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as packer:
            for _ in range(zero_bytes >> 20):
                packer.write(chunk)
        return buffer.getvalue()
    packer_by_kind = {"xz": lzma.LZMACompressor(preset=0), "zstd": zstandard.ZstdCompressor(level=1).compressobj()}
    packer = packer_by_kind[kind]
    return b"".join([packer.compress(chunk) for _ in range(zero_bytes >> 20)] + [packer.flush()])


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_bomb_is_stopped_early_in_little_memory(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, bomb(kind, 4 * RATIO_FLOOR_BYTES))
    tracemalloc.start()
    produced_bytes = 0
    with open_stream(path) as stream, pytest.raises(InputError, match="bomb"):
        while chunk := stream.read(65_536):
            produced_bytes += len(chunk)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert produced_bytes <= RATIO_FLOOR_BYTES + (20 << 20)
    assert peak_bytes < 40 << 20


def test_the_absolute_cap_holds_for_honest_ratios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "MAX_OUTPUT_BYTES", 100_000)
    with pytest.raises(InputError, match="more than 100,000 bytes"):
        read_all(write(tmp_path, gzip.compress(NOISE)))


def test_an_xz_that_wants_too_much_memory_is_refused(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20, "preset": 0}]
    path = write(tmp_path, lzma.compress(b"flows", filters=filters))
    with pytest.raises(InputError, match="memory"):
        read_all(path)


def test_paths_that_cannot_be_read_say_so(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="does not exist"):
        open_stream(tmp_path / "absent")
    with pytest.raises(RequestError, match="is a folder") as caught:
        open_stream(tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize("kind", COMPRESS)
def test_standard_input_is_read_like_a_file(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    reader, writer = os.pipe()
    os.write(writer, COMPRESS[kind](b"flows\n" * 1000))
    os.close(writer)
    with os.fdopen(reader) as standard_input:
        monkeypatch.setattr("sys.stdin", standard_input)
        assert read_all(Path("-")) == b"flows\n" * 1000


def test_a_named_pipe_shows_a_whole_buffer_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(NOISE,))
    writer.start()
    with open_stream(path) as stream:
        assert isinstance(stream, io.BufferedReader)
        assert stream.peek(1) == NOISE[:BUFFER_BYTES]
        assert stream.read() == NOISE
    writer.join()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_forbidden_file_says_so(tmp_path: Path) -> None:
    path = write(tmp_path, b"x")
    path.chmod(0)
    with pytest.raises(RequestError, match="Permission denied"):
        open_stream(path)
