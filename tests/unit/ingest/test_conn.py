"""Columns of a connection log become flows, or name the fault of each row that does not."""

from __future__ import annotations

import numpy as np

from thingwarden.domain.flow import COLUMN_DTYPES
from thingwarden.ingest.cells import Cells
from thingwarden.ingest.conn import column_name, labels_from_cells, read_conn_cells
from thingwarden.ingest.tally import RowTally


def columns(**texts: list[str]) -> dict[str, Cells]:
    row_count = len(next(iter(texts.values()), ["x"]))
    complete = {
        "ts": ["1.5"] * row_count,
        "id.orig_h": ["10.0.0.1"] * row_count,
        "id.orig_p": ["1000"] * row_count,
        "id.resp_h": ["10.0.0.2"] * row_count,
        "id.resp_p": ["80"] * row_count,
        "proto": ["tcp"] * row_count,
        **texts,
    }
    return {name: Cells.from_texts([text.encode() for text in column]) for name, column in complete.items()}


def test_known_spellings_are_zeek_s_names() -> None:
    assert column_name("id_orig_h") == "id.orig_h"
    assert column_name("detailedlabel") == "detailed-label"
    assert column_name("anything") == "anything"


def test_columns_have_their_types_and_absent_ones_are_unknown() -> None:
    read = read_conn_cells(columns(), 1)
    assert {name: getattr(read.flows, name).dtype for name in COLUMN_DTYPES} == COLUMN_DTYPES
    assert read.flows.orig_bytes.tolist() == [-1]
    assert read.faults == {}
    assert read.is_read.all()


def test_without_time_the_flows_are_not_timed() -> None:
    cells = columns()
    del cells["ts"]
    assert not read_conn_cells(cells, 1).flows.is_timed


def test_each_faulty_row_is_named_once_by_its_first_fault() -> None:
    read = read_conn_cells(columns(ts=["1", "x", "2", "3"], duration=["1", "-1", "", "-1"]), 4)
    assert read.flows.started_at_s.tolist() == [1.0, 2.0]
    assert {reason: rows.tolist() for reason, rows in read.faults.items()} == {"timestamp": [1], "duration": [3]}
    assert read.is_read.tolist() == [True, False, True, False]


def test_faults_found_in_several_columns_stay_in_row_order() -> None:
    texts = {"id.orig_p": ["1", "2", "x", "4"], "id.resp_p": ["x", "2", "3", "99999"]}
    read = read_conn_cells(columns(**texts), 4)
    assert read.faults["port"].tolist() == [0, 2, 3]
    tally = RowTally("log")
    read.tally_into(tally, np.array([10, 11, 12, 13]))
    assert tally.counts == {"rows": 4, "flows": 1, "skipped_port": 3}


def test_an_unknown_state_is_unknown_and_no_fault() -> None:
    assert read_conn_cells(columns(conn_state=["SF", "SFX", ""]), 3).flows.conn_state.tolist() == [3, 0, 0]


def test_labels_need_a_label_column() -> None:
    assert labels_from_cells(columns()) is None


def test_labels_are_read_whatever_their_case_and_bytes() -> None:
    cells = columns(label=["malicious", "BENIGN", "Malicious"], **{"detailed-label": ["", "", "caf\u00e9"]})
    labels = labels_from_cells(cells)
    assert labels is not None
    assert labels.malicious.tolist() == [1, 0, 1]
    assert labels.detail.tolist() == [b"malicious", b"BENIGN", b"caf??"]
