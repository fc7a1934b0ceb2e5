"""``thingwarden meter``: packets in, Zeek's conn.log out, and clear refusals of everything else."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from thingwarden.cli import main
from thingwarden.ingest.source import read_flows

UDP_FRAME = bytes.fromhex(
    "020000000002" "020000000001" "0800"  # Ethernet
    "4500001f00010000401100000a0000050a000001"  # IPv4, 10.0.0.5 to 10.0.0.1
    "c0010035000b0000" "616263"  # UDP 49153 to 53, three bytes
)  # fmt: skip


def _capture(folder: Path, frame_count: int = 1) -> Path:
    file = folder / "one.pcap"
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    records = b"".join(
        struct.pack("<IIII", 1_700_000_000 + at_s, 0, len(UDP_FRAME), len(UDP_FRAME)) + UDP_FRAME
        for at_s in range(frame_count)
    )
    file.write_bytes(header + records)
    return file


def test_flows_go_to_stdout_as_conn_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["meter", str(_capture(tmp_path))]) == 0
    lines = capsys.readouterr().out.splitlines()
    fields = next(line for line in lines if line.startswith("#fields")).split("\t")[1:]
    (row,) = (dict(zip(fields, line.split("\t"), strict=True)) for line in lines if not line.startswith("#"))
    assert (row["id.orig_h"], row["id.resp_h"], row["id.resp_p"]) == ("10.0.0.5", "10.0.0.1", "53")
    assert (row["proto"], row["orig_pkts"], row["resp_pkts"]) == ("udp", "1", "0")


def test_a_written_conn_log_is_read_back_as_the_same_flows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture, log = _capture(tmp_path, 3), tmp_path / "conn.log"
    assert main(["meter", str(capture), "--out", str(log), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["type"] == "meter_summary"
    metered, read = read_flows(capture), read_flows(log)
    assert summary["flows"] == len(metered) == len(read) == 1
    assert metered.orig_packets.tolist() == read.orig_packets.tolist() == [3]
    assert metered.orig_address.tolist() == read.orig_address.tolist()


def test_json_needs_a_file_for_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["meter", str(_capture(tmp_path)), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--out" in captured.err


def test_a_log_is_refused_because_it_holds_flows_already(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "conn.log"
    assert main(["meter", str(_capture(tmp_path)), "-o", str(log)]) == 0
    assert main(["meter", str(log)]) == 2
    assert "flows already" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"nonsense\n", b"\xd4\xc3\xb2\xa1"])
def test_what_is_no_capture_is_bad_input(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.pcap"
    file.write_bytes(content)
    assert main(["meter", str(file)]) == 3
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {file}")
    assert "Traceback" not in captured.err


def test_a_cut_capture_is_metered_as_far_as_it_goes_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _capture(tmp_path, 2)
    file.write_bytes(file.read_bytes()[:-5])
    assert main(["meter", str(file)]) == 0
    captured = capsys.readouterr()
    assert "\tudp\t" in captured.out
    assert str(file) in captured.err
