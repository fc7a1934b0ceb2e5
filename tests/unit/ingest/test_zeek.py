"""Zeek's tab-separated conn.log, as Zeek writes it and as datasets ship it."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import CONN_STATES, FlowBatch, address_from_words
from thingwarden.domain.taxonomy import CLASSES, AttackClass
from thingwarden.ingest.zeek import ZeekSource

ROW = {
    "ts": "1545403816.962094",
    "uid": "CrDn63",
    "id.orig_h": "192.168.1.195",
    "id.orig_p": "41040",
    "id.resp_h": "185.244.25.235",
    "id.resp_p": "80",
    "proto": "tcp",
    "service": "http",
    "duration": "3.139211",
    "orig_bytes": "5",
    "resp_bytes": "48.0",
    "conn_state": "SF",
    "local_orig": "T",
    "local_resp": "F",
    "missed_bytes": "0",
    "history": "ShADadFf",
    "orig_pkts": "3",
    "orig_ip_bytes": "180",
    "resp_pkts": "2",
    "resp_ip_bytes": "100",
    "tunnel_parents": "(empty)",
}
NAMES = list(ROW)
HEADER = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n#fields\t"


def row(**cells: str) -> str:
    return "\t".join({**ROW, **cells}.values())


def log(*rows: str, names: str = "\t".join(NAMES), header: str = HEADER) -> str:
    return header + names + "\n" + "".join(line + "\n" for line in rows)


def source_of(tmp_path: Path, content: str | bytes, block_bytes: int = 1 << 20) -> ZeekSource:
    path = tmp_path / "conn.log"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ZeekSource(path, block_bytes=block_bytes)


def read(tmp_path: Path, content: str | bytes) -> FlowBatch:
    return FlowBatch.concatenate(list(source_of(tmp_path, content).batches()))


def test_every_column_arrives(tmp_path: Path) -> None:
    flows = read(tmp_path, log(row()))
    assert len(flows) == 1
    assert flows.started_at_s[0] == 1545403816.962094
    assert flows.duration_s[0] == 3.139211
    assert flows.proto[0] == 6
    assert str(address_from_words(*flows.orig_address[0].tolist())) == "192.168.1.195"
    assert str(address_from_words(*flows.resp_address[0].tolist())) == "185.244.25.235"
    assert (flows.orig_port[0], flows.resp_port[0]) == (41040, 80)
    assert (flows.orig_bytes[0], flows.resp_bytes[0]) == (5, 48)
    assert (flows.orig_packets[0], flows.resp_packets[0]) == (3, 2)
    assert (flows.orig_ip_bytes[0], flows.resp_ip_bytes[0]) == (180, 100)
    assert CONN_STATES[flows.conn_state[0]] == "SF"
    assert (flows.history[0], flows.service[0], flows.uid[0]) == (b"ShADadFf", b"http", b"CrDn63")
    assert (flows.orig_is_local[0], flows.resp_is_local[0]) == (1, 0)
    assert flows.labels is None
    assert flows.is_timed


def test_unset_is_unknown_never_zero(tmp_path: Path) -> None:
    optional = [
        name for name in NAMES if name not in {"ts", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto"}
    ]
    flows = read(tmp_path, log(row(**dict.fromkeys(optional, "-"))))
    unknown = FlowBatch.unknown(1)
    for name in (
        "duration_s",
        "orig_bytes",
        "resp_packets",
        "conn_state",
        "history",
        "service",
        "orig_is_local",
        "uid",
    ):
        np.testing.assert_array_equal(getattr(flows, name), getattr(unknown, name))


def test_optional_columns_may_be_absent_and_in_any_order(tmp_path: Path) -> None:
    names = ["proto", "id.resp_p", "id.resp_h", "id.orig_p", "id.orig_h", "ts"]
    flows = read(tmp_path, log("\t".join(ROW[name] for name in names), names="\t".join(names)))
    assert (flows.resp_port[0], flows.orig_bytes[0]) == (80, -1)


def test_a_first_line_of_names_is_a_header(tmp_path: Path) -> None:
    source = source_of(tmp_path, log(row(), row(), header=""))
    assert sum(map(len, source.batches())) == 2
    assert source.counts == {"rows": 2, "flows": 2}


@pytest.mark.parametrize("gap", ["\t", "   "])
@pytest.mark.parametrize("detail_name", ["detailed-label", "detailedlabel"])
def test_labels_behind_tabs_or_three_spaces(tmp_path: Path, gap: str, detail_name: str) -> None:
    labels = [
        ("Benign", "-"),
        ("Malicious", "DDoS"),
        ("Malicious", "C&C-HeartBeat"),
        ("Background", "(empty)"),
        ("-", "-"),
    ]
    rows = [row() + gap + label + gap + detail for label, detail in labels]
    flows = read(tmp_path, log(*rows, names="\t".join(NAMES) + f"{gap}label{gap}{detail_name}"))
    assert flows.labels is not None
    assert flows.labels.malicious.tolist() == [0, 1, 1, -1, -1]
    assert [CLASSES[code] for code in flows.labels.attack_class[:3]] == [
        AttackClass.BENIGN,
        AttackClass.DDOS,
        AttackClass.C2,
    ]
    assert flows.labels.attack_class[3:].tolist() == [-1, -1]
    assert flows.labels.detail.tolist() == [b"Benign", b"DDoS", b"C&C-HeartBeat", b"Background", b""]
    assert flows.labels.ton_class.tolist() == [-1] * 5


def test_rotated_logs_in_one_file_may_change_their_columns(tmp_path: Path) -> None:
    short = NAMES[:7]
    second = log("\t".join(ROW[name] for name in short), names="\t".join(short))
    source = source_of(tmp_path, log(row(), row()) + "#close\t2019\n" + second + log(row()))
    batches = list(source.batches())
    assert [len(batch) for batch in batches] == [2, 1, 1]
    assert [batch.orig_bytes[0] for batch in batches] == [5, -1, 5]
    assert source.counts == {"rows": 4, "flows": 4}


def test_separator_and_markers_are_the_header_s(tmp_path: Path) -> None:
    header = "#separator \\x7c\n#unset_field|NIL\n#fields|"
    content = log(row(service="NIL").replace("\t", "|"), names="|".join(NAMES), header=header)
    assert read(tmp_path, content).service.tolist() == [b""]


def test_names_with_another_scope_separator_are_known(tmp_path: Path) -> None:
    names = "\t".join(NAMES).replace("id.", "id_")
    assert len(read(tmp_path, log(row(), names=names))) == 1


def test_renamed_columns_are_refused_by_name(tmp_path: Path) -> None:
    names = "\t".join(NAMES).replace("id.orig_h", "src")
    with pytest.raises(InputError, match=r"conn.log, line 6.*lacks id.orig_h"):
        read(tmp_path, log(row(), names=names))


def test_rows_without_any_header_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 1.*lacks ts"):
        read(tmp_path, row() + "\n")


def test_windows_line_ends_and_a_missing_last_newline(tmp_path: Path) -> None:
    content = log(row(), row(tunnel_parents="-")).replace("\n", "\r\n").rstrip("\r\n")
    source = source_of(tmp_path, content)
    assert sum(map(len, source.batches())) == 2
    assert source.counts == {"rows": 2, "flows": 2}


def test_icmp_between_ipv6_addresses_is_icmpv6(tmp_path: Path) -> None:
    v6 = {"id.orig_h": "fe80::1", "id.resp_h": "ff02::1", "proto": "icmp"}
    flows = read(tmp_path, log(row(**v6), row(proto="icmp"), row(proto="unknown_transport"), row(proto="132")))
    assert flows.proto.tolist() == [58, 1, 255, 132]


def test_an_unknown_transport_goes_by_its_number(tmp_path: Path) -> None:
    names = "\t".join([*NAMES, "ip_proto"])
    flows = read(tmp_path, log(row(proto="unknown_transport") + "\t47", row() + "\t6", names=names))
    assert flows.proto.tolist() == [47, 6]


def test_link_layer_addresses_where_the_log_has_them(tmp_path: Path) -> None:
    names = "\t".join([*NAMES, "orig_l2_addr"])
    source = source_of(tmp_path, log(row() + "\t00:1a:2b:3c:4d:5e", row() + "\t-", row() + "\tjunk", names=names))
    flows = next(iter(source.batches()))
    assert flows.orig_mac.tolist() == [0x001A2B3C4D5E, 0]
    assert source.counts["skipped_address"] == 1


FAULTS = {
    "timestamp": [
        {"ts": value} for value in ("-", "nan", "inf", "-5", "1e400", "1e15", "2019-03-15", "XXXXXXXXXX.XXXXXX")
    ],
    "address": [{"id.orig_h": "1.2.3.256"}, {"id.resp_h": "-"}, {"id.resp_h": "host"}],
    "port": [
        {"id.orig_p": "70000"},
        {"id.resp_p": "-1"},
        {"id.resp_p": "80.5"},
        {"id.orig_p": "http"},
        {"id.orig_p": "-"},
    ],
    "protocol": [{"proto": "tcpp"}, {"proto": "256"}, {"proto": "-"}],
    "duration": [{"duration": "-0.5"}, {"duration": "1e400"}, {"duration": "nan"}],
    "count": [{"orig_bytes": "-1"}, {"resp_bytes": "1e20"}, {"orig_pkts": "1.5"}, {"resp_ip_bytes": "many"}],
    "text": [{"history": "S\x01"}, {"service": "caf\u00e9"}, {"uid": "a\0b"}],
}


@pytest.mark.parametrize("reason", FAULTS)
def test_faulty_rows_are_counted_by_reason_and_skipped(tmp_path: Path, reason: str) -> None:
    bad = [row(**cells) for cells in FAULTS[reason]]
    source = source_of(tmp_path, log(row(), *bad, row(uid="last")))
    flows = FlowBatch.concatenate(list(source.batches()))
    assert flows.uid.tolist() == [b"CrDn63", b"last"]
    assert source.counts == {"rows": 2 + len(bad), "flows": 2, f"skipped_{reason}": len(bad)}


def test_rows_of_odd_length_are_counted(tmp_path: Path) -> None:
    source = source_of(tmp_path, log(row(), row() + "\textra", "", "half\ta\trow", row()))
    assert sum(map(len, source.batches())) == 2
    assert source.counts == {"rows": 4, "flows": 2, "skipped_columns": 2}


def test_a_row_with_two_faults_is_counted_once(tmp_path: Path) -> None:
    source = source_of(tmp_path, log(row(), row(ts="x", proto="y", duration="-1")))
    list(source.batches())
    assert source.counts == {"rows": 2, "flows": 1, "skipped_timestamp": 1}


def test_a_log_of_faults_only_names_line_and_expectation(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"conn.log, line 7: none of 2 rows.*timestamp: expected Unix seconds"):
        read(tmp_path, log(row(ts="X"), row(ts="X")))


def test_a_log_without_rows_has_no_flows(tmp_path: Path) -> None:
    assert len(read(tmp_path, log())) == 0


def test_block_borders_change_nothing(tmp_path: Path) -> None:
    content = log(*[row(uid=f"C{number}", ts=str(number), proto="udp" if number % 3 else "x") for number in range(300)])
    whole = source_of(tmp_path, content)
    expected = FlowBatch.concatenate(list(whole.batches()))
    for block_bytes in (50, 997, 5000):
        source = source_of(tmp_path, content, block_bytes)
        flows = FlowBatch.concatenate(list(source.batches()))
        assert flows.uid.tolist() == expected.uid.tolist()
        assert source.counts == whole.counts


def test_batches_may_be_read_again_and_counts_start_afresh(tmp_path: Path) -> None:
    source = source_of(tmp_path, log(row()))
    assert [len(batch) for batch in source.batches()] == [len(batch) for batch in source.batches()] == [1]
    assert source.counts["flows"] == 1


def test_a_header_that_never_rests_is_refused(tmp_path: Path) -> None:
    content = "".join(f"#unset_field\tx{number}\n" for number in range(2000)) + log(row())
    with pytest.raises(InputError, match="changed more than 1,000 times"):
        read(tmp_path, content)


@pytest.mark.data
def test_the_34_1_capture_reads_whole(data_folder: Path) -> None:
    path = data_folder / "iot23" / "CTU-IoT-Malware-Capture-34-1" / "conn.log.labeled.gz"
    with gzip.open(path) as lines:
        row_count = sum(not line.startswith(b"#") for line in lines)
    source = ZeekSource(path)
    flows = FlowBatch.concatenate(list(source.batches()))
    assert source.counts == {"rows": row_count, "flows": row_count}
    assert flows.labels is not None
    assert np.bincount(flows.labels.malicious).tolist() == [1923, 21222]
