"""An enforcer whose acts do not end by themselves, behind leases that end them whatever happens.

In: decisions. Out: receipts of the enforcer behind.
Must never: apply an act before its lease is on the disk and a reaper listens; drop a lease whose act may be in force.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from thingwarden.domain.errors import ConfigError
from thingwarden.domain.response import Capability, Decision, Receipt, ReceiptStatus
from thingwarden.enforce.leases import Lease, LeaseFolder, read_boot_id, read_boot_s

if TYPE_CHECKING:
    from thingwarden.domain.ports import Enforcer

    class Leasable(Enforcer, Protocol):
        """An enforcer that can say how a process that knows nothing would undo its act."""

        @property
        def lease_kind(self) -> str:
            """The key of its undo in ``undo.UNDOERS``."""

        def lease_values(self, decision: Decision) -> dict[str, Any]:
            """What its undo needs: JSON without secrets."""

        def forget(self, decision_id: str) -> None:
            """The reaper has undone it; for one that remembers what is in force instead of asking."""


class LeasedEnforcer:
    """Puts a lease before every act.

    Args:
        inner: what acts.
        leases: the folder that the reaper looks after.
    """

    def __init__(self, inner: Leasable, leases: LeaseFolder) -> None:
        self._inner = inner
        self._leases = leases
        self._boot_id = read_boot_id()

    @property
    def name(self) -> str:
        """The inner one's."""
        return self._inner.name

    @property
    def capability(self) -> Capability:
        """The inner one's; its acts end by themselves as long as a reaper listens."""
        return replace(self._inner.capability, ends_by_itself=self._leases.has_reaper())

    def apply(self, decision: Decision, now: datetime) -> Receipt:
        """Lease, then apply; what failed is undone, by the reaper if it cannot be undone at once."""
        if not self._leases.has_reaper():
            return self._failed(decision, now, f"no reaper looks after {self._leases.path}, so nothing would end it")
        try:
            self._leases.add(self._lease(decision, now))
        except OSError as error:
            return self._failed(decision, now, f"not applied, since it cannot be leased: {error.strerror or error}")
        receipt = self._inner.apply(decision, now)
        if receipt.status is ReceiptStatus.FAILED:
            self.revoke(decision, now)
        elif receipt.status is ReceiptStatus.APPLIED and decision.replaces is not None:
            self._lapse(decision.replaces)
        return receipt

    def revoke(self, decision: Decision, now: datetime) -> Receipt:
        """Undo, now or by the reaper, which goes on until it is done."""
        receipt = self._inner.revoke(decision, now)
        if receipt.status is ReceiptStatus.REVOKED:
            self._leases.remove(decision.decision_id)
        else:
            self._lapse(decision.decision_id)
        return receipt

    def in_force(self, now: datetime) -> tuple[Receipt, ...]:
        """What the inner one says, after it was told what the reaper has undone."""
        leased = set(self._leases.ids())
        for receipt in self._inner.in_force(now):
            if receipt.decision_id not in leased:
                self._inner.forget(receipt.decision_id)
        return self._inner.in_force(now)

    def release_all(self, now: datetime) -> tuple[Receipt, ...]:
        """Undo everything; what remains is left to the reaper."""
        receipts = self._inner.release_all(now)
        for receipt in receipts:
            if receipt.status is ReceiptStatus.REVOKED:
                self._leases.remove(receipt.decision_id)
        remaining = [lease_id for lease_id in self._leases.ids() if self._is_ours(lease_id)]
        told = {receipt.decision_id for receipt in receipts}
        for lease_id in remaining:
            self._lapse(lease_id)
        return receipts + tuple(self._left(lease_id, now) for lease_id in remaining if lease_id not in told)

    def _lease(self, decision: Decision, now: datetime) -> Lease:
        return Lease(
            lease_id=decision.decision_id,
            kind=self._inner.lease_kind,
            boot_id=self._boot_id,
            ends_at_boot_s=read_boot_s() + (decision.expires_at - now).total_seconds(),
            ends_at_s=decision.expires_at.timestamp(),
            values=self._inner.lease_values(decision),
        )

    def _lapse(self, lease_id: str) -> None:
        # Where it cannot be written, the lease ends at its own time.
        with suppress(OSError, ConfigError):
            self._leases.lapse(lease_id)

    def _is_ours(self, lease_id: str) -> bool:
        try:
            lease = self._leases.read(lease_id)
        except ConfigError:
            return False
        return lease is not None and lease.kind == self._inner.lease_kind

    def _left(self, lease_id: str, now: datetime) -> Receipt:
        detail = "left to the reaper, which goes on until it is undone"
        return Receipt(decision_id=lease_id, enforcer=self.name, status=ReceiptStatus.FAILED, at=now, detail=detail)

    def _failed(self, decision: Decision, now: datetime, detail: str) -> Receipt:
        return Receipt(
            decision_id=decision.decision_id,
            enforcer=self.name,
            status=ReceiptStatus.FAILED,
            at=now,
            detail=detail,
        )
