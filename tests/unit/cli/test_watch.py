"""``thingwarden watch``: tells what happens as it happens, stops cleanly, refuses clearly."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from live_builder import RecordedSource, read_packets
from thingwarden.cli import main
from thingwarden.cli.invocation import Invocation
from thingwarden.cli.watch import _told_to_stop, compose_live, show_summary
from thingwarden.config import PACKAGED_MODEL, PACKAGED_SAMPLE, Settings
from thingwarden.model.artifact import load_artifact


def watch_sample(invocation: Invocation) -> None:
    source = RecordedSource(read_packets(PACKAGED_SAMPLE), 1000)
    live = compose_live(invocation, source, load_artifact(PACKAGED_MODEL), None, Settings(), source.clock)
    show_summary(invocation, live.run(lambda: False), {"frames": 1, "packets": 1, "not_ip": 3})


def test_people_read_a_line_for_each_thing_that_happens(capsys: pytest.CaptureFixture[str]) -> None:
    watch_sample(Invocation())
    lines = capsys.readouterr().out.splitlines()
    assert any("looks like scanning" in line for line in lines)
    assert any(" because: " in line for line in lines)
    assert any("ms after the packet: dry-run, nothing changed" in line for line in lines)
    assert lines[-1].startswith("32,892 packets and 4,228 flows of ")
    assert "0 packets dropped by the kernel: 8 incidents, 20 acts ordered" in lines[-1]


def test_programs_read_each_order_with_its_course(capsys: pytest.CaptureFixture[str]) -> None:
    invocation = Invocation()
    invocation.wants_json = True
    watch_sample(invocation)
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = [record["type"] for record in records]
    assert kinds.count("decision") == kinds.count("course") == kinds.count("receipt") == 20
    assert set(kinds) == {"incident", "decision", "receipt", "course", "refusal", "watch_summary"}
    assert records[-1]["left_out"] == {"not_ip": 3}


@pytest.mark.parametrize("words", [[], ["-i", "lo", "-"]])
def test_it_needs_one_place_to_read_from(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--no-journal", *words]) == 2
    assert "wants one place to read packets from" in capsys.readouterr().err


def test_a_filter_is_for_an_interface(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--no-journal", "-", "--filter", "ip"]) == 2
    assert "--filter needs an interface" in capsys.readouterr().err


@pytest.mark.root
def test_privileges_are_given_up_once_the_socket_is_open() -> None:
    argv = [sys.executable, "-m", "thingwarden", "watch", "-i", "lo", "--no-journal", "--seconds", "30"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as watching:
        assert watching.stderr is not None
        assert b"watching lo" in watching.stderr.readline()
        statuses = [file.read_text() for file in Path(f"/proc/{watching.pid}/task").glob("*/status")]
        watching.terminate()
    for status in statuses:
        held = {line.split()[0]: int(line.split()[1], 16) for line in status.splitlines() if line.startswith("Cap")}
        assert held == {"CapInh:": 0, "CapPrm:": 0, "CapEff:": 0, "CapBnd:": 0, "CapAmb:": 0}
        assert "NoNewPrivs:\t1" in status


def test_a_file_is_for_replay_and_a_missing_folder_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["watch", "--no-journal", str(PACKAGED_SAMPLE)]) == 2
    assert "thingwarden replay" in capsys.readouterr().err
    assert main(["watch", "--no-journal", str(tmp_path / "none")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_what_another_program_writes_is_judged_as_the_file_would_be() -> None:
    argv = [sys.executable, "-m", "thingwarden", "watch", "-", "--no-journal", "--json"]
    with gzip.open(PACKAGED_SAMPLE) as file:
        ended = subprocess.run(argv, input=file.read(), capture_output=True, check=True)
    records = [json.loads(line) for line in ended.stdout.splitlines()]
    assert b"watching standard input" in ended.stderr
    assert records[-1]["packet_count"] == 32_892
    assert {r["attack_class"] for r in records if r["type"] == "incident"} >= {"scan", "dos"}


def test_what_was_left_out_is_told_to_people(capsys: pytest.CaptureFixture[str]) -> None:
    watch_sample(Invocation())
    assert "left out: 3 not ip" in capsys.readouterr().err


def test_a_journal_and_none_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "-i", "lo", "--journal", "x", "--no-journal"]) == 2
    assert "exclude each other" in capsys.readouterr().err


@pytest.mark.root
def test_an_unknown_interface_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "-i", "no-such-if", "--no-journal"]) == 2
    assert "there is none of that name" in capsys.readouterr().err


@pytest.mark.root
def test_it_stops_when_its_time_is_over() -> None:
    argv = [sys.executable, "-m", "thingwarden", "watch", "-i", "lo", "--no-journal", "--seconds", "1", "--json"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind(("127.0.0.1", 0))
        is_over = threading.Event()
        sender = threading.Thread(target=_send_until, args=(is_over, end))
        sender.start()
        try:
            ended = subprocess.run(argv, capture_output=True, check=True, text=True)
        finally:
            is_over.set()
            sender.join()
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert summary["packet_count"] > 10
    assert summary["dropped_packet_count"] == 0


def test_the_signals_do_afterwards_what_they_did_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with _told_to_stop(None) as is_stopped:
        assert not is_stopped()
        signal.raise_signal(signal.SIGTERM)
        assert is_stopped()
    assert signal.getsignal(signal.SIGTERM) is before


def _send_until(is_over: threading.Event, end: socket.socket) -> None:
    while not is_over.wait(0.01):
        end.sendto(b"x", end.getsockname())


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_summary(number: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "thingwarden", "watch", "-i", "lo", "--json", "--journal", str(tmp_path / "journal")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("watching lo")
    process.send_signal(number)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert json.loads(out.splitlines()[-1])["type"] == "watch_summary"
