"""Flows as a file of columns: the one way in which parsed or simulated flows are kept on disk.

In: ``FlowBatch``. Out: a ``.npz`` that NumPy opens too, the same bytes for equal flows; and back.
Must never: unpickle, or believe a header: each column's type and length are checked before its values are read.
Source: numpy.lib.format (the layout of ``.npy``), version 1.0.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from thingwarden.domain.errors import InputError
from thingwarden.domain.flow import (
    COLUMN_DTYPES,
    CONN_STATES,
    DETAIL_LENGTH,
    HISTORY_LENGTH,
    MILESTONE_DTYPES,
    MOST_MILESTONES,
    UNKNOWN_COUNT,
    FlowBatch,
    Labels,
    Milestones,
)
from thingwarden.domain.taxonomy import CLASSES, TON_CLASSES

MOST_FLOWS: Final = 20_000_000
"""What one file may claim to hold: at some 250 bytes a flow, more would not fit the machines that read it."""

LABEL_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "malicious": np.dtype(np.int8),
    "attack_class": np.dtype(np.int8),
    "ton_class": np.dtype(np.int8),
    "detail": np.dtype(f"S{DETAIL_LENGTH}"),
}

_FIRST_INSTANT: Final = (1980, 1, 1, 0, 0, 0)
_ALLOWED: Final[dict[str, tuple[float, float]]] = {
    "conn_state": (0, len(CONN_STATES) - 1),
    "orig_is_local": (-1, 1),
    "resp_is_local": (-1, 1),
    "labels.malicious": (-1, 1),
    "labels.attack_class": (-1, len(CLASSES) - 1),
    "labels.ton_class": (-1, len(TON_CLASSES) - 1),
    "milestones.conn_state": (0, len(CONN_STATES) - 1),
    "milestones.history_letters": (0, HISTORY_LENGTH),
    "milestones.elapsed_s": (0.0, 1e12),
    **{name: (UNKNOWN_COUNT, 2.0**62) for name in COLUMN_DTYPES if name.endswith(("_bytes", "_packets"))},
    **{
        f"milestones.{name}": (UNKNOWN_COUNT, 2.0**62)
        for name in MILESTONE_DTYPES
        if name.endswith(("_bytes", "_packets"))
    },
}
"""Least and greatest value of a column, where its type allows others."""


def write_columns(flows: FlowBatch, path: Path) -> None:
    """Write flows with their labels; equal flows make equal bytes.

    Args:
        flows: of any number.
        path: replaced; its folder exists.
    """
    columns = {name: getattr(flows, name) for name in COLUMN_DTYPES}
    if flows.labels is not None:
        columns |= {f"labels.{name}": getattr(flows.labels, name).astype(kind) for name, kind in LABEL_DTYPES.items()}
    if flows.milestones is not None:
        columns |= {f"milestones.{name}": getattr(flows.milestones, name) for name in MILESTONE_DTYPES}
    with zipfile.ZipFile(path, "w") as archive:
        for name, column in ({"is_timed": np.array(flows.is_timed)} | columns).items():
            entry = zipfile.ZipInfo(f"{name}.npy", _FIRST_INSTANT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as stream:
                np.lib.format.write_array(stream, np.asarray(column, order="C"), version=(1, 0), allow_pickle=False)


def read_columns(path: Path) -> FlowBatch:
    """Read flows that ``write_columns`` wrote.

    Raises:
        InputError: the file is no such archive, lacks a column, or holds one of another type, length or range.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(_Reader(path, archive))
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(str(path), f"not a file of flow columns: {error}", "write it anew") from error


@dataclass(frozen=True, slots=True)
class _Reader:
    path: Path
    archive: zipfile.ZipFile

    def read(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        with self._open(name) as stream:
            found = self._header(name, stream)
            if found != (shape, dtype):
                raise self.refuse(name, f"expected {shape} of {dtype}, found {found[0]} of {found[1]}")
            byte_count = int(np.prod(shape)) * dtype.itemsize
            content = stream.read(byte_count)
            if len(content) != byte_count or stream.read(1):
                raise self.refuse(name, f"expected {byte_count} bytes of values, found another number")
        column = np.frombuffer(content, dtype=dtype).reshape(shape).copy()
        self._check_values(name, column)
        return column

    def count(self, name: str, most: int) -> int:
        """How many rows the column ``name`` claims; its companions must agree."""
        with self._open(name) as stream:
            shape, _ = self._header(name, stream)
        if len(shape) != 1 or shape[0] > most:
            raise self.refuse(name, f"expected at most {most} values, found shape {shape}")
        return shape[0]

    def has(self, name: str) -> bool:
        return f"{name}.npy" in self.archive.namelist()

    def refuse(self, name: str, why: str) -> InputError:
        return InputError(f"{self.path}, column {name}", why, "write it anew")

    def _open(self, name: str) -> IO[bytes]:
        if not self.has(name):
            raise self.refuse(name, "is missing")
        return self.archive.open(f"{name}.npy")

    def _header(self, name: str, stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise self.refuse(name, "expected version 1.0 of NumPy's format")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        if is_fortran:
            raise self.refuse(name, "expected rows first")
        return shape, dtype

    def _check_values(self, name: str, column: npt.NDArray[Any]) -> None:
        least, greatest = _ALLOWED.get(name, (-np.inf, np.inf))
        if name in _ALLOWED and len(column) and not least <= column.min() <= column.max() <= greatest:
            raise self.refuse(name, f"expected {least:g} to {greatest:g}, found {column.min()} to {column.max()}")
        if name == "started_at_s" and not np.isfinite(column).all():
            raise self.refuse(name, "expected finite instants")
        if name == "duration_s" and (np.isinf(column) | (column < 0.0)).any():
            raise self.refuse(name, "expected seconds of at least 0, or NaN where unknown")


def _read_archive(reader: _Reader) -> FlowBatch:
    count = reader.count("started_at_s", MOST_FLOWS)
    columns = {
        name: reader.read(name, dtype, (count, 2) if name.endswith("_address") else (count,))
        for name, dtype in COLUMN_DTYPES.items()
    }
    labels = None
    if reader.has("labels.malicious"):
        labels = Labels(
            **{
                item.name: reader.read(f"labels.{item.name}", LABEL_DTYPES[item.name], (count,))
                for item in fields(Labels)
            }
        )
    is_timed = bool(reader.read("is_timed", np.dtype(np.bool_), ()))
    milestones = _read_milestones(reader, count) if reader.has("milestones.flow") else None
    return FlowBatch(**columns, labels=labels, is_timed=is_timed, milestones=milestones)


def _read_milestones(reader: _Reader, flow_count: int) -> Milestones:
    count = reader.count("milestones.flow", MOST_MILESTONES * flow_count)
    columns = {name: reader.read(f"milestones.{name}", dtype, (count,)) for name, dtype in MILESTONE_DTYPES.items()}
    flow = columns["flow"]
    is_sound = count == 0 or (flow[0] >= 0 and flow[-1] < flow_count and bool((np.diff(flow) >= 0).all()))
    if not is_sound or np.bincount(flow, minlength=1).max() > MOST_MILESTONES:
        why = f"expected rows of the {flow_count} flows in order, each at most {MOST_MILESTONES} times"
        raise reader.refuse("milestones.flow", why)
    return Milestones(**columns)
