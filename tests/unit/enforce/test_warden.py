"""From a sealed order to receipts, over restarts, clock jumps and failing parts."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from enforcer_builder import KEY, ManualMachine, TimeoutEnforcer, build_warden
from thingwarden.domain.errors import EnforcementError, RequestError
from thingwarden.domain.order import Order, OrderVerb, seal_order
from thingwarden.domain.response import Act, Decision, Receipt, ReceiptStatus
from thingwarden.enforce.dryrun import DryRunEnforcer
from thingwarden.enforce.guard import Bounds, GuardSettings, KnownHosts
from thingwarden.enforce.holdings import COMPACT_ABOVE_LINES
from thingwarden.enforce.warden import Channel, Warden, machine_clocks
from thingwarden.testing import build_decision

ONE = GuardSettings(automatic=Bounds(devices=1, peers=1, decisions_per_minute=2))


def _order(
    warden: Warden, verb: OrderVerb, decision: Decision | None = None, channel: Channel | None = None
) -> tuple[Receipt, ...]:
    channel = channel or warden.open_channel()
    order = Order(verb=verb, decision=decision, challenge=channel.challenge, number=channel.number + 1)
    return warden.handle(channel, seal_order(order, KEY))


def _apply(warden: Warden, decision: Decision) -> Receipt:
    (receipt,) = _order(warden, OrderVerb.APPLY, decision)
    return receipt


def _other(number: int) -> Decision:
    decision = build_decision(decision_id=f"{number:012x}")
    assert decision.target.device is not None
    device = replace(decision.target.device, index=number, mac=f"02:00:00:00:01:{number:02x}")
    return replace(decision, target=replace(decision.target, device=device))


def test_a_genuine_order_is_carried_out_and_undone(tmp_path: Path) -> None:
    enforcer = TimeoutEnforcer(ManualMachine())
    warden = build_warden(enforcer, tmp_path, machine=enforcer.machine)
    assert _apply(warden, build_decision()).status is ReceiptStatus.APPLIED
    assert [item.decision_id for item in _order(warden, OrderVerb.IN_FORCE)] == [build_decision().decision_id]
    (receipt,) = _order(warden, OrderVerb.REVOKE, build_decision())
    assert receipt.status is ReceiptStatus.REVOKED
    assert _order(warden, OrderVerb.IN_FORCE) == ()


def test_what_is_forged_repeated_or_of_another_channel_is_not_carried_out(tmp_path: Path) -> None:
    enforcer = TimeoutEnforcer(ManualMachine())
    warden = build_warden(enforcer, tmp_path, machine=enforcer.machine)
    channel = warden.open_channel()
    order = Order(verb=OrderVerb.APPLY, decision=build_decision(), challenge=channel.challenge, number=1)
    with pytest.raises(RequestError, match="its seal is not policy's"):
        warden.handle(channel, seal_order(order, bytes(32)))
    with pytest.raises(RequestError, match="another channel"):
        warden.handle(warden.open_channel(), seal_order(order, KEY))
    assert not enforcer.held()
    warden.handle(channel, seal_order(order, KEY))
    enforcer.revoke(build_decision(), build_decision().decided_at)
    with pytest.raises(RequestError, match="given before"):
        warden.handle(channel, seal_order(order, KEY))
    assert not enforcer.held()


def test_a_refusal_of_the_guard_is_a_failed_receipt_with_the_reason(tmp_path: Path) -> None:
    enforcer = TimeoutEnforcer(ManualMachine())
    router = KnownHosts(addresses=frozenset({ipaddress.ip_address("192.168.1.10")}))
    warden = build_warden(enforcer, tmp_path, machine=enforcer.machine, hosts=router)
    receipt = _apply(warden, build_decision())
    assert receipt.status is ReceiptStatus.FAILED
    assert receipt.detail == "refused by the enforcer's guard: 192.168.1.10 is protected"
    assert not enforcer.held()


def test_bounds_survive_restarts_and_end_with_what_they_counted(tmp_path: Path) -> None:
    machine = ManualMachine()
    enforcer = TimeoutEnforcer(machine)
    warden = build_warden(enforcer, tmp_path, machine=machine, settings=ONE)
    assert _apply(warden, _other(1)).status is ReceiptStatus.APPLIED
    warden.close()
    warden = build_warden(enforcer, tmp_path, machine=machine, settings=ONE)
    assert "1 devices" in _apply(warden, _other(2)).detail
    machine.run(3700.0)
    warden.tick()
    later = replace(_other(2), expires_at=_other(2).expires_at + timedelta(hours=3))
    assert _apply(warden, later).status is ReceiptStatus.APPLIED


def test_decisions_of_a_minute_are_counted_over_a_restart(tmp_path: Path) -> None:
    machine = ManualMachine()
    enforcer = TimeoutEnforcer(machine)
    settings = GuardSettings(automatic=Bounds(devices=9, peers=9, decisions_per_minute=2))
    for number in (1, 2):
        warden = build_warden(enforcer, tmp_path, machine=machine, settings=settings)
        assert _apply(warden, _other(number)).status is ReceiptStatus.APPLIED
        _order(warden, OrderVerb.REVOKE, _other(number))
        warden.close()
    warden = build_warden(enforcer, tmp_path, machine=machine, settings=settings)
    assert "within a minute" in _apply(warden, _other(3)).detail
    machine.run(61.0)
    assert _apply(warden, _other(3)).status is ReceiptStatus.APPLIED


def test_an_act_that_another_one_ended_counts_no_longer(tmp_path: Path) -> None:
    machine = ManualMachine()
    enforcer = TimeoutEnforcer(machine)
    warden = build_warden(enforcer, tmp_path, machine=machine, settings=ONE)
    _apply(warden, _other(1))
    enforcer.revoke(_other(1), _other(1).decided_at)
    warden.close()
    warden = build_warden(enforcer, tmp_path, machine=machine, settings=ONE)
    assert _apply(warden, _other(2)).status is ReceiptStatus.APPLIED


def test_a_successor_takes_the_place_of_what_it_replaces(tmp_path: Path) -> None:
    enforcer = TimeoutEnforcer(ManualMachine())
    warden = build_warden(enforcer, tmp_path, machine=enforcer.machine)
    _apply(warden, build_decision())
    successor = build_decision(decision_id="00000000000b", replaces=build_decision().decision_id)
    _apply(warden, successor)
    assert enforcer.held() == [successor]
    warden.close()
    warden = build_warden(enforcer, tmp_path, machine=enforcer.machine)
    warden.release_all()
    assert not enforcer.held()


def test_a_clock_that_is_set_back_gives_no_second_life(tmp_path: Path) -> None:
    machine = ManualMachine()
    enforcer = TimeoutEnforcer(machine)
    warden = build_warden(enforcer, tmp_path, machine=machine)
    _apply(warden, build_decision())
    machine.run(3601.0)
    assert not enforcer.held()
    machine.wall_s -= 3600.0
    assert "was the clock set back?" in _apply(warden, build_decision()).detail
    warden.close()
    warden = build_warden(enforcer, tmp_path, machine=machine)
    assert "was the clock set back?" in _apply(warden, build_decision()).detail
    warden.close()
    machine.boot_id, machine.boot_s = "second", 1.0
    warden = build_warden(enforcer, tmp_path, machine=machine)
    assert "was the clock set back?" in _apply(warden, build_decision()).detail


def test_a_clock_that_leaps_ahead_ends_what_is_over_by_it(tmp_path: Path) -> None:
    machine = ManualMachine()
    enforcer = TimeoutEnforcer(machine)
    warden = build_warden(enforcer, tmp_path, machine=machine)
    _apply(warden, build_decision())
    machine.wall_s += 3603.0
    assert enforcer.held()
    warden.tick()
    assert not enforcer.held()


def test_while_acts_are_held_the_time_is_written_down(tmp_path: Path) -> None:
    machine = ManualMachine()
    enforcer = TimeoutEnforcer(machine)
    warden = build_warden(enforcer, tmp_path, machine=machine)
    assert warden.tick() > 5.0
    _apply(warden, build_decision())
    for _ in range(3):
        machine.run(61.0)
        assert warden.tick() <= 1.0
    warden.close()
    machine.wall_s -= 183.0
    machine.boot_id, machine.boot_s = "second", 1.0
    warden = build_warden(enforcer, tmp_path, machine=machine)
    brief = replace(_other(2), expires_at=build_decision().decided_at + timedelta(seconds=180))
    assert "was the clock set back?" in _apply(warden, brief).detail


class _BlindEnforcer(TimeoutEnforcer):
    def in_force(self, now: datetime) -> tuple[Receipt, ...]:
        raise EnforcementError("table", "gone")


def test_where_the_network_cannot_be_asked_everything_remembered_still_counts(tmp_path: Path) -> None:
    machine = ManualMachine()
    warden = build_warden(_BlindEnforcer(machine), tmp_path, machine=machine, settings=ONE)
    _apply(warden, _other(1))
    warden.close()
    enforcer = _BlindEnforcer(machine)
    warden = build_warden(enforcer, tmp_path, machine=machine, settings=ONE)
    assert "1 devices" in _apply(warden, _other(2)).detail
    with pytest.raises(EnforcementError):
        _order(warden, OrderVerb.IN_FORCE)


def test_what_cannot_be_remembered_is_not_applied(tmp_path: Path) -> None:
    enforcer = TimeoutEnforcer(ManualMachine())
    warden = build_warden(enforcer, tmp_path, machine=enforcer.machine)
    warden.close()
    receipt = _apply(warden, build_decision())
    assert receipt.status is ReceiptStatus.FAILED
    assert "cannot be remembered" in receipt.detail
    assert not enforcer.held()


def test_a_dry_run_and_a_failure_use_up_no_bound(tmp_path: Path) -> None:
    settings = GuardSettings(automatic=Bounds(devices=1, peers=1, decisions_per_minute=50))
    warden = build_warden(DryRunEnforcer(), tmp_path, settings=settings)
    for number in (1, 2, 3):
        assert _apply(warden, _other(number)).status is ReceiptStatus.DRY_RUN
    assert _apply(warden, build_decision(act=Act.NOTIFY)).status is ReceiptStatus.DRY_RUN


def test_a_long_file_is_written_anew_and_forgets_nothing(tmp_path: Path) -> None:
    machine = ManualMachine()
    enforcer = TimeoutEnforcer(machine)
    warden = build_warden(enforcer, tmp_path, machine=machine, settings=ONE)
    _apply(warden, _other(1))
    file = tmp_path / "holdings.jsonl"
    for _ in range(COMPACT_ABOVE_LINES + 10):
        warden._holdings.add_clock(machine.wall_s, machine.boot_s)
    warden.tick()
    assert len(file.read_bytes().splitlines()) > COMPACT_ABOVE_LINES, "an order came a moment ago"
    machine.run(6.0)
    warden.tick()
    assert len(file.read_bytes().splitlines()) < 10
    warden.close()
    warden = build_warden(enforcer, tmp_path, machine=machine, settings=ONE)
    assert "1 devices" in _apply(warden, _other(2)).detail


def test_the_machines_clocks_agree_with_themselves() -> None:
    clocks = machine_clocks()
    assert clocks.boot_s() <= clocks.boot_s() < clocks.wall_s()
    assert len(clocks.boot_id) == 36
