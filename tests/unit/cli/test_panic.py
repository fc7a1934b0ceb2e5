"""``thingwarden panic``: everything goes, whatever else is broken; what does not is exit code 5."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from desk_builder import ISOLATE_ID, Site, build_site, enforcing
from thingwarden.domain.response import Decision, Receipt, ReceiptStatus
from thingwarden.testing import RecordingEnforcer

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return build_site(tmp_path)


@pytest.fixture
def enforcer(site: Site) -> Iterator[RecordingEnforcer]:
    held = RecordingEnforcer()
    with enforcing(site, held):
        yield held


def test_everything_is_removed_without_a_question_where_nobody_can_answer(
    site: Site, enforcer: RecordingEnforcer, capsys: Capsys
) -> None:
    decision = site.order(enforcer)
    site.run(capsys, "decisions", "approve", ISOLATE_ID, "--yes")
    code, (report,) = site.run(capsys, "panic")
    assert (code, len(report["removed"]), report["remaining"], report["unasked"]) == (0, 2, [], [])
    assert (report["closed_count"], report["journal_why"]) == (2, None)
    assert enforcer.in_force(datetime.now(UTC)) == ()
    assert site.run(capsys, "decisions", "list", "--active") == (0, [])
    assert site.run(capsys, "decisions", "reconcile") == (0, [])
    assert decision.decision_id in {item["decision_id"] for item in report["removed"]}


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 130, 1), (b"y\n", 0, 0)])
def test_on_a_terminal_a_person_is_asked(
    site: Site, enforcer: RecordingEnforcer, answer: bytes, code: int, left: int
) -> None:
    site.order(enforcer)
    master, slave = pty.openpty()
    os.write(master, answer)
    words = [sys.executable, "-m", "thingwarden", "panic", "--config", str(site.config)]
    finished = subprocess.run(words, stdin=slave, capture_output=True, text=True, timeout=30)
    os.close(master)
    os.close(slave)
    assert (finished.returncode, len(enforcer.in_force(datetime.now(UTC)))) == (code, left), finished.stderr


def test_a_broken_journal_stops_nothing_and_is_said(site: Site, enforcer: RecordingEnforcer, capsys: Capsys) -> None:
    site.order(enforcer)
    site.journal.write_bytes(b"garbage" * 1000)
    code, said = site.say(capsys, "panic", "--yes")
    assert (code, enforcer.in_force(datetime.now(UTC))) == (0, ())
    assert "not in the journal" in said


def test_a_broken_configuration_stops_nothing_and_is_said(
    site: Site, enforcer: RecordingEnforcer, capsys: Capsys
) -> None:
    site.order(enforcer)
    site.config.write_text(site.config.read_text() + '[detect]\nidle_s = "long"\n[nonsense]\n')
    assert site.run(capsys, "decisions", "list")[0] == 2
    code, said = site.say(capsys, "panic", "--yes")
    assert (code, enforcer.in_force(datetime.now(UTC))) == (0, ())
    assert said.count("passed over:") == 2


def test_the_socket_is_asked_even_where_the_dry_run_is_configured(
    site: Site, enforcer: RecordingEnforcer, capsys: Capsys
) -> None:
    site.order(enforcer)
    site.config.write_text(site.config.read_text().replace('"socket"', '"dry-run"'))
    assert site.run(capsys, "panic")[0] == 0
    assert enforcer.in_force(datetime.now(UTC)) == ()


def test_a_dead_enforcer_is_exit_code_5(site: Site, capsys: Capsys) -> None:
    code, said = site.say(capsys, "panic", "--yes")
    assert code == 5
    assert "could not be asked" in said


def test_a_missing_key_is_exit_code_5(site: Site, enforcer: RecordingEnforcer, capsys: Capsys, tmp_path: Path) -> None:
    (tmp_path / "key").unlink()
    code, (report,) = site.run(capsys, "panic")
    assert code == 5
    assert "key" in report["unasked"][0]


class StuckEnforcer(RecordingEnforcer):
    """Lets go of nothing."""

    def revoke(self, decision: Decision, now: datetime) -> Receipt:
        return self._receipt(decision, ReceiptStatus.FAILED, now)


def test_what_remains_is_exit_code_5_and_named(site: Site, capsys: Capsys) -> None:
    with enforcing(site, StuckEnforcer()) as enforcer:
        decision = site.order(enforcer)
        code, said = site.say(capsys, "panic", "--yes")
    assert code == 5
    assert f"still in force: {decision.decision_id}" in said


def test_where_nothing_is_configured_there_is_nothing_to_remove(tmp_path: Path, capsys: Capsys) -> None:
    site = build_site(tmp_path, is_enforced=False)
    code, (report,) = site.run(capsys, "panic", "--as", "ada")
    assert (code, report["removed"], report["journal_why"]) == (0, [], None)
