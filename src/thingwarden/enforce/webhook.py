"""An enforcer elsewhere, told by signed HTTP: each act is a POST of its plan, and so is its end.

In: decisions. Out: receipts; an act that the receiver has not confirmed yet is ``pending``.
Must never: make its caller wait for a network, or take an unconfirmed act for one in force.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from thingwarden.domain.errors import ConfigError, EnforcementError, RequestError
from thingwarden.domain.plan import canonical_json, decision_values, encode_decision
from thingwarden.domain.response import ACTS_WITHIN, Act, Capability, Decision, Reach, Receipt, ReceiptStatus
from thingwarden.enforce.courier import Courier, Receiver

CONFIRM_WITHIN_S: Final = 0.03
DELIVER_WITHIN_S: Final = 30.0
ATTEMPT_WITHIN_S: Final = 5.0
RETRY_FIRST_S: Final = 0.2
RETRY_LAST_S: Final = 5.0
MAX_WAITING: Final = 256

_WORTH_A_RETRY: Final = frozenset({408, 425, 429})
_ALREADY_GONE: Final = frozenset({404, 410})


@dataclass(slots=True)
class _Delivery:
    """One message on its way.

    Attributes:
        decision, is_undo: what it says.
        give_up_at_s: by the monotonic clock.
        attempt_count: how often it was sent.
        may_have_arrived: some attempt had no clear answer.
        done: set when the receiver confirmed or refused, or when it was given up.
        is_confirmed, detail: how it ended.
    """

    decision: Decision
    is_undo: bool
    give_up_at_s: float
    attempt_count: int = 0
    may_have_arrived: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    is_confirmed: bool = False
    detail: str = ""


class WebhookEnforcer:
    """Tells a receiver what to put into force and what to end; a worker of its own tries until the time is over.

    Args:
        receiver: who is told.
        acts: what the receiver can put into force.
        confirm_within_s: the longest that a caller waits; what is confirmed later shows in ``in_force``.
        deliver_within_s: the longest that a message is tried; an act never beyond its own end.
        held: ids of acts that an earlier process had it put into force.

    Raises:
        ConfigError: the receiver's address, its certificates or the secret are refused.
    """

    name = "webhook"
    lease_kind = "webhook"

    def __init__(
        self,
        receiver: Receiver,
        *,
        acts: frozenset[Act] = ACTS_WITHIN[Reach.REMOTE],
        confirm_within_s: float = CONFIRM_WITHIN_S,
        deliver_within_s: float = DELIVER_WITHIN_S,
        held: Collection[str] = (),
    ) -> None:
        self.capability = Capability(reach=Reach.REMOTE, acts=acts, ends_by_itself=False)
        self._receiver = receiver
        self._courier = Courier(receiver)
        self._confirm_within_s = confirm_within_s
        self._deliver_within_s = deliver_within_s
        self._held: dict[str, Decision | None] = dict.fromkeys(held)
        self._refused: dict[str, None] = {}
        self._latest: dict[str, _Delivery] = {}
        self._queue: list[tuple[float, int, _Delivery]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._is_closed = False
        self._worker = threading.Thread(target=self._work, name="webhook", daemon=True)
        self._worker.start()

    def apply(self, decision: Decision, now: datetime) -> Receipt:
        """Tell the receiver; ``pending`` where it has not confirmed within a moment."""
        rest_s = (decision.expires_at - now).total_seconds()
        delivery = self._send(decision, is_undo=False, within_s=min(rest_s, self._deliver_within_s))
        if delivery is None:
            return self._receipt(decision, now, ReceiptStatus.FAILED, f"{MAX_WAITING} messages wait already")
        delivery.done.wait(self._confirm_within_s)
        if not delivery.done.is_set():
            detail = f"{self._courier.host} has not confirmed it yet"
            return self._receipt(decision, now, ReceiptStatus.PENDING, detail)
        status = ReceiptStatus.APPLIED if delivery.is_confirmed else ReceiptStatus.FAILED
        return self._receipt(decision, now, status, delivery.detail)

    def revoke(self, decision: Decision, now: datetime) -> Receipt:
        """Tell the receiver to end it; ``failed`` until it has confirmed that."""
        if decision.decision_id in self._refused:
            detail = f"nothing to undo; {self._courier.host} had refused it"
            return self._receipt(decision, now, ReceiptStatus.REVOKED, detail)
        delivery = self._send(decision, is_undo=True, within_s=self._deliver_within_s)
        if delivery is None:
            return self._receipt(decision, now, ReceiptStatus.FAILED, f"{MAX_WAITING} messages wait already")
        delivery.done.wait(self._confirm_within_s)
        if not delivery.is_confirmed:
            detail = delivery.detail or f"{self._courier.host} has not confirmed the end yet"
            return self._receipt(decision, now, ReceiptStatus.FAILED, detail)
        return self._receipt(decision, now, ReceiptStatus.REVOKED, delivery.detail)

    def in_force(self, now: datetime) -> tuple[Receipt, ...]:
        """What the receiver confirmed and what was not undone since, over or not; it cannot be asked."""
        with self._changed:
            held = list(self._held)
        detail = f"confirmed by {self._courier.host}"
        return tuple(
            Receipt(decision_id=name, enforcer=self.name, status=ReceiptStatus.APPLIED, at=now, detail=detail)
            for name in held
        )

    def release_all(self, now: datetime) -> tuple[Receipt, ...]:
        """Tell the receiver to end everything; what it does not confirm in time remains ``failed``."""
        with self._changed:
            known = list(self._held.items())
            known += [
                (item.decision.decision_id, item.decision)
                for item in self._latest.values()
                if not item.is_undo and not item.done.is_set()
            ]
        receipts = []
        for decision_id, decision in known:
            if decision is not None:
                receipts.append(self.revoke(decision, now))
                continue
            detail = "known by its lease only"
            receipts.append(
                Receipt(decision_id=decision_id, enforcer=self.name, status=ReceiptStatus.FAILED, at=now, detail=detail)
            )
        return tuple(receipts)

    def lease_values(self, decision: Decision) -> dict[str, Any]:
        """What ``undo`` needs."""
        receiver = self._receiver
        return {
            "url": receiver.url,
            "secret": str(receiver.secret),
            "certificates": None if receiver.certificates is None else str(receiver.certificates),
            "may_be_plain": receiver.may_be_plain,
            "plan": encode_decision(decision),
        }

    def forget(self, decision_id: str) -> None:
        """Somebody else had the receiver end it."""
        with self._changed:
            self._held.pop(decision_id, None)

    def close(self) -> None:
        """Stop the worker; what was not delivered is not."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._worker.join(ATTEMPT_WITHIN_S + 1.0)

    def _send(self, decision: Decision, is_undo: bool, within_s: float) -> _Delivery | None:
        """Queue a message in place of what is still on its way about the same decision; None where too many wait."""
        with self._changed:
            former = self._latest.get(decision.decision_id)
            if former is not None and not former.done.is_set() and former.is_undo is is_undo:
                return former
            if len(self._queue) >= MAX_WAITING:
                return None
            delivery = _Delivery(decision, is_undo, time.monotonic() + within_s)
            self._latest[decision.decision_id] = delivery
            heapq.heappush(self._queue, (0.0, next(self._numbers), delivery))
            self._changed.notify()
        return delivery

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._is_closed and (not self._queue or self._queue[0][0] > time.monotonic()):
                    wait_s = self._queue[0][0] - time.monotonic() if self._queue else None
                    self._changed.wait(wait_s)
                if self._is_closed:
                    return
                delivery = heapq.heappop(self._queue)[2]
                is_outdated = self._latest.get(delivery.decision.decision_id) is not delivery
            if is_outdated:
                delivery.detail = "another message took its place"
                delivery.done.set()
            else:
                self._attempt(delivery)

    def _attempt(self, delivery: _Delivery) -> None:
        left_s = delivery.give_up_at_s - time.monotonic()
        if left_s <= 0:
            self._end(delivery, False, f"given up: {delivery.detail or 'no time was left'}")
            return
        delivery.attempt_count += 1
        try:
            plan = encode_decision(delivery.decision)
            status = _post(self._courier, plan, delivery.is_undo, min(left_s, ATTEMPT_WITHIN_S))
        except EnforcementError as error:
            delivery.detail, delivery.may_have_arrived = str(error), True
        else:
            delivery.detail = f"{self._courier.host} answered {status}"
            if _is_confirmed(status, delivery.is_undo):
                self._end(delivery, True, delivery.detail)
                return
            if not _is_worth_a_retry(status):
                self._end(delivery, False, f"refused: {delivery.detail}")
                return
            delivery.may_have_arrived = True
        pause_s = min(RETRY_FIRST_S * 2.0 ** (delivery.attempt_count - 1), RETRY_LAST_S)
        with self._changed:
            heapq.heappush(self._queue, (time.monotonic() + pause_s, next(self._numbers), delivery))

    def _end(self, delivery: _Delivery, is_confirmed: bool, detail: str) -> None:
        decision = delivery.decision
        replaced: Decision | None = None
        with self._changed:
            delivery.is_confirmed, delivery.detail = is_confirmed, detail
            if self._latest.get(decision.decision_id) is delivery:
                del self._latest[decision.decision_id]
            if is_confirmed and delivery.is_undo:
                self._held.pop(decision.decision_id, None)
            elif is_confirmed:
                self._refused.pop(decision.decision_id, None)
                self._held[decision.decision_id] = decision
                replaced = self._held.get(decision.replaces or "")
            elif not delivery.is_undo and not delivery.may_have_arrived:
                self._refused[decision.decision_id] = None
                if len(self._refused) > MAX_WAITING:
                    del self._refused[next(iter(self._refused))]
        delivery.done.set()
        if replaced is not None:
            self._send(replaced, is_undo=True, within_s=self._deliver_within_s)
        elif not is_confirmed and not delivery.is_undo and delivery.may_have_arrived:
            self._send(decision, is_undo=True, within_s=self._deliver_within_s)

    def _receipt(self, decision: Decision, now: datetime, status: ReceiptStatus, detail: str) -> Receipt:
        return Receipt(decision_id=decision.decision_id, enforcer=self.name, status=status, at=now, detail=detail)


