"""From a sealed order to receipts: the enforcer's process without its socket.

In: sealed orders of a channel. Out: receipts, after guard, file and enforcer had their turn.
Must never: touch the network for an order that is forged, repeated or refused by the guard; lose count of what is held.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from thingwarden.domain.errors import ConfigError, EnforcementError
from thingwarden.domain.order import Order, OrderVerb, open_order
from thingwarden.domain.response import Act, Decision, Receipt, ReceiptStatus
from thingwarden.enforce.channel import CHALLENGE_BYTES, Hello
from thingwarden.enforce.dispatch import capabilities_of
from thingwarden.enforce.guard import MINUTE_S, Guard, GuardClock, KnownHosts
from thingwarden.enforce.holdings import HoldingsFile, Remembered

if TYPE_CHECKING:
    from thingwarden.domain.ports import Enforcer

OVERDUE_GRACE: Final = timedelta(seconds=2)
"""Firewall and reaper end an act on time; what is still there after this long is ended here."""

HOSTS_EVERY_S: Final = 30.0
CLOCK_EVERY_S: Final = 60.0
BUSY_TICK_S: Final = 1.0
QUIET_S: Final = 5.0
"""The file is written anew only after so long without an order, since that takes a third of a second for 10,000."""

_LEAP_S: Final = 1.0

NOT_IN_FORCE: Final = frozenset({ReceiptStatus.FAILED, ReceiptStatus.DRY_RUN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """What the time is read from; a test turns its own.

    Attributes:
        wall_s: Unix seconds.
        boot_s: seconds since the machine started, suspension included.
        boot_id: tells one start of the machine from another.
    """

    wall_s: Callable[[], float]
    boot_s: Callable[[], float]
    boot_id: str


def machine_clocks() -> Clocks:
    """The machine's own.

    Raises:
        ConfigError: the machine does not tell its boot id.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:  # noqa: PTH123
            boot_id = stream.read().strip()
    except OSError as error:
        raise ConfigError("the machine's boot id", error.strerror or str(error), "mount /proc") from error
    return Clocks(wall_s=time.time, boot_s=lambda: time.clock_gettime(time.CLOCK_BOOTTIME), boot_id=boot_id)


@dataclass(slots=True)
class Channel:
    """One connection of a core.

    Attributes:
        challenge: said when it was opened.
        number: of the last genuine order; 0 before the first.
    """

    challenge: str
    number: int = 0


