"""Whatever was killed between any two steps: journal and enforcer agree in the end, and nothing is done twice."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thingwarden.domain.response import Decision, Receipt, ReceiptStatus
from thingwarden.serve.entries import HumanAct, HumanVerb, decision_entry, human_entry, receipt_entry
from thingwarden.serve.reconcile import StepTaken, reconcile
from thingwarden.serve.standing import read_standings
from thingwarden.serve.store import Journal, JournalEntry
from thingwarden.testing import START_S, RecordingEnforcer, build_decision

KEY, FOREIGN_KEY = b"k" * 32, b"f" * 32
NOW = datetime.fromtimestamp(START_S, UTC)
FORBIDDEN_PORT = 4444


class KilledError(Exception):
    """The process is gone."""


class Fuse:
    """Burns down with every step that leaves the process; kills before or after the step."""

    def __init__(self, steps: int | None) -> None:
        self._left = steps

    def burn(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise KilledError


class FusedJournal(Journal):
    """A real journal in a process that is killed when the fuse is down."""

    def __init__(self, path: Path, fuse: Fuse) -> None:
        super().__init__(path)
        self._fuse = fuse

    def append(self, entries: Iterable[JournalEntry]) -> int:
        written = list(entries)
        self._fuse.burn()
        count = super().append(written)
        self._fuse.burn()
        return count


class StrictEnforcer(RecordingEnforcer):
    """Remembers, outlives the process, and does not bear being told twice, or what it should not hold."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse = Fuse(None)

    def apply(self, decision: Decision, now: datetime) -> Receipt:
        self.fuse.burn()
        assert decision.decision_id not in self.held(now), "applied twice"
        assert decision.expires_at > now, "applied after its end"
        receipt = super().apply(decision, now)
        self.fuse.burn()
        return receipt

    def revoke(self, decision: Decision, now: datetime) -> Receipt:
        self.fuse.burn()
        receipt = super().revoke(decision, now)
        self.fuse.burn()
        return receipt

    def held(self, now: datetime) -> set[str]:
        return {receipt.decision_id for receipt in self.in_force(now)}


@dataclass(frozen=True)
class Past:
    """What happened to one decision before the kill.

    Attributes:
        signed: by policy, by another key, or not at all.
        minutes_left: of its life; not above 0 where it is over.
        told: statuses of the receipts that were written.
        is_revoked: a person ordered its end.
        is_held: the enforcer still has it.
        is_known: the journal holds it.
        is_forbidden: today's policy would not order it.
        replaces_before: it replaces the decision before it.
    """

    signed: str
    minutes_left: int
    told: tuple[ReceiptStatus, ...]
    is_revoked: bool
    is_held: bool
    is_known: bool
    is_forbidden: bool
    replaces_before: bool


RECEIPTS = st.sampled_from(
    [
        (),
        (ReceiptStatus.APPLIED,),
        (ReceiptStatus.DRY_RUN,),
        (ReceiptStatus.FAILED,),
        (ReceiptStatus.APPLIED, ReceiptStatus.FAILED),
        (ReceiptStatus.APPLIED, ReceiptStatus.REVOKED),
        (ReceiptStatus.APPLIED, ReceiptStatus.EXPIRED),
    ]
)
PASTS = st.builds(
    Past,
    signed=st.sampled_from(["policy", "policy", "policy", "another", "nobody"]),
    minutes_left=st.sampled_from([-5, 0, 10, 30]),
    told=RECEIPTS,
    is_revoked=st.sampled_from([False, False, True]),
    is_held=st.booleans(),
    is_known=st.sampled_from([True, True, True, False]),
    is_forbidden=st.sampled_from([False, False, True]),
    replaces_before=st.sampled_from([False, False, True]),
)


def decision_of(past: Past, number: int) -> Decision:
    decision = build_decision()
    target = replace(decision.target, port=FORBIDDEN_PORT if past.is_forbidden else 1000 + number)
    return replace(
        decision,
        decision_id=f"{number:012x}",
        target=target,
        decided_at=NOW - timedelta(hours=1),
        expires_at=NOW + timedelta(minutes=past.minutes_left),
        replaces=f"{number - 1:012x}" if past.replaces_before and number else None,
    )


