"""Hostile input: whatever a file holds, it ends in flows, counted faults or an ``InputError``, in little memory.

Nothing here may end in another exception; the memory bounds are measured in a process of its own.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import lzma
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import FlowBatch
from thingwarden.ingest.recognise import Format
from thingwarden.ingest.source import open_source, read_flows

NAMES = ["ts", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "service"]
VALUES = ["10.5", "10.0.0.1", "1000", "10.0.0.2", "80", "tcp", "http"]
HEADER = ("#fields\t" + "\t".join(NAMES) + "\n").encode()
ROW = ("\t".join(VALUES) + "\n").encode()
JSON_ROW = (json.dumps(dict(zip(NAMES, VALUES, strict=True)) | {"conn_state": "SF"}) + "\n").encode()
CSV_HEADER = b"src_ip,src_port,dst_ip,dst_port,proto,service\n"
CSV_ROW = b"10.0.0.1,1000,10.0.0.2,80,tcp,http\n"

TEXT_FORMATS = {
    Format.ZEEK_TSV: (HEADER, ROW),
    Format.ZEEK_JSON: (b"", JSON_ROW),
    Format.TON_IOT: (CSV_HEADER, CSV_ROW),
}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "xz": functools.partial(lzma.compress, preset=0),
    "zstd": zstandard.ZstdCompressor().compress,
}


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "hostile"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("compress", COMPRESS)
def test_an_empty_file_says_so(tmp_path: Path, compress: str) -> None:
    with pytest.raises(InputError, match="is empty"):
        read_flows(write(tmp_path, COMPRESS[compress](b"")))


@pytest.mark.parametrize("format_", TEXT_FORMATS)
@pytest.mark.parametrize("compress", ["gzip", "xz", "zstd"])
def test_a_cut_archive_gives_its_first_flows_and_then_the_place_of_the_cut(
    tmp_path: Path, format_: Format, compress: str
) -> None:
    header, row = TEXT_FORMATS[format_]
    rng = random.Random(5)
    rows = b"".join(row.replace(b"1000", str(rng.randrange(1, 65_536)).encode()) for _ in range(60_000))
    packed = COMPRESS[compress](header + rows)
    batches = open_source(write(tmp_path, packed[: len(packed) * 3 // 4])).batches()
    assert len(next(batches)) > 0
    with pytest.raises(InputError, match=rf"hostile: {compress} data ends before its end marker.*compressed byte"):
        list(batches)


@pytest.mark.parametrize("format_", TEXT_FORMATS)
def test_a_text_cut_anywhere_loses_at_most_its_last_row(tmp_path: Path, format_: Format) -> None:
    header, row = TEXT_FORMATS[format_]
    for kept in range(len(header) + len(row), len(header) + 2 * len(row)):
        source = open_source(write(tmp_path, (header + row * 2)[:kept]), format=format_)
        flow_count = sum(map(len, source.batches()))
        assert flow_count in (1, 2)
        assert source.counts["flows"] == flow_count


@pytest.mark.parametrize("format_", Format)
def test_binary_junk_under_any_format_is_an_input_error(tmp_path: Path, format_: Format) -> None:
    path = write(tmp_path, random.Random(1).randbytes(3_000_000))
    with pytest.raises(InputError, match="hostile"):
        read_flows(path, format_)


@pytest.mark.parametrize("format_", TEXT_FORMATS)
def test_junk_among_rows_is_counted_and_costs_no_other_row(tmp_path: Path, format_: Format) -> None:
    header, row = TEXT_FORMATS[format_]
    junk = random.Random(2).randbytes(500_000).replace(b"#", b"x")
    source = open_source(write(tmp_path, header + row + junk + b"\n" + row))
    assert sum(map(len, source.batches())) == 2
    assert source.counts["flows"] == 2
    assert source.counts["rows"] > 1000


@pytest.mark.parametrize("format_", TEXT_FORMATS)
@pytest.mark.parametrize("poison", [b"\0", b"\xff", b"\xc3\xa9", b"\x1b[2J", b"\xe2\x80\xae"])
def test_bytes_that_are_no_text_drop_only_their_row(tmp_path: Path, format_: Format, poison: bytes) -> None:
    header, row = TEXT_FORMATS[format_]
    source = open_source(write(tmp_path, header + row + row.replace(b"http", b"ht" + poison) + row))
    flows = FlowBatch.concatenate(list(source.batches()))
    assert set(flows.service.tolist()) <= {b"http", b"ht?"}
    assert source.counts["flows"] == len(flows) >= 2
    assert source.counts["rows"] == 3


@pytest.mark.parametrize("format_", Format)
def test_one_format_forced_on_another_is_an_input_error(tmp_path: Path, format_: Format) -> None:
    for other, (header, row) in TEXT_FORMATS.items():
        if other is not format_:
            with pytest.raises(InputError):
                read_flows(write(tmp_path, header + row * 3), format_)


@pytest.mark.parametrize("format_", TEXT_FORMATS)
def test_no_damaged_byte_ends_in_another_error(tmp_path: Path, format_: Format) -> None:
    header, row = TEXT_FORMATS[format_]
    content, rng = header + row * 3, random.Random(11)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        source_path = write(tmp_path, bytes(damaged))
        try:
            assert len(read_flows(source_path, format_)) <= 3
        except InputError as error:
            assert str(error).isprintable()


MEASURE = """
import re, sys
from pathlib import Path
from thingwarden.domain.errors import InputError
from thingwarden.ingest.source import open_source

