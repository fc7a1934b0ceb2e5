"""One door for every format, from files and from pipes."""

from __future__ import annotations

import gzip
import json
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from thingwarden.domain.errors import InputError, RequestError
from thingwarden.domain.flow import COLUMN_DTYPES, FlowBatch
from thingwarden.ingest.recognise import Format
from thingwarden.ingest.source import open_source, read_flows

NAMES = ["ts", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "conn_state", "label"]
VALUES = ["10.5", "10.0.0.1", "1000", "10.0.0.2", "80", "tcp", "SF", "Benign"]
TSV = "#fields\t" + "\t".join(NAMES) + "\n" + "\t".join(VALUES) + "\n"
JSON = json.dumps(dict(zip(NAMES, VALUES, strict=True))) + "\n"
CSV = "src_ip,src_port,dst_ip,dst_port,proto,conn_state,label,type\n10.0.0.1,1000,10.0.0.2,80,tcp,SF,0,normal\n"

EVE = json.dumps({
    "event_type": "flow", "flow_id": 1, "src_ip": "10.0.0.1", "src_port": 1000, "dest_ip": "10.0.0.2", "dest_port": 80,
    "proto": "TCP", "flow": {"start": "1970-01-01T00:00:10+0000"},
}) + "\n"  # fmt: skip

SYN = bytes.fromhex("020000000001020000000002" "0800") + struct.pack(
    ">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
) + struct.pack(">HHIIBBHHH", 1000, 80, 1, 0, 0x50, 0x02, 1024, 0, 0)  # fmt: skip
PCAP = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + struct.pack("<IIII", 10, 0, len(SYN), len(SYN)) + SYN

CONTENTS = {
    Format.PCAP: PCAP,
    Format.ZEEK_TSV: TSV.encode(),
    Format.ZEEK_JSON: JSON.encode(),
    Format.TON_IOT: CSV.encode(),
    Format.EVE: EVE.encode(),
}


def write(tmp_path: Path, content: bytes, name: str = "input.dat") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("format_", CONTENTS)
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_formats_are_found_by_content_and_read(tmp_path: Path, format_: Format, compress: type[bytes]) -> None:
    source = open_source(write(tmp_path, compress(CONTENTS[format_])))
    assert source.format is format_
    flows = FlowBatch.concatenate(list(source.batches()))
    assert (flows.orig_port.tolist(), flows.resp_port.tolist(), flows.proto.tolist()) == ([1000], [80], [6])
    assert sum(source.counts.values()) > 0
    assert sum(map(len, source.batches())) == 1


@pytest.mark.parametrize("format_", CONTENTS)
def test_a_pipe_is_read_once_without_losing_its_start(tmp_path: Path, format_: Format) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(CONTENTS[format_],))
    writer.start()
    assert len(read_flows(path)) == 1
    writer.join()


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.write(writer, gzip.compress(TSV.encode()))
    os.close(writer)
    with os.fdopen(reader) as standard_input:
        monkeypatch.setattr("sys.stdin", standard_input)
        assert len(read_flows(Path("-"))) == 1


def test_a_cut_capture_is_noted(tmp_path: Path) -> None:
    whole, cut = open_source(write(tmp_path, PCAP)), open_source(write(tmp_path, PCAP + PCAP[24:60], "cut.dat"))
    assert [sum(map(len, source.batches())) for source in (whole, cut)] == [1, 1]
    assert whole.notes == ()
    assert cut.notes


def test_a_forced_format_wins(tmp_path: Path) -> None:
    path = write(tmp_path, b"{broken\n" * 30 + JSON.encode())
    with pytest.raises(InputError):
        open_source(path)
    assert len(read_flows(path, Format.ZEEK_JSON)) == 1
    with pytest.raises(InputError, match="lacks ts"):
        read_flows(path, Format.ZEEK_TSV)


def test_a_folder_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is a folder") as caught:
        open_source(tmp_path)
    assert caught.value.hint


def test_read_flows_joins_batches_and_reports_progress(tmp_path: Path) -> None:
    rows = ["\t".join([str(number), *VALUES[1:]]) + "\n" for number in range(40_000)]
    path = write(tmp_path, (TSV.splitlines(keepends=True)[0] + "".join(rows)).encode())
    seen: list[int] = []
    flows = read_flows(path, progress=seen.append)
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert seen[-1] == len(flows) == 40_000
    expected = FlowBatch.concatenate(list(open_source(path).batches()))
    for name in COLUMN_DTYPES:
        np.testing.assert_array_equal(getattr(flows, name), getattr(expected, name))
    assert flows.labels is not None
    assert flows.labels.malicious.tolist() == [0] * 40_000


def test_a_log_without_rows_gives_no_flows(tmp_path: Path) -> None:
    assert len(read_flows(write(tmp_path, TSV.splitlines(keepends=True)[0].encode()))) == 0


def test_labels_survive_only_where_every_flow_has_them(tmp_path: Path) -> None:
    unlabelled = "#fields\t" + "\t".join(NAMES[:-1]) + "\n" + "\t".join(VALUES[:-1]) + "\n"
    assert read_flows(write(tmp_path, (TSV + unlabelled).encode())).labels is None