def receipt_of(decision: Decision, status: ReceiptStatus) -> Receipt:
    at = NOW - timedelta(minutes=30)
    return Receipt(decision_id=decision.decision_id, enforcer="recording", status=status, at=at, detail="told before")


def remember(journal: Journal, enforcer: StrictEnforcer, past: Past, number: int) -> None:
    decision = decision_of(past, number)
    if past.is_held and past.minutes_left > 0:
        RecordingEnforcer.apply(enforcer, replace(decision, replaces=None), NOW)
    if past.is_known:
        key = {"policy": KEY, "another": FOREIGN_KEY, "nobody": None}[past.signed]
        journal.append([decision_entry(decision, key)])
        journal.append(receipt_entry(receipt_of(decision, status), "") for status in past.told)
        if past.is_revoked:
            act = HumanAct(verb=HumanVerb.REVOKE, subject_id=decision.decision_id, person="ada")
            journal.append([human_entry(act, "", NOW)])


def forbids(decision: Decision) -> tuple[str, ...]:
    return ("it is protected",) if decision.target.port == FORBIDDEN_PORT else ()


def run(path: Path, enforcer: StrictEnforcer, steps: int | None) -> tuple[StepTaken, ...] | None:
    """One run of the process, killed after so many steps; None where it was."""
    fuse = enforcer.fuse = Fuse(steps)
    try:
        with FusedJournal(path, fuse) as journal:
            return reconcile(journal, enforcer, key=KEY, forbids=forbids, now=NOW)
    except KilledError:
        return None
    finally:
        enforcer.fuse = Fuse(None)


def meant(path: Path) -> set[str]:
    """Ids of the decisions that are meant to be in force by the journal."""
    with Journal(path) as journal:
        standings = read_standings(journal, KEY, NOW)
    return {
        item.decision_id
        for item in standings
        if item.is_open and item.was_applied and item.decision is not None and not forbids(item.decision)
    }


def is_ours(past: Past) -> bool:
    """Whether it may be in force at all."""
    has_ended = past.is_revoked or past.minutes_left <= 0 or past.is_forbidden
    return past.is_known and past.signed == "policy" and not has_ended


def has_to_live(pasts: list[Past], number: int) -> bool:
    """Whether nothing whatever speaks against its being in force."""
    past, successors = pasts[number], pasts[number + 1 : number + 2]
    is_alone = not any(item.replaces_before and item.is_known and item.signed == "policy" for item in successors)
    is_open = past.told in ((), (ReceiptStatus.APPLIED,), (ReceiptStatus.APPLIED, ReceiptStatus.FAILED))
    return is_ours(past) and is_open and is_alone


@given(pasts=st.lists(PASTS, min_size=1, max_size=6), kills=st.lists(st.integers(0, 25), max_size=3))
@settings(max_examples=400, deadline=None)
def test_journal_and_enforcer_agree_whatever_was_killed(pasts: list[Past], kills: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, enforcer = Path(folder) / "journal.sqlite", StrictEnforcer()
        with Journal(path) as journal:
            for number, past in enumerate(pasts):
                remember(journal, enforcer, past, number)
        for steps in kills:
            run(path, enforcer, steps)
        last: tuple[StepTaken, ...] | None = None
        for _ in range(3):  # a decision that replaces one that replaces another takes a run more
            last = run(path, enforcer, None)
        assert last == ()
        assert enforcer.held(NOW) == meant(path)
        assert enforcer.held(NOW) <= {f"{n:012x}" for n, past in enumerate(pasts) if is_ours(past)}
        assert {f"{n:012x}" for n, past in enumerate(pasts) if has_to_live(pasts, n)} <= enforcer.held(NOW)
        with Journal(path) as journal:
            assert journal.verify().broken_at is None


def test_the_property_would_notice_a_second_application() -> None:
    enforcer, decision = StrictEnforcer(), replace(build_decision(), expires_at=NOW + timedelta(hours=1))
    enforcer.apply(decision, NOW)
    with pytest.raises(AssertionError, match="twice"):
        enforcer.apply(decision, NOW)
