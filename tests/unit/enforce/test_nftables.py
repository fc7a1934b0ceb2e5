"""The firewall's enforcer when something is wrong: every fault is a receipt with the reason, and nothing half done."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from enforcer_builder import KEY
from network_builder import own_network, run
from process_builder import build_process_settings, running_enforcer
from thingwarden.domain.device import Device
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.response import Act, Decision, Reach, ReceiptStatus, Target
from thingwarden.enforce import nftables
from thingwarden.enforce.client import SocketEnforcer
from thingwarden.enforce.nftables import MAX_LANES, NftablesEnforcer, build_enforcer
from thingwarden.testing import build_decision
from user_without_rights import start_as_nobody

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def enforcer() -> Iterator[NftablesEnforcer]:
    with own_network():
        yield NftablesEnforcer()


def block(number: int = 1, address: str = "203.0.113.5", **changes: Any) -> Decision:
    changes = {"decided_at": NOW, "expires_at": NOW + timedelta(seconds=60), **changes}
    target = Target(peer=ip_address(address))
    return build_decision(**{"decision_id": f"{number:012x}", "act": Act.BLOCK_PEER, "target": target, **changes})


def status(enforcer: NftablesEnforcer, decision: Decision, reason: str = "") -> ReceiptStatus:
    receipt = enforcer.apply(decision, NOW)
    assert reason in receipt.detail
    return receipt.status


@pytest.mark.root
def test_without_the_program_nothing_is_done_and_the_package_is_named(
    enforcer: NftablesEnforcer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(nftables, "_PROGRAM_FOLDERS", str(tmp_path))
    assert status(enforcer, block(), "program is missing") is ReceiptStatus.FAILED
    with pytest.raises(ConfigError, match="program is missing"):
        build_enforcer({}, ())


@pytest.mark.root
def test_without_the_right_nothing_is_done_and_the_right_is_named() -> None:
    script = (
        "from thingwarden.enforce.nftables import NftablesEnforcer; from thingwarden.testing import build_decision;"
        "d = build_decision(); r = NftablesEnforcer().apply(d, d.decided_at); print(r.status.value, r.detail)"
    )
    process = start_as_nobody("-c", script)
    said = process.communicate(timeout=20)[0]
    assert said.startswith("failed") and "CAP_NET_ADMIN" in said


@pytest.mark.root
def test_a_clock_that_was_set_back_gives_no_longer_life(enforcer: NftablesEnforcer) -> None:
    assert enforcer.apply(block(), NOW - timedelta(hours=5)).status is ReceiptStatus.APPLIED
    (held,) = enforcer.in_force(NOW)
    assert "for another 60 s" in held.detail


@pytest.mark.root
def test_what_is_over_is_not_applied(enforcer: NftablesEnforcer) -> None:
    assert status(enforcer, block(expires_at=NOW), "over") is ReceiptStatus.FAILED
    assert enforcer.in_force(NOW) == ()


@pytest.mark.root
def test_so_many_may_restrict_the_same_and_no_more(enforcer: NftablesEnforcer) -> None:
    for number in range(MAX_LANES):
        assert status(enforcer, block(number)) is ReceiptStatus.APPLIED
    assert status(enforcer, block(MAX_LANES), "restrict the same") is ReceiptStatus.FAILED
    assert len(enforcer.in_force(NOW)) == MAX_LANES


@pytest.mark.root
def test_the_same_decision_twice_is_in_force_once(enforcer: NftablesEnforcer) -> None:
    for _ in range(2):
        assert status(enforcer, block()) is ReceiptStatus.APPLIED
    (held,) = enforcer.in_force(NOW)
    assert held.detail.startswith("2 elements")


@pytest.mark.root
def test_what_is_not_ours_in_our_table_is_no_decision(enforcer: NftablesEnforcer) -> None:
    enforcer.apply(block(), NOW)
    run("nft", "add", "element", "inet", "thingwarden", "cut_4_any_any", "{ 10.9.9.9 timeout 1m }")
    assert [item.decision_id for item in enforcer.in_force(NOW)] == [f"{1:012x}"]


@pytest.mark.root
def test_an_unreachable_device_is_named(enforcer: NftablesEnforcer) -> None:
    device = Device(index=1, mac=None, address=ip_address("fd00::9"))
    decision = block(act=Act.BLOCK_FLOW, target=Target(device=device, peer=ip_address("203.0.113.5")))
    assert status(enforcer, decision, "fd00::9") is ReceiptStatus.FAILED


@pytest.mark.root
def test_a_program_that_refuses_is_quoted(enforcer: NftablesEnforcer) -> None:
    run("nft", "add table inet thingwarden; add chain inet thingwarden forward { type filter hook input priority 0; }")
    assert status(enforcer, block(), "refused") is ReceiptStatus.FAILED


def test_where_it_stands_must_be_a_place_for_a_firewall() -> None:
    with pytest.raises(ConfigError, match="broker"):
        NftablesEnforcer(Reach.BROKER)
    with pytest.raises(ConfigError, match="options"):
        build_enforcer({"spared": ["nowhere"]}, ())


@pytest.mark.root
def test_its_process_keeps_one_right_and_stays_small(tmp_path: Path) -> None:
    with own_network():
        settings = build_process_settings(tmp_path, "nftables", {"spared": ["192.0.2.0/24"]})
        with running_enforcer(settings) as process:
            told = Path(f"/proc/{process.pid}/status").read_text("ascii")
            now = datetime.now(UTC)
            client = SocketEnforcer(settings.socket, KEY, answer_within_s=2.0)
            decision = block(decided_at=now, expires_at=now + timedelta(seconds=60))
            assert client.apply(decision, now).status is ReceiptStatus.APPLIED
            assert "203.0.113.5" in run("nft", "list", "ruleset")
            rss_kib = int(told.split("VmRSS:")[1].split()[0])
        assert f"CapPrm:\t{1 << 12:016x}" in told
        assert rss_kib < 20 * 1024
        assert "203.0.113.5" in run("nft", "list", "ruleset")


def test_it_imports_only_the_standard_library() -> None:
    script = "import sys, thingwarden.enforce.nftables; print('numpy' in sys.modules or 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "False"


@pytest.mark.root
def test_what_an_earlier_process_left_keeps_its_elements(enforcer: NftablesEnforcer) -> None:
    assert status(enforcer, block(1)) is ReceiptStatus.APPLIED
    successor = NftablesEnforcer()
    assert status(successor, block(2)) is ReceiptStatus.APPLIED
    assert {item.decision_id for item in successor.in_force(NOW)} == {f"{1:012x}", f"{2:012x}"}
    successor.revoke(block(1), NOW)
    assert [item.decision_id for item in successor.in_force(NOW)] == [f"{2:012x}"]
