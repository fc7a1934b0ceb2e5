"""Snort's log is read; its absence is told. No package of Snort 3 was at hand: a script stands in for the program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from packet_builder import pcap, tcp
from thingwarden.bench.snort import LOG_NAME, read_alert_json, reason_not_run, run_snort
from thingwarden.domain.alert import UNKNOWN_SIDE
from thingwarden.domain.errors import InputError, RequestError

ALERT: dict[str, Any] = {
    "timestamp": "26/11/23-17:58:05.441024",
    "proto": "TCP",
    "src_addr": "10.77.0.51",
    "src_port": 39216,
    "dst_addr": "10.77.0.22",
    "dst_port": 23,
    "gid": 1,
    "sid": 1_000_001,
    "priority": 2,
    "msg": "LOCAL telnet",
    "class": "Attempted User Privilege Gain",
}


def _program(folder: Path, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / "snort"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return folder


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    paths = tmp_path / "a.pcap", tmp_path / "snort.lua", tmp_path / "local.rules"
    for path in paths[1:]:
        path.write_text("")
    paths[0].write_bytes(pcap([tcp(0.0, "S")]))
    return paths


def test_an_alert_has_the_packets_ends_and_moment(tmp_path: Path) -> None:
    log = tmp_path / LOG_NAME
    log.write_text(f"{json.dumps(ALERT)}\n{json.dumps({**ALERT, 'proto': 'ICMP', 'src_port': None})}\n")
    alerts = read_alert_json(log)
    assert alerts.at_s.tolist() == [1_795_456_685.441024] * 2
    assert (alerts.orig_port[0], alerts.resp_port[0], alerts.proto.tolist()) == (39216, 23, [6, 1])
    assert alerts.severity.tolist() == [2, 2] and alerts.signature[0] == "LOCAL telnet"
    assert not alerts.is_oriented.any() and (alerts.attacker_is_orig == UNKNOWN_SIDE).all()


@pytest.mark.parametrize(
    ("member", "value"),
    [("timestamp", "11/23-17:58:05"), ("priority", 0), ("src_addr", "here"), ("sid", "1"), ("msg", None)],
)
def test_what_is_not_an_alert_is_refused_with_its_line(member: str, value: Any, tmp_path: Path) -> None:
    log = tmp_path / LOG_NAME
    log.write_text(f"{json.dumps(ALERT)}\n{json.dumps({**ALERT, member: value})}\n")
    with pytest.raises(InputError, match=r"alert_json\.txt, line 2"):
        read_alert_json(log)


def test_the_log_is_looked_for_where_snort_was_told_to_write(
    files: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"""while [ "$1" != -l ]; do shift; done; echo '{json.dumps(ALERT)}' > "$2/{LOG_NAME}\""""
    monkeypatch.setenv("PATH", f"{_program(tmp_path / 'bin', script)}:/bin:/usr/bin")
    assert reason_not_run(*files[1:]) == ""
    assert run_snort(*files).signature == ("LOCAL telnet",)


def test_no_log_is_no_alert_and_a_failure_is_told(
    files: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{_program(tmp_path / 'bin', 'exit 0')}:/bin:/usr/bin")
    assert len(run_snort(*files)) == 0
    _program(tmp_path / "bin", "echo no such DAQ >&2; exit 1")
    with pytest.raises(RequestError, match="no such DAQ"):
        run_snort(*files)


def test_why_snort_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no program named snort" in reason_not_run(None, None)
    monkeypatch.setenv("PATH", str(_program(tmp_path / "bin", "exit 0")))
    assert "no rules for it" in reason_not_run(None, None)
