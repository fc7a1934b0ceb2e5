"""The reaper undoes what lapsed, whoever was killed meanwhile, and stays small."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from process_builder import read_rss_kib, read_stderr, running_reaper
from receiver_builder import PlanReceiver, receive, write_secret
from thingwarden.domain.errors import ConfigError
from thingwarden.enforce.courier import Receiver
from thingwarden.enforce.leases import Lease, LeaseFolder, read_boot_id, read_boot_s
from thingwarden.enforce.reaper import LOOK_EVERY_S, Reaper, main
from thingwarden.enforce.webhook import WebhookEnforcer
from thingwarden.testing import build_decision

MAX_RSS_KIB = 12 * 1024


def _lease(folder: LeaseFolder, receiver: PlanReceiver, number: int, rest_s: float) -> None:
    """An act in force at the receiver that ends after ``rest_s``."""
    secret = write_secret(Path(folder.path))
    enforcer = WebhookEnforcer(Receiver(url=receiver.url, secret=secret))
    decision = build_decision(decision_id=f"{number:012x}")
    receiver.held.add(decision.decision_id)
    folder.add(
        Lease(
            lease_id=decision.decision_id,
            kind="webhook",
            boot_id=read_boot_id(),
            ends_at_boot_s=read_boot_s() + rest_s,
            ends_at_s=time.time() + rest_s,
            values=enforcer.lease_values(decision),
        )
    )
    enforcer.close()


def test_an_act_is_undone_when_its_lease_lapses_and_not_before(tmp_path: Path) -> None:
    folder = LeaseFolder(str(tmp_path))
    with receive() as receiver, running_reaper(tmp_path):
        _lease(folder, receiver, 1, rest_s=60.0)
        _lease(folder, receiver, 2, rest_s=0.7)
        time.sleep(0.5)
        assert len(receiver.held) == 2
        receiver.wait_until(lambda: receiver.held == {f"{1:012x}"})
        receiver.wait_until(lambda: folder.ids() == [f"{1:012x}"])


def test_a_restarted_reaper_picks_up_what_is_overdue(tmp_path: Path) -> None:
    folder = LeaseFolder(str(tmp_path))
    with receive() as receiver:
        with running_reaper(tmp_path) as process:
            _lease(folder, receiver, 1, rest_s=0.5)
            process.send_signal(signal.SIGKILL)
            process.wait()
        time.sleep(0.6)
        assert receiver.held
        with running_reaper(tmp_path):
            receiver.wait_until(lambda: not receiver.held)


def test_it_tries_until_the_act_is_undone(tmp_path: Path) -> None:
    folder = LeaseFolder(str(tmp_path))
    with receive() as receiver, running_reaper(tmp_path) as process:
        receiver.statuses = [500, 503]
        _lease(folder, receiver, 1, rest_s=0.0)
        receiver.wait_until(lambda: not folder.ids(), within_s=15.0)
        assert len(receiver.messages) == 3
        process.terminate()
        assert process.wait(5) == 0
        said = read_stderr(process)
    assert said.count("again in") == 2
    assert "its act is undone" in said


def test_a_lease_that_was_revoked_meanwhile_is_left_alone(tmp_path: Path) -> None:
    folder = LeaseFolder(str(tmp_path))
    with receive() as receiver, running_reaper(tmp_path):
        _lease(folder, receiver, 1, rest_s=0.4)
        folder.remove(f"{1:012x}")
        _lease(folder, receiver, 2, rest_s=0.4)
        receiver.wait_until(lambda: receiver.held == {f"{1:012x}"})


def test_a_damaged_lease_keeps_it_from_no_other(tmp_path: Path) -> None:
    folder = LeaseFolder(str(tmp_path))
    (tmp_path / "00000000000f.lease").write_text("{")
    with receive() as receiver, running_reaper(tmp_path):
        _lease(folder, receiver, 1, rest_s=0.0)
        receiver.wait_until(lambda: not receiver.held)


def test_it_is_small_and_knows_no_network(tmp_path: Path) -> None:
    with running_reaper(tmp_path) as process:
        rss_kib = read_rss_kib(process)
        maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert rss_kib < MAX_RSS_KIB
    assert "_socket" not in maps
    assert "_ssl" not in maps
    shown = subprocess.run(
        [sys.executable, "-c", "import sys, thingwarden.enforce.reaper; print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert not {"socket", "subprocess", "dataclasses", "pathlib", "hashlib", "numpy", "pydantic"} & set(shown)


def test_in_a_folder_there_is_one(tmp_path: Path) -> None:
    reaper = Reaper(LeaseFolder(str(tmp_path)))
    with pytest.raises(ConfigError, match="another reaper"):
        Reaper(LeaseFolder(str(tmp_path)))
    assert reaper.step() == LOOK_EVERY_S
    reaper.close()


def test_what_it_cannot_use_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    file = tmp_path / "file"
    file.write_text("")
    assert main([str(file)]) == 2
    said = capfd.readouterr().err
    assert "usage:" in said
    assert f"error: folder {file}" in said
    assert os.path.lexists(file)
