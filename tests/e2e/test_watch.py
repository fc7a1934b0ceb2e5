"""The whole live path in network namespaces: real packets over veth pairs, from the kernel's ring to an order."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from thingwarden.bench.latency_program import attack_arguments
from thingwarden.bench.latency_traffic import attacker_mac
from thingwarden.lab.real.layout import LAN_BRIDGE
from thingwarden.lab.real.network import Lab
from thingwarden.lab.timeline import Host
from thingwarden.lab.traits import Traits
from thingwarden.serve.store import Journal

ATTACKER = 9
SENDER = Host(
    name="sender",
    kind="",
    address="10.77.0.250",
    address6="",
    mac="02:77:00:00:00:fe",
    pace=1.0,
    traits=Traits(seed="0"),
)


def wait_for(said: Path, text: str, limit_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not said.exists() or text not in said.read_text():
        assert time.monotonic() < deadline_s, said.read_text()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    """What ``watch`` says of a flood through its gateway, stopped by SIGTERM; and its journal."""
    folder = tmp_path_factory.mktemp("watched")
    said, journal = folder / "said", folder / "journal.sqlite"
    key = folder / "settings.toml"
    key.write_text(f'[enforce]\nkey = "{folder / "key"}"\n')
    with Lab([SENDER]) as lab:
        argv = [sys.executable, "-m", "thingwarden", "watch", "-i", LAN_BRIDGE, "--json"]
        watch = lab.spawn(Lab.GATEWAY, [*argv, "--journal", str(journal), "--config", str(key)], log=said)
        wait_for(said, "watching")
        lab.run("sender", attack_arguments("flood", ATTACKER, 2000.0, 1.0, folder / "sent.npz"))
        time.sleep(0.5)
        lab.stop(watch)
        assert watch.returncode == 0
    return [json.loads(line) for line in said.read_text().splitlines() if line.startswith("{")], journal


@pytest.mark.root
def test_the_attacker_is_found_while_it_attacks(watched: tuple[list[dict[str, Any]], Path]) -> None:
    records, _ = watched
    incidents = [record for record in records if record["type"] == "incident"]
    assert {record["device"]["mac"] for record in incidents} == {attacker_mac(ATTACKER).hex(":")}
    assert incidents[0]["ended_at"] is None
    assert incidents[0]["attack_class"] in ("dos", "ddos", "scan")


@pytest.mark.root
def test_it_is_answered_within_the_second_by_an_order_that_a_dry_run_only_tells(
    watched: tuple[list[dict[str, Any]], Path],
) -> None:
    records, _ = watched
    (order,) = [record for record in records if record["type"] == "decision" and record["act"] != "notify"]
    assert order["act"] in ("rate_limit", "block_flow")
    assert order["target"]["device"]["mac"] == attacker_mac(ATTACKER).hex(":")
    receipts = {record["decision_id"]: record for record in records if record["type"] == "receipt"}
    assert receipts[order["decision_id"]]["status"] == "dry-run"
    course = next(r for r in records if r["type"] == "course" and r["decision_id"] == order["decision_id"])
    spans = [value for name, value in course.items() if name.endswith("_ms")]
    assert all(span >= 0 for span in spans)
    assert sum(spans) < 1000


@pytest.mark.root
def test_every_packet_was_seen_and_nothing_dropped(watched: tuple[list[dict[str, Any]], Path]) -> None:
    records, _ = watched
    summary = records[-1]
    assert summary["type"] == "watch_summary"
    assert summary["packet_count"] >= 2000
    assert summary["dropped_packet_count"] == 0


@pytest.mark.root
def test_all_of_it_is_in_the_journal(watched: tuple[list[dict[str, Any]], Path]) -> None:
    records, path = watched
    with Journal(path, is_read_only=True) as journal:
        kinds = [entry.kind for entry in journal.entries()]
        assert journal.verify().broken_at is None
    for kind in ("decision", "receipt"):
        assert kinds.count(kind) == sum(record["type"] == kind for record in records)
    assert kinds.count("run") == 1
