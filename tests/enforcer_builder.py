"""Enforcers' parts for tests: a network with timeouts like the kernel's, clocks that a test turns, a served socket.

In: the few values that a test cares about. Out: complete parts of an enforcer's process.
Must never: be a stand-in where the real thing can run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from thingwarden.domain.ports import Enforcer
from thingwarden.domain.response import ACTS_WITHIN, Capability, Decision, Reach, Receipt, ReceiptStatus
from thingwarden.enforce.guard import Guard, GuardSettings, KnownHosts
from thingwarden.enforce.holdings import HoldingsFile
from thingwarden.enforce.service import EnforcerService
from thingwarden.enforce.warden import Clocks, Warden
from thingwarden.testing import START_S

KEY: Final = bytes(range(32))


@dataclass
class ManualMachine:
    """A machine whose clocks stand still until a test turns them."""

    wall_s: float = START_S
    boot_s: float = 1000.0
    boot_id: str = "first"

    def clocks(self) -> Clocks:
        """Its clocks."""
        return Clocks(wall_s=lambda: self.wall_s, boot_s=lambda: self.boot_s, boot_id=self.boot_id)

    def run(self, seconds: float) -> None:
        """Let time go by."""
        self.wall_s += seconds
        self.boot_s += seconds


@dataclass
class TimeoutEnforcer:
    """An enforcer whose acts end by the machine's uptime, as the kernel's timeouts do; it outlives every restart."""

    machine: ManualMachine
    name: str = "timeouts"
    capability: Capability = field(
        default_factory=lambda: Capability(reach=Reach.GATEWAY, acts=ACTS_WITHIN[Reach.GATEWAY], ends_by_itself=True)
    )
    ends_at_boot_s: dict[str, float] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)

    def held(self) -> list[Decision]:
        """What is really in force."""
        return [item for name, item in self.decisions.items() if self.ends_at_boot_s[name] > self.machine.boot_s]

    def apply(self, decision: Decision, now: datetime) -> Receipt:
        """Hold it for the rest of its life by the time that it is told."""
        rest_s = (decision.expires_at - now).total_seconds()
        self.ends_at_boot_s[decision.decision_id] = self.machine.boot_s + rest_s
        self.decisions[decision.decision_id] = decision
        self.decisions.pop(decision.replaces or "", None)
        return self._receipt(decision, ReceiptStatus.APPLIED, now)

    def revoke(self, decision: Decision, now: datetime) -> Receipt:
        """End it."""
        self.decisions.pop(decision.decision_id, None)
        return self._receipt(decision, ReceiptStatus.REVOKED, now)

    def in_force(self, now: datetime) -> tuple[Receipt, ...]:
        """What is in force."""
        return tuple(self._receipt(item, ReceiptStatus.APPLIED, now) for item in self.held())

    def release_all(self, now: datetime) -> tuple[Receipt, ...]:
        """End everything."""
        return tuple(self.revoke(item, now) for item in self.held())

    def _receipt(self, decision: Decision, status: ReceiptStatus, now: datetime) -> Receipt:
        return Receipt(decision_id=decision.decision_id, enforcer=self.name, status=status, at=now, detail="by a test")


def build_warden(
    enforcer: Enforcer,
    folder: Path,
    *,
    machine: ManualMachine | None = None,
    settings: GuardSettings | None = None,
    hosts: KnownHosts | None = None,
) -> Warden:
    """A warden whose file lies in ``folder``, on a machine whose clocks stand still."""
    clocks = (machine or ManualMachine()).clocks()
    return Warden(
        enforcer,
        guard=Guard(settings or GuardSettings()),
        holdings=HoldingsFile(folder, clocks.boot_id, KEY),
        key=KEY,
        clocks=clocks,
        find_hosts=lambda: hosts or KnownHosts(),
    )


@contextmanager
def serve(warden: Warden, path: Path) -> Iterator[EnforcerService]:
    """The warden behind a real socket, in a thread of its own."""
    service = EnforcerService(warden, path)
    thread = threading.Thread(target=service.run, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.stop()
        thread.join(5)
        service.close()
        warden.close()
        assert not thread.is_alive()


def instant(machine: ManualMachine) -> datetime:
    """The machine's wall clock."""
    return datetime.fromtimestamp(machine.wall_s, UTC)
