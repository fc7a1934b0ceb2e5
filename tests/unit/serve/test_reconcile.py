"""Reconciliation, remedy by remedy; whatever is killed in between is a property of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from thingwarden.domain.errors import EnforcementError
from thingwarden.domain.response import Act, Decision, Receipt, ReceiptStatus
from thingwarden.enforce.dryrun import DryRunEnforcer
from thingwarden.serve.entries import HumanAct, HumanVerb, decision_entry, human_entry, receipt_entry
from thingwarden.serve.reconcile import Remedy, StepTaken, reconcile
from thingwarden.serve.standing import StandingState, read_standings
from thingwarden.serve.store import Journal
from thingwarden.testing import START_S, RecordingEnforcer, build_decision

KEY = b"k" * 32
NOW = datetime.fromtimestamp(START_S, UTC)
DECISION = build_decision()
A, D, F, R = (ReceiptStatus(name) for name in ("applied", "dry-run", "failed", "revoked"))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def receipt(status: ReceiptStatus, decision: Decision = DECISION, packet_count: int | None = None) -> Receipt:
    return Receipt(
        decision_id=decision.decision_id,
        enforcer="recording",
        status=status,
        at=NOW,
        detail="told before",
        packet_count=packet_count,
    )


def tell(journal: Journal, *receipts: Receipt, decision: Decision = DECISION, key: bytes | None = KEY) -> None:
    journal.append([decision_entry(decision, key), *(receipt_entry(item, "") for item in receipts)])


def mend(
    journal: Journal, enforcer: RecordingEnforcer | DryRunEnforcer, now: datetime = NOW, *forbidden: str
) -> list[StepTaken]:
    return list(reconcile(journal, enforcer, key=KEY, forbids=lambda _: forbidden, now=now))


def remedies(taken: list[StepTaken]) -> list[Remedy]:
    return [item.step.remedy for item in taken]


def state(journal: Journal, now: datetime = NOW) -> StandingState:
    return read_standings(journal, KEY, now)[0].state


def test_what_the_kernel_lost_is_put_back(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    tell(journal, receipt(A))
    assert remedies(mend(journal, enforcer)) == [Remedy.APPLY]
    assert enforcer.applied == [DECISION]
    assert mend(journal, enforcer) == []


def test_what_was_ordered_and_never_applied_is_applied(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    tell(journal)
    assert remedies(mend(journal, enforcer)) == [Remedy.APPLY]
    assert state(journal) is StandingState.IN_FORCE


def test_what_is_in_force_without_a_receipt_is_adopted_and_not_applied_again(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    enforcer.apply(DECISION, NOW)
    tell(journal)
    assert remedies(mend(journal, enforcer)) == [Remedy.ADOPT]
    assert len(enforcer.applied) == 1
    assert state(journal) is StandingState.IN_FORCE


def test_what_nobody_ordered_is_removed_and_said_and_ours_are_put_back(journal: Journal) -> None:
    enforcer, foreign = RecordingEnforcer(), build_decision(decision_id="f" * 12)
    enforcer.apply(foreign, NOW)
    enforcer.apply(DECISION, NOW)
    tell(journal, receipt(A))
    taken = mend(journal, enforcer)
    assert remedies(taken) == [Remedy.SWEEP, Remedy.APPLY]
    assert foreign.decision_id in taken[0].step.why
    assert [item.decision_id for item in enforcer.in_force(NOW)] == [DECISION.decision_id]
    assert [entry.subject for entry in journal.entries(kind="receipt")][1:] == ["f" * 12, DECISION.decision_id]
    assert mend(journal, enforcer) == []


@pytest.mark.parametrize("key", [None, b"o" * 32])
def test_what_policy_did_not_sign_is_refused_and_said_once(journal: Journal, key: bytes | None) -> None:
    enforcer = RecordingEnforcer()
    tell(journal, key=key)
    taken = mend(journal, enforcer)
    assert remedies(taken) == [Remedy.DISTRUST]
    assert taken[0].receipts[0].status is F
    assert enforcer.applied == []
    assert mend(journal, enforcer) == []


def test_what_is_in_force_by_a_forged_order_is_removed(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    enforcer.apply(DECISION, NOW)
    tell(journal, receipt(A), key=b"o" * 32)
    assert remedies(mend(journal, enforcer)) == [Remedy.SWEEP, Remedy.DISTRUST]
    assert enforcer.in_force(NOW) == ()
    assert mend(journal, enforcer) == []


def test_what_has_ended_is_written_down_with_its_last_counters(journal: Journal) -> None:
    tell(journal, receipt(A), receipt(A, packet_count=17))
    taken = mend(journal, RecordingEnforcer(), DECISION.expires_at)
    assert remedies(taken) == [Remedy.CLOSE]
    (told,) = taken[0].receipts
    assert (told.status, told.packet_count) == (ReceiptStatus.EXPIRED, 17)
    assert mend(journal, RecordingEnforcer(), DECISION.expires_at) == []


def test_a_revocation_that_was_not_carried_out_is(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    enforcer.apply(DECISION, NOW)
    tell(journal, receipt(A))
    act = HumanAct(verb=HumanVerb.REVOKE, subject_id=DECISION.decision_id, person="ada")
    journal.append([human_entry(act, "", NOW)])
    taken = mend(journal, enforcer)
    assert remedies(taken) == [Remedy.UNDO]
    assert taken[0].step.why == "revoked by ada"
    assert state(journal) is StandingState.REVOKED


def test_what_todays_policy_forbids_is_ended(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    enforcer.apply(DECISION, NOW)
    tell(journal, receipt(A))
    taken = mend(journal, enforcer, NOW, "it is on the allow list")
    assert remedies(taken) == [Remedy.UNDO]
    assert "allow list" in taken[0].step.why
    assert mend(journal, enforcer, NOW, "it is on the allow list") == []


def test_what_todays_policy_forbids_is_not_put_back(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    tell(journal, receipt(A))
    assert remedies(mend(journal, enforcer, NOW, "it is protected")) == [Remedy.CLOSE]
    assert enforcer.applied == []


def test_a_dry_run_is_never_put_into_force(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    tell(journal, receipt(D))
    assert mend(journal, enforcer) == []
    assert enforcer.applied == []


def test_a_notification_is_not_given_again(journal: Journal) -> None:
    enforcer, notice = RecordingEnforcer(), build_decision(act=Act.NOTIFY)
    tell(journal, receipt(A, notice), decision=notice)
    assert mend(journal, enforcer) == []
    assert enforcer.applied == []


def test_the_dry_run_applies_nothing_twice(journal: Journal) -> None:
    tell(journal)
    assert remedies(mend(journal, DryRunEnforcer())) == [Remedy.APPLY]
    assert mend(journal, DryRunEnforcer()) == []


def test_a_successor_that_was_not_applied_takes_its_place_without_a_gap(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    enforcer.apply(DECISION, NOW)
    successor = build_decision(decision_id="2" * 12, replaces=DECISION.decision_id)
    tell(journal, receipt(A))
    tell(journal, decision=successor)
    assert remedies(mend(journal, enforcer)) == [Remedy.APPLY]
    assert enforcer.revoked == []
    assert [item.decision_id for item in enforcer.in_force(NOW)] == [successor.decision_id]
    assert [item.state.value for item in read_standings(journal, KEY, NOW)] == ["replaced", "in-force"]
    assert mend(journal, enforcer) == []


def test_a_failure_is_written_down_and_tried_again(journal: Journal) -> None:
    tell(journal, receipt(A))
    (taken,) = mend(journal, RecordingEnforcer(lambda _: F))
    assert taken.has_failed
    enforcer = RecordingEnforcer()
    assert remedies(mend(journal, enforcer)) == [Remedy.APPLY]
    assert enforcer.applied == [DECISION]


class MuteEnforcer(RecordingEnforcer):
    """Cannot say what is in force, or cannot let go of it."""

    def __init__(self, is_mute: bool) -> None:
        super().__init__()
        self._is_mute = is_mute

    def in_force(self, now: datetime) -> tuple[Receipt, ...]:
        if self._is_mute:
            raise EnforcementError("firewall", "no answer")
        return super().in_force(now)

    def release_all(self, now: datetime) -> tuple[Receipt, ...]:
        return tuple(receipt(F, build_decision(decision_id=item.decision_id)) for item in self.in_force(now))


def test_where_the_enforcer_cannot_be_asked_nothing_is_changed(journal: Journal) -> None:
    tell(journal, receipt(A))
    enforcer = MuteEnforcer(is_mute=True)
    with pytest.raises(EnforcementError):
        mend(journal, enforcer)
    assert (enforcer.applied, journal.verify().entry_count) == ([], 2)


def test_where_a_sweep_fails_nothing_more_is_done(journal: Journal) -> None:
    enforcer = MuteEnforcer(is_mute=False)
    enforcer.apply(build_decision(decision_id="f" * 12), NOW)
    tell(journal, receipt(A))
    (taken,) = mend(journal, enforcer)
    assert (taken.step.remedy, taken.has_failed) == (Remedy.SWEEP, True)
    assert [item.decision_id for item in enforcer.applied] == ["f" * 12]


def test_nothing_is_reapplied_beyond_its_time(journal: Journal) -> None:
    enforcer = RecordingEnforcer()
    tell(journal, receipt(A))
    mend(journal, enforcer, DECISION.expires_at + timedelta(seconds=1))
    assert enforcer.applied == []