def peak_bytes():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

before_bytes = peak_bytes()
flow_count = 0
try:
    source = open_source(Path(sys.argv[1]))
    for batch in source.batches():
        flow_count += len(batch)
    outcome = " ".join(sorted(name for name in source.counts if name.startswith("skipped"))) or "read whole"
except InputError as error:
    outcome = str(error)
print(flow_count, peak_bytes() - before_bytes, outcome)
"""


def read_apart(path: Path) -> tuple[int, int, str]:
    """Flows read, growth of peak memory in bytes and outcome, in a process of its own.

    Not by ``getrusage``: its peak would be that of the process which forked this one.
    """
    run = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    flow_count, growth_bytes, outcome = run.stdout.strip().split(" ", 2)
    return int(flow_count), int(growth_bytes), outcome


@pytest.mark.parametrize(
    ("header", "line_bytes"),
    [(HEADER + ROW, 1 << 30), (JSON_ROW, 1 << 26), (CSV_HEADER + CSV_ROW, 1 << 26)],
    ids=["tsv", "json", "csv"],
)
def test_a_gigabyte_line_is_skipped_in_little_memory(tmp_path: Path, header: bytes, line_bytes: int) -> None:
    path = tmp_path / "gigabyte"
    with path.open("wb") as sparse:
        sparse.write(header)
        sparse.seek(line_bytes)
        sparse.write(b"\n" + header.splitlines(keepends=True)[-1])
    flow_count, growth_bytes, outcome = read_apart(path)
    assert (flow_count, outcome) == (2, "skipped_line_too_long")
    assert growth_bytes < 40 << 20


def test_a_gigabyte_without_any_line_is_refused_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    with path.open("wb") as sparse:
        sparse.truncate(1 << 30)
    flow_count, growth_bytes, outcome = read_apart(path)
    assert flow_count == 0
    assert "expected pcap" in outcome
    assert growth_bytes < 20 << 20


@pytest.mark.parametrize(
    ("header", "filler"),
    [
        (HEADER + ROW, b"\t"),
        (HEADER + ROW, b"\n"),
        (HEADER + ROW, b"a\n"),
        (HEADER + ROW, b"#\n"),
        (JSON_ROW, b"\n"),
        (JSON_ROW, b"{}\n"),
        (CSV_HEADER + CSV_ROW, b","),
        (CSV_HEADER + CSV_ROW, b'"\n'),
    ],
)
def test_nothing_but_separators_costs_little_memory(tmp_path: Path, header: bytes, filler: bytes) -> None:
    path = write(tmp_path, header + filler * (1_500_000 // len(filler)))
    flow_count, growth_bytes, _ = read_apart(path)
    assert flow_count == 1
    assert growth_bytes < 100 << 20


def bomb(kind: str, zero_bytes: int) -> bytes:
    """A conn.log whose one line never ends, packed to a thousandth or less."""
    chunk = bytes(1 << 20)
    if kind == "gzip":
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb") as gzip_packer:
            gzip_packer.write(HEADER + ROW)
            for _ in range(zero_bytes >> 20):
                gzip_packer.write(chunk)
        return packed.getvalue()
    packer = lzma.LZMACompressor(preset=0) if kind == "xz" else zstandard.ZstdCompressor().compressobj()
    parts = [packer.compress(HEADER + ROW), *(packer.compress(chunk) for _ in range(zero_bytes >> 20)), packer.flush()]
    return b"".join(parts)


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd"])
def test_a_bomb_behind_an_honest_header_is_stopped_in_little_memory(tmp_path: Path, kind: str) -> None:
    flow_count, growth_bytes, outcome = read_apart(write(tmp_path, bomb(kind, 256 << 20)))
    assert flow_count <= 1
    assert "looks like a decompression bomb, near compressed byte" in outcome
    assert growth_bytes < 100 << 20


@pytest.mark.data
def test_the_largest_public_log_reads_in_little_memory(data_folder: Path) -> None:
    path = data_folder / "iot23" / "CTU-IoT-Malware-Capture-34-1" / "conn.log.labeled.gz"
    flow_count, growth_bytes, _ = read_apart(path)
    assert flow_count == 23_145
    assert growth_bytes < 40 << 20


@pytest.mark.data
def test_every_public_log_reads_or_says_why_not(data_folder: Path) -> None:
    """Zeek's regression logs have their timestamps blanked, so that each is a log of faults only."""
    for path in sorted(data_folder.glob("zeek-golden/*/conn.log")):
        with pytest.raises(InputError, match=r"timestamp: expected Unix seconds|the header lacks id\.orig_h"):
            read_flows(path)
    for path in sorted(data_folder.glob("lan-mixed/*/conn.log*")) + sorted(data_folder.glob("iot23/*/conn.log*")):
        source = open_source(path)
        flow_count = sum(map(len, source.batches()))
        assert source.counts == {"rows": flow_count, "flows": flow_count}, path
