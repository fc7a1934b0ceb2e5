"""The few interfaces through which the stages meet; each has one contract suite in tests/contracts.

In: nothing. Out: protocols.
Must never: grow a method that only one implementation can honour.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

from thingwarden.domain.flow import FlowBatch
from thingwarden.domain.packet import PacketsRead
from thingwarden.domain.response import Capability, Decision, Receipt
from thingwarden.domain.word import Scores, WordBatch


class FlowSource(Protocol):
    """Something that yields flows: a capture, a log, a dataset."""

    def batches(self) -> Iterator[FlowBatch]:
        """Yield batches in the source's order.

        Raises:
            InputError: the source is not what it claims to be; names file, offset and expectation.
        """


class PacketSource(Protocol):
    """Something that packets come from as they pass."""

    def read(self, wait_s: float) -> PacketsRead:
        """The packets that came, at least one where there is any; waits for so many seconds at most.

        Raises:
            InputError: the source is broken for good.
        """

    @property
    def dropped_count(self) -> int:
        """Packets that passed and could not be read, so far."""


class Scorer(Protocol):
    """Something that scores words, remembering each device's sentence between calls."""

    def score(self, words: WordBatch) -> Scores:
        """Score words in order; splitting the same words differently must not change a score."""

    def reset(self) -> None:
        """Forget every device's state."""


class Enforcer(Protocol):
    """Something that puts decisions into force, or says that it would; a refusal is a receipt, never an exception."""

    @property
    def name(self) -> str:
        """What receipts call it."""

    @property
    def capability(self) -> Capability:
        """What it can do from where it stands."""

    def apply(self, decision: Decision, now: datetime) -> Receipt:
        """Put a decision into force, whole or not at all; what it ``replaces`` ends in the same moment."""

    def revoke(self, decision: Decision, now: datetime) -> Receipt:
        """Undo exactly this decision and say what it cut; undoing what is not in force succeeds."""

    def in_force(self, now: datetime) -> tuple[Receipt, ...]:
        """What is really in force, asked of the network itself: one receipt each, ``applied``, with its counters.

        Raises:
            EnforcementError: the network cannot be asked.
        """

    def release_all(self, now: datetime) -> tuple[Receipt, ...]:
        """Undo everything at once, known or not: one ``revoked`` receipt each; ``failed`` where something remains."""
