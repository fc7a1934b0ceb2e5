"""Columns on disk: the same bytes for equal flows, everything comes back, and nothing is believed unchecked."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from flow_builder import random_flows, with_milestones
from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import COLUMN_DTYPES, MILESTONE_DTYPES, FlowBatch, Labels
from thingwarden.ingest.columns import LABEL_DTYPES, MOST_FLOWS, read_columns, write_columns


def _labelled(count: int = 40) -> FlowBatch:
    flows = random_flows(3, count)
    labels = Labels(
        malicious=np.arange(count, dtype=np.int8) % 2,
        attack_class=np.arange(count, dtype=np.int8) % 2,
        ton_class=np.full(count, -1, dtype=np.int8),
        detail=np.full(count, b"port_scan", dtype="S48"),
    )
    return replace(flows, labels=labels)


def _rewrite(path: Path, name: str, content: bytes | None) -> None:
    """Replace a column's file in the archive; None removes it."""
    with zipfile.ZipFile(path) as archive:
        members = {item: archive.read(item) for item in archive.namelist()}
    members.pop(f"{name}.npy")
    if content is not None:
        members[f"{name}.npy"] = content
    with zipfile.ZipFile(path, "w") as archive:
        for item, value in members.items():
            archive.writestr(item, value)


def _npy(column: np.ndarray, tmp_path: Path) -> bytes:
    path = tmp_path / "column.npy"
    np.save(path, column, allow_pickle=True)
    return path.read_bytes()


@pytest.mark.parametrize(
    "flows", [_labelled(), random_flows(1, 7), FlowBatch.empty(), replace(_labelled(), is_timed=False)]
)
def test_what_was_written_is_read(flows: FlowBatch, tmp_path: Path) -> None:
    write_columns(flows, tmp_path / "a.npz")
    read = read_columns(tmp_path / "a.npz")
    assert read.is_timed == flows.is_timed
    assert (read.labels is None) == (flows.labels is None)
    for name in COLUMN_DTYPES:
        np.testing.assert_array_equal(getattr(read, name), getattr(flows, name))
    if flows.labels is not None and read.labels is not None:
        for item in fields(Labels):
            np.testing.assert_array_equal(getattr(read.labels, item.name), getattr(flows.labels, item.name))


def test_milestones_are_kept(tmp_path: Path) -> None:
    flows = with_milestones(random_flows(5, 60))
    write_columns(flows, tmp_path / "a.npz")
    read = read_columns(tmp_path / "a.npz").milestones
    assert read is not None and flows.milestones is not None and len(read) > 20
    for name in MILESTONE_DTYPES:
        np.testing.assert_array_equal(getattr(read, name), getattr(flows.milestones, name))


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("flow", lambda column: column[::-1].copy(), "in order"),
        ("flow", lambda column: column - 1000, "in order"),
        ("flow", lambda column: column * 0, "at most 7 times"),
        ("flow", lambda column: column[:-1], "expected"),
        ("elapsed_s", lambda column: column * np.nan, "found nan"),
        ("elapsed_s", lambda column: column - 1e6, "expected 0"),
        ("conn_state", lambda column: column + 200, "expected 0 to 13"),
        ("history_letters", lambda column: column + 100, "expected 0 to 24"),
        ("orig_packets", lambda column: column - 1000, "expected -1"),
        ("has_service", lambda column: column.astype(np.int64), "found"),
    ],
)
def test_impossible_milestones_are_refused(
    name: str, change: Callable[[np.ndarray], np.ndarray], why: str, tmp_path: Path
) -> None:
    flows, path = with_milestones(random_flows(5, 60)), tmp_path / "a.npz"
    write_columns(flows, path)
    _rewrite(path, f"milestones.{name}", _npy(change(getattr(flows.milestones, name)), tmp_path))
    with pytest.raises(InputError, match=why) as refused:
        read_columns(path)
    assert "milestones" in refused.value.what


def test_equal_flows_make_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_columns(_labelled(), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_numpy_opens_it(tmp_path: Path) -> None:
    write_columns(_labelled(), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert set(stored) == {"is_timed", *COLUMN_DTYPES, *(f"labels.{name}" for name in LABEL_DTYPES)}


def test_a_file_that_is_no_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(InputError, match=r"a\.npz"):
        read_columns(path)


@pytest.mark.parametrize(
    ("name", "column", "why"),
    [
        ("proto", np.zeros(40, dtype=np.int64), "expected"),
        ("orig_port", np.zeros(39, dtype=np.uint16), "expected"),
        ("resp_address", np.zeros(40, dtype=np.uint64), "expected"),
        ("conn_state", np.full(40, 99, dtype=np.uint8), "found 99"),
        ("duration_s", np.full(40, -1.0), "at least 0"),
        ("started_at_s", np.full(40, np.nan), "finite"),
        ("labels.attack_class", np.full(40, 100, dtype=np.int8), "found 100"),
        ("orig_bytes", np.full(40, -7, dtype=np.int64), "found -7"),
        ("service", np.array([{"a": 1}] * 40, dtype=object), "expected"),
        ("started_at_s", np.zeros((40, 2)), "shape"),
    ],
)
def test_a_column_that_is_not_as_expected_is_named(name: str, column: np.ndarray, why: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_columns(_labelled(), path)
    _rewrite(path, name, _npy(column, tmp_path))
    with pytest.raises(InputError, match=rf"a\.npz, column {name}.*{why}"):
        read_columns(path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_columns(_labelled(), path)
    _rewrite(path, "uid", None)
    with pytest.raises(InputError, match="column uid: is missing"):
        read_columns(path)


def test_a_header_that_claims_too_much_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_columns(_labelled(), path)
    header = _npy(np.zeros(40), tmp_path)[:128].replace(
        b"(40,), }      ", f"({MOST_FLOWS + 1},), }}".encode().ljust(14)
    )
    _rewrite(path, "started_at_s", header)
    with pytest.raises(InputError, match="expected at most"):
        read_columns(path)


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_a_torn_file_is_refused(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_columns(_labelled(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError):
        read_columns(path)


def test_a_column_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_columns(_labelled(), path)
    _rewrite(path, "started_at_s", _npy(np.zeros(40), tmp_path)[:-8])
    with pytest.raises(InputError, match="bytes of values"):
        read_columns(path)
