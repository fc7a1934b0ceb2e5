"""The folder of a run: deterministic, complete, and honest about what was captured."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import numpy as np

from thingwarden.domain.flow import words_from_address
from thingwarden.domain.packet import PAYLOAD_HEAD_LENGTH, TCP_SYN, PacketBatch
from thingwarden.lab.outcome import Run, compress, write_outcome
from thingwarden.lab.packet_file import PacketFile
from thingwarden.lab.recipe import find_recipe, load_recipe
from thingwarden.lab.schedule import draw_schedule
from thingwarden.lab.timeline import Perform
from thingwarden.lab.truth import Timing

BEGAN_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def run_of_sample() -> Run:
    """A run of the packaged sample with a seed and a duration of its own."""
    path = find_recipe("sample")
    recipe = load_recipe(path)
    schedule = draw_schedule(recipe, seed=9, duration_s=100.0)
    timing = Timing(began_at=BEGAN_AT)
    return Run(
        recipe=recipe, recipe_path=path, schedule=schedule, world="real", timing=timing, failures=["hub: it smoked"]
    )


def write_syn_of_flood(run: Run, path: Path) -> None:
    """A capture of one packet: a SYN of the sample's flood."""
    item = next(
        item
        for item in run.schedule.planned
        if isinstance(item.action, Perform) and item.action.attack_class.value == "dos"
    )
    assert isinstance(item.action, Perform)
    offender = next(host.address for host in run.schedule.hosts if host.name == item.action.host)
    aim = item.action.aims[0]
    ends = [np.array([words_from_address(ip_address(text))], dtype=np.uint64) for text in (offender, aim.peer)]
    packet = PacketBatch(
        at_s=np.array([BEGAN_AT.timestamp() + item.at_s + 0.5]),
        src_address=ends[0],
        dst_address=ends[1],
        src_port=np.array([40_000], dtype=np.uint16),
        dst_port=np.array([aim.ports[0]], dtype=np.uint16),
        proto=np.array([6], dtype=np.uint8),
        ip_bytes=np.array([40]),
        payload_bytes=np.array([0]),
        tcp_flags=np.array([TCP_SYN], dtype=np.uint8),
        tcp_seq=np.array([1], dtype=np.uint32),
        tcp_ack=np.array([0], dtype=np.uint32),
        tcp_receive_bytes=np.array([512], dtype=np.uint16),
        src_mac=np.array([0x027700000015], dtype=np.uint64),
        dst_mac=np.array([0x027700000001], dtype=np.uint64),
        payload_head=np.zeros((1, PAYLOAD_HEAD_LENGTH), dtype=np.uint8),
    )
    with path.open("wb") as sink:
        PacketFile(sink, 192).write(packet)


def read_lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def test_a_capture_becomes_a_labelled_folder(tmp_path: Path) -> None:
    run = run_of_sample()
    write_syn_of_flood(run, tmp_path / "capture.pcap")
    manifest = json.loads(write_outcome(run, tmp_path / "capture.pcap", tmp_path / "out").read_text(encoding="utf-8"))
    assert (manifest["flow_count"], manifest["malicious_flow_count"]) == (1, 1)
    assert manifest["command"] == "thingwarden lab run sample --seed 9 --duration-s 100 --out DIR"
    assert manifest["failures"] == ["hub: it smoked"]
    assert manifest["began_at"] == BEGAN_AT.isoformat()
    (row,) = [line for line in read_lines(tmp_path / "out" / "conn.log.gz") if not line.startswith("#")]
    assert row.split("\t")[-2:] == ["Malicious", "dos:flood_syn-1"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"manifest.json", *manifest["files"]}
    for name, described in manifest["files"].items():
        content = (tmp_path / "out" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == described["sha256"]


def test_the_same_run_is_the_same_bytes(tmp_path: Path) -> None:
    run = run_of_sample()
    write_syn_of_flood(run, tmp_path / "capture.pcap")
    for name in ("one", "other"):
        write_outcome(run, tmp_path / "capture.pcap", tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()


def test_compression_keeps_everything(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "plain").write_bytes(content)
    compress(tmp_path / "plain", tmp_path / "packed")
    assert gzip.decompress((tmp_path / "packed").read_bytes()) == content
