"""What every Enforcer must do, whatever it does it with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker_builder import running_broker
from enforcer_builder import KEY, build_warden, serve
from network_builder import own_network
from receiver_builder import receive, write_secret
from thingwarden.domain.ports import Enforcer
from thingwarden.domain.response import ACTS_WITHIN, ReceiptStatus
from thingwarden.enforce.client import SocketEnforcer
from thingwarden.enforce.courier import Receiver
from thingwarden.enforce.dispatch import EnforcerSet
from thingwarden.enforce.dryrun import DryRunEnforcer
from thingwarden.enforce.leased import LeasedEnforcer
from thingwarden.enforce.leases import LeaseFolder
from thingwarden.enforce.mosquitto import MosquittoEnforcer
from thingwarden.enforce.nftables import NftablesEnforcer
from thingwarden.enforce.webhook import WebhookEnforcer
from thingwarden.testing import ManualClock, RecordingEnforcer, build_decision

ENFORCERS: dict[str, Callable[[], Enforcer]] = {
    "dry-run": DryRunEnforcer,
    "recording": RecordingEnforcer,
    "set": lambda: EnforcerSet([RecordingEnforcer()]),
}

BEHIND_A_SOCKET: dict[str, Callable[[], Enforcer]] = {"socket-dry-run": DryRunEnforcer, "socket": RecordingEnforcer}


NFTABLES = pytest.param("nftables", marks=pytest.mark.root)


@pytest.fixture(params=[*ENFORCERS, *BEHIND_A_SOCKET, "webhook", "leased", "mosquitto", NFTABLES])
def enforcer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Enforcer]:
    if request.param in ENFORCERS:
        yield ENFORCERS[request.param]()
        return
    if request.param == "mosquitto":
        with running_broker(tmp_path) as address:
            broker = MosquittoEnforcer(address)
            yield broker
            broker.close()
        return
    if request.param == "nftables":
        with own_network():
            yield NftablesEnforcer()
        return
    if request.param in ("webhook", "leased"):
        with receive() as receiver:
            target = Receiver(url=receiver.url, secret=write_secret(tmp_path))
            webhook = WebhookEnforcer(target, confirm_within_s=2.0)
            leases = LeaseFolder(str(tmp_path / "leases"))
            bell = leases.listen()
            yield webhook if request.param == "webhook" else LeasedEnforcer(webhook, leases)
            webhook.close()
            os.close(bell)
        return
    with serve(build_warden(BEHIND_A_SOCKET[request.param](), tmp_path / "state"), tmp_path / "socket"):
        yield SocketEnforcer(tmp_path / "socket", KEY)


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


def test_it_can_do_only_what_its_place_allows(enforcer: Enforcer) -> None:
    assert enforcer.capability.acts <= ACTS_WITHIN[enforcer.capability.reach]


def test_in_force_is_what_was_applied_and_not_undone(enforcer: Enforcer) -> None:
    clock, decision = ManualClock(), build_decision()
    is_applied = enforcer.apply(decision, clock()).status is ReceiptStatus.APPLIED
    held = [receipt.decision_id for receipt in enforcer.in_force(clock.advance(1))]
    assert held == ([decision.decision_id] if is_applied else [])
    enforcer.revoke(decision, clock.advance(1))
    assert enforcer.in_force(clock()) == ()


def test_releasing_everything_leaves_nothing(enforcer: Enforcer) -> None:
    clock, decision = ManualClock(), build_decision()
    enforcer.apply(decision, clock())
    assert all(receipt.status is ReceiptStatus.REVOKED for receipt in enforcer.release_all(clock.advance(1)))
    assert enforcer.in_force(clock()) == ()
