"""Snort 3 as a contestant, through its alert_json log.

In: the path of a capture, rules. Out: ``AlertBatch``.
Must never: be counted as run where it is not installed or has no rules of its own kind.
Source: "alert_json" and "Command Line" in the manual of Snort 3.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from thingwarden.bench.suricata import unpack_file
from thingwarden.domain.alert import ALERT_COLUMNS, UNKNOWN_SIDE, AlertBatch
from thingwarden.domain.errors import InputError, RequestError
from thingwarden.ingest.eve import Event, proto_of, read_events
from thingwarden.ingest.vendor_text import plain_text

PROGRAM: Final = "snort"
LOG_NAME: Final = "alert_json.txt"
FIELDS: Final = "timestamp proto src_addr src_port dst_addr dst_port gid sid priority msg class"
"""What Snort is told to write of each alert."""

_CAPTURE_BOUND_S: Final = 900.0
_LARGEST_ID: Final = 2**32 - 1
_LEAST_GRAVE: Final = 255
_TIMESTAMP: Final = "%y/%m/%d-%H:%M:%S.%f"


def reason_not_run(configuration: Path | None, rules: Path | None) -> str:
    """Why Snort cannot run here; empty where it can."""
    if shutil.which(PROGRAM) is None:
        return "no program named snort; Debian 12 has no package of it"
    if configuration is None or rules is None:
        return "no rules for it: Suricata's are not Snort's; name them by --snort-config and --snort-rules"
    return ""


def run_snort(capture: Path, configuration: Path, rules: Path) -> AlertBatch:
    """Every alert on one capture.

    Args:
        capture: pcap or pcapng, compressed or not.
        configuration: ``snort.lua``.
        rules: a file of rules.

    Raises:
        InputError: the capture is corrupt, or the log is not what Snort 3 writes.
        RequestError: Snort failed.
    """
    with tempfile.TemporaryDirectory(prefix="tw-snort-") as name:
        folder = Path(name)
        plain = unpack_file(capture, folder / "packets")
        command = [PROGRAM, "-q", "-U", "-y", "-k", "none", "-c", str(configuration), "-R", str(rules)]
        command += ["-r", str(plain), "-l", str(folder), "-A", "alert_json"]
        command += ["--lua", f"alert_json = {{ file = true, fields = '{FIELDS}' }}"]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=_CAPTURE_BOUND_S)  # noqa: S603
        except subprocess.CalledProcessError as error:
            raise RequestError(PROGRAM, f"failed: {error.stderr.strip()[-300:]}", "run it by hand") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RequestError(PROGRAM, str(error), "run it by hand") from error
        log = folder / LOG_NAME
        return read_alert_json(log) if log.is_file() else _batch([])


def read_alert_json(path: Path) -> AlertBatch:
    """Alerts of a log with ``FIELDS``; who began a flow is not told there, the packet's sender goes first.

    Raises:
        InputError: a line is not such an alert; names file, line and expectation.
    """
    return _batch([_row(place, event) for place, event in read_events(path)])


def _row(place: str, event: Event) -> dict[str, Any]:
    return {
        "at_s": _unix_s(place, event.text("timestamp")),
        "orig_address": event.address("src_addr"),
        "resp_address": event.address("dst_addr"),
        "orig_port": event.whole("src_port", 0, 65_535, 0),
        "resp_port": event.whole("dst_port", 0, 65_535, 0),
        "proto": proto_of(event),
        "is_oriented": False,
        "attacker_is_orig": UNKNOWN_SIDE,
        "signature_id": event.whole("sid", 0, _LARGEST_ID),
        "severity": event.whole("priority", 1, _LEAST_GRAVE),
        "confidence": 0,
        "signature": plain_text(event.text("msg")),
        "category": plain_text(event.text("class")) if event.has("class") else "",
    }


def _unix_s(place: str, text: str) -> float:
    try:
        return datetime.strptime(text, _TIMESTAMP).replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise InputError(place, f"timestamp {plain_text(text, 40)!r}", "run Snort with -y and -U") from error


def _batch(rows: list[dict[str, Any]]) -> AlertBatch:
    columns: dict[str, Any] = {
        name: np.array([row[name] for row in rows], dtype=dtype).reshape(len(rows), *shape)
        for name, (dtype, shape) in ALERT_COLUMNS.items()
    }
    for name in ("signature", "category"):
        columns[name] = tuple(row[name] for row in rows)
    return AlertBatch(**columns)