def build_enforcer(options: Mapping[str, Any], held: Collection[str]) -> WebhookEnforcer:
    """The enforcer by its process's options.

    Raises:
        ConfigError: an option is refused.
    """
    try:
        acts = frozenset(Act(name) for name in options["acts"])
    except (KeyError, ValueError) as error:
        raise ConfigError("the webhook's acts", str(error), "name acts of the plan language") from error
    return WebhookEnforcer(_receiver(options), acts=acts & ACTS_WITHIN[Reach.REMOTE], held=held)


def undo(lease: dict[str, Any]) -> None:
    """End the act of a lease, in a process that knows nothing else.

    Raises:
        EnforcementError: the receiver did not confirm it.
        ConfigError: the lease is damaged, or the secret cannot be read.
    """
    plan = lease.get("plan")
    try:
        decision_values(plan)
    except RequestError as error:
        raise ConfigError(f"lease {lease.get('lease_id')}", str(error), "undo its act by hand") from error
    courier = Courier(_receiver(lease))
    status = _post(courier, cast(dict[str, Any], plan), True, ATTEMPT_WITHIN_S)
    if not _is_confirmed(status, True):
        raise EnforcementError(f"webhook {courier.host}", f"it answered {status}")


def _receiver(values: Mapping[str, Any]) -> Receiver:
    try:
        certificates = values.get("certificates")
        return Receiver(
            url=str(values["url"]),
            secret=Path(str(values["secret"])),
            certificates=None if certificates is None else Path(str(certificates)),
            may_be_plain=values.get("may_be_plain") is True,
        )
    except KeyError as error:
        raise ConfigError("the webhook's options", f"{error} is missing", "see docs/configuration.md") from error


def _post(courier: Courier, plan: dict[str, Any], is_undo: bool, within_s: float) -> int:
    body = canonical_json({"type": "decision.undo" if is_undo else "decision.apply", "data": plan})
    message_id = f"{plan['decision_id']}-undo" if is_undo else str(plan["decision_id"])
    return courier.post(message_id, body, within_s)


def _is_confirmed(status: int, is_undo: bool) -> bool:
    return 200 <= status < 300 or (is_undo and status in _ALREADY_GONE)


def _is_worth_a_retry(status: int) -> bool:
    return status >= 500 or status in _WORTH_A_RETRY
