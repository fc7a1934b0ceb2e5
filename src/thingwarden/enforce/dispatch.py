"""Several enforcers as one: each act goes to the first that is able to.

In: decisions. Out: receipts of the enforcer that answered.
Must never: try a second enforcer after a first refused, or ask anybody for a notification.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from thingwarden.domain.errors import EnforcementError
from thingwarden.domain.response import Act, Capability, Decision, Reach, Receipt, ReceiptStatus

if TYPE_CHECKING:
    from thingwarden.domain.ports import Enforcer

UNREACHED: Final = Capability(reach=Reach.REMOTE, acts=frozenset(), ends_by_itself=False)
"""What an enforcer can do that did not answer."""

_LEAST_PRUNED: Final = 256


def join_capabilities(capabilities: Sequence[Capability]) -> Capability:
    """What all of them can do together; from afar where they stand at different places."""
    reaches = {item.reach for item in capabilities}
    return Capability(
        reach=reaches.pop() if len(reaches) == 1 else Reach.REMOTE,
        acts=frozenset[Act]().union(*(item.acts for item in capabilities)),
        ends_by_itself=bool(capabilities) and all(item.ends_by_itself for item in capabilities),
    )


class EnforcerSet:
    """Routes decisions over enforcers.

    Args:
        members: in order of preference; none is twice among them.
    """

    def __init__(self, members: Sequence[Enforcer]) -> None:
        self._members = tuple(members)
        self._given: dict[str, tuple[Enforcer, Decision]] = {}
        self._prune_above = _LEAST_PRUNED

    @property
    def name(self) -> str:
        """The members' names; of a decision's receipt the one that answered, if any could."""
        return ", ".join(dict.fromkeys(member.name for member in self._members)) or "no enforcer"

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """What each member can do, in order."""
        return tuple(item for member in self._members for item in capabilities_of(member))

    @property
    def capability(self) -> Capability:
        """What they can do together."""
        return join_capabilities(self.capabilities)

    def apply(self, decision: Decision, now: datetime) -> Receipt:
        """Hand it to the first that is able to, and end what it replaces wherever else that is."""
        if decision.act is Act.NOTIFY:
            return self._receipt(decision, now, ReceiptStatus.APPLIED, "a notification needs no enforcer")
        self._forget_ended(now)
        chosen = self._able(decision.act)
        if chosen is None:
            detail = f"{decision.act.value} is within nobody's reach ({self.name})"
            return self._receipt(decision, now, ReceiptStatus.FAILED, detail)
        receipt = chosen.apply(decision, now)
        if receipt.status is not ReceiptStatus.FAILED:
            self._given[decision.decision_id] = (chosen, decision)
            former, replaced = self._given.pop(decision.replaces or "", (chosen, decision))
            if former is not chosen:
                former.revoke(replaced, now)
        return receipt

    def revoke(self, decision: Decision, now: datetime) -> Receipt:
        """Undo it where it was applied; after a restart, where it would be applied."""
        chosen, _ = self._given.pop(decision.decision_id, (self._able(decision.act), decision))
        if chosen is None:
            return self._receipt(decision, now, ReceiptStatus.REVOKED, "nothing to undo; nobody could have applied it")
        return chosen.revoke(decision, now)

    def in_force(self, now: datetime) -> tuple[Receipt, ...]:
        """What is in force at any of them.

        Raises:
            EnforcementError: one of them cannot say.
        """
        return tuple(receipt for member in self._members for receipt in member.in_force(now))

    def release_all(self, now: datetime) -> tuple[Receipt, ...]:
        """Undo everything everywhere; one that fails keeps no other from it."""
        receipts: list[Receipt] = []
        for member in self._members:
            try:
                receipts += member.release_all(now)
            except EnforcementError as error:
                detail = f"it is not known what remains: {error}"
                receipts.append(
                    Receipt(decision_id="", enforcer=member.name, status=ReceiptStatus.FAILED, at=now, detail=detail)
                )
        return tuple(receipts)

    def _forget_ended(self, now: datetime) -> None:
        if len(self._given) > self._prune_above:
            self._given = {name: item for name, item in self._given.items() if item[1].expires_at > now}
            self._prune_above = max(_LEAST_PRUNED, 2 * len(self._given))

    def _able(self, act: Act) -> Enforcer | None:
        return next((member for member in self._members if act in member.capability.acts), None)

    def _receipt(self, decision: Decision, now: datetime, status: ReceiptStatus, detail: str) -> Receipt:
        return Receipt(decision_id=decision.decision_id, enforcer=self.name, status=status, at=now, detail=detail)


def capabilities_of(enforcer: Enforcer) -> tuple[Capability, ...]:
    """What an enforcer can do, one for each place that it stands at; a set has several."""
    several = getattr(enforcer, "capabilities", None)
    return several if isinstance(several, tuple) else (enforcer.capability,)


def known_capabilities(enforcer: Enforcer) -> tuple[Capability, ...] | None:
    """What an enforcer can do; None while a part of it cannot be reached and so cannot be counted out."""
    found = capabilities_of(enforcer)
    return None if UNREACHED in found else found
