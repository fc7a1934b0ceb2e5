"""Decisions as signed POSTs to a real receiver that is flaky, slow, dead, or refuses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from receiver_builder import PlanReceiver, receive, write_secret
from thingwarden.domain.errors import ConfigError, EnforcementError
from thingwarden.domain.plan import encode_decision
from thingwarden.domain.response import Act, Decision, ReceiptStatus
from thingwarden.enforce.courier import Receiver
from thingwarden.enforce.webhook import MAX_WAITING, WebhookEnforcer, build_enforcer, undo
from thingwarden.testing import build_decision

NOW = datetime.fromtimestamp(1_700_000_000, UTC)


@contextmanager
def _enforcer(receiver: PlanReceiver, folder: Path, **options: float) -> Iterator[WebhookEnforcer]:
    target = Receiver(url=receiver.url, secret=write_secret(folder))
    enforcer = WebhookEnforcer(target, **{"confirm_within_s": 2.0, "deliver_within_s": 5.0, **options})
    try:
        yield enforcer
    finally:
        enforcer.close()


def _other(number: int, **changes: str) -> Decision:
    return build_decision(decision_id=f"{number:012x}", **changes)


def _ids(enforcer: WebhookEnforcer) -> set[str]:
    return {item.decision_id for item in enforcer.in_force(NOW)}


def test_an_act_is_the_plan_posted_once_and_its_end_likewise(tmp_path: Path) -> None:
    with receive() as receiver, _enforcer(receiver, tmp_path) as enforcer:
        receipt = enforcer.apply(build_decision(), NOW)
        assert (receipt.status, receipt.detail[-12:]) == (ReceiptStatus.APPLIED, "answered 204")
        assert receiver.held == _ids(enforcer) == {build_decision().decision_id}
        assert enforcer.revoke(build_decision(), NOW).status is ReceiptStatus.REVOKED
    assert receiver.held == set()
    assert receiver.kinds() == ["decision.apply", "decision.undo"]
    assert receiver.messages[0][1]["data"] == encode_decision(build_decision())
    assert [headers["idempotency-key"] for headers, _ in receiver.messages] == [
        build_decision().decision_id,
        f"{build_decision().decision_id}-undo",
    ]


def test_a_flaky_receiver_is_asked_again_with_the_same_key(tmp_path: Path) -> None:
    with receive() as receiver, _enforcer(receiver, tmp_path) as enforcer:
        receiver.statuses = [500, 503, 429]
        assert enforcer.apply(build_decision(), NOW).status is ReceiptStatus.APPLIED
    assert len({headers["idempotency-key"] for headers, _ in receiver.messages}) == 1
    assert len(receiver.messages) == 4


@pytest.mark.parametrize("status", [301, 307, 400, 403, 404])
def test_what_is_refused_is_not_asked_again_and_needs_no_undo(tmp_path: Path, status: int) -> None:
    with receive() as receiver, _enforcer(receiver, tmp_path) as enforcer:
        receiver.statuses = [status]
        receipt = enforcer.apply(build_decision(), NOW)
        assert receipt.status is ReceiptStatus.FAILED
        assert f"answered {status}" in receipt.detail
        assert enforcer.revoke(build_decision(), NOW).status is ReceiptStatus.REVOKED
        assert _ids(enforcer) == set()
    assert len(receiver.messages) == 1


def test_a_slow_receiver_keeps_nobody_waiting_and_shows_once_it_confirmed(tmp_path: Path) -> None:
    with receive(pause_s=0.3) as receiver, _enforcer(receiver, tmp_path, confirm_within_s=0.03) as enforcer:
        before_s = time.monotonic()
        receipt = enforcer.apply(build_decision(), NOW)
        assert time.monotonic() - before_s < 0.2
        assert (receipt.status, _ids(enforcer)) == (ReceiptStatus.PENDING, set())
        receiver.wait_until(lambda: _ids(enforcer) == {build_decision().decision_id})
        assert enforcer.revoke(build_decision(), NOW).status is ReceiptStatus.FAILED
        receiver.wait_until(lambda: not _ids(enforcer))
        assert receiver.held == set()


def test_what_was_given_up_is_undone_since_it_may_have_arrived(tmp_path: Path) -> None:
    with receive() as receiver, _enforcer(receiver, tmp_path, deliver_within_s=0.5) as enforcer:
        receiver.statuses = [500, 500, 500]
        receipt = enforcer.apply(build_decision(), NOW)
        assert receipt.status is ReceiptStatus.FAILED
        assert "given up" in receipt.detail
        receiver.wait_until(lambda: "decision.undo" in receiver.kinds())


def test_an_act_is_not_delivered_after_its_end(tmp_path: Path) -> None:
    brief = replace(build_decision(), expires_at=NOW + timedelta(seconds=0.3))
    with receive() as receiver, _enforcer(receiver, tmp_path, deliver_within_s=30.0) as enforcer:
        receiver.statuses = [500] * 3
        assert "given up" in enforcer.apply(brief, NOW).detail
        assert receiver.held == set()


def test_an_end_overtakes_an_act_that_is_still_on_its_way(tmp_path: Path) -> None:
    with receive() as receiver, _enforcer(receiver, tmp_path, confirm_within_s=0.05) as enforcer:
        receiver.statuses = [500]
        assert enforcer.apply(build_decision(), NOW).status is ReceiptStatus.PENDING
        enforcer.revoke(build_decision(), NOW)
        time.sleep(0.6)
        assert receiver.held == set()
        assert receiver.kinds() == ["decision.apply", "decision.undo"]


def test_a_successor_ends_what_it_replaces_once_it_is_in_force(tmp_path: Path) -> None:
    with receive() as receiver, _enforcer(receiver, tmp_path) as enforcer:
        enforcer.apply(_other(1), NOW)
        enforcer.apply(_other(2, replaces=_other(1).decision_id), NOW)
        receiver.wait_until(lambda: receiver.held == {_other(2).decision_id})
        receiver.wait_until(lambda: _ids(enforcer) == {_other(2).decision_id})
    assert receiver.kinds() == ["decision.apply", "decision.apply", "decision.undo"]


def test_everything_is_released_also_what_is_on_its_way(tmp_path: Path) -> None:
    with receive() as receiver, _enforcer(receiver, tmp_path) as enforcer:
        for number in range(5):
            enforcer.apply(_other(number), NOW)
        assert {item.status for item in enforcer.release_all(NOW)} == {ReceiptStatus.REVOKED}
        assert receiver.held == _ids(enforcer) == set()


def test_what_only_a_lease_tells_of_is_listed_and_left_to_the_reaper(tmp_path: Path) -> None:
    with receive() as receiver:
        target = Receiver(url=receiver.url, secret=write_secret(tmp_path))
        enforcer = WebhookEnforcer(target, held=["00000000000a", "00000000000b"])
        enforcer.forget("00000000000b")
        assert _ids(enforcer) == {"00000000000a"}
        (receipt,) = enforcer.release_all(NOW)
        assert (receipt.status, receipt.decision_id) == (ReceiptStatus.FAILED, "00000000000a")
        enforcer.close()


def test_too_many_messages_are_refused(tmp_path: Path) -> None:
    with receive(pause_s=0.5) as receiver, _enforcer(receiver, tmp_path, confirm_within_s=0.0) as enforcer:
        statuses = [enforcer.apply(_other(number), NOW).status for number in range(MAX_WAITING + 10)]
        assert statuses.count(ReceiptStatus.PENDING) in (MAX_WAITING, MAX_WAITING + 1)
        assert statuses[-1] is ReceiptStatus.FAILED


def test_a_process_that_knows_only_the_lease_can_undo(tmp_path: Path) -> None:
    with receive() as receiver:
        with _enforcer(receiver, tmp_path) as enforcer:
            enforcer.apply(build_decision(), NOW)
            values = enforcer.lease_values(build_decision())
        undo(values)
        assert receiver.held == set()
        receiver.statuses = [404, 500]
        undo(values)
        with pytest.raises(EnforcementError, match="answered 500"):
            undo(values)
    with pytest.raises(EnforcementError, match="refused"):
        undo(values)
    with pytest.raises(ConfigError, match="plan"):
        undo({**values, "plan": {}})


def _without(name: str) -> Callable[[dict[str, object]], dict[str, object]]:
    return lambda options: {key: value for key, value in options.items() if key != name}


@pytest.mark.parametrize(
    "change",
    [_without("url"), _without("acts"), lambda options: {**options, "acts": ["explode"]}],
    ids=["no-url", "no-acts", "strange-act"],
)
def test_options_are_checked(tmp_path: Path, change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    options = {"url": "http://localhost:1/", "secret": str(write_secret(tmp_path)), "acts": ["block_peer", "notify"]}
    enforcer = build_enforcer(options, ())
    assert enforcer.capability.acts == {Act.BLOCK_PEER}
    enforcer.close()
    with pytest.raises(ConfigError, match="webhook's"):
        build_enforcer(change(options), ())
