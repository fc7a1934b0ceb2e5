"""``thingwarden decisions`` on a real journal, against an enforcer behind a real socket."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from desk_builder import BLOCK, ISOLATE_ID, Site, build_site, enforcing
from thingwarden.domain.response import Decision, ReceiptStatus
from thingwarden.respond.rules import PolicySettings
from thingwarden.serve.store import Journal
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


def held_ids(enforcer: RecordingEnforcer) -> list[str]:
    return [receipt.decision_id for receipt in enforcer.in_force(datetime.now(UTC))]


def test_what_awaits_is_listed_shown_and_approved_as_shown(
    site: Site, enforcer: RecordingEnforcer, capsys: Capsys
) -> None:
    code, (listed,) = site.run(capsys, "decisions", "list", "--awaiting")
    assert (code, listed["type"], listed["proposal_id"]) == (0, "awaiting", ISOLATE_ID)
    code, (shown,) = site.run(capsys, "decisions", "show", ISOLATE_ID[:6])
    assert (code, shown["reasons"]) == (
        0,
        ["isolate needs approval: alone at most quarantine (orders.automatic_up_to)"],
    )
    code, (outcome,) = site.run(
        capsys, "decisions", "approve", ISOLATE_ID[:6], "--shown", shown["shown"], "--as", "ada"
    )
    assert (code, outcome["decision"]["approved_by"]) == (0, "ada")
    assert [receipt["status"] for receipt in outcome["receipts"]] == ["applied"]
    assert held_ids(enforcer) == [outcome["decision"]["decision_id"]]
    code, (standing,) = site.run(capsys, "decisions", "list")
    assert (standing["state"], standing["is_in_force"]) == ("in-force", True)
    assert site.run(capsys, "decisions", "approve", ISOLATE_ID, "--yes")[0] == 2


def test_another_plan_than_was_shown_is_not_ordered(site: Site, enforcer: RecordingEnforcer, capsys: Capsys) -> None:
    code, said = site.say(capsys, "decisions", "approve", ISOLATE_ID, "--shown", "0" * 12)
    assert (code, held_ids(enforcer)) == (2, [])
    assert "not what was shown" in said


def test_where_nobody_can_be_asked_nothing_is_ordered(site: Site, enforcer: RecordingEnforcer, capsys: Capsys) -> None:
    code, said = site.say(capsys, "decisions", "approve", ISOLATE_ID)
    assert (code, held_ids(enforcer)) == (2, [])
    assert "nobody to ask" in said


@pytest.mark.parametrize(("answer", "code", "count"), [(b"y\n", 0, 1), (b"n\n", 130, 0)])
def test_on_a_terminal_a_person_is_asked(
    site: Site, enforcer: RecordingEnforcer, answer: bytes, code: int, count: int
) -> None:
    master, slave = pty.openpty()
    words = [sys.executable, "-m", "thingwarden", "decisions", "approve", ISOLATE_ID, "--config", str(site.config)]
    os.write(master, answer)
    finished = subprocess.run(words, stdin=slave, capture_output=True, text=True, timeout=30)
    os.close(master)
    os.close(slave)
    assert (finished.returncode, len(held_ids(enforcer))) == (code, count), finished.stderr
    assert "needs approval" in finished.stdout


def test_what_was_refused_by_a_person_is_closed(site: Site, capsys: Capsys) -> None:
    assert site.run(capsys, "decisions", "refuse", ISOLATE_ID)[0] == 2  # a reason is wanted
    code, (closed,) = site.run(capsys, "decisions", "refuse", ISOLATE_ID, "--reason", "a drill", "--as", "ada")
    assert (code, closed["type"], closed["reason"]) == (0, "closed", "a drill")
    assert site.run(capsys, "decisions", "list", "--awaiting") == (0, [])


def test_one_decision_is_revoked_and_no_other(site: Site, enforcer: RecordingEnforcer, capsys: Capsys) -> None:
    decision = site.order(enforcer)
    _, (approved,) = site.run(capsys, "decisions", "approve", ISOLATE_ID, "--yes")
    code, (outcome,) = site.run(capsys, "decisions", "revoke", decision.decision_id[:8], "--reason", "needed")
    assert (code, outcome["receipts"][0]["status"]) == (0, "revoked")
    assert held_ids(enforcer) == [approved["decision"]["decision_id"]]
    assert site.run(capsys, "decisions", "revoke", decision.decision_id)[0] == 2


def test_an_act_in_force_is_extended_without_a_gap(site: Site, enforcer: RecordingEnforcer, capsys: Capsys) -> None:
    decision = site.order(enforcer)
    code, (outcome,) = site.run(capsys, "decisions", "extend", decision.decision_id, "--for", "2h")
    assert (code, outcome["decision"]["replaces"]) == (0, decision.decision_id)
    assert held_ids(enforcer) == [outcome["decision"]["decision_id"]]
    assert enforcer.revoked == []
    _, listed = site.run(capsys, "decisions", "list", "--all")
    assert [item["state"] for item in listed if item["type"] == "standing"] == ["replaced", "in-force"]


@pytest.mark.parametrize("span", ["", "2", "h", "0s", "-1h", "8d", "1e3s", "2 h"])
def test_a_span_that_is_none_is_refused(site: Site, capsys: Capsys, span: str) -> None:
    assert site.run(capsys, "decisions", "extend", "0" * 12, "--for", span)[0] == 2


def test_a_dead_enforcer_is_exit_code_5_and_said(site: Site, capsys: Capsys) -> None:
    code, (outcome,) = site.run(capsys, "decisions", "approve", ISOLATE_ID, "--yes")
    assert (code, outcome["receipts"][0]["status"]) == (5, "failed")
    code, said = site.say(capsys, "decisions", "list", "--all")
    assert code == 0
    assert "what is in force is not known" in said


def test_what_policy_forbids_is_exit_code_2(site: Site, enforcer: RecordingEnforcer, capsys: Capsys) -> None:
    site.allow('[allowed]\nnetworks = ["192.168.1.0/24"]\n')
    code, (outcome,) = site.run(capsys, "decisions", "approve", ISOLATE_ID, "--yes")
    assert (code, outcome["decision"], held_ids(enforcer)) == (2, None, [])
    assert "allow list" in outcome["refusal"]["reasons"][0]


def test_what_the_enforcer_lost_is_shown_as_missing_and_put_back(
    site: Site, enforcer: RecordingEnforcer, capsys: Capsys
) -> None:
    decision = site.order(enforcer)
    enforcer.revoke(decision, datetime.now(UTC))
    _, said = site.say(capsys, "decisions", "list")
    assert "missing" in said
    code, (step,) = site.run(capsys, "decisions", "reconcile")
    assert (code, step["remedy"], held_ids(enforcer)) == (0, "apply", [decision.decision_id])
    assert site.run(capsys, "decisions", "reconcile") == (0, [])


def test_people_see_what_why_and_how_to_undo_it(site: Site, enforcer: RecordingEnforcer, capsys: Capsys) -> None:
    decision = site.order(enforcer)
    _, said = site.say(capsys, "decisions", "show", decision.decision_id)
    for part in (decision.reason, "all other traffic of the device", "decisions revoke", "recorded by a test"):
        assert part in said
    _, said = site.say(capsys, "decisions", "show", ISOLATE_ID)
    for part in ("every other device", "decisions approve", "needs approval"):
        assert part in said
    _, said = site.say(capsys, "decisions", "list")
    assert "1 decision" in said
    assert "1 proposal awaiting approval" in said


def test_a_forged_decision_is_shown_with_its_doubt_and_not_enforced(
    site: Site, enforcer: RecordingEnforcer, capsys: Capsys
) -> None:
    forged = site.write(BLOCK, PolicySettings(), key=b"o" * 32)
    assert isinstance(forged, Decision)
    _, said = site.say(capsys, "decisions", "show", forged.decision_id)
    assert "not to be believed" in said
    assert site.run(capsys, "decisions", "revoke", forged.decision_id)[0] == 2
    code, (step,) = site.run(capsys, "decisions", "reconcile")
    assert (code, step["remedy"], held_ids(enforcer)) == (0, "distrust", [])


def test_in_a_dry_run_an_approval_changes_nothing_and_says_so(tmp_path: Path, capsys: Capsys) -> None:
    site = build_site(tmp_path, is_enforced=False)
    code, (outcome,) = site.run(capsys, "decisions", "approve", ISOLATE_ID, "--yes")
    assert (code, outcome["receipts"][0]["status"]) == (0, ReceiptStatus.DRY_RUN.value)
    _, listed = site.run(capsys, "decisions", "list", "--active")
    assert [item["state"] for item in listed] == ["dry-run"]


def test_of_many_who_approve_at_once_one_succeeds(tmp_path: Path) -> None:
    site = build_site(tmp_path, is_enforced=False)
    words = [sys.executable, "-m", "thingwarden", "decisions", "approve", ISOLATE_ID, "--yes"]
    started = [
        subprocess.Popen(
            [*words, "--as", name, "--config", str(site.config)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for name in ("ada", "bob", "eve")
    ]
    for process in started:
        process.communicate(timeout=30)
    assert sorted(process.returncode for process in started) == [0, 2, 2]
    with Journal(site.journal) as journal:
        assert len(list(journal.entries(kind="decision"))) == 1
        assert journal.verify().broken_at is None


def test_listing_makes_no_key(tmp_path: Path, capsys: Capsys) -> None:
    site = build_site(tmp_path, is_enforced=False)
    (tmp_path / "key").unlink()
    assert site.run(capsys, "decisions", "list") == (0, [])
    assert not (tmp_path / "key").exists()


def test_an_unsafe_key_is_refused(tmp_path: Path, capsys: Capsys) -> None:
    site = build_site(tmp_path, is_enforced=False)
    (tmp_path / "key").chmod(0o644)
    code, said = site.say(capsys, "decisions", "approve", ISOLATE_ID, "--yes")
    assert code == 2
    assert "0644" in said


def test_the_login_is_who_orders_unless_said_otherwise(site: Site, enforcer: RecordingEnforcer, capsys: Capsys) -> None:
    site.run(capsys, "decisions", "approve", ISOLATE_ID, "--yes")
    with Journal(site.journal) as journal:
        (person,) = [entry.body["person"] for entry in journal.entries(kind="operator")]
    assert person
    assert site.run(capsys, "decisions", "revoke", "0" * 12, "--as", "a\x1b[31m")[0] == 2


def test_old_decisions_are_listed_on_demand_alone(site: Site, enforcer: RecordingEnforcer, capsys: Capsys) -> None:
    decision = site.order(enforcer)
    site.run(capsys, "decisions", "revoke", decision.decision_id)
    assert site.run(capsys, "decisions", "list", "--active") == (0, [])
    _, (standing, _) = site.run(capsys, "decisions", "list", "--all")
    assert (standing["state"], standing["has_ended"]) == ("revoked", True)
    assert timedelta(seconds=standing["remaining_s"]) <= timedelta(hours=1)
