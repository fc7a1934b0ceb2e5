"""TON_IoT's network table: values as they stand, labels where they are, columns in any order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import CONN_STATES, FlowBatch
from thingwarden.domain.taxonomy import CLASSES, TON_CLASSES, AttackClass
from thingwarden.ingest.ton_iot import TonIotSource

ROW = {
    "src_ip": "192.168.1.33",
    "src_port": "35953",
    "dst_ip": "192.168.1.193",
    "dst_port": "445",
    "proto": "tcp",
    "service": "smb;gssapi",
    "duration": "10.147272",
    "src_bytes": "67847",
    "dst_bytes": "473",
    "conn_state": "RSTR",
    "missed_bytes": "15928",
    "src_pkts": "48",
    "src_ip_bytes": "54423",
    "dst_pkts": "22",
    "dst_ip_bytes": "1613",
    "dns_query": "-",
    "label": "1",
    "type": "backdoor",
}


def source_of(tmp_path: Path, *rows: dict[str, str], tail: bytes = b"") -> TonIotSource:
    path = tmp_path / "table.csv"
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    path.write_bytes("".join(line + "\n" for line in lines).encode() + tail)
    return TonIotSource(path)


def read(tmp_path: Path, *rows: dict[str, str]) -> FlowBatch:
    return FlowBatch.concatenate(list(source_of(tmp_path, *rows).batches()))


def test_every_column_arrives_without_time(tmp_path: Path) -> None:
    flows = read(tmp_path, ROW)
    assert not flows.is_timed
    assert flows.started_at_s.tolist() == [0.0]
    assert (flows.orig_port[0], flows.resp_port[0], flows.proto[0]) == (35953, 445, 6)
    assert (flows.orig_bytes[0], flows.resp_bytes[0]) == (67847, 473)
    assert (flows.orig_packets[0], flows.orig_ip_bytes[0]) == (48, 54423)
    assert (flows.resp_packets[0], flows.resp_ip_bytes[0]) == (22, 1613)
    assert CONN_STATES[flows.conn_state[0]] == "RSTR"
    assert flows.service.tolist() == [b"smb,gssapi"]
    assert flows.history.tolist() == [b""]
    assert flows.labels is not None
    assert (flows.labels.malicious[0], flows.labels.detail[0]) == (1, b"backdoor")
    assert CLASSES[flows.labels.attack_class[0]] is AttackClass.C2
    assert TON_CLASSES[flows.labels.ton_class[0]] == "backdoor"


def test_zero_stays_zero(tmp_path: Path) -> None:
    flows = read(tmp_path, ROW | {"conn_state": "S0", "duration": "0.0", "src_bytes": "0", "dst_bytes": "0"})
    assert (flows.duration_s[0], flows.orig_bytes[0], flows.resp_bytes[0]) == (0.0, 0, 0)


def test_columns_come_in_any_order_and_optional_ones_may_be_absent(tmp_path: Path) -> None:
    names = ["proto", "dst_port", "dst_ip", "src_port", "src_ip"]
    flows = read(tmp_path, {name: ROW[name] for name in names})
    assert (flows.orig_port[0], flows.orig_bytes[0]) == (35953, -1)
    assert flows.labels is None


def test_a_release_with_time_is_timed(tmp_path: Path) -> None:
    flows = read(tmp_path, {"ts": "1554198358", **ROW})
    assert flows.is_timed
    assert flows.started_at_s.tolist() == [1554198358.0]


def labels_of(tmp_path: Path, *rows: dict[str, str]) -> list[tuple[int, int, int]]:
    labels = read(tmp_path, *rows).labels
    assert labels is not None
    return list(zip(labels.malicious.tolist(), labels.attack_class.tolist(), labels.ton_class.tolist(), strict=True))


def test_labels_follow_both_columns_or_either(tmp_path: Path) -> None:
    normal, strange = ROW | {"label": "0", "type": "normal"}, ROW | {"label": "?", "type": "unheard of"}
    unknown = CLASSES.index(AttackClass.UNKNOWN)
    assert labels_of(tmp_path, ROW, normal, strange) == [(1, 5, 1), (0, 0, 0), (-1, -1, -1)]
    only_type = [{name: value for name, value in row.items() if name != "label"} for row in (ROW, normal, strange)]
    assert labels_of(tmp_path, *only_type) == [(1, 5, 1), (0, 0, 0), (-1, -1, -1)]
    only_label = [{name: value for name, value in row.items() if name != "type"} for row in (ROW, normal, strange)]
    assert labels_of(tmp_path, *only_label) == [(1, unknown, -1), (0, 0, -1), (-1, -1, -1)]


def test_quoted_cells_may_hold_commas(tmp_path: Path) -> None:
    assert len(read(tmp_path, ROW | {"dns_query": '"a,b"'})) == 1


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"src_port": "70000"}, "port"),
        ({"src_bytes": "-1"}, "count"),
        ({"dst_ip": "0.0.0.0.0"}, "address"),
        ({"duration": "1e400"}, "duration"),
        ({"proto": "x"}, "protocol"),
        ({"service": "h\0"}, "text"),
        ({"service": "a,b"}, "columns"),
        ({"service": '"' + "x" * 200_000 + '"'}, "columns"),
    ],
)
def test_faulty_rows_are_counted_and_skipped(tmp_path: Path, cells: dict[str, str], reason: str) -> None:
    source = source_of(tmp_path, ROW, ROW | cells)
    assert sum(map(len, source.batches())) == 1
    assert source.counts == {"rows": 2, "flows": 1, f"skipped_{reason}": 1}


def test_a_cut_last_line_is_counted(tmp_path: Path) -> None:
    source = source_of(tmp_path, ROW, tail=b"192.168.1.3,359")
    assert sum(map(len, source.batches())) == 1
    assert source.counts["skipped_columns"] == 1


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 1: the header lacks proto"):
        read(tmp_path, {name: value for name, value in ROW.items() if name != "proto"})


def test_faults_only_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 2: none of 1 rows"):
        read(tmp_path, ROW | {"src_port": "x"})


@pytest.mark.data
def test_the_published_table_reads_whole(data_folder: Path) -> None:
    source = TonIotSource(data_folder / "ton_iot" / "network" / "train_test_network.csv.gz")
    flows = FlowBatch.concatenate(list(source.batches()))
    assert source.counts == {"rows": 161_200, "flows": 161_200}
    assert flows.labels is not None
    by_type = dict(zip(TON_CLASSES, np.bincount(flows.labels.ton_class).tolist(), strict=True))
    assert (by_type["normal"], by_type["mitm"], by_type["dos"]) == (39_737, 984, 18_825)
    assert ((flows.labels.malicious == 0) == (flows.labels.ton_class == 0)).all()
