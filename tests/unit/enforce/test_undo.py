"""The undo of one lease as a program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from receiver_builder import receive, write_secret
from thingwarden.domain.errors import ConfigError
from thingwarden.enforce.courier import Receiver
from thingwarden.enforce.leases import Lease, LeaseFolder
from thingwarden.enforce.undo import main, undo_lease
from thingwarden.enforce.webhook import WebhookEnforcer
from thingwarden.testing import build_decision


def _lease(folder: LeaseFolder, url: str, kind: str = "webhook") -> None:
    enforcer = WebhookEnforcer(Receiver(url=url, secret=write_secret(Path(folder.path))))
    values = enforcer.lease_values(build_decision())
    enforcer.close()
    decision_id = build_decision().decision_id
    folder.add(Lease(lease_id=decision_id, kind=kind, boot_id="b", ends_at_boot_s=0.0, ends_at_s=0.0, values=values))


def test_a_fresh_process_undoes_the_act_of_a_lease(tmp_path: Path) -> None:
    folder = LeaseFolder(str(tmp_path))
    argv = [sys.executable, "-m", "thingwarden.enforce.undo", folder.path, build_decision().decision_id]
    with receive() as receiver:
        _lease(folder, receiver.url)
        receiver.held.add(build_decision().decision_id)
        assert subprocess.run(argv, timeout=20).returncode == 0
        assert receiver.held == set()
    failed = subprocess.run(argv, timeout=20, capture_output=True, text=True)
    assert failed.returncode == 5
    assert failed.stderr.startswith("webhook localhost:")
    assert failed.stderr.count("\n") == 1


def test_a_lease_that_is_gone_is_undone(tmp_path: Path) -> None:
    undo_lease(str(tmp_path), "00000000000a")


def test_a_kind_that_nobody_knows_is_named(tmp_path: Path) -> None:
    folder = LeaseFolder(str(tmp_path))
    _lease(folder, "http://localhost:1/", kind="abacus")
    with pytest.raises(ConfigError, match="abacus"):
        undo_lease(folder.path, build_decision().decision_id)


def test_it_wants_a_folder_and_a_lease(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("usage:")