class Warden:
    """Carries out orders that are genuine and that the guard does not refuse.

    Args:
        enforcer: what acts on the network.
        guard: fresh; takes over what the file remembers.
        holdings: the file of what is held.
        key: shared with policy.
        clocks: the machine's, but for tests.
        find_hosts: what the machine knows of its network now.

    Raises:
        ConfigError: the file is damaged.
        OSError: it cannot be written.
    """

    def __init__(
        self,
        enforcer: Enforcer,
        *,
        guard: Guard,
        holdings: HoldingsFile,
        key: bytes,
        clocks: Clocks,
        find_hosts: Callable[[], KnownHosts] = KnownHosts,
    ) -> None:
        self._enforcer = enforcer
        self._guard = guard
        self._holdings = holdings
        self._key = key
        self._clocks = clocks
        self._find_hosts = find_hosts
        self._hosts_at_boot_s = -HOSTS_EVERY_S
        self._orders: list[tuple[float, bool]] = []
        self._written_lead_s = self._written_at_boot_s = self._ordered_at_boot_s = 0.0
        self._take_over()

    def open_channel(self) -> Channel:
        """A channel with a challenge that was never used before."""
        return Channel(challenge=os.urandom(CHALLENGE_BYTES).hex())

    def hello(self, channel: Channel) -> Hello:
        """What to say first on the channel."""
        return Hello(
            challenge=channel.challenge, name=self._enforcer.name, capabilities=capabilities_of(self._enforcer)
        )

    def handle(self, channel: Channel, sealed: bytes) -> tuple[Receipt, ...]:
        """Carry out an order.

        Raises:
            RequestError: the order is forged, repeated, of another channel or not well formed.
            EnforcementError: the network cannot be asked what is in force.
        """
        order = open_order(sealed, self._key, channel.challenge, channel.number)
        channel.number = order.number
        return self.carry_out(order)

    def carry_out(self, order: Order) -> tuple[Receipt, ...]:
        """Carry out an order that is genuine.

        Raises:
            EnforcementError: the network cannot be asked what is in force.
        """
        now = self._now()
        if order.decision is None:
            return self._enforcer.in_force(now) if order.verb is OrderVerb.IN_FORCE else self.release_all()
        act = self._apply if order.verb is OrderVerb.APPLY else self._revoke
        return (act(order.decision, now),)

    def release_all(self) -> tuple[Receipt, ...]:
        """End everything, known or not."""
        receipts = self._enforcer.release_all(self._now())
        remaining = {item.decision_id for item in receipts if item.status is not ReceiptStatus.REVOKED}
        for decision_id in self._guard.held.keys() - remaining:
            self._end(decision_id)
        return receipts

    def tick(self) -> float:
        """End what is over, keep hosts, clock and file up to date; seconds until the next tick is due."""
        now, boot_s = self._now(), self._clocks.boot_s()
        self._refresh_hosts(boot_s)
        overdue = self._guard.overdue(now - OVERDUE_GRACE)
        if overdue:
            self._end_overdue(overdue, now)
        self._remember_clock(now, boot_s)
        if self._holdings.wants_rewrite and boot_s - self._ordered_at_boot_s > QUIET_S:
            # A full disk leaves the old file as it is.
            with suppress(OSError):
                self._rewrite(boot_s)
        return BUSY_TICK_S if self._guard.held else HOSTS_EVERY_S

    def close(self) -> None:
        """Let another process have the file; what is in force stays."""
        self._holdings.close()

    def _take_over(self) -> None:
        boot_s = self._clocks.boot_s()
        remembered = self._holdings.load(boot_s)
        self._clock = GuardClock(remembered.lead_s)
        self._refresh_hosts(boot_s)
        self._orders = [item for item in remembered.orders if item[0] > boot_s - MINUTE_S]
        for at_boot_s, is_approved in self._orders:
            self._guard.restore_rate(is_approved, at_boot_s)
        held = self._still_there(set(remembered.decisions))
        for decision_id in held:
            self._guard.restore(remembered.decisions[decision_id])
        self._now()
        self._rewrite(boot_s)

    def _still_there(self, decision_ids: set[str]) -> set[str]:
        """Those in force; all of them where the network cannot be asked, so that none goes uncounted."""
        try:
            return decision_ids & {item.decision_id for item in self._enforcer.in_force(self._now())}
        except EnforcementError:
            return decision_ids

    def _apply(self, decision: Decision, now: datetime) -> Receipt:
        boot_s = self._ordered_at_boot_s = self._clocks.boot_s()
        self._refresh_hosts(boot_s)
        reason = self._guard.refusal(decision, now, boot_s, self._enforcer.capability)
        if reason is not None:
            return self._failed(decision, now, f"refused by the enforcer's guard: {reason}")
        if decision.act is Act.NOTIFY:
            return self._enforcer.apply(decision, now)
        was_held = self._guard.holds(decision.decision_id)
        try:
            self._holdings.add_hold(decision, now.timestamp(), boot_s)
        except OSError as error:
            return self._failed(decision, now, f"not applied, since it cannot be remembered: {error.strerror or error}")
        self._guard.hold(decision, boot_s)
        self._orders.append((boot_s, decision.approved_by is not None))
        receipt = self._enforcer.apply(decision, now)
        if receipt.status in NOT_IN_FORCE and not was_held:
            self._end(decision.decision_id)
        elif receipt.status not in NOT_IN_FORCE and decision.replaces is not None:
            self._end(decision.replaces)
        return receipt

    def _revoke(self, decision: Decision, now: datetime) -> Receipt:
        receipt = self._enforcer.revoke(decision, now)
        if receipt.status is ReceiptStatus.REVOKED:
            self._end(decision.decision_id)
        return receipt

    def _end(self, decision_id: str) -> None:
        if not self._guard.holds(decision_id):
            return
        self._guard.let_go(decision_id)
        # Where it cannot be written, it counts as held after a restart, until it would have ended: the safe side.
        with suppress(OSError):
            self._holdings.add_end(decision_id)

    def _end_overdue(self, overdue: list[Decision], now: datetime) -> None:
        remaining = self._still_there({decision.decision_id for decision in overdue})
        for decision in overdue:
            if decision.decision_id not in remaining:
                self._end(decision.decision_id)
            else:
                self._revoke(decision, now)

    def _refresh_hosts(self, boot_s: float) -> None:
        if boot_s - self._hosts_at_boot_s >= HOSTS_EVERY_S:
            self._guard.learn_hosts(self._find_hosts())
            self._hosts_at_boot_s = boot_s

    def _remember_clock(self, now: datetime, boot_s: float) -> None:
        has_leapt = self._clock.lead_s - self._written_lead_s > _LEAP_S
        is_due = bool(self._guard.held) and boot_s - self._written_at_boot_s >= CLOCK_EVERY_S
        if has_leapt or is_due:
            with suppress(OSError):
                self._holdings.add_clock(now.timestamp(), boot_s)
                self._written_lead_s, self._written_at_boot_s = self._clock.lead_s, boot_s

    def _rewrite(self, boot_s: float) -> None:
        self._orders = [item for item in self._orders if item[0] > boot_s - MINUTE_S]
        remembered = Remembered(lead_s=self._clock.lead_s, decisions=self._guard.held, orders=self._orders)
        self._holdings.rewrite(remembered, boot_s)
        self._written_lead_s, self._written_at_boot_s = self._clock.lead_s, boot_s

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.read(self._clocks.wall_s(), self._clocks.boot_s()), UTC)

    def _failed(self, decision: Decision, now: datetime, detail: str) -> Receipt:
        return Receipt(
            decision_id=decision.decision_id,
            enforcer=self._enforcer.name,
            status=ReceiptStatus.FAILED,
            at=now,
            detail=detail,
        )
