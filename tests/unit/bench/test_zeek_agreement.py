"""The comparison with Zeek counts what agrees and names what does not."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from packet_builder import conversation, pcap, udp
from thingwarden.bench.zeek_agreement import Agreement, measure_agreement, render
from thingwarden.ingest.conn_log import write_conn_log
from thingwarden.ingest.pcap import PcapSource

IOT23 = (
    ("CTU-Honeypot-Capture-4-1", "2018-10-25-14-06-32-192.168.1.132.pcap.xz"),
    ("CTU-IoT-Malware-Capture-42-1", "2019-01-10-14-34-38-192.168.1.197.pcap.xz"),
    ("CTU-IoT-Malware-Capture-34-1", "2018-12-21-15-50-14-192.168.1.195.irc.pcap.xz"),
)


def put_trace(folder: Path, name: str, capture: bytes, log: str) -> None:
    run = folder / "zeek-golden" / name
    run.mkdir(parents=True)
    (run / "made.pcap").write_bytes(capture)
    (run / "conn.log").write_text(log)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    capture = tmp_path / "made.pcap"
    capture.write_bytes(pcap([*conversation(), udp(1.0)]))
    with (tmp_path / "conn.log").open("w") as out:
        write_conn_log(PcapSource(capture).batches(), out)
    log = (tmp_path / "conn.log").read_text()
    for name, capture_name in IOT23:
        (tmp_path / "iot23" / name).mkdir(parents=True)
        (tmp_path / "iot23" / name / capture_name).write_bytes(capture.read_bytes())
        (tmp_path / "iot23" / name / "conn.log.labeled.gz").write_bytes(gzip.compress(log.encode()))
    put_trace(tmp_path, "one", capture.read_bytes(), log.replace("\tSF\t", "\tS1\t"))
    put_trace(tmp_path, "same-trace-again", capture.read_bytes(), log)
    put_trace(tmp_path, "renamed", pcap([udp(2.0)]), log.replace("id.orig_h", "src"))
    put_trace(tmp_path, "unreadable", b"not a capture", log)
    return tmp_path


def test_agreement_is_counted_per_field(folder: Path) -> None:
    agreement = measure_agreement(folder)
    one = agreement.golden[0]
    assert (one.zeek_count, one.our_count, one.matched_count) == (2, 2, 2)
    assert one.agreeing["history"] == 2
    assert one.agreeing["conn_state"] == 1
    assert one.differences == {("conn_state", "S1", "SF"): 1}


def test_a_trace_counts_once_and_other_configurations_stand_apart(folder: Path) -> None:
    agreement = measure_agreement(folder)
    assert len(agreement.golden) == 2
    assert agreement.apart == ["renamed"]
    assert "starts with" in agreement.golden[1].failure


def test_iot23_rows_are_matched_by_start(folder: Path) -> None:
    honeypot, trojan, mirai = measure_agreement(folder).iot23
    assert (honeypot.matched_count, trojan.matched_count, mirai.zeek_count) == (2, 2, 0)


def test_the_report_shows_each_difference(folder: Path) -> None:
    report = render(measure_agreement(folder))
    assert "| made.pcap | conn_state | `S1` | `SF` | 1 |" in report
    assert "not read: starts with" in report


@pytest.fixture(scope="module")
def measured(data_folder: Path) -> Agreement:
    return measure_agreement(data_folder)


@pytest.mark.data
def test_iot23_agrees_in_every_5_tuple_state_and_duration(measured: Agreement) -> None:
    for trace in measured.iot23:
        assert trace.matched_count == trace.zeek_count > 400
        for column in ("conn_state", "duration", "orig_bytes", "resp_bytes"):
            assert trace.agreeing[column] == trace.matched_count
        assert trace.agreeing["history"] >= 0.98 * trace.matched_count


@pytest.mark.data
def test_zeek_s_own_traces_agree(measured: Agreement) -> None:
    expected = sum(trace.zeek_count for trace in measured.golden)
    assert sum(trace.matched_count for trace in measured.golden) >= 0.99 * expected
    assert sum(trace.equal_count for trace in measured.golden) >= 0.94 * expected
    assert sum(trace.tunnelled_count for trace in measured.golden) > 20
