"""What passed and what was kept follows from what was sent and what arrived, packet by packet."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from thingwarden.bench import response_measure
from thingwarden.bench.response import SAID_FILE, capture_path
from thingwarden.bench.response_measure import measure_trial
from thingwarden.domain.flow import words_from_address
from thingwarden.domain.packet import PacketBatch
from thingwarden.lab.truth import Interval, Timing, TrueDevice, Truth

BEGAN_S = 1_700_000_000.0
CAMERA, PLUG, GATEWAY = "02:77:00:00:00:21", "02:77:00:00:00:31", "02:77:00:00:00:01"
BAD, GOOD = "203.0.113.5", "198.51.100.9"


def number(mac: str) -> int:
    return int(mac.replace(":", ""), 16)


def packets(*rows: tuple[float, str, str, str, int, int]) -> PacketBatch:
    """Second, MACs of sender and addressee, destination, ports."""
    empty = PacketBatch.empty()
    columns = {
        name: np.zeros((len(rows), *getattr(empty, name).shape[1:]), dtype=getattr(empty, name).dtype)
        for name in PacketBatch.__slots__
    }
    for place, (at_s, src, dst, address, src_port, dst_port) in enumerate(rows):
        columns["at_s"][place] = BEGAN_S + at_s
        columns["src_mac"][place], columns["dst_mac"][place] = number(src), number(dst)
        columns["dst_address"][place] = words_from_address(ipaddress.ip_address(address))
        columns["src_port"][place], columns["dst_port"][place], columns["proto"][place] = src_port, dst_port, 6
    return PacketBatch(**columns)


def harmful(first: int, beyond: int) -> list[tuple[float, str, str, str, int, int]]:
    return [(float(n), CAMERA, GATEWAY, BAD, 4000, 23) for n in range(first, beyond)]


def harmless(first: int, beyond: int, mac: str = CAMERA) -> list[tuple[float, str, str, str, int, int]]:
    return [(n + 0.5, mac, GATEWAY, GOOD, 5000 if mac == CAMERA else 5001, 443) for n in range(first, beyond)]


TRUTH = Truth(
    scenario="x", seed=1, duration_s=40.0, starts_at_hour=0.0,
    devices=(
        TrueDevice(name="camera", kind="camera", mac=CAMERA, addresses=("10.77.0.21",)),
        TrueDevice(name="plug", kind="plug", mac=PLUG, addresses=("10.77.0.31",)),
    ),
    intervals=(
        Interval(
            name="scan-1", planned=0, who="camera", addresses=("10.77.0.21",), peer=f"{BAD}/32", role="offender",
            attack_class="scan", technique="T1046", proto=6, ports=(23,), begins_s=10.0, ends_s=30.0,
        ),
    ),
    harmless=(),
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of 40 s: the scan from second 10 to 30, an act at 15; after it three packets of the scan pass."""
    timing = Timing(began_at=datetime.fromtimestamp(BEGAN_S, UTC), spans={0: (10.0, 30.0)})
    kept = {
        "camera": packets(*harmful(10, 30), *harmless(0, 40)),
        "plug": packets(*harmless(0, 40, PLUG)),
        "internet": packets(*harmful(10, 15), *harmful(20, 23), *harmless(0, 36), *harmless(0, 39, PLUG)),
    }
    by_path = {capture_path(tmp_path, name): batch for name, batch in kept.items()}
    for path in by_path:
        path.touch()
    monkeypatch.setattr(response_measure, "_read", by_path.__getitem__)
    monkeypatch.setattr(response_measure, "read_truth", lambda path: TRUTH)
    monkeypatch.setattr(response_measure, "read_timing", lambda path: timing)
    return tmp_path


def say(folder: Path, act: str = "rate_limit", status: str = "applied", mac: str = CAMERA, peer: str = BAD) -> None:
    at = datetime.fromtimestamp(BEGAN_S + 14.9, UTC).isoformat()
    target = {"device": {"mac": mac}, "peer": peer, "proto": "tcp", "port": 23, "is_inbound": False}
    lines = [
        {"type": "decision", "decision_id": "a", "act": act, "target": target},
        {"type": "receipt", "decision_id": "a", "status": status, "at": at},
        {"type": "course", "decision_id": "a", "packet_at_s": BEGAN_S + 14.8, "read_ms": 60.0, "applied_ms": 40.0},
    ]
    (folder / SAID_FILE).write_text("watching\n" + "\n".join(map(json.dumps, lines)) + "\n")


def test_packets_after_the_act_are_counted_at_both_ends(folder: Path) -> None:
    say(folder)
    (scan,), (camera, plug) = measure_trial(folder)
    assert (scan.sent_count, scan.sent_after_count, scan.passed_after_count) == (20, 15, 3)
    assert scan.answered_s == pytest.approx(4.9)
    assert scan.acts == ("rate_limit",)
    assert (camera.sent_count, camera.arrived_count) == (40, 36)
    assert (camera.is_restricted, camera.sent_after_count, camera.arrived_after_count) == (True, 25, 21)
    assert (plug.is_restricted, plug.sent_count, plug.arrived_count) == (False, 40, 39)


@pytest.mark.parametrize("changes", [{"act": "notify"}, {"status": "failed"}, {"mac": PLUG}, {"peer": GOOD}])
def test_what_was_not_in_force_on_the_device_answers_nothing(folder: Path, changes: dict[str, str]) -> None:
    say(folder, **changes)
    (scan,), _ = measure_trial(folder)
    assert (scan.answered_s, scan.acts, scan.sent_after_count) == (None, (), 0)


def test_an_act_before_the_attack_answers_it_from_its_beginning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say(folder)
    later = replace(TRUTH.intervals[0], begins_s=20.0)
    timing = Timing(began_at=datetime.fromtimestamp(BEGAN_S, UTC), spans={0: (20.0, 30.0)})
    monkeypatch.setattr(response_measure, "read_truth", lambda path: replace(TRUTH, intervals=(later,)))
    monkeypatch.setattr(response_measure, "read_timing", lambda path: timing)
    (scan,), _ = measure_trial(folder)
    assert (scan.answered_s, scan.sent_after_count, scan.passed_after_count) == (0.0, 10, 3)
