"""The enforcer's process as it really runs: small, without rights, killed, restarted, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from enforcer_builder import KEY
from process_builder import build_process_settings, read_rss_kib, read_stderr, running_enforcer, running_reaper
from receiver_builder import PlanReceiver, receive, write_secret
from thingwarden.domain.response import Decision, ReceiptStatus
from thingwarden.enforce.client import SocketEnforcer
from thingwarden.enforce.guard import Bounds
from thingwarden.enforce.settings import ProcessSettings
from thingwarden.testing import build_decision

MAX_RSS_KIB = 17 * 1024


def _decision(number: int = 10, lasts_s: float = 60.0) -> Decision:
    now = datetime.now(UTC)
    return build_decision(decision_id=f"{number:012x}", decided_at=now, expires_at=now + timedelta(seconds=lasts_s))


def _client(settings: ProcessSettings) -> SocketEnforcer:
    return SocketEnforcer(settings.socket, KEY, answer_within_s=2.0)


def _webhook(folder: Path, receiver: PlanReceiver) -> ProcessSettings:
    acts = ["block_flow", "isolate"]
    options = {"url": receiver.url, "secret": str(write_secret(folder)), "acts": acts}
    return build_process_settings(folder, "webhook", options)


def test_it_is_small_has_no_rights_and_imports_only_the_standard_library(tmp_path: Path) -> None:
    with running_enforcer(build_process_settings(tmp_path)) as process:
        rss_kib = read_rss_kib(process)
        status = Path(f"/proc/{process.pid}/status").read_text()
    assert rss_kib < MAX_RSS_KIB
    assert "NoNewPrivs:\t1" in status
    if os.geteuid() == 0:
        assert f"CapPrm:\t{'0' * 16}" in status
        assert f"CapBnd:\t{'0' * 16}" in status
    shown = subprocess.run(
        [sys.executable, "-c", "import sys, thingwarden.enforce.__main__; print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    roots = {name.partition(".")[0] for name in shown} - {"_distutils_hack", "sitecustomize"}
    assert roots - set(sys.stdlib_module_names) - {"__main__"} == {"thingwarden"}
    ours = {name.split(".")[1] for name in shown if name.startswith("thingwarden.")}
    assert ours == {"domain", "enforce"}


def test_orders_are_carried_out_by_another_process(tmp_path: Path) -> None:
    settings = build_process_settings(tmp_path)
    with running_enforcer(settings):
        assert _client(settings).apply(_decision(), datetime.now(UTC)).status is ReceiptStatus.DRY_RUN
        protected = replace(_decision(), target=replace(_decision().target, peer=None))
        assert _client(settings).apply(protected, datetime.now(UTC)).status is ReceiptStatus.FAILED


def test_configured_protection_and_bounds_reach_the_guard(tmp_path: Path) -> None:
    settings = build_process_settings(tmp_path)
    with running_enforcer(settings, protected_macs=("02:00:00:00:00:0a",)):
        assert "is protected" in _client(settings).apply(_decision(), datetime.now(UTC)).detail
    with running_enforcer(settings, automatic=Bounds(devices=0, peers=0, decisions_per_minute=9)):
        assert "0 devices" in _client(settings).apply(_decision(), datetime.now(UTC)).detail


def test_after_kill_9_of_enforcer_and_core_the_reaper_ends_the_act(tmp_path: Path) -> None:
    with receive() as receiver, running_reaper(tmp_path / "leases"):
        settings = _webhook(tmp_path, receiver)
        core = (
            "import sys, time\n"
            f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
            "from datetime import UTC, datetime, timedelta\n"
            "from pathlib import Path\n"
            "from thingwarden.enforce.client import SocketEnforcer\n"
            "from thingwarden.testing import build_decision\n"
            "now = datetime.now(UTC)\n"
            "decision = build_decision(decided_at=now, expires_at=now + timedelta(seconds=2))\n"
            f"enforcer = SocketEnforcer(Path({str(settings.socket)!r}), bytes(range(32)), answer_within_s=2)\n"
            "print(enforcer.apply(decision, now).status.value, flush=True)\n"
            "time.sleep(60)\n"
        )
        with running_enforcer(settings) as process:
            brain = subprocess.Popen([sys.executable, "-c", core], stdout=subprocess.PIPE, text=True)
            assert brain.stdout is not None
            assert brain.stdout.readline().strip() == "applied"
            assert receiver.held
            for victim in (brain, process):
                victim.send_signal(signal.SIGKILL)
                victim.wait()
            brain.stdout.close()
        assert receiver.held
        receiver.wait_until(lambda: not receiver.held, within_s=10.0)


def test_after_kill_9_a_restarted_process_knows_what_it_holds(tmp_path: Path) -> None:
    one = Bounds(devices=1, peers=1, decisions_per_minute=9)
    with receive() as receiver, running_reaper(tmp_path / "leases"):
        settings = replace(_webhook(tmp_path, receiver), automatic=one)
        decision = _decision()
        with running_enforcer(settings):
            assert _client(settings).apply(decision, datetime.now(UTC)).status is ReceiptStatus.APPLIED
        with running_enforcer(settings):
            client = _client(settings)
            assert [item.decision_id for item in client.in_force(datetime.now(UTC))] == [decision.decision_id]
            device = replace(_decision().target.device, index=2, mac="02:00:00:00:00:0b")
            other = replace(_decision(11), target=replace(_decision().target, device=device))
            assert "1 devices" in client.apply(other, datetime.now(UTC)).detail
            assert client.revoke(decision, datetime.now(UTC)).status is ReceiptStatus.REVOKED
            assert receiver.held == set()
            assert client.apply(other, datetime.now(UTC)).status is ReceiptStatus.APPLIED


def test_after_kill_9_of_the_reaper_the_enforcer_ends_the_act(tmp_path: Path) -> None:
    with receive() as receiver:
        settings = _webhook(tmp_path, receiver)
        with running_enforcer(settings):
            with running_reaper(tmp_path / "leases"):
                receipt = _client(settings).apply(_decision(lasts_s=0.5), datetime.now(UTC))
                assert receipt.status is ReceiptStatus.APPLIED
            assert receiver.held
            receiver.wait_until(lambda: not receiver.held, within_s=6.0)


def test_without_a_reaper_an_act_without_timeout_is_not_applied(tmp_path: Path) -> None:
    with receive() as receiver:
        settings = _webhook(tmp_path, receiver)
        with running_enforcer(settings):
            assert "no reaper" in _client(settings).apply(_decision(), datetime.now(UTC)).detail
        assert not receiver.messages


@pytest.mark.parametrize("releases", [False, True])
def test_when_stopped_it_keeps_or_releases_as_told(tmp_path: Path, releases: bool) -> None:
    with receive() as receiver, running_reaper(tmp_path / "leases"):
        settings = _webhook(tmp_path, receiver)
        with running_enforcer(settings, releases_on_stop=releases) as process:
            _client(settings).apply(_decision(), datetime.now(UTC))
            process.terminate()
            assert process.wait(10) == 0
        assert bool(receiver.held) is not releases
        assert not settings.socket.exists()


def test_when_stopped_what_cannot_be_released_is_said(tmp_path: Path) -> None:
    with receive() as receiver, running_reaper(tmp_path / "leases"):
        settings = _webhook(tmp_path, receiver)
        with running_enforcer(settings, releases_on_stop=True) as process:
            _client(settings).apply(_decision(), datetime.now(UTC))
            receiver.statuses = [403] * 50
            process.terminate()
            assert process.wait(10) == 5
            assert "remains in force" in read_stderr(process)


def test_an_act_ends_at_its_time_while_all_live(tmp_path: Path) -> None:
    with receive() as receiver, running_reaper(tmp_path / "leases"):
        settings = _webhook(tmp_path, receiver)
        with running_enforcer(settings):
            client = _client(settings)
            assert client.apply(_decision(lasts_s=1.0), datetime.now(UTC)).status is ReceiptStatus.APPLIED
            receiver.wait_until(lambda: not receiver.held)
            time.sleep(0.2)
            assert client.in_force(datetime.now(UTC)) == ()


def test_what_it_cannot_use_is_said(tmp_path: Path) -> None:
    settings = build_process_settings(tmp_path)
    settings.key.chmod(0o644)
    argv = [sys.executable, "-m", "thingwarden.enforce"]
    for words, why, code in (
        ([], "usage:", 2),
        (["{}"], "settings, kind", 2),
    ):
        done = subprocess.run([*argv, *words], capture_output=True, text=True, timeout=20)
        assert (done.returncode, why in done.stderr) == (code, True), done.stderr
    with pytest.raises(AssertionError, match="lets others in"), running_enforcer(settings):
        pass
