"""An enforcer without timeouts: nothing is applied that nobody would end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from thingwarden.domain.response import ACTS_WITHIN, Capability, Decision, Reach, Receipt, ReceiptStatus
from thingwarden.enforce.leased import LeasedEnforcer
from thingwarden.enforce.leases import LeaseFolder, read_boot_id
from thingwarden.testing import ManualClock, RecordingEnforcer, build_decision

NOW = ManualClock()()


class _Endless(RecordingEnforcer):
    """Its acts never end by themselves; it can be made unable to undo."""

    lease_kind = "endless"
    capability = Capability(reach=Reach.REMOTE, acts=ACTS_WITHIN[Reach.REMOTE], ends_by_itself=False)
    can_undo = True
    leased_when_applied = 0

    def __init__(self, folder: LeaseFolder, status: ReceiptStatus = ReceiptStatus.APPLIED) -> None:
        super().__init__(lambda _: status)
        self._folder = folder

    def lease_values(self, decision: Decision) -> dict[str, Any]:
        return {"about": decision.decision_id}

    def forget(self, decision_id: str) -> None:
        self._held.pop(decision_id, None)

    def apply(self, decision: Decision, now: datetime) -> Receipt:
        self.leased_when_applied = len(self._folder.ids())
        return super().apply(decision, now)

    def revoke(self, decision: Decision, now: datetime) -> Receipt:
        if self.can_undo:
            return super().revoke(decision, now)
        return self._receipt(decision, ReceiptStatus.FAILED, now)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[LeaseFolder]:
    leases = LeaseFolder(str(tmp_path))
    bell = leases.listen()
    yield leases
    os.close(bell)


def _rest_s(folder: LeaseFolder, decision: Decision) -> float | None:
    lease = folder.read(decision.decision_id)
    return None if lease is None else lease.rest_s(NOW.timestamp(), lease.ends_at_boot_s - 3600.0, read_boot_id())


def test_the_lease_is_there_before_the_act_and_gone_after_its_end(folder: LeaseFolder) -> None:
    inner = _Endless(folder)
    enforcer = LeasedEnforcer(inner, folder)
    assert enforcer.apply(build_decision(), NOW).status is ReceiptStatus.APPLIED
    assert inner.leased_when_applied == 1
    assert _rest_s(folder, build_decision()) == 3600.0
    assert enforcer.revoke(build_decision(), NOW).status is ReceiptStatus.REVOKED
    assert folder.ids() == []


def test_without_a_reaper_nothing_is_applied(tmp_path: Path) -> None:
    folder = LeaseFolder(str(tmp_path))
    inner = _Endless(folder)
    enforcer = LeasedEnforcer(inner, folder)
    assert not enforcer.capability.ends_by_itself
    receipt = enforcer.apply(build_decision(), NOW)
    assert receipt.status is ReceiptStatus.FAILED
    assert "no reaper" in receipt.detail
    assert inner.applied == []


def test_with_a_reaper_its_acts_end_by_themselves(folder: LeaseFolder) -> None:
    assert LeasedEnforcer(_Endless(folder), folder).capability.ends_by_itself


def test_what_cannot_be_leased_is_not_applied(folder: LeaseFolder) -> None:
    inner = _Endless(folder)
    (Path(folder.path) / f"{build_decision().decision_id}.draft").mkdir()
    receipt = LeasedEnforcer(inner, folder).apply(build_decision(), NOW)
    assert "cannot be leased" in receipt.detail
    assert inner.applied == []


def test_what_failed_is_undone_and_where_it_cannot_be_the_reaper_does_it(folder: LeaseFolder) -> None:
    inner = _Endless(folder, ReceiptStatus.FAILED)
    enforcer = LeasedEnforcer(inner, folder)
    enforcer.apply(build_decision(), NOW)
    assert (inner.revoked, folder.ids()) == ([build_decision()], [])
    inner.can_undo = False
    enforcer.apply(build_decision(), NOW)
    lease = folder.read(build_decision().decision_id)
    assert lease is not None
    assert lease.ends_at_boot_s == 0.0


def test_what_is_pending_keeps_its_lease(folder: LeaseFolder) -> None:
    LeasedEnforcer(_Endless(folder, ReceiptStatus.PENDING), folder).apply(build_decision(), NOW)
    assert folder.ids() == [build_decision().decision_id]


def test_a_lease_of_what_was_replaced_lapses_once_the_successor_is_in_force(folder: LeaseFolder) -> None:
    enforcer = LeasedEnforcer(_Endless(folder), folder)
    enforcer.apply(build_decision(), NOW)
    enforcer.apply(build_decision(decision_id="00000000000b", replaces=build_decision().decision_id), NOW)
    lease = folder.read(build_decision().decision_id)
    assert lease is not None
    assert lease.ends_at_boot_s == 0.0


def test_what_the_reaper_has_undone_is_in_force_no_longer(folder: LeaseFolder) -> None:
    enforcer = LeasedEnforcer(_Endless(folder), folder)
    enforcer.apply(build_decision(), NOW)
    assert len(enforcer.in_force(NOW)) == 1
    folder.remove(build_decision().decision_id)
    assert enforcer.in_force(NOW) == ()


def test_a_release_of_everything_leaves_the_rest_to_the_reaper(folder: LeaseFolder) -> None:
    LeasedEnforcer(_Endless(folder), folder).apply(build_decision(), NOW)
    after_restart = LeasedEnforcer(_Endless(folder), folder)
    (receipt,) = after_restart.release_all(NOW)
    assert (receipt.decision_id, receipt.status) == (build_decision().decision_id, ReceiptStatus.FAILED)
    lease = folder.read(build_decision().decision_id)
    assert lease is not None
    assert lease.ends_at_boot_s == 0.0
