"""Processor time and memory are the command's own, and a failure is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from packet_builder import conversation, meter_file, pcap
from thingwarden.bench.signature_cost import START_ONLY, measure_command, measure_costs, write_one_packet
from thingwarden.bench.signatures import PRODUCT
from thingwarden.bench.suricata import reason_not_run
from thingwarden.config import PACKAGED_MODEL
from thingwarden.domain.errors import RequestError

MEBIBYTE = 1 << 20


def test_memory_is_the_commands_and_not_the_measurers() -> None:
    held = bytearray(200 * MEBIBYTE)
    small = measure_command([sys.executable, "-c", "pass"])
    large = measure_command([sys.executable, "-c", f"bytearray({100 * MEBIBYTE}).find(1)"])
    assert len(held) == 200 * MEBIBYTE
    assert small.peak_bytes < 60 * MEBIBYTE
    assert 80 * MEBIBYTE < large.peak_bytes - small.peak_bytes < 120 * MEBIBYTE


def test_processor_time_is_counted_and_waiting_is_not() -> None:
    waiting = measure_command([sys.executable, "-c", "import time; time.sleep(0.5)"])
    working = measure_command([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"])
    assert waiting.cpu_s < 0.4 <= working.cpu_s


def test_a_command_that_fails_is_told_of() -> None:
    with pytest.raises(RequestError, match="broken pipe dream"):
        measure_command([sys.executable, "-c", "import sys; sys.exit('broken pipe dream')"])


def test_the_packet_that_shows_the_cost_of_starting_is_no_flow(tmp_path: Path) -> None:
    assert len(meter_file(write_one_packet(tmp_path / "one.pcap").read_bytes())) == 0


def test_contestants_are_measured_on_the_same_files(tmp_path: Path) -> None:
    capture = tmp_path / "day.pcap"
    capture.write_bytes(pcap(conversation()))
    rules = tmp_path / "tiny"
    rules.mkdir()
    (rules / "tiny.rules").write_text('alert tcp any any -> any any (msg:"TEST"; content:"hello"; sid:1;)\n')
    engines = () if reason_not_run() else (rules,)
    said: list[tuple[int, int]] = []
    costs = measure_costs(
        {"day": capture}, engines, PACKAGED_MODEL, repeats=1, progress=lambda done, total: said.append((done, total))
    )
    assert set(costs) == {PRODUCT, *(f"suricata {source.name}" for source in engines)}
    assert said[-1][0] == said[-1][1] == 2 * len(costs)
    for figures in costs.values():
        assert set(figures) == {START_ONLY, "day"}
        assert all(entry["cpu_s"] > 0.01 and len(entry["runs"]) == 1 for entry in figures.values())
