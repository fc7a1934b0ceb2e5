"""What every Enforcer must do, whatever it does it with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from thingwarden.domain.ports import Enforcer
from thingwarden.domain.response import ReceiptStatus
from thingwarden.enforce.dryrun import DryRunEnforcer
from thingwarden.testing import ManualClock, RecordingEnforcer, build_decision

ENFORCERS: dict[str, Callable[[], Enforcer]] = {"dry-run": DryRunEnforcer, "recording": RecordingEnforcer}


@pytest.fixture(params=ENFORCERS)
def enforcer(request: pytest.FixtureRequest) -> Enforcer:
    return ENFORCERS[request.param]()


def test_every_decision_gets_a_receipt_of_its_own(enforcer: Enforcer) -> None:
    clock, decision = ManualClock(), build_decision()
    receipt = enforcer.apply(decision, clock.advance(3))
    assert (receipt.decision_id, receipt.enforcer, receipt.at) == (decision.decision_id, enforcer.name, clock())
    assert receipt.status in {ReceiptStatus.APPLIED, ReceiptStatus.DRY_RUN, ReceiptStatus.FAILED}
    assert receipt.detail


def test_what_was_applied_can_be_revoked_twice(enforcer: Enforcer) -> None:
    clock, decision = ManualClock(), build_decision()
    enforcer.apply(decision, clock())
    for _ in range(2):
        assert enforcer.revoke(decision, clock.advance(1)).status is ReceiptStatus.REVOKED


def test_undoing_what_never_was_succeeds(enforcer: Enforcer) -> None:
    assert enforcer.revoke(build_decision(), ManualClock()()).status is ReceiptStatus.REVOKED
