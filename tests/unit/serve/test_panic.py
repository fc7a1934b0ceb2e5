"""Panic removes everything first and writes it down afterwards, if it can."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from thingwarden.domain.errors import ConfigError, EnforcementError
from thingwarden.domain.response import Receipt, ReceiptStatus
from thingwarden.serve.entries import decision_entry, receipt_entry
from thingwarden.serve.panic import PanicReport, release_everything
from thingwarden.serve.reconcile import reconcile
from thingwarden.serve.standing import read_standings
from thingwarden.serve.store import Journal
from thingwarden.testing import START_S, RecordingEnforcer, build_decision

KEY = b"k" * 32
NOW = datetime.fromtimestamp(START_S, UTC)
FIRST, SECOND = build_decision(), build_decision(decision_id="2" * 12)


class StuckEnforcer(RecordingEnforcer):
    """Lets go of nothing."""

    def release_all(self, now: datetime) -> tuple[Receipt, ...]:
        held = self.in_force(now)
        return tuple(
            Receipt(decision_id=item.decision_id, enforcer="stuck", status=ReceiptStatus.FAILED, at=now, detail="stuck")
            for item in held
        )


class DeadEnforcer(RecordingEnforcer):
    """Cannot be asked."""

    def in_force(self, now: datetime) -> tuple[Receipt, ...]:
        raise EnforcementError("firewall", "no answer")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of two decisions that are meant to be in force."""
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        for decision in (FIRST, SECOND):
            told = Receipt(
                decision_id=decision.decision_id,
                enforcer="recording",
                status=ReceiptStatus.APPLIED,
                at=NOW,
                detail="told",
            )
            journal.append([decision_entry(decision, KEY), receipt_entry(told, "")])
    return path


def panic(path: Path, *enforcers: RecordingEnforcer) -> PanicReport:
    return release_everything(enforcers, lambda: Journal(path), "ada", NOW)


def test_everything_is_removed_and_written_down(path: Path) -> None:
    enforcer, other = RecordingEnforcer(), RecordingEnforcer()
    enforcer.apply(FIRST, NOW)
    other.apply(build_decision(decision_id="f" * 12), NOW)
    report = panic(path, enforcer, other)
    assert {item.decision_id for item in report.removed} == {FIRST.decision_id, "f" * 12}
    assert (report.is_all_removed, report.closed_count, report.journal_why) == (True, 2, "")
    assert enforcer.in_force(NOW) == other.in_force(NOW) == ()
    with Journal(path) as journal:
        assert {item.state.value for item in read_standings(journal, KEY, NOW)} == {"revoked"}
        assert [entry.body["person"] for entry in journal.entries(kind="operator")] == ["ada"]


def test_nothing_is_put_back_afterwards(path: Path) -> None:
    enforcer = RecordingEnforcer()
    enforcer.apply(FIRST, NOW)
    panic(path, enforcer)
    with Journal(path) as journal:
        assert reconcile(journal, enforcer, key=KEY, forbids=lambda _: (), now=NOW) == ()
    assert enforcer.in_force(NOW) == ()


def test_what_remains_is_said_and_not_written_down_as_ended(path: Path) -> None:
    enforcer = StuckEnforcer()
    enforcer.apply(FIRST, NOW)
    report = panic(path, enforcer)
    assert [item.decision_id for item in report.remaining] == [FIRST.decision_id]
    assert (report.removed, report.is_all_removed) == ((), False)
    with Journal(path) as journal:
        states = {item.decision_id: item.state.value for item in read_standings(journal, KEY, NOW)}
    assert states == {FIRST.decision_id: "failed", SECOND.decision_id: "revoked"}


def test_an_enforcer_that_cannot_be_asked_is_named_and_stops_no_other(path: Path) -> None:
    enforcer = RecordingEnforcer()
    enforcer.apply(FIRST, NOW)
    dead = DeadEnforcer()
    report = panic(path, dead, enforcer)
    assert len(report.removed) == 1
    assert report.unasked == ("recording: firewall: no answer",)
    assert not report.is_all_removed


@pytest.mark.parametrize("content", [b"garbage" * 1000, None])
def test_a_broken_journal_stops_nothing(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "journal.sqlite"
    path.mkdir() if content is None else path.write_bytes(content)
    enforcer = RecordingEnforcer()
    enforcer.apply(FIRST, NOW)
    report = panic(path, enforcer)
    assert (report.is_all_removed, enforcer.in_force(NOW)) == (True, ())
    assert "journal" in report.journal_why


def test_a_journal_that_cannot_be_opened_stops_nothing() -> None:
    def fail() -> Journal:
        raise ConfigError("journal", "gone")

    enforcer = RecordingEnforcer()
    enforcer.apply(FIRST, NOW)
    assert release_everything([enforcer], fail, "ada", NOW).journal_why == "journal: gone"
    assert enforcer.in_force(NOW) == ()
