"""What others did about decisions while the core runs, and what an earlier run left in force, read from the journal.

In: an open journal, policy's key. Out: ``FollowedOrder``s, each piece of news once.
Must never: believe a decision that policy did not sign; read what was read before.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from thingwarden.domain.errors import RequestError
from thingwarden.domain.response import Decision, ReceiptStatus
from thingwarden.pipeline import FollowedOrder
from thingwarden.serve.entries import HumanVerb, genuine_decision
from thingwarden.serve.standing import read_standings
from thingwarden.serve.store import Journal

_KINDS: Final = ("decision", "receipt", "operator")
_ENDS: Final = frozenset({ReceiptStatus.REVOKED.value, ReceiptStatus.EXPIRED.value})
_BEGINS: Final = frozenset({ReceiptStatus.APPLIED.value})


class JournalFollower:
    """Reads the journal on, portion by portion.

    Args:
        journal: open.
        key: of policy; without it no decision is believed, and nothing is followed.
    """

    def __init__(self, journal: Journal, key: bytes | None) -> None:
        self._journal, self._key = journal, key
        self._number: int | None = None
        self._known: dict[str, Decision] = {}
        self._begun: set[str] = set()

    def news(self, now: datetime) -> tuple[FollowedOrder, ...]:
        """What became of decisions since the last call; at the first, all that still live.

        Raises:
            ConfigError: the journal cannot be read.
            RequestError: an entry is not what it claims to be.
        """
        if self._number is None:
            self._number = self._journal.head_number()
            return self._living(now)
        changed: dict[str, datetime | None] = {}
        for item in self._journal.written(kinds=_KINDS, after=self._number):
            self._number = item.number
            entry = item.entry
            at = datetime.fromisoformat(entry.at)
            if entry.kind == "decision":
                self._note_decision(entry.subject, entry.body, changed, at)
            elif entry.kind == "receipt":
                self._note_receipt(entry.subject, str(entry.body.get("status")), changed, at)
            elif entry.body.get("verb") == HumanVerb.REVOKE.value and entry.subject in self._known:
                changed[entry.subject] = at
            elif entry.body.get("verb") == HumanVerb.PANIC.value:
                changed.update(dict.fromkeys(self._known, at))
        told = tuple(self._order(name, ended_at) for name, ended_at in changed.items())
        self._forget(now)
        return told

    def _living(self, now: datetime) -> tuple[FollowedOrder, ...]:
        for standing in read_standings(self._journal, self._key, now):
            if standing.decision is not None and standing.is_open:
                self._known[standing.decision_id] = standing.decision
                if standing.was_applied:
                    self._begun.add(standing.decision_id)
        return tuple(self._order(name, None) for name in self._known)

    def _note_decision(
        self, name: str, body: dict[str, object], changed: dict[str, datetime | None], at: datetime
    ) -> None:
        try:
            decision = genuine_decision(body, self._key)
        except RequestError:
            return
        self._known[name] = decision
        changed[name] = None
        if decision.replaces in self._known:
            changed[decision.replaces] = at

    def _note_receipt(self, name: str, status: str, changed: dict[str, datetime | None], at: datetime) -> None:
        if name not in self._known:
            return
        if status in _BEGINS:
            self._begun.add(name)
            changed.setdefault(name, None)
        elif status in _ENDS:
            changed[name] = at

    def _order(self, name: str, ended_at: datetime | None) -> FollowedOrder:
        return FollowedOrder(decision=self._known[name], is_in_force=name in self._begun, ended_at=ended_at)

    def _forget(self, now: datetime) -> None:
        for name in [name for name, decision in self._known.items() if decision.expires_at < now]:
            del self._known[name]
            self._begun.discard(name)
